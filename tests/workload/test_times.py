"""When each operation happened: its own TSC, that before it, or a share of the time between two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.workload import schema as s
from eptreplay.workload.records import Records
from eptreplay.workload.rules import CAUSE_NUMBERS
from eptreplay.workload.times import LONGEST_NS, longest_ns, slot_times, to_ns
from eptreplay.xentrace.encode import Trace
from tests.workload.lowering import check, columns, lowered, rows_of


@given(st.integers(0, (1 << 63) - 1), st.integers(10**6, 10**11))
def test_ticks_are_rounded_down_and_never_overflow(ticks: int, hz: int) -> None:
    assert to_ns(np.array([ticks]), hz).tolist() == [min(ticks * 10**9 // hz, LONGEST_NS)]


def records(pcpu: list[int], tsc: list[int], timed: list[bool]) -> Records:
    """Return records of which nothing is known but where and when they were written."""
    size = len(pcpu)
    fields: dict[str, Any] = dict.fromkeys(Records._fields, np.zeros(size, np.int64))
    fields |= {"pcpu": np.array(pcpu, np.uint16), "tsc": np.array(tsc, np.int64), "timed": np.array(timed, np.bool_)}
    return Records(**{**fields, "what": np.zeros(size, np.uint8)})


@st.composite
def clocks(draw: st.DrawFn) -> tuple[Records, list[int]]:
    """Draw records of some pCPUs, each with the TSC that it has or inherits, and which of them are operations."""
    pcpu, tsc, timed = [], [], []
    for number in range(draw(st.integers(1, 3))):
        own = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 62)), max_size=12))
        times = sorted(time for _, time in own)
        first = next((time for (known, _), time in zip(own, times, strict=True) if known), -1)
        last = first
        for (known, _), time in zip(own, times, strict=True):
            last = time if known else last
            pcpu.append(number)
            tsc.append(last)
            timed.append(known)
    slots = draw(st.lists(st.integers(0, len(pcpu) - 1), max_size=20)) if pcpu else []
    return records(pcpu, tsc, timed), sorted(slots)


def slowly(found: Records, slots: list[int]) -> list[tuple[int, int]]:
    """Return what ``slot_times`` should, one operation at a time."""

    def next_timed(record: int) -> int | None:
        return next(
            (i for i in range(record, found.pcpu.size) if found.timed[i] and found.pcpu[i] == found.pcpu[record]), None
        )

    told = []
    for number, slot in enumerate(slots):
        before, following = int(found.tsc[slot]), next_timed(slot)
        if found.timed[slot]:
            told.append((before, s.TIMED))
        elif following is None or before < 0 or found.tsc[following] <= before:
            told.append((before, s.INHERITED))
        else:
            mates = [i for i, other in enumerate(slots) if next_timed(other) == following and not found.timed[other]]
            span = int(found.tsc[following]) - before
            told.append((before + span * (mates.index(number) + 1) // (len(mates) + 1), s.INTERPOLATED))
    return told


@settings(max_examples=200)
@given(clocks())
def test_operations_between_two_times_are_spread_evenly(made: tuple[Records, list[int]]) -> None:
    found, slots = made
    tsc, how = slot_times(found, np.array(slots, np.int64))
    expected = slowly(found, slots)
    assert list(zip(tsc.tolist(), how.tolist(), strict=True)) == expected


def host() -> Trace:
    """Return a recording in which dom0 runs since 1000 ns."""
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=0, vcpu=0)
    return trace


def wrote(trace: Trace, gfn: int) -> None:
    """Record a write."""
    trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=5, p2mt=0, domid=3)


def test_untimed_writes_share_the_time_to_the_next_timed_record(tmp_path: Path) -> None:
    trace = host()
    for gfn in range(3):
        wrote(trace, gfn)
    trace.add("HVM_VMENTRY", tsc=2000)
    wrote(trace, 9)
    workload = lowered(tmp_path, trace)
    check(workload)
    sets = workload.op == s.SET
    assert workload.t_ns[sets].tolist() == [250, 500, 750, 1000]
    rows = rows_of(workload, "SET")
    assert columns(rows, "gap_ns", "time_origin") == [(0, "interpolated")] * 3 + [(0, "inherited")]
    holds = columns(rows_of(workload, "HOLD_BEGIN"), "gap_ns", "time_origin")
    assert holds == [(250, "interpolated")] * 3 + [(0, "inherited")]


def test_an_inferred_hold_takes_no_time(tmp_path: Path) -> None:
    trace = host()
    for gfn in range(20):
        trace.add("HVM_VMEXIT64", tsc=2000 + 100 * gfn, reason=0x400, rip=0)
        wrote(trace, gfn)
        trace.add("HVM_NPF", gpa=gfn << 12, mfn=5, p2mt=0)
        trace.add("HVM_VMENTRY", tsc=2040 + 100 * gfn)
    workload = lowered(tmp_path, trace)
    check(workload)
    writes = workload.cause == CAUSE_NUMBERS["populate"]
    for op in (s.HOLD_BEGIN, s.SET, s.HOLD_END):
        assert workload.t_ns[writes & (workload.op == op)].tolist() == [1020 + 100 * gfn for gfn in range(20)]
    # The exits before them are of another domain, and were recalculations of its own p2m.
    others = workload.cause == CAUSE_NUMBERS["misconfig"]
    for op in (s.HOLD_BEGIN, s.MISCONFIG, s.HOLD_END):
        assert workload.t_ns[others & (workload.op == op)].tolist() == [1000 + 100 * gfn for gfn in range(20)]


def test_a_clock_that_steps_back_stands_still(tmp_path: Path) -> None:
    trace = host()
    for tsc in (5000, 3000, 4000, 6000):
        trace.add("HVM_VMENTRY", tsc=tsc)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert workload.t_ns.tolist() == [0, 4000, 4000, 4000, 5000]


def test_a_time_before_the_first_is_the_start(tmp_path: Path) -> None:
    trace = host()
    trace.window(1)
    trace.add("HVM_VMENTRY", tsc=10)
    trace.add("LOST_RECORDS", tsc=2000, count=1, domid=0, vcpu=1, first_tsc=3)
    workload = lowered(tmp_path, trace)
    check(workload)
    # The earliest TSC of all is where time begins.
    assert workload.t_ns.tolist() == [990, 0, 0, 1990]


def test_a_pcpu_without_any_time_begins_and_ends_at_the_start(tmp_path: Path) -> None:
    trace = host()
    trace.window(1)
    wrote(trace, 1)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert columns(rows_of(workload, "SET"), "pcpu", "time_origin") == [(1, "inherited")]
    assert workload.t_ns.tolist() == [0] * workload.rows


@pytest.mark.parametrize("hz", [10**6, 10**11])
def test_times_that_no_recording_has_do_not_overflow(tmp_path: Path, hz: int) -> None:
    trace = host()
    trace.add("HVM_VMENTRY", tsc=(1 << 63) - 1)
    workload = lowered(tmp_path, trace, tsc_hz=hz)
    check(workload)
    assert workload.t_ns[-1] == min(((1 << 63) - 1001) * 10**9 // hz, LONGEST_NS)


def test_times_leave_room_for_the_numbers_of_all_pcpus(tmp_path: Path) -> None:
    trace = host()
    trace.add("HVM_VMENTRY", tsc=(1 << 63) - 1)
    trace.window(1)
    wrote(trace, 1)
    assert lowered(tmp_path, trace, tsc_hz=10**6).t_ns.max() == longest_ns(2) == LONGEST_NS // 2


@pytest.mark.parametrize("untimed", [98, 99, 100])
def test_a_recording_has_times_if_one_record_in_a_hundred_has(tmp_path: Path, untimed: int) -> None:
    trace = host()
    for gfn in range(untimed):
        wrote(trace, gfn)
    assert lowered(tmp_path, trace).facts.has_times == (untimed <= 99)
