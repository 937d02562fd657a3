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
from eptreplay.trace.scan import scan
from eptreplay.workload import schema as s
from eptreplay.workload.lower import lower
from eptreplay.workload.workload import Workload
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.conftest import Unpack
from tests.trace.made_recordings import dataset
from tests.workload.lowering import check, lowered, outcome
from tests.xentrace.mutants import mutate, seeded, window_starts

pytestmark = pytest.mark.mutation

many = settings(max_examples=30 if COMPILED else 15, suppress_health_check=[HealthCheck.function_scoped_fixture])
Fields = Mapping[str, Callable[[], int]]
STRATEGIES = ("eager", "vmenter", "deferred", "never")
ALL_BITS = (1 << 64) - 1
MOST_BYTES = 64 << 20
"""What a recording of a few hundred records may take at most; each entry that it names costs some pages of EPT."""


class Hostile:
    """Writes records of all kinds that lowering looks at, with values that no Xen would write."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.tsc = rng, 1000
        self.trace = Trace(rng.choice(("4.17", "4.18", "4.19")))
        self.fault = rng.choice((48, 0x400))
        self.kinds = list(self.records())
        rng.shuffle(self.kinds)

    def records(self) -> dict[str, Callable[[], None]]:
        """Return how to write each event."""
        choose, timed, add = self.rng.choice, self.timed, self.trace.add
        running: Fields = {"domid": partial(choose, (0, 3, 3, s.IDLE_DOMAIN)), "vcpu": partial(choose, range(3))}
        p2m: Fields = {"domid": partial(choose, (0, 1, 3, 3, 3)), "view": partial(choose, (0, 0, 0, 1, 256, 65535))}
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
            "HVM_VMENTRY": at_a_time("HVM_VMENTRY", {}),
            "fault": at_a_time("HVM_VMEXIT64", {"reason": lambda: self.fault, "rip": lambda: 0}),
            "exit": at_a_time("HVM_VMEXIT64", {"reason": lambda: choose((48, 49, 62, 12, 0x78, 1)), "rip": lambda: 0}),
            "P2M_HOLD_BEGIN": at_a_time("P2M_HOLD_BEGIN", {**p2m, "cause": lambda: choose((0, 1, 200, 0xFFFFFFFF))}),
            "P2M_HOLD_END": at_a_time("P2M_HOLD_END", p2m),
            "P2M_SET": at_a_time(
                "P2M_SET",
                {
                    **{name: value for name, value in frame.items() if name != "order"},
                    **p2m,
                    "order": lambda: self.order() & 0xFF,
                    "old_type": lambda: self.type() & 0xFF,
                    "new_type": lambda: self.type() & 0xFF,
                    "access": lambda: 0,
                },
            ),
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
        for change in ("RUNNABLE_TO_RUNNING", "RUNNING_TO_BLOCKED", "RUNNING_TO_RUNNABLE", "BLOCKED_TO_RUNNABLE"):
            found[change] = at_a_time(f"RUNSTATE_{change}", running)
        return found

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
    """Replay a workload, which may find that it contradicts itself, but nothing worse."""
    for strategy in STRATEGIES:
        try:
            outcome(workload, strategy, profile=profile)
        except EptreplayError as error:
            assert "replay cannot go on" in str(error)  # noqa: PT017 (no error at all is what is hoped for)


def recorded_writes(workload: Workload) -> Counter[int]:
    """Return how many recorded writes there are by new type."""
    sets = (workload.op == s.SET) & (workload.origin == s.FROM_RECORD)
    return Counter(workload.new_type[sets].tolist())


@many
@given(rng=st.randoms(use_true_random=False), profile=st.sampled_from(("zero", "two-socket")))
def test_records_in_any_order_with_any_values(tmp_path: Path, rng: Random, profile: str) -> None:
    folder = dataset(tmp_path, Hostile(rng).write(60, 300), events="ept")
    tracemalloc.start()
    try:
        workload = lower(folder)
        check(workload)
        replayed(workload, profile)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
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
    tally = outcome(workload, "eager", profile="two-socket").tally
    assert tally.measure.sum(axis=(0, 1))[[0, 5, 6]].tolist() == [300, 300, 300 * 299]


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
