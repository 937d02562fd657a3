"""Rows about who runs: switches, idling, lost records, and what stands in where recordings lack them."""

from __future__ import annotations

from pathlib import Path

import pytest

from eptreplay.xentrace.encode import Trace
from tests.workload.lowering import check, columns, lowered, rows_of, table

IDLE = 32767
HLT, NPT_FAULT, VMMCALL = 0x78, 0x400, 0x81


def test_runstate_changes_are_switches_and_those_of_the_idle_domain_idling(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(4)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=2)
    trace.add("RUNSTATE_RUNNING_TO_BLOCKED", tsc=2000, domid=3, vcpu=2)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=2500, domid=IDLE, vcpu=4)
    trace.add("RUNSTATE_RUNNING_TO_RUNNABLE", tsc=3000, domid=IDLE, vcpu=4)
    trace.add("RUNSTATE_BLOCKED_TO_RUNNABLE", tsc=3500, domid=3, vcpu=2)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert columns(table(workload), "pcpu", "seq", "op", "run_dom", "run_vcpu", "gap_ns") == [
        (4, 0, "SWITCH_IN", 3, 2, 0),
        (4, 1, "SWITCH_OUT", 3, 2, 1000),
        (4, 2, "IDLE", None, None, 500),
        (4, 3, "WAKE", None, None, 500),
    ]
    assert [domain.number for domain in workload.domains] == [3]


def test_whoever_continues_is_switched_in_if_nobody_knows_who_ran(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("SCHED_CONTINUE_RUNNING", tsc=1000, domid=3, vcpu=2)
    trace.add("SCHED_CONTINUE_RUNNING", tsc=2000, domid=3, vcpu=2)
    workload = lowered(tmp_path, trace)
    assert columns(table(workload), "op", "run_dom", "run_vcpu") == [("SWITCH_IN", 3, 2)]


def test_between_lost_records_nobody_knows_who_runs(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=2)
    trace.add("LOST_RECORDS", tsc=9000, count=77, domid=5, vcpu=1, first_tsc=4000)
    trace.add("HVM_VMENTRY", tsc=9500)
    trace.add("LOST_RECORDS", tsc=12000, count=7, domid=IDLE, vcpu=0, first_tsc=11000)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert columns(table(workload), "op", "run_dom", "run_vcpu", "count", "gap_ns") == [
        ("SWITCH_IN", 3, 2, 1, 0),
        ("LOST", None, None, 77, 3000),
        ("SWITCH_IN", 5, 1, 1, 5000),
        ("VMENTER", 5, 1, 1, 500),
        ("LOST", None, None, 7, 1500),
        ("IDLE", None, None, 1, 1000),
    ]


@pytest.mark.parametrize("first", [9001, 1 << 40, (1 << 63) - 1])
def test_a_loss_begins_no_later_than_it_is_told(tmp_path: Path, first: int) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=2)
    trace.add("LOST_RECORDS", tsc=9000, count=77, domid=5, vcpu=1, first_tsc=first)
    trace.add("HVM_VMENTRY", tsc=9500)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert workload.t_ns.tolist() == [0, 8000, 8000, 8500]


def fault_that_is_cut_off(how: str) -> Trace:
    """Return a recording in which a fault is followed by a loss, or by nothing at all."""
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=0)
    trace.add("HVM_VMEXIT64", tsc=1500, reason=VMMCALL, rip=0)
    trace.add("HVM_VMENTRY", tsc=1600)
    trace.add("HVM_VMEXIT64", tsc=2000, reason=NPT_FAULT, rip=0)
    if how == "loss":
        trace.add("LOST_RECORDS", tsc=9000, count=77, domid=3, vcpu=0, first_tsc=2100)
    elif how == "entry":
        trace.add("HVM_VMENTRY", tsc=2100)
    return trace


@pytest.mark.parametrize(("how", "rows"), [("loss", 0), ("end", 0), ("entry", 1)])
def test_a_fault_whose_end_is_not_recorded_is_no_recalculation(tmp_path: Path, how: str, rows: int) -> None:
    workload = lowered(tmp_path, fault_that_is_cut_off(how))
    check(workload)
    assert len(rows_of(workload, "MISCONFIG")) == rows


def test_without_runstates_a_halt_is_idling_until_the_next_entry(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("HVM_VMEXIT64", tsc=1000, reason=HLT, rip=0)
    trace.add("HVM_HLT", pending=0)
    trace.add("HVM_VMENTRY", tsc=5000)
    trace.add("HVM_VMEXIT64", tsc=6000, reason=VMMCALL, rip=0)
    trace.add("HVM_VMENTRY", tsc=6500)
    trace.add("HVM_VMEXIT64", tsc=7000, reason=HLT, rip=0)
    trace.add("HVM_HLT", pending=0)
    trace.window(1)
    trace.add("HVM_VMENTRY", tsc=8000)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert columns(rows_of(workload, "VMENTER", "VMEXIT", "IDLE", "WAKE", pcpu=0), "op", "gap_ns") == [
        ("VMEXIT", 0),
        ("IDLE", 0),
        ("WAKE", 4000),
        ("VMENTER", 0),
        ("VMEXIT", 1000),
        ("VMENTER", 500),
        ("VMEXIT", 500),
    ]


def test_with_runstates_a_halt_is_what_they_say(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=900, domid=3, vcpu=0)
    trace.add("HVM_VMEXIT64", tsc=1000, reason=HLT, rip=0)
    trace.add("HVM_HLT", pending=1)
    trace.add("HVM_VMENTRY", tsc=5000)
    assert rows_of(lowered(tmp_path, trace), "IDLE", "WAKE") == []


def test_the_only_domain_that_is_written_is_the_one_that_exits(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("HVM_VMEXIT64", tsc=1000, reason=VMMCALL, rip=0)
    trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=5, p2mt=1, domid=6)
    trace.add("HVM_VMENTRY", tsc=5000)
    rows = rows_of(lowered(tmp_path, trace), "VMENTER", "VMEXIT", "SET")
    assert columns(rows, "op", "run_dom", "run_vcpu") == [
        ("VMEXIT", 6, None),
        ("SET", None, None),
        ("VMENTER", 6, None),
    ]


def test_of_two_domains_nobody_knows_which_one_exits(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    for dom in (6, 7):
        trace.add("HVM_VMEXIT64", tsc=1000, reason=VMMCALL, rip=0)
        trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=5, p2mt=1, domid=dom)
    trace.add("HVM_VMENTRY", tsc=5000)
    assert {row["run_dom"] for row in table(lowered(tmp_path, trace))} == {None}


def test_guest_mode_is_what_vm_entries_and_p2ms_show(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    for dom in (0, 1, 2, 3):
        trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000 + dom, domid=dom, vcpu=0)
        if dom == 2:
            trace.add("HVM_VMENTRY", tsc=1500)
        if dom == 3:
            trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=5, p2mt=0, domid=3)
    domains = lowered(tmp_path, trace).domains
    assert [(d.number, d.has_guest_mode, d.assumed) for d in domains] == [
        (0, False, True),
        (1, True, True),
        (2, True, False),
        (3, True, False),
    ]


@pytest.mark.parametrize("event", ["MEM_PAGE_GRANT_MAP", "RUNSTATE_BLOCKED_TO_RUNNABLE", "SCHED_DOM_ADD"])
def test_a_recording_without_any_operation_has_no_rows(tmp_path: Path, event: str) -> None:
    trace = Trace()
    trace.window(0)
    trace.add(event, tsc=5, domid=3, **({"vcpu": 0} if event.startswith("RUNSTATE") else {}))
    workload = lowered(tmp_path, trace)
    check(workload)
    assert (workload.rows, workload.pcpus.size, workload.domains, workload.shares) == (0, 0, (), ())
