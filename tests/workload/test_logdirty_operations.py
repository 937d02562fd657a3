"""Log-dirty operations: switched on, and cleaned, as faults imply or as a patched host's toolstack says."""

from __future__ import annotations

from pathlib import Path

import pytest

from eptreplay.replay import tally as y
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Workload
from eptreplay.xentrace.encode import Trace
from tests.workload import ept_host
from tests.workload.lowering import check, columns, lowered, outcome, rows_of, table
from tests.workload.svm_host import LOGDIRTY, RAM_RW, Host

START = 1_001_000
"""TSC of the first record of a host."""
CLEAN, PEEK, SCAN_VRAM = 0, 1, 2


def operations(workload: Workload) -> list[tuple[object, ...]]:
    """Return the rows of log-dirty operations: pCPU, operation, time in ns and the hold it lies in."""
    chosen = [
        (*(row[name] for name in ("pcpu", "op")), int(t), row["hold"])
        for row, t in zip(table(workload), workload.t_ns.tolist(), strict=True)
        if row["cause"] == "logdirty_global" or row["op"] == "LOGDIRTY_CLEAN"
    ]
    check(workload)
    return chosen


def test_before_the_first_fault_log_dirty_was_switched_on(tmp_path: Path) -> None:
    host = Host()
    host.logdirty_fault(5)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = [row for row in table(workload) if row["cause"] == "logdirty_global"]
    names = ("op", "p2m_dom", "p2m_view", "gfn", "last_gfn", "new_type", "origin", "not_before_ns", "not_after_ns")
    at = host.tsc - 500 - START  # between exit and entry
    assert columns(rows, *names) == [
        ("HOLD_BEGIN", 3, 0, None, None, None, "inferred", 0, at),
        ("GLOBAL_CHANGE", 3, 0, None, None, LOGDIRTY, "inferred", 0, at),
        ("HOLD_END", 3, 0, None, None, None, "inferred", 0, at),
    ]
    # Where the toolstack ran is unknown: it comes directly before the fault, where the vCPU has left its guest.
    ops = [row["op"] for row in table(workload)[-8:]]
    assert ops == ["VMEXIT", *(row["op"] for row in rows), "HOLD_BEGIN", "SET", "HOLD_END", "VMENTER"]


def test_between_two_faults_on_a_page_it_was_cleaned(tmp_path: Path) -> None:
    host = Host()
    host.logdirty_fault(5)
    first = host.tsc - 500 - START
    host.logdirty_fault(5)
    second = host.tsc - 500 - START
    workload = lowered(tmp_path, host.trace)
    check(workload)
    [clean] = rows_of(workload, "LOGDIRTY_CLEAN")
    assert (clean["hold"], clean["origin"], clean["count"], clean["new_type"]) == (None, "inferred", 1, None)
    assert (clean["not_before_ns"], clean["not_after_ns"]) == (first, second)
    # A row announces it, and the change is a hold; switching log-dirty on is no more than the change.
    ops = [row["op"] for row in table(workload) if row["not_after_ns"] is not None]
    change = ["HOLD_BEGIN", "GLOBAL_CHANGE", "HOLD_END"]
    assert ops == [*change, "LOGDIRTY_CLEAN", *change]


def test_the_page_was_cleaned_before_it_was_recalculated(tmp_path: Path) -> None:
    host = Host()
    host.recalculation()
    host.logdirty_fault(5)
    host.recalculation()
    recalculated = host.tsc - 1000 - START
    host.logdirty_fault(5)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    [clean] = rows_of(workload, "LOGDIRTY_CLEAN")
    assert clean["not_after_ns"] == recalculated
    ops = [row["op"] for row in table(workload)[-14:]]
    change = ["HOLD_BEGIN", "GLOBAL_CHANGE", "HOLD_END"]
    mended = ["HOLD_BEGIN", "MISCONFIG", "HOLD_END"]
    written = ["HOLD_BEGIN", "SET", "HOLD_END"]
    assert ops == ["VMEXIT", "LOGDIRTY_CLEAN", *change, *mended, "VMENTER", "VMEXIT", *written, "VMENTER"]


def with_a_toolstack(body: str) -> Host:
    """Return a host on which dom0 runs on pCPU 1 for 2 ms between two faults; ``body``: what it does meanwhile."""
    host = Host()
    host.logdirty_fault(5)
    host.on(1, dom=0)
    begin = host.tsc
    if body == "guest":
        host.tsc = begin + 100_000
        host.timed("HVM_VMENTRY")
        host.tsc = begin + 1_900_000
        host.timed("HVM_VMEXIT64", reason=0x81, rip=0)
    if body == "hold":
        host.tsc = begin + 100_000
        host.timed("P2M_HOLD_BEGIN", domid=4, view=0, cause=6)
        kinds = {"old_type": 0, "new_type": 1, "flags": 0, "access": 7}
        host.timed("P2M_SET", gfn=7, mfn=8, order=0, domid=4, view=0, **kinds)
        host.tsc = begin + 1_900_000
        host.timed("P2M_HOLD_END", domid=4, view=0)
    host.tsc = begin + 2_000_000
    host.timed("RUNSTATE_RUNNING_TO_BLOCKED", domid=0, vcpu=0)
    host.trace.window(0)
    host.tsc += 10_000_000
    host.logdirty_fault(5)
    return host


def test_it_is_where_and_while_the_toolstack_ran(tmp_path: Path) -> None:
    workload = lowered(tmp_path, with_a_toolstack("nothing").trace)
    begin, *_, end = workload.t_ns[workload.begin[1] :].tolist()
    assert [row for row in operations(workload) if row[0] == 1] == [
        (1, op, (begin + end) // 2, hold)
        for op, hold in (("LOGDIRTY_CLEAN", None), ("HOLD_BEGIN", 3), ("GLOBAL_CHANGE", 3), ("HOLD_END", 3))
    ]


def test_it_is_never_within_a_hold(tmp_path: Path) -> None:
    """Not even between the last write of a recorded hold and its end."""
    host = with_a_toolstack("hold")
    workload = lowered(tmp_path, host.trace)
    check(workload)
    ops = columns(rows_of(workload, *s.OP_NAMES, pcpu=1), "op", "p2m_dom")
    assert ops == [
        ("SWITCH_IN", None),
        ("LOGDIRTY_CLEAN", 3), ("HOLD_BEGIN", 3), ("GLOBAL_CHANGE", 3), ("HOLD_END", 3),
        ("HOLD_BEGIN", 4), ("SET", 4), ("HOLD_END", 4),
        ("SWITCH_OUT", None),
    ]  # fmt: skip


def test_a_toolstack_that_runs_in_a_guest_leaves_it_first(tmp_path: Path) -> None:
    """As that of a PVH dom0 does, whose hypercalls are VM exits."""
    workload = lowered(tmp_path, with_a_toolstack("guest").trace)
    check(workload)
    ops = [row["op"] for row in rows_of(workload, *s.OP_NAMES, pcpu=1)]
    assert ops == [
        "SWITCH_IN", "VMENTER", "VMEXIT", "LOGDIRTY_CLEAN", "HOLD_BEGIN", "GLOBAL_CHANGE", "HOLD_END", "SWITCH_OUT"
    ]  # fmt: skip


def test_without_times_nothing_is_implied(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=0)
    for gfn in [5, 6] * 100:
        trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=5, p2mt=0, domid=3)
    workload = lowered(tmp_path, trace)
    assert not workload.facts.has_times
    assert operations(workload) == []


# What a patched host says


def cleaned(host: ept_host.Host, op: int, *, changes: bool = False) -> None:
    """Let the toolstack ask for the dirty pages."""
    host.timed("LOGDIRTY_CLEAN_BEGIN", domid=host.dom, op=op)
    if changes:
        host.hold("logdirty_global", lambda: host.global_change(LOGDIRTY))
    host.timed("LOGDIRTY_CLEAN_END", domid=host.dom, op=op)


@pytest.mark.parametrize(("op", "rows"), [(CLEAN, 1), (PEEK, 0), (SCAN_VRAM, 0), (0xFFFF, 0)])
def test_a_recorded_clean_changes_the_whole_p2m(tmp_path: Path, op: int, rows: int) -> None:
    host = ept_host.Host(patched=True)
    cleaned(host, op)
    at = host.tsc - 1000 - START
    found = operations(lowered(tmp_path, host.trace))
    assert (
        found
        == [
            (0, "LOGDIRTY_CLEAN", at, None),
            (0, "HOLD_BEGIN", at, 0),
            (0, "GLOBAL_CHANGE", at, 0),
            (0, "HOLD_END", at, 0),
        ]
        * rows
    )


def test_a_change_that_was_recorded_is_not_made_up(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    cleaned(host, CLEAN, changes=True)
    workload = lowered(tmp_path, host.trace)
    found = [(op, hold) for _, op, _, hold in operations(workload)]
    assert found == [("LOGDIRTY_CLEAN", None), ("HOLD_BEGIN", 0), ("GLOBAL_CHANGE", 0), ("HOLD_END", 0)]
    assert set(workload.origin.tolist()) == {s.FROM_RECORD}


@pytest.mark.parametrize("changes", [True, False])
def test_where_cleans_are_recorded_faults_imply_none(tmp_path: Path, *, changes: bool) -> None:
    host = ept_host.Host(patched=True)
    host.logdirty_fault(5)
    cleaned(host, CLEAN, changes=changes)
    for _ in range(3):
        host.logdirty_fault(5)
    workload = lowered(tmp_path, host.trace)
    assert [op for _, op, _, _ in operations(workload)].count("GLOBAL_CHANGE") == 1
    assert (workload.not_after_ns < 0).all()


def test_those_of_another_domain_are_implied_all_the_same(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    cleaned(host, CLEAN)
    host.dom = 4
    host.on(1)
    host.logdirty_fault(5)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "GLOBAL_CHANGE"), "p2m_dom") == [(3,), (4,)]


def test_holds_that_are_made_up_take_no_number_of_a_drain(tmp_path: Path) -> None:
    """A drain may be cut into as many holds as it writes entries; their numbers follow its own."""
    host = ept_host.Host(patched=True)
    cleaned(host, CLEAN)
    host.exit(ept_host.PML_FULL, lambda: host.timed("PML_DRAIN", domid=3, vcpu=0, count=512))
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "HOLD_BEGIN"), "cause", "hold") == [("logdirty_global", 512), ("pml", 0)]
    for strategy, holds in (("deferred", 1 + 512), ("deferred-pml", 1 + 1)):
        assert outcome(workload, strategy).tally.measure[:, :, y.HOLDS].sum() == holds


def test_the_end_of_one_pcpu_is_not_the_beginning_of_the_next(tmp_path: Path) -> None:
    """What is made up behind the last row of pCPU 0, and before the first one of pCPU 1, has one place in the table."""
    host = ept_host.Host(patched=True)
    host.dom = 4
    host.trace.window(1)
    host.hold("logdirty_fault", lambda: host.wrote(5, LOGDIRTY, RAM_RW))
    host.trace.window(0)
    host.dom = 3
    cleaned(host, CLEAN)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "LOGDIRTY_CLEAN", "GLOBAL_CHANGE", "SET")
    assert columns(rows, "pcpu", "op", "p2m_dom") == [
        (0, "LOGDIRTY_CLEAN", 3), (0, "GLOBAL_CHANGE", 3), (1, "GLOBAL_CHANGE", 4), (1, "SET", 4),
    ]  # fmt: skip
