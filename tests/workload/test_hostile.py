"""Whatever the records say, and in whatever order: lowering and replay end, in order or with a line that says why."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.errors import EptreplayError
from eptreplay.replay import simulate
from eptreplay.replay import tally as y
from eptreplay.replay.program import Reading, number_workload
from eptreplay.trace.scan import scan
from eptreplay.workload import schema as s
from eptreplay.workload.lower import lower
from eptreplay.workload.rules import CAUSE_NUMBERS
from eptreplay.workload.workload import Workload
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.conftest import Unpack
from tests.trace.made_recordings import dataset
from tests.workload.lowering import check, holds_of, lowered, outcome
from tests.xentrace.mutants import mutate, seeded, window_starts

pytestmark = pytest.mark.mutation

many = settings(max_examples=30 if COMPILED else 15, suppress_health_check=[HealthCheck.function_scoped_fixture])
Fields = Mapping[str, Callable[[], int]]
STRATEGIES = ("eager", "vmenter", "deferred", "deferred-2026", "never")
MISCONFIG, PML = CAUSE_NUMBERS["misconfig"], CAUSE_NUMBERS["pml"]
ALL_BITS = (1 << 64) - 1
MOST_DOMAINS = 100
DEEPEST = 3
"""So many holds and pauses may lie in each other."""
MOST_BYTES = 64 << 20
"""What a recording of a few hundred records may take at most, but for its tables."""
TABLE_BYTES, TABLES_OF_A_ROW = 4096, 6
"""What an EPT table takes in a replay, and how many a row may need: a path of three for each end of a range."""


class Hostile:
    """Writes records of all kinds that lowering looks at, with values that no Xen would write."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.tsc, self.deep = rng, 1000, 0
        self.trace = Trace(rng.choice(("4.17", "4.18", "4.19")))
        self.fault = rng.choice((48, 0x400))
        self.kinds = list(self.records())
        rng.shuffle(self.kinds)

    def records(self) -> dict[str, Callable[[], None]]:
        """Return how to write each event."""
        choose, timed, add = self.rng.choice, self.timed, self.trace.add
        running: Fields = {"domid": partial(choose, (0, 3, 3, s.IDLE_DOMAIN)), "vcpu": partial(choose, range(3))}
        domid = partial(choose, (0, 1, 3, 3, 3, 3, 3, 0x7FFF, 0xFFFF))
        p2m: Fields = {"domid": domid, "view": partial(choose, (0, 0, 0, 1, 256, 65535))}
        count = partial(choose, (0, 1, 1, 512, 513, 0xFFFFFFFF))
        frame: Fields = {"gfn": self.number, "mfn": self.number, "domid": p2m["domid"], "order": self.order}

        def untimed(name: str, fields: Fields) -> Callable[[], None]:
            return lambda: add(name, **{field: value() for field, value in fields.items()})

        def at_a_time(name: str, fields: Fields) -> Callable[[], None]:
            return lambda: timed(name, **{field: value() for field, value in fields.items()})

        found = {
            "MEM_SET_P2M_ENTRY": untimed(
                "MEM_SET_P2M_ENTRY", {**frame, "p2mt": self.type, "domid": lambda: choose((0, 3, 3, 40000, 65535))}
            ),
            "MEM_POD_POPULATE": untimed("MEM_POD_POPULATE", frame),
            "MEM_POD_ZERO_RECLAIM": untimed("MEM_POD_ZERO_RECLAIM", frame),
            "MEM_DECREASE_RESERVATION": untimed(
                "MEM_DECREASE_RESERVATION",
                {"gfn": self.number, "domid": p2m["domid"], "order": lambda: choose((0, 0, 3, 0xFFFF))},
            ),
            "MEM_POD_SUPERPAGE_SPLINTER": untimed(
                "MEM_POD_SUPERPAGE_SPLINTER", {"gfn": self.number, "domid": p2m["domid"]}
            ),
            "HVM_NPF": untimed(
                "HVM_NPF",
                {
                    "gpa": lambda: self.number() << 12 & ALL_BITS,
                    "mfn": self.number,
                    "p2mt": self.type,
                    "qualification": lambda: choose((2, 2, 1, 0x182)),
                },
            ),
            "HVM_HLT": untimed("HVM_HLT", {}),
            "HVM_INTR": untimed("HVM_INTR", {"vector": lambda: choose((0xFB, 0xFB, 0xFC, 0xFFFFFFFF))}),
            "HVM_VMENTRY": at_a_time("HVM_VMENTRY", {}),
            "fault": at_a_time("HVM_VMEXIT64", {"reason": lambda: self.fault, "rip": lambda: 0}),
            "exit": at_a_time("HVM_VMEXIT64", {"reason": lambda: choose((48, 49, 62, 12, 0x78, 1)), "rip": lambda: 0}),
            "P2M_HOLD_BEGIN": at_a_time("P2M_HOLD_BEGIN", {**p2m, "cause": self.cause}),
            "P2M_HOLD_END": at_a_time("P2M_HOLD_END", p2m),
            "P2M_SET": at_a_time(
                "P2M_SET",
                {
                    **frame,
                    **p2m,
                    "order": lambda: self.order() & 0xFF,
                    "old_type": lambda: self.type() & 0xFF,
                    "new_type": lambda: self.type() & 0xFF,
                    "flags": lambda: choose((0, 0, 1, 2, 4, 8, 0xFF)),
                    "access": lambda: choose((0, 7, 7, 7, 9, 0x7F, 0xFFFFFFFF)),
                },
            ),
            "P2M_GLOBAL_CHANGE": at_a_time(
                "P2M_GLOBAL_CHANGE",
                {
                    **p2m,
                    "old_type": lambda: self.type() & 0xFF,
                    "new_type": lambda: self.type() & 0xFF,
                    "flags": lambda: choose((0, 1, 1, 2, 3, 0xFFFF)),
                    "first_gfn": self.number,
                    "last_gfn": self.number,
                },
            ),
            "PT_PAGE_FREE": at_a_time(
                "PT_PAGE_FREE", {**p2m, "level": lambda: choose((0, 1, 3, 4, 0xFFFFFFFF)), "mfn": self.number}
            ),
            "FOREIGN_LOOKUP": at_a_time(
                "FOREIGN_LOOKUP",
                {"gfn": self.number, "count": count, "domid": domid, "preemptible": lambda: choose((0, 1, 0xFFFF))},
            ),
            "PML_DRAIN": at_a_time("PML_DRAIN", {"domid": domid, "vcpu": lambda: choose((0, 0xFFFF)), "count": count}),
            "LOGDIRTY_CLEAN_BEGIN": at_a_time(
                "LOGDIRTY_CLEAN_BEGIN", {"domid": domid, "op": lambda: choose((0, 0, 1, 2, 0xFFFF))}
            ),
            "DOMAIN_PAUSE": at_a_time("DOMAIN_PAUSE", {"domid": domid, "reserved": lambda: choose((0, 0xFFFF))}),
            "DOMAIN_UNPAUSE": at_a_time("DOMAIN_UNPAUSE", {"domid": domid, "reserved": lambda: choose((0, 0xFFFF))}),
            "SCHED_DOM_ADD": at_a_time("SCHED_DOM_ADD", {"domid": lambda: choose((3, 0, 0xFFFFFFFF))}),
            "SCHED_CONTINUE_RUNNING": at_a_time("SCHED_CONTINUE_RUNNING", running),
            "LOST_RECORDS": at_a_time(
                "LOST_RECORDS",
                {
                    "count": lambda: choose((1, 0xFFFFFFFF)),
                    **running,
                    "first_tsc": lambda: choose((self.tsc, self.tsc // 2, self.tsc + 9, ALL_BITS)),
                },
            ),
        }
        page: Fields = {"mfn": self.number, "domid": domid, "order": self.order}
        for name in ("POD_CACHE_ADD", "PAGE_FREE", "PAGE_ALLOC"):
            found[name] = at_a_time(name, page)
        found["hold"] = partial(self.around, "P2M_HOLD_BEGIN", "P2M_HOLD_END", p2m, {"cause": self.cause})
        found["pause"] = partial(self.around, "DOMAIN_PAUSE", "DOMAIN_UNPAUSE", {"domid": domid}, {})
        found["twice"] = self.fault_twice
        for change in ("RUNNABLE_TO_RUNNING", "RUNNING_TO_BLOCKED", "RUNNING_TO_RUNNABLE", "BLOCKED_TO_RUNNABLE"):
            found[change] = at_a_time(f"RUNSTATE_{change}", running)
        return found

    def around(self, begin: str, end: str, fields: Fields, first: Fields) -> None:
        """Write two records that belong together, and what happens to be between them."""
        both = {name: value() for name, value in fields.items()}
        self.timed(begin, **both, **{name: value() for name, value in first.items()})
        if self.deep < DEEPEST:
            self.deep += 1
            records = self.records()
            for _ in range(self.rng.randrange(5)):
                records[self.rng.choice(self.kinds)]()
            self.deep -= 1
        self.timed(end, **both)

    def fault_twice(self) -> None:
        """Let an instruction fault twice, the second time with a write."""
        rip, gfn = self.rng.randrange(3), self.number()
        for wrote in (False, True):
            self.timed("HVM_VMEXIT64", reason=self.fault, rip=rip)
            if wrote:
                self.trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=gfn, p2mt=self.type(), domid=3, order=0)
            self.timed("HVM_VMENTRY")

    def timed(self, name: str, **values: int) -> None:
        """Write an event with a TSC, which steps back or leaps now and then."""
        self.tsc += self.rng.choice((0, 1, 1000, -500)) if self.rng.random() < 0.98 else self.rng.randrange(1 << 50)
        self.tsc = max(self.tsc, 0)
        self.trace.add(name, tsc=self.tsc, **values)

    def number(self) -> int:
        """Return a frame number: one of few, so that entries meet, or any."""
        return self.rng.choice((0, 1, 2, 511, 512, 1 << 18, self.rng.randrange(1 << 36), (1 << 52) - 1, ALL_BITS))

    def order(self) -> int:
        """Return the order of an entry, possible or not."""
        return self.rng.choice((0, 0, 0, 3, 9, 18, 30, 31, 0xFFFF))

    def cause(self) -> int:
        """Return the cause of a hold, known or not."""
        return self.rng.choice((0, 1, MISCONFIG, PML, 200, 0xFFFFFFFF))

    def type(self) -> int:
        """Return a p2m type, known or not."""
        return self.rng.choice((0, 0, 0, 1, 2, 6, 6, 4, 14, 7, 200, 0xFFFFFFFF))

    def write(self, most: int, pcpus: int) -> Trace:
        """Write some windows; most of them have kinds of records of their own, so that patterns come about."""
        records = self.records()
        for _ in range(self.rng.randrange(1, 6)):
            self.trace.window(self.rng.choice((0, 1, 2, pcpus)))
            kinds = self.rng.choices(self.kinds, k=self.rng.choice((3, 6, 20)))
            for _ in range(self.rng.randrange(most)):
                records[self.rng.choice(kinds)]()
        return self.trace


def replayed(workload: Workload, profile: str) -> None:
    """Replay a workload, which may find that it contradicts itself, but nothing worse; each write counts once."""
    for strategy in STRATEGIES:
        try:
            tally = outcome(workload, strategy, profile=profile).tally
        except EptreplayError as error:
            told = str(error)
            assert "replay cannot go on" in told or "lookups of p2m entries" in told
        else:
            assert tally.measure[:, :, y.SETS].sum() == workload.count[workload.op == s.SET].sum()


def recorded_writes(workload: Workload) -> Counter[int]:
    """Return how many recorded writes there are by new type."""
    sets = (workload.op == s.SET) & (workload.origin == s.FROM_RECORD)
    return Counter(workload.new_type[sets].tolist())


@pytest.fixture
def few_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have recordings refused that would take minutes to replay without the compiler."""
    monkeypatch.setattr(simulate, "MOST_LOOKUPS", 20_000)


@many
@pytest.mark.usefixtures("few_lookups")
@given(rng=st.randoms(use_true_random=False), profile=st.sampled_from(("zero", "two-socket")))
def test_records_in_any_order_with_any_values(tmp_path: Path, rng: Random, profile: str) -> None:
    folder = dataset(tmp_path, Hostile(rng).write(60, 300), events="ept")
    tracemalloc.start()
    try:
        workload = lower(folder)
        check(workload)
        check(lower(folder, without_kicks=True))
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        replayed(workload, profile)
        tables = number_workload(workload, Reading())[1].nodes
        assert tables < TABLES_OF_A_ROW * workload.rows + MOST_DOMAINS
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES + tables * TABLE_BYTES
    finally:
        tracemalloc.stop()
    types = scan(folder, "p2m").collect().filter(kind="set")["p2mt"].to_list()
    assert recorded_writes(workload) == Counter(-1 if number is None else number for number in types)


@pytest.mark.compiled
def test_a_real_recording_after_mishaps(tmp_path: Path, unpacked: Unpack) -> None:
    data = unpacked("r12").read_bytes()
    starts = window_starts(data)
    rng = seeded("workload r12")
    found = 0
    for _ in range(12):
        # Some windows next to each other, in the midst of the migration.
        first = rng.randrange(len(starts) // 4, len(starts) // 2)
        part = data[starts[first] : starts[first + 12]]
        workload = lowered(tmp_path, mutate(rng, part), tsc_hz=2_596_121_000)
        check(workload)
        replayed(workload, "two-socket")
        found += workload.rows > 1000
    assert found > 6


def test_three_hundred_pcpus(tmp_path: Path) -> None:
    trace = Trace()
    for pcpu in range(300):
        trace.window(pcpu)
        trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000 + pcpu, domid=3, vcpu=pcpu)
        trace.add("HVM_VMENTRY", tsc=2000 + pcpu)
        trace.add("HVM_VMEXIT64", tsc=5000 + pcpu, reason=0x400, rip=0)
        trace.add("MEM_SET_P2M_ENTRY", gfn=pcpu, mfn=pcpu, p2mt=0, domid=3)
        trace.add("HVM_NPF", gpa=pcpu << 12, mfn=pcpu, p2mt=0)
        trace.add("HVM_VMENTRY", tsc=9000 + pcpu)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert (workload.op == s.SET).sum() == 300
    measure = outcome(workload, "eager", profile="two-socket").tally.measure.sum(axis=0)
    faults = measure[CAUSE_NUMBERS["logdirty_fault"]]
    assert faults[[y.HOLDS, y.BROADCASTS, y.IPIS]].tolist() == [300, 300, 300 * 299]
    # That log-dirty was switched on before them is inferred.
    assert measure[CAUSE_NUMBERS["logdirty_global"], y.HOLDS] == 1


def test_holds_without_end_and_ends_without_hold(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    for number in range(2000):
        trace.add("P2M_HOLD_BEGIN" if number < 1000 else "P2M_HOLD_END", tsc=number, domid=3, view=number % 1000,
                  **({"cause": 0} if number < 1000 else {}))  # fmt: skip
    workload = lowered(tmp_path, trace)
    check(workload)
    # Each end has the begin of its view, and takes all that were begun since with it.
    assert (workload.op == s.HOLD_BEGIN).sum() == 1
    assert np.isin((s.HOLD_BEGIN, s.HOLD_END), workload.op).all()


def test_holds_a_thousand_deep(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    for number in range(1000):
        trace.add("P2M_HOLD_BEGIN", tsc=number, domid=3, view=number, cause=0)
    for number in reversed(range(1000)):
        trace.add("P2M_HOLD_END", tsc=5000 - number, domid=3, view=number)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert (workload.op == s.HOLD_BEGIN).sum() == 1000
    outcome(workload, "eager")


def patched_host() -> Trace:
    """Return a recording in which d3v0 runs, and which only an Intel host writes."""
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=0)
    trace.add("HVM_VMEXIT64", tsc=1100, reason=1, rip=0)
    trace.add("HVM_INTR", vector=0xFB)
    return trace


def test_acts_on_p2ms_that_none_of_the_holds_around_them_is_of(tmp_path: Path) -> None:
    """Writes and global changes get holds of their own; tables and caches belong to a hold, or are none."""
    trace, tsc = patched_host(), 2000
    views = [(3, 0), (3, 1), (4, 0), (0x7FFF, 0), (3, 0), (3, 65535)]
    acted = [*views, (5, 0), (3, 256), (0xFFFF, 0)]

    def act(dom: int, view: int) -> None:
        p2m = {"domid": dom, "view": view}
        kinds = {"old_type": 0, "new_type": 1}
        trace.add("P2M_SET", tsc=tsc, gfn=5, mfn=6, order=0, flags=0, access=7, **kinds, **p2m)
        trace.add("P2M_GLOBAL_CHANGE", tsc=tsc, flags=0, first_gfn=0, last_gfn=0, **kinds, **p2m)
        trace.add("PT_PAGE_FREE", tsc=tsc, level=0, mfn=7, **p2m)
        trace.add("POD_CACHE_ADD", tsc=tsc, mfn=8, domid=dom, order=0)
        trace.add("MEM_POD_ZERO_RECLAIM", gfn=9, mfn=9, domid=dom, order=0)

    for dom, view in views:
        trace.add("P2M_HOLD_BEGIN", tsc=tsc, domid=dom, view=view, cause=13)
        for p2m in acted:
            act(*p2m)
            tsc += 10
    for dom, view in reversed(views):
        trace.add("P2M_HOLD_END", tsc=tsc, domid=dom, view=view)
    workload = lowered(tmp_path, trace)
    check(workload)
    recorded = (workload.op == s.HOLD_BEGIN) & (workload.origin == s.FROM_RECORD)
    assert recorded.sum() == len(views)
    for op in (s.SET, s.GLOBAL_CHANGE):
        assert (workload.op == op).sum() == len(views) * len(acted)
    freed = workload.op == s.FREE_TABLE
    held = set(zip(workload.p2m_dom[freed].tolist(), workload.p2m_view[freed].tolist(), strict=True))
    assert held == set(views)
    replayed(workload, "two-socket")


def test_records_of_one_operation_that_name_no_domain_are_about_one_p2m(tmp_path: Path) -> None:
    """Whatever view they name, and whoever runs meanwhile."""
    trace = patched_host()
    trace.add("HVM_VMEXIT64", tsc=1900, reason=62, rip=0)
    for view in (1, 2):
        values = {"gfn": view, "mfn": 6, "order": 0, "flags": 0, "access": 7, "old_type": 2, "new_type": 0}
        trace.add("P2M_SET", tsc=2000 + view, domid=0xFFFF, view=view, **values)
    trace.add("HVM_VMENTRY", tsc=2100)
    for dom in (3, 4):
        trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=3000 + dom, domid=dom, vcpu=0)
        trace.add("MEM_POD_ZERO_RECLAIM", gfn=dom, mfn=6, domid=0x8000, order=0)
    trace.add("HVM_VMENTRY", tsc=4000)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert [hold[1:4] for hold in holds_of(workload)] == [(3, 0, "pml"), (3, 0, "pod_reclaim")]


RANGES = [
    (0, ALL_BITS), (5, 4), (ALL_BITS, 0), (ALL_BITS, ALL_BITS), (0, (1 << 36) - 1), (1 << 36, 1 << 37), (511, 512),
    ((1 << 36) - 1, 1 << 36), (1, (1 << 52) - 1), ((1 << 52) - 1, 1 << 52), (0, 0),
]  # fmt: skip


@pytest.mark.parametrize("created", [True, False])
@pytest.mark.parametrize(("first", "last"), RANGES)
def test_ranges_that_no_guest_has(tmp_path: Path, first: int, last: int, *, created: bool) -> None:
    trace = patched_host()
    if created:
        trace.add("SCHED_DOM_ADD", tsc=1200, domid=3)
    for number, kind in enumerate((2, 0, 2, 6, 200)):
        trace.add("MEM_SET_P2M_ENTRY", gfn=number << 9, mfn=7, p2mt=0, domid=3, order=9)
        types = {"old_type": 0, "new_type": kind, "flags": 1}
        trace.add("P2M_GLOBAL_CHANGE", tsc=2000 + number, domid=3, view=0, first_gfn=first, last_gfn=last, **types)
        trace.add("MEM_SET_P2M_ENTRY", gfn=number << 9, mfn=7, p2mt=0, domid=3, order=0)
    workload = lowered(tmp_path, trace)
    check(workload)
    changes = workload.op == s.GLOBAL_CHANGE
    assert changes.sum() == 5
    assert (workload.last_gfn[changes] == min(last, (1 << 52) - 1)).all()
    replayed(workload, "two-socket")


@pytest.mark.parametrize("domid", [0, 3, 0x7FF1, 0x7FFF, 0x8000, 0xFFFF])
def test_domains_that_no_xen_has(tmp_path: Path, domid: int) -> None:
    trace, tsc = patched_host(), 2000
    p2m = {"domid": domid, "view": 0}
    for name, values in (
        ("DOMAIN_PAUSE", {"domid": domid, "reserved": 0}),
        ("LOGDIRTY_CLEAN_BEGIN", {"domid": domid, "op": 0}),
        ("P2M_HOLD_BEGIN", {**p2m, "cause": 0}),
        ("P2M_SET", {**p2m, "gfn": 5, "mfn": 6, "order": 0, "flags": 0, "access": 7, "old_type": 0, "new_type": 1}),
        ("P2M_HOLD_END", p2m),
        ("FOREIGN_LOOKUP", {"gfn": 5, "count": 9, "domid": domid, "preemptible": 0}),
        ("PML_DRAIN", {"domid": domid, "vcpu": 0xFFFF, "count": 9}),
        ("PAGE_FREE", {"mfn": 5, "domid": domid, "order": 0}),
        ("DOMAIN_UNPAUSE", {"domid": domid, "reserved": 0}),
    ):
        tsc += 100
        trace.add(name, tsc=tsc, **values)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert (workload.op == s.SET).sum() == 1
    assert (workload.op == s.GLOBAL_CHANGE).sum() == 1
    assert {domain.number for domain in workload.domains} == {3} | {domid} & set(range(0x7FF0))
    replayed(workload, "zero")


def test_writes_whose_p2m_nobody_knows_count_for_nobody(tmp_path: Path) -> None:
    """Two domains are written, and neither records nor runstates say whose fault it is."""
    trace = Trace()
    trace.window(0)
    trace.add("HVM_VMEXIT64", tsc=900, reason=1, rip=0)
    trace.add("HVM_INTR", vector=0xFB)
    for dom in (3, 4):
        trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=6, p2mt=0, domid=dom, order=0)
    trace.add("HVM_VMENTRY", tsc=1000)
    trace.add("HVM_VMEXIT64", tsc=1100, reason=48, rip=0)
    trace.add("HVM_NPF", gpa=0x5000, mfn=0x88, qualification=0x182, p2mt=2)
    trace.add("HVM_VMENTRY", tsc=1200)
    trace.add("HVM_VMEXIT64", tsc=1300, reason=62, rip=0)
    trace.add("HVM_VMENTRY", tsc=1400)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert workload.p2m_dom[workload.op == s.SET].tolist() == [3, 4, -1, -1]
    found = outcome(workload, "deferred")
    doms = dict(zip(found.numbers.domains, found.tally.measure[:, :, y.SETS].sum(axis=1).tolist(), strict=True))
    assert doms == {-1: 1 + 512, 3: 1, 4: 1}


def test_pauses_without_end_on_every_pcpu(tmp_path: Path) -> None:
    trace, tsc = Trace(), 1000
    for number in range(3000):
        if number % 10 == 0:
            trace.window(number // 10 % 300)
        tsc += 10
        trace.add("DOMAIN_PAUSE" if number % 3 else "DOMAIN_UNPAUSE", tsc=tsc, domid=number % 7, reserved=0)
        trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=tsc + 5, domid=number % 5, vcpu=number % 11)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert (workload.op == s.WAIT).sum() < 3000
    replayed(workload, "zero")
