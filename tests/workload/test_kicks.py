"""Interrupts of the recorded host's own broadcasts are taken out where it is sure that they were that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eptreplay.workload import schema as s
from eptreplay.workload.lower import lower
from eptreplay.workload.workload import Workload
from eptreplay.xentrace.encode import Trace
from tests.trace.made_recordings import GHZ, dataset
from tests.workload.lowering import check

CALL_FUNCTION, TIMER = 0xFB, 0xFA
OPERATION = 1_000_000
"""When pCPU 0 writes to the p2m of d3, in ticks of a nanosecond; the recording begins at 0."""


class Host:
    """An Intel host where d3 runs on pCPUs 0, 1 and 2, and d5 on pCPU 3; pCPU 0 has a log-dirty fault."""

    def __init__(self) -> None:
        self.trace = Trace()
        for pcpu, dom in enumerate((3, 3, 3, 5)):
            self.trace.window(pcpu)
            self.trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=pcpu, domid=dom, vcpu=pcpu)
            self.trace.add("HVM_VMENTRY", tsc=100 + pcpu)
        self.fault(0, OPERATION)

    def fault(self, pcpu: int, tsc: int, qualification: int = 0x182) -> None:
        """Let the guest write to a tracked page, or read it, for which nothing changes."""
        self.trace.window(pcpu)
        self.trace.add("HVM_VMEXIT64", tsc=tsc, reason=48, rip=0)
        self.trace.add("HVM_NPF", gpa=0x5000, mfn=7, qualification=qualification, p2mt=2)
        self.trace.add("HVM_VMENTRY", tsc=tsc + 2000)

    def interrupt(self, pcpu: int, tsc: int, vector: int = CALL_FUNCTION, reason: int = 1) -> None:
        """Let an interrupt arrive in the guest."""
        self.trace.window(pcpu)
        self.trace.add("HVM_VMEXIT64", tsc=tsc, reason=reason, rip=0)
        self.trace.add("HVM_INTR", vector=vector)
        self.trace.add("HVM_VMENTRY", tsc=tsc + 900)

    def lowered(self, folder: Path) -> tuple[Workload, Workload]:
        """Return the workload as it is, and without the host's own interrupts."""
        made = dataset(folder, self.trace, events="ept", tsc_hz=GHZ)
        both = lower(made), lower(made, without_kicks=True)
        for workload in both:
            check(workload)
        assert both[0].kicks_removed == 0
        assert both[0].rows - both[1].rows == 2 * both[1].kicks_removed
        return both


def times(workload: Workload, pcpu: int) -> list[tuple[str, int]]:
    """Return what a pCPU does, and when that was recorded."""
    number = workload.pcpus.tolist().index(pcpu)
    first, end = workload.begin[number : number + 2]
    return [
        (s.OP_NAMES[op], t)
        for op, t in zip(workload.op[first:end].tolist(), workload.t_ns[first:end].tolist(), strict=True)
    ]


def test_an_answer_goes_and_all_else_stays_where_it_was(tmp_path: Path) -> None:
    host = Host()
    host.interrupt(1, OPERATION + 3000)
    host.interrupt(1, OPERATION + 9000, TIMER)
    before, after = host.lowered(tmp_path)
    assert after.kicks_removed == 1
    gone = [("VMEXIT", OPERATION + 3000), ("VMENTER", OPERATION + 3900)]
    assert [row for row in times(before, 1) if row not in gone] == times(after, 1)
    assert times(before, 0) == times(after, 0)
    assert (np.cumsum(after.gap_ns[after.begin[1] : after.begin[2]]) == [t for _, t in times(after, 1)]).all()


def test_one_operation_has_any_number_of_answers(tmp_path: Path) -> None:
    host = Host()
    for pcpu in (1, 2):
        host.interrupt(pcpu, OPERATION + 1000 * pcpu)
    assert host.lowered(tmp_path)[1].kicks_removed == 2


@pytest.mark.parametrize(("late", "removed"), [(-1, 0), (1000, 1), (50_000, 1), (52_001, 0)])
def test_an_answer_comes_within_fifty_microseconds(tmp_path: Path, late: int, removed: int) -> None:
    """The operation has the time of its fault's record, somewhere between exit and entry, which is half of them."""
    host = Host()
    host.interrupt(1, OPERATION + 1000 + late)
    before, after = host.lowered(tmp_path)
    [held] = before.t_ns[(before.op == s.SET)]
    assert held == OPERATION + 1000
    assert after.kicks_removed == removed


def test_a_recorded_hold_lasts_until_its_end(tmp_path: Path) -> None:
    host = Host()
    host.trace.window(2)
    p2m = {"domid": 3, "view": 0}
    host.trace.add("HVM_VMEXIT64", tsc=3_000_000, reason=18, rip=0)
    host.trace.add("P2M_HOLD_BEGIN", tsc=3_000_100, cause=0, **p2m)
    host.trace.add("P2M_SET", tsc=3_000_200, gfn=1, mfn=2, old_type=0, new_type=1, order=0, flags=0, access=7, **p2m)
    host.trace.add("P2M_HOLD_END", tsc=3_400_000, **p2m)
    host.trace.add("HVM_VMENTRY", tsc=3_400_500)
    for tsc in (3_000_099, 3_200_000, 3_450_000, 3_460_000):
        host.interrupt(1, tsc)
    _, after = host.lowered(tmp_path)
    assert after.kicks_removed == 2
    assert {t for op, t in times(after, 1) if op == "VMEXIT"} == {3_000_099, 3_460_000}


def test_the_latest_operation_of_another_pcpu_counts_also_behind_one_of_its_own(tmp_path: Path) -> None:
    host = Host()
    host.fault(1, OPERATION + 10_000)
    host.interrupt(1, OPERATION + 20_000)
    host.interrupt(1, OPERATION + 55_000)
    host.interrupt(2, OPERATION + 55_000)
    _, after = host.lowered(tmp_path)
    # pCPU 1: of pCPU 0's operation the first is an answer, the second is too late, and its own does not count.
    assert {t for op, t in times(after, 1) if op == "VMEXIT"} == {OPERATION + 10_000, OPERATION + 55_000}
    assert after.kicks_removed == 2


@pytest.mark.parametrize(
    ("pcpu", "vector", "reason"),
    [(3, CALL_FUNCTION, 1), (1, TIMER, 1), (1, CALL_FUNCTION, 7), (0, CALL_FUNCTION, 1)],
    ids=["another domain", "another vector", "another reason", "of the same pCPU"],
)
def test_other_exits_stay(tmp_path: Path, pcpu: int, vector: int, reason: int) -> None:
    host = Host()
    host.interrupt(pcpu, OPERATION + 4000, vector, reason)
    assert host.lowered(tmp_path)[1].kicks_removed == 0


def test_a_fault_that_changes_nothing_interrupts_nobody(tmp_path: Path) -> None:
    host = Host()
    host.fault(0, 2 * OPERATION, qualification=0x181)
    host.interrupt(1, 2 * OPERATION + 3000)
    assert host.lowered(tmp_path)[1].kicks_removed == 0


def test_whoever_does_something_else_before_the_entry_had_left_the_guest_for_that(tmp_path: Path) -> None:
    host = Host()
    host.trace.window(1)
    host.trace.add("HVM_VMEXIT64", tsc=OPERATION + 3000, reason=1, rip=0)
    host.trace.add("HVM_INTR", vector=CALL_FUNCTION)
    host.trace.add("RUNSTATE_RUNNING_TO_RUNNABLE", tsc=OPERATION + 3100, domid=3, vcpu=1)
    host.trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=OPERATION + 3200, domid=3, vcpu=1)
    host.trace.add("HVM_VMENTRY", tsc=OPERATION + 3900)
    host.interrupt(2, OPERATION + 3000)
    _, after = host.lowered(tmp_path)
    assert after.kicks_removed == 1
    assert ("VMEXIT", OPERATION + 3000) in times(after, 1)


def test_an_exit_at_the_end_of_a_recording_has_no_entry_to_go_with(tmp_path: Path) -> None:
    host = Host()
    host.trace.window(1)
    host.trace.add("HVM_VMEXIT64", tsc=OPERATION + 3000, reason=1, rip=0)
    host.trace.add("HVM_INTR", vector=CALL_FUNCTION)
    assert host.lowered(tmp_path)[1].kicks_removed == 0


def test_svm_does_not_say_which_interrupt_it_was(tmp_path: Path) -> None:
    trace = Trace()
    for pcpu in (0, 1):
        trace.window(pcpu)
        trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=0, domid=3, vcpu=pcpu)
        trace.add("HVM_VMENTRY", tsc=100)
        trace.add("HVM_VMEXIT64", tsc=1000 + 1000 * pcpu, reason=0x60 if pcpu else 0x400, rip=0)
        if pcpu:
            trace.add("HVM_INTR", vector=CALL_FUNCTION)
        else:
            trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=5, p2mt=0, domid=3, order=0)
        trace.add("HVM_VMENTRY", tsc=3000)
    assert lower(dataset(tmp_path, trace, events="ept", tsc_hz=GHZ), without_kicks=True).kicks_removed == 0
