"""Calls that no record shows, but that others imply: to clear a VMCS, and once a second to calibrate the time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import eptreplay
from eptreplay.workload import schema as s
from eptreplay.workload.calls import calls_document
from eptreplay.workload.workload import Workload
from tests.trace.made_recordings import GHZ, write
from tests.workload.lowering import Row, check, columns, lowered, rows_of, table
from tests.workload.test_edges import Host

GUEST, PV = 3, 0
SECOND = 1_000_000_000
START = 1000
"""Ticks at the first record, and so at time 0."""


def calls(workload: Workload) -> list[Row]:
    """Return the calls of a workload, with what stands before each as ``behind``, and the time as ``t``."""
    check(workload)
    rows = table(workload)
    found = [
        {**row, "behind": rows[number - 1]["op"], "t": int(workload.t_ns[number])}
        for number, row in enumerate(rows)
        if row["op"] == "CALL"
    ]
    counts = calls_document(workload)
    assert counts["vmcs_clears"] + counts["calibrations"] == len(found)
    assert counts["vmcs_clears"] == sum(row["target"] is not None for row in found)
    return found


def begun() -> Host:
    """Return a host whose first record is of pCPU 0, at time 0."""
    host = Host()
    host.runs(0, START, PV, 0)
    return host


# VMCS


def test_a_vcpu_that_moves_has_its_vmcs_cleared_where_it_ran(tmp_path: Path) -> None:
    host = begun()
    host.runs(2, 2000, GUEST, 1)
    host.stops(2, 3000, GUEST, 1)
    host.runs(5, 4000, GUEST, 1)
    host.stops(5, 5000, GUEST, 1)
    host.runs(5, 6000, GUEST, 1)
    [call] = calls(lowered(tmp_path, host.trace))
    assert (call["pcpu"], call["target"], call["behind"], call["t"]) == (5, 2, "SWITCH_IN", 3000)
    assert (call["run_dom"], call["run_vcpu"], call["origin"], call["cause"]) == (GUEST, 1, "inferred", "other")
    assert (call["gap_ns"], call["hold"], call["p2m_dom"], call["count"]) == (0, None, None, 1)


def test_each_move_is_from_the_pcpu_before(tmp_path: Path) -> None:
    host = begun()
    for number, pcpu in enumerate((1, 2, 1, 3)):
        host.runs(pcpu, 2000 + 200 * number, GUEST, 0)
        host.stops(pcpu, 2100 + 200 * number, GUEST, 0)
    moves = [(row["t"], row["target"], row["pcpu"]) for row in calls(lowered(tmp_path, host.trace))]
    assert sorted(moves) == [(1200, 1, 2), (1400, 2, 1), (1600, 1, 3)]


@pytest.mark.parametrize(("dom", "vcpus"), [(PV, (1, 1)), (GUEST, (1, 2))], ids=["a PV domain", "another vCPU"])
def test_nothing_else_has_a_vmcs_to_clear(tmp_path: Path, dom: int, vcpus: tuple[int, int]) -> None:
    host = begun()
    for pcpu, vcpu in zip((1, 2), vcpus, strict=True):
        host.runs(pcpu, 2000 + 1000 * pcpu, dom, vcpu)
        host.stops(pcpu, 2500 + 1000 * pcpu, dom, vcpu)
    assert calls(lowered(tmp_path, host.trace)) == []


def test_edges_hold_on_to_their_rows(tmp_path: Path) -> None:
    host = begun()
    for number in range(6):
        host.runs(1 + number % 2, 2000 + 200 * number, GUEST, 0)
        host.stops(1 + number % 2, 2100 + 200 * number, GUEST, 0)
    workload = lowered(tmp_path, host.trace)
    rows = table(workload)
    assert len(calls(workload)) == 5
    waits = [(rows[row["edge"]]["op"], row["op"]) for row in rows if row["edge"] is not None]
    assert waits == [("SWITCH_OUT", "SWITCH_IN")] * 5
    assert columns(rows, "pcpu", "seq") == [
        (pcpu, seq)
        for pcpu, size in zip(workload.pcpus.tolist(), np.diff(workload.begin).tolist(), strict=True)
        for seq in range(size)
    ]


def test_the_row_behind_a_call_is_as_late_as_before(tmp_path: Path) -> None:
    host = begun()
    host.runs(1, 2000, GUEST, 0)
    host.stops(1, 2100, GUEST, 0)
    host.runs(2, 2500, GUEST, 0)
    host.stops(2, 9500, GUEST, 0)
    workload = lowered(tmp_path, host.trace)
    assert columns(rows_of(workload, "SWITCH_IN", "CALL", "SWITCH_OUT", pcpu=2), "op", "gap_ns") == [
        ("SWITCH_IN", 1500), ("CALL", 0), ("SWITCH_OUT", 7000),
    ]  # fmt: skip


# Time


def test_the_first_pcpu_calibrates_the_time_at_its_first_row_in_each_second(tmp_path: Path) -> None:
    host = begun()
    for tenth in range(5, 36, 5):
        host.runs(1, START + tenth * SECOND // 10 + 1, GUEST, 1)
        host.stops(0, START + tenth * SECOND // 10 + 2, PV, 0)
        host.runs(0, START + tenth * SECOND // 10 + 3, PV, 0)
    found = calls(lowered(tmp_path, host.trace))
    assert [(row["pcpu"], row["t"], row["behind"], row["target"]) for row in found] == [
        (0, second * SECOND + 2, "SWITCH_OUT", None) for second in (1, 2, 3)
    ]


def test_a_row_on_the_second_is_in_time_and_one_row_is_enough_for_many_seconds(tmp_path: Path) -> None:
    host = begun()
    host.stops(0, START + SECOND, PV, 0)
    host.runs(0, START + 5 * SECOND, PV, 0)
    host.stops(0, START + 5 * SECOND + 1, PV, 0)
    assert [row["t"] for row in calls(lowered(tmp_path, host.trace))] == [SECOND, 5 * SECOND]


def test_nobody_calibrates_within_a_hold_or_in_a_guest(tmp_path: Path) -> None:
    host = begun()
    held = {"domid": GUEST, "view": 0}
    host.on(0, START + SECOND - 5, "P2M_HOLD_BEGIN", cause=0, **held)
    host.stops(0, START + SECOND, PV, 0)
    host.on(0, START + SECOND + 5, "P2M_HOLD_END", **held)
    host.on(0, START + SECOND + 7, "HVM_VMENTRY")
    host.on(0, START + SECOND + 9, "HVM_VMEXIT64", reason=1, rip=0)
    [call] = calls(lowered(tmp_path, host.trace))
    assert (call["t"], call["behind"]) == (SECOND + 9, "VMEXIT")


def test_a_switch_may_be_followed_by_both_kinds(tmp_path: Path) -> None:
    host = begun()
    host.runs(1, 2000, GUEST, 0)
    host.stops(1, 2100, GUEST, 0)
    host.stops(0, 2200, PV, 0)
    host.runs(0, START + SECOND, GUEST, 0)
    found = calls(lowered(tmp_path, host.trace))
    assert [(row["pcpu"], row["target"], row["t"]) for row in found] == [(0, 1, SECOND), (0, None, SECOND)]


def test_thirty_years_have_no_more_calls_than_rows(tmp_path: Path) -> None:
    host = begun()
    host.stops(0, START + 30 * 365 * 86400 * SECOND, PV, 0)
    assert len(calls(lowered(tmp_path, host.trace))) == 1


# Where nobody knows


def test_without_runstates_or_times_there_are_none(tmp_path: Path) -> None:
    exits = Host()
    for number in range(6):
        exits.on(number % 2, START + number * SECOND, "HVM_VMENTRY")
        exits.on(number % 2, START + number * SECOND + 1, "HVM_VMEXIT64", reason=1, rip=0)
    workload = lowered(tmp_path, exits.trace)
    assert not workload.facts.has_sched
    assert calls(workload) == []
    untimed = begun()
    untimed.stops(0, START + 2 * SECOND, PV, 0)
    for gfn in range(400):
        untimed.trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=gfn, p2mt=0, domid=GUEST, order=0)
    workload = lowered(tmp_path, untimed.trace)
    assert not workload.facts.has_times
    assert calls(workload) == []
    for recording in (exits.trace, untimed.trace):
        assert eptreplay.info(write(tmp_path, recording), tsc_hz=GHZ)["calls"] is None


def test_info_counts_what_the_workload_has(tmp_path: Path) -> None:
    host = begun()
    for number in range(9):
        host.runs(1 + number % 3, START + (number + 1) * SECOND // 2, GUEST, 0)
        host.stops(1 + number % 3, START + (number + 1) * SECOND // 2 + 7, GUEST, 0)
        host.stops(0, START + (number + 1) * SECOND // 2 + 8, PV, 0)
    workload = lowered(tmp_path, host.trace)
    assert calls_document(workload) == {"vmcs_clears": 8, "calibrations": 4}
    assert (workload.op == s.CALL).sum() == 12
    assert eptreplay.info(write(tmp_path, host.trace), tsc_hz=GHZ)["calls"] == calls_document(workload)
