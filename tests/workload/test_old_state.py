"""What an entry was before a write: the best evidence there is, in recorded order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.workload import schema as s
from eptreplay.workload.old_state import LEVELS, NONE, TABLE, earlier_writes
from eptreplay.xentrace.encode import Trace
from tests.workload.lowering import check, lowered, rows_of

RAM_RW, INVALID, LOGDIRTY, POD = 0, 1, 2, 6


WRITES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([0, 1, 511, 512, 513, (1 << 18) - 1, 1 << 18, (1 << 18) + 512, (1 << 64) - 1]),
        st.sampled_from(LEVELS),
    ),
    max_size=60,
)


def slowly(writes: list[tuple[int, int, int]]) -> list[int]:
    """Return what ``earlier_writes`` should, with a dictionary of every entry that was ever written."""
    entries: dict[tuple[int, int, int], int] = {}
    found = []
    for number, (p2m, gfn, order) in enumerate(writes):
        latest = max(entries.get((p2m, level, gfn >> level), NONE) for level in LEVELS if level >= order)
        within = [
            written
            for (other, level, frame), written in entries.items()
            if other == p2m and level < order and frame << level >> order == gfn >> order
        ]
        found.append(TABLE if max(within, default=NONE) > latest else latest)
        entries[p2m, order, gfn >> order] = number
    return found


@settings(max_examples=200)
@given(WRITES)
def test_the_latest_write_of_an_entry_or_around_it_tells(writes: list[tuple[int, int, int]]) -> None:
    p2m, gfn, order = ([write[i] for write in writes] for i in range(3))
    found = earlier_writes(np.array(p2m, np.int64), np.array(gfn, np.uint64), np.array(order, np.int64))
    assert found.tolist() == slowly(writes)


def host(*created: int) -> Trace:
    """Return a recording in which dom0 runs on an AMD host, and domains are created."""
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=0, vcpu=0)
    for dom in created:
        trace.add("SCHED_DOM_ADD", tsc=1010, domid=dom)
    return trace


def wrote(trace: Trace, gfn: int, p2mt: int, order: int = 0, domid: int = 3) -> None:
    """Record a write."""
    trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=5, p2mt=p2mt, domid=domid, order=order)


def states(folder: Path, trace: Trace) -> list[tuple[int | None, str]]:
    """Return what each write's entry was, and how that is known, in the order of pCPUs."""
    workload = lowered(folder, trace)
    check(workload)
    return [(row["old_type"], row["old_known"]) for row in rows_of(workload, "SET")]


def test_of_an_entry_that_nothing_tells_of_nothing_is_said(tmp_path: Path) -> None:
    trace = host()
    wrote(trace, 5, RAM_RW)
    workload = lowered(tmp_path, trace)
    assert [(row["old_type"], row["old_known"]) for row in rows_of(workload, "SET")] == [(None, "assumed")]
    sets = workload.op == s.SET
    assert [workload.present(unseen)[sets].tolist() for unseen in ("present", "absent")] == [[True], [False]]


def test_an_earlier_write_tells(tmp_path: Path) -> None:
    trace = host()
    for kind in (RAM_RW, LOGDIRTY, INVALID, POD):
        wrote(trace, 5, kind)
    assert states(tmp_path, trace) == [(None, "assumed"), (0, "earlier"), (2, "earlier"), (1, "earlier")]


def test_a_domain_that_is_created_had_no_entries(tmp_path: Path) -> None:
    trace = host(3)
    wrote(trace, 5, RAM_RW)
    wrote(trace, 5, INVALID)
    wrote(trace, 5, RAM_RW, domid=4)
    assert states(tmp_path, trace) == [(INVALID, "created"), (RAM_RW, "earlier"), (None, "assumed")]


def test_it_counts_where_in_the_file_a_domain_is_created(tmp_path: Path) -> None:
    trace = host()
    wrote(trace, 5, RAM_RW)
    trace.window(1)
    trace.add("SCHED_DOM_ADD", tsc=900, domid=3)
    wrote(trace, 6, RAM_RW)
    assert states(tmp_path, trace) == [(None, "assumed"), (INVALID, "created")]


def test_the_cause_of_a_fault_tells_more_than_an_earlier_write(tmp_path: Path) -> None:
    trace = host(3)
    wrote(trace, 5, RAM_RW)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1100, domid=3, vcpu=0)
    trace.add("HVM_VMEXIT64", tsc=1200, reason=0x400, rip=0)
    wrote(trace, 5, RAM_RW)
    trace.add("HVM_NPF", gpa=0x5000, mfn=5, p2mt=0)
    trace.add("HVM_VMENTRY", tsc=1300)
    assert states(tmp_path, trace)[1:] == [(LOGDIRTY, "cause")]


def test_memory_that_is_given_back_was_there_unless_a_write_says_otherwise(tmp_path: Path) -> None:
    trace = host()
    wrote(trace, 6, INVALID)
    for gfn in (5, 6):
        trace.add("MEM_DECREASE_RESERVATION", gfn=gfn, domid=3, order=0)
        wrote(trace, gfn, INVALID)
    assert states(tmp_path, trace)[1:] == [(RAM_RW, "cause"), (INVALID, "earlier")]


@pytest.mark.parametrize("evidence", ["made", "populated", "none"])
def test_who_has_entries_without_memory_may_give_those_back(tmp_path: Path, evidence: str) -> None:
    trace = host()
    if evidence == "made":
        wrote(trace, 6, POD)
    trace.add("MEM_DECREASE_RESERVATION", gfn=5, domid=3, order=0)
    wrote(trace, 5, INVALID)
    if evidence == "populated":
        wrote(trace, 6, RAM_RW)
        trace.add("MEM_POD_POPULATE", gfn=6, mfn=5, domid=3, order=0)
    expected = (RAM_RW, "cause") if evidence == "none" else (None, "assumed")
    assert expected in states(tmp_path, trace)
    # What others have does not matter.
    trace.add("MEM_DECREASE_RESERVATION", gfn=5, domid=4, order=0)
    wrote(trace, 5, INVALID, domid=4)
    assert states(tmp_path, trace)[-1] == (RAM_RW, "cause")


def test_what_a_patched_host_says_comes_first(tmp_path: Path) -> None:
    trace = host(3)
    wrote(trace, 5, RAM_RW)
    trace.add("P2M_SET", tsc=2000, gfn=5, mfn=1, old_type=14, new_type=0, order=0, domid=3, view=0, access=0)
    assert states(tmp_path, trace)[1:] == [(14, "recorded")]


def test_pages_of_a_superpage_were_part_of_it(tmp_path: Path) -> None:
    trace = host()
    wrote(trace, 0x200, RAM_RW, 9)
    wrote(trace, 0x3FF, INVALID)
    wrote(trace, 0x400, INVALID)
    assert states(tmp_path, trace)[1:] == [(RAM_RW, "earlier"), (None, "assumed")]


def test_a_superpage_over_pages_replaces_a_table_which_was_present(tmp_path: Path) -> None:
    trace = host(3)
    wrote(trace, 0x210, INVALID)
    wrote(trace, 0x200, RAM_RW, 9)
    wrote(trace, 0x200, INVALID, 9)
    workload = lowered(tmp_path, trace)
    assert states(tmp_path, trace)[1:] == [(None, "earlier"), (RAM_RW, "earlier")]
    present = workload.present("absent")[workload.op == s.SET].tolist()
    assert present == [False, True, True]


@pytest.mark.parametrize("timed", [True, False])
def test_writes_of_two_pcpus_are_in_the_order_in_which_they_were_made(tmp_path: Path, *, timed: bool) -> None:
    """By time; in a recording with next to no times by their place in the file."""
    trace = host()
    if not timed:
        for gfn in range(500):
            wrote(trace, 0x1000 + gfn, RAM_RW)
    trace.window(1)
    if timed:
        trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=5000, domid=0, vcpu=1)
    wrote(trace, 5, LOGDIRTY)
    trace.window(0)
    if timed:
        trace.add("HVM_VMENTRY", tsc=9000)
    wrote(trace, 5, INVALID)
    found = states(tmp_path, trace)
    assert (found[-2:] if timed else found[500:]) == [(LOGDIRTY, "earlier"), (None, "assumed")]
