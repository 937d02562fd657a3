"""Which row waits for which: moves of vCPUs, writes of one entry, wake-ups."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.workload import schema as s
from eptreplay.workload.workload import Workload
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.workload.lowering import check, lowered, table

many = settings(max_examples=30 if COMPILED else 15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def edges(workload: Workload) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """Return (pCPU, operation) of both ends of every edge; a WAIT stands for the row that it belongs to."""
    rows = table(workload)
    found = []
    for number, row in enumerate(rows):
        if row["edge"] is not None:
            target = next(other for other in rows[number:] if other["op"] != "WAIT")
            source = rows[row["edge"]]
            found.append(((source["pcpu"], source["op"]), (target["pcpu"], target["op"])))
    return found


class Host:
    """A host in the midst of recording."""

    def __init__(self) -> None:
        self.trace = Trace()

    def on(self, pcpu: int, tsc: int, name: str, **values: int) -> None:
        """Record an event in a window of its own."""
        self.trace.window(pcpu)
        self.trace.add(name, tsc=tsc, **values)

    def runs(self, pcpu: int, tsc: int, domid: int, vcpu: int) -> None:
        """Switch a vCPU in."""
        self.on(pcpu, tsc, "RUNSTATE_RUNNABLE_TO_RUNNING", domid=domid, vcpu=vcpu)

    def stops(self, pcpu: int, tsc: int, domid: int, vcpu: int) -> None:
        """Switch a vCPU out."""
        self.on(pcpu, tsc, "RUNSTATE_RUNNING_TO_BLOCKED", domid=domid, vcpu=vcpu)

    def wakes(self, pcpu: int, tsc: int, domid: int, vcpu: int) -> None:
        """Make a vCPU runnable."""
        self.on(pcpu, tsc, "RUNSTATE_BLOCKED_TO_RUNNABLE", domid=domid, vcpu=vcpu)

    def writes(self, pcpu: int, tsc: int, gfn: int, order: int = 0, domid: int = 3) -> None:
        """Write an entry, with its time."""
        self.on(
            pcpu, tsc, "P2M_SET", gfn=gfn, mfn=1, old_type=0, new_type=0, order=order, domid=domid, view=0, access=0
        )


def test_a_vcpu_has_to_leave_a_pcpu_before_it_runs_on_another(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, 1000, 3, 0)
    host.stops(0, 2000, 3, 0)
    host.runs(1, 3000, 3, 0)
    host.stops(1, 3500, 3, 0)
    host.runs(1, 4000, 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert edges(workload) == [((0, "SWITCH_OUT"), (1, "SWITCH_IN"))]


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        ((5, 0), (5, 0), True),
        ((5, 0), (6, 0), False),
        ((0x205, 0), (0x200, 9), True),
        ((0x200, 9), (0x3FF, 0), True),
        ((0x200, 9), (0x400, 0), False),
        ((0x200, 9), (0x0, 18), True),
    ],
)
def test_writes_of_one_entry_keep_their_order(
    tmp_path: Path, first: tuple[int, int], second: tuple[int, int], *, waits: bool
) -> None:
    host = Host()
    host.writes(1, 1000, *first)
    host.writes(0, 2000, *second)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert edges(workload) == [((1, "HOLD_END"), (0, "HOLD_BEGIN"))] * waits


def test_writes_of_two_domains_do_not_wait_for_each_other(tmp_path: Path) -> None:
    host = Host()
    host.writes(1, 1000, 5, domid=3)
    host.writes(0, 2000, 5, domid=4)
    assert edges(lowered(tmp_path, host.trace)) == []


def test_who_was_woken_waits_for_the_waker(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, 1000, 0, 0)
    host.wakes(0, 2000, 3, 0)
    host.runs(1, 3000, 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert edges(workload) == [((0, "SWITCH_IN"), (1, "SWITCH_IN"))]


def test_a_pcpu_that_idles_until_then_wakes_for_it(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, 1000, 0, 0)
    host.runs(1, 1500, s.IDLE_DOMAIN, 1)
    host.wakes(0, 2000, 3, 0)
    host.stops(1, 2500, s.IDLE_DOMAIN, 1)
    host.runs(1, 3000, 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert edges(workload) == [((0, "SWITCH_IN"), (1, "WAKE"))]


def test_the_end_of_another_pcpus_idling_is_no_business_of_the_next_one(tmp_path: Path) -> None:
    """The last row of a pCPU and the first one of the next are neighbours in the table alone."""
    host = Host()
    host.runs(2, 1000, 0, 0)
    host.runs(0, 1500, s.IDLE_DOMAIN, 1)
    host.wakes(2, 2000, 3, 0)
    host.stops(0, 9000, s.IDLE_DOMAIN, 1)
    host.runs(1, 3000, 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert edges(workload) == [((2, "SWITCH_IN"), (1, "SWITCH_IN"))]


def test_a_row_that_waits_for_two_waits_for_both(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, 1000, 3, 0)
    host.runs(2, 1200, 0, 0)
    host.stops(0, 2000, 3, 0)
    host.wakes(2, 2500, 3, 0)
    host.runs(1, 3000, 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert sorted(edges(workload)) == [((0, "SWITCH_OUT"), (1, "SWITCH_IN")), ((2, "SWITCH_IN"), (1, "SWITCH_IN"))]


def test_wake_ups_are_found_behind_operations_that_were_inferred(tmp_path: Path) -> None:
    """Log-dirty operations that no record shows are rows too, and must not shift who woke whom."""
    host = Host()
    host.runs(0, 1000, 0, 0)
    for number in range(8):
        start = 10_000 * (number + 1)
        host.runs(1, start, 3, 0)
        host.on(1, start + 100, "HVM_VMEXIT64", reason=0x400, rip=0)
        host.trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=5, p2mt=0, domid=3)
        host.trace.add("HVM_NPF", gpa=5 << 12, mfn=5, p2mt=0)
        host.on(1, start + 200, "HVM_VMENTRY")
        host.on(1, start + 300, "HVM_VMEXIT64", reason=0x78, rip=0)
        host.stops(1, start + 400, 3, 0)
        host.on(0, start + 5000, "HVM_VMEXIT64", reason=0x81, rip=0)
        host.wakes(0, start + 6000, 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert (workload.op == s.LOGDIRTY_CLEAN).sum() == 7
    times = workload.t_ns[workload.edge[workload.edge >= 0]].tolist()
    assert times == [10_000 * (number + 1) + 5000 - 1000 for number in range(7)]


# Any schedule


@st.composite
def schedules(draw: st.DrawFn) -> Trace:
    """Draw a recording in which vCPUs run, move, sleep, wake each other, and write a few entries."""
    rng: Random = draw(st.randoms(use_true_random=False))
    host, tsc = Host(), 1000
    running: dict[int, tuple[int, int] | None] = dict.fromkeys(
        draw(st.sampled_from([(0, 1), (0, 1, 5), (2, 3, 300, 7)]))
    )
    for _ in range(draw(st.integers(0, 60))):
        tsc += rng.choice((0, 1, 10, 1000))
        pcpu = rng.choice(list(running))
        now = running[pcpu]
        free = [vcpu for vcpu in ((0, 0), (3, 0), (3, 1), (4, 0)) if vcpu not in running.values()]
        match rng.randrange(5):
            case 0 if now is None and free:
                running[pcpu] = rng.choice(free)
                host.runs(pcpu, tsc, *(running[pcpu] or (0, 0)))
            case 1 if now is not None:
                host.stops(pcpu, tsc, *now)
                running[pcpu] = None
            case 2 if free:
                host.wakes(pcpu, tsc, *rng.choice(free))
            case 3:
                host.writes(pcpu, tsc, rng.choice((0, 1, 512)), rng.choice((0, 0, 9)), rng.choice((3, 4)))
            case _:
                host.on(pcpu, tsc, "HVM_VMENTRY")
    host.on(0, tsc + 1, "HVM_VMENTRY")
    return host.trace


@many
@given(schedules())
def test_every_edge_leads_to_a_later_row_and_nothing_waits_for_itself(tmp_path: Path, trace: Trace) -> None:
    workload = lowered(tmp_path, trace)
    check(workload)
    target = np.flatnonzero(workload.edge >= 0)
    source = workload.edge[target]
    assert (workload.t_ns[source] <= workload.t_ns[target]).all()


@many
@given(schedules())
def test_all_writes_of_an_entry_are_ordered_by_programs_and_edges(tmp_path: Path, trace: Trace) -> None:
    """In whatever order pCPUs go on, as long as edges are kept, each entry sees its writes in recorded order."""
    workload = lowered(tmp_path, trace)
    rows = table(workload)
    at = workload.begin[:-1].tolist()
    ends, owner = workload.begin[1:].tolist(), np.repeat(np.arange(workload.pcpus.size), np.diff(workload.begin))
    seen: list[int] = []
    moved = True
    while moved:
        moved = False
        for c in reversed(range(len(at))):  # the last pCPU goes as far as it can first
            while at[c] < ends[c]:
                edge = rows[at[c]]["edge"]
                if edge is not None and edge >= at[owner[edge]]:
                    break
                seen += [at[c]] * (rows[at[c]]["op"] == "SET")
                at[c] += 1
                moved = True
    assert at == ends
    for one, other in combinations(seen, 2):
        overlap = max(rows[one]["order"], rows[other]["order"])
        frames = {(rows[i]["p2m_dom"], rows[i]["gfn"] >> overlap) for i in (one, other)}
        assert len(frames) == 2 or workload.t_ns[one] <= workload.t_ns[other]
