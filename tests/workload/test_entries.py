"""Each SET is of one entry as large as Xen writes it, whatever a record says; and what rows say of entries."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.errors import InputError
from eptreplay.replay import tally as y
from eptreplay.workload import entries
from eptreplay.workload import schema as s
from eptreplay.workload.entries import PATHS
from eptreplay.workload.lower import lower
from eptreplay.workload.workload import Workload, workload_table
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.trace.made_recordings import dataset
from tests.workload import ept_host
from tests.workload.lowering import GHZ, check, columns, lowered, outcome, rows_of
from tests.workload.svm_host import INVALID, NOWHERE, POD, RAM_RW, Host

many = settings(max_examples=40 if COMPILED else 20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lowered_as(folder: Path, trace: Trace, paths: str) -> Workload:
    """Return the workload of a recording as a release's paths have it."""
    workload = lower(dataset(folder, trace, events="ept", tsc_hz=GHZ), paths)
    check(workload)
    return workload


@pytest.mark.parametrize(
    ("order", "size", "pieces"),
    [(0, 0, 1), (1, 0, 2), (8, 0, 256), (9, 9, 1), (10, 9, 2), (17, 9, 256), (18, 18, 1), (20, 18, 4)],
)
def test_a_call_writes_entries_as_large_as_its_order_allows(tmp_path: Path, order: int, size: int, pieces: int) -> None:
    host = Host()
    host.wrote(1 << 21, RAM_RW, order, mfn=1 << 22)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "SET")
    first = [(1 << 21, 1 << 22, size, "recorded")]
    others = [((1 << 21) + (n << size), (1 << 22) + (n << size), size, "inferred") for n in range(1, pieces)]
    assert columns(rows, "gfn", "mfn", "order", "origin") == first + others
    # All in one hold, at one time.
    assert len({row["hold"] for row in rows}) == 1
    assert {row["gap_ns"] for row in rows} == {0}


def test_a_frame_within_an_entry_is_that_of_the_entry(tmp_path: Path) -> None:
    host = Host()
    host.wrote(0x3FF, RAM_RW, 9)
    host.wrote(0x40001, RAM_RW, 20)
    rows = rows_of(lowered(tmp_path, host.trace), "SET")
    assert columns(rows, "gfn", "order") == [(0x200, 9), *(((1 + n) << 18, 18) for n in range(4))]


def test_entries_without_memory_are_without_any_frame(tmp_path: Path) -> None:
    host = Host()
    host.marked(0x400, 10)
    rows = rows_of(lowered(tmp_path, host.trace), "SET")
    assert columns(rows, "gfn", "mfn", "new_type") == [(0x400, NOWHERE, POD), (0x600, NOWHERE, POD)]


@pytest.mark.parametrize("paths", PATHS)
def test_only_removals_and_only_before_4_9_are_page_by_page(tmp_path: Path, paths: str) -> None:
    host = Host()
    host.wrote(0x200, RAM_RW, 9)
    host.wrote(0x200, INVALID, 9, mfn=NOWHERE)
    host.marked(0x200, 9)
    workload = lowered_as(tmp_path, host.trace, paths)
    sizes = [(row["new_type"], row["order"]) for row in rows_of(workload, "SET")]
    removal = [(INVALID, 0)] * 512 if paths == "4.6" else [(INVALID, 9)]
    assert sizes == [(RAM_RW, 9), *removal, (POD, 9)]
    assert columns(rows_of(workload, "HOLD_BEGIN"), "cause") == [("populate",), ("physmap",), ("populate",)]


def test_each_page_of_a_removal_was_part_of_what_is_removed(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    host.wrote(0x200, RAM_RW, INVALID, 9, mfn=NOWHERE)
    workload = lowered_as(tmp_path, host.trace, "4.6")
    found = set(columns(rows_of(workload, "SET"), "old_type", "old_present", "old_known", "access", "order"))
    assert found == {(RAM_RW, True, "recorded", 7, 0)}


def test_the_first_page_that_is_removed_splits_the_superpage(tmp_path: Path) -> None:
    """One store installs the table, and each page is one more; with ``eager`` each has a broadcast of its own."""
    host = Host()
    host.wrote(0x200, RAM_RW, 9)
    host.wrote(0x200, INVALID, 9, mfn=NOWHERE)
    for paths, stores, broadcasts in (("4.6", 513, 512), ("4.9", 1, 1)):
        measure = outcome(lowered_as(tmp_path, host.trace, paths), "eager").tally.measure.sum(axis=(0, 1))
        # The superpage itself: an entry, which counts as present as nothing tells.
        assert (measure[y.STORES], measure[y.BROADCASTS]) == (1 + stores, 1 + broadcasts)


def test_absurd_sizes_are_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_ROWS", 7 + 1023)
    host = Host()
    host.wrote(0, RAM_RW, 3)
    host.wrote(0, RAM_RW, 28)
    host.wrote(0, RAM_RW, 9)
    check(lowered(tmp_path, host.trace))
    host.wrote(0, RAM_RW, 1)
    with pytest.raises(InputError, match=r"^writes of 1034 entries by 3 calls: expected at most 1030 more than calls$"):
        lowered(tmp_path, host.trace)


CALLS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 0x1FF, 0x200, 0x3FFFF, 0x40000, (1 << 36) - 1]),
        st.sampled_from([0, 0, 1, 3, 9, 10, 18, 19]),
        st.sampled_from([RAM_RW, INVALID, POD]),
    ),
    max_size=6,
)


@many
@given(calls=CALLS, paths=st.sampled_from(PATHS[1:]))
def test_the_entries_of_a_call_are_all_its_frames_once(
    tmp_path: Path, calls: list[tuple[int, int, int]], paths: str
) -> None:
    host = Host()
    for gfn, order, kind in calls:
        host.wrote(gfn, kind, order)
    workload = lowered_as(tmp_path, host.trace, paths)
    rows = rows_of(workload, "SET")
    assert [row["origin"] for row in rows].count("recorded") == len(calls)
    found: list[list[int]] = []
    for row in rows:
        if row["origin"] == "recorded":
            found.append([])
        found[-1] += [row["gfn"], row["order"]]
    for (gfn, order, _), made in zip(calls, found, strict=True):
        size = max(level for level in (0, 9, 18) if level <= order)
        first = gfn >> size << size
        assert made == [x for n in range(1 << (order - size)) for x in (first + (n << size), size)]


# The table


def test_the_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    host.wrote(5, RAM_RW, INVALID, flags=1, access=3)
    host.hold("other", lambda: host.global_change(2, first=5, last=9))
    table = workload_table(lowered(tmp_path, host.trace))
    types = {field.name: (field.type, field.nullable) for field in table.schema}
    assert types["last_gfn"] == (pa.uint64(), True)
    assert types["access"] == (pa.uint8(), True)
    assert types["old_present"] == (pa.bool_(), True)
    assert types["preemptible"] == (pa.bool_(), False)
    assert table.schema == s.workload_schema()


def test_what_a_row_does_not_say_is_null(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    host.wrote(5, RAM_RW, INVALID, flags=1, access=3)
    host.trace.add("MEM_SET_P2M_ENTRY", gfn=6, mfn=1, p2mt=RAM_RW, domid=3)
    host.hold("other", lambda: host.global_change(2, first=5, last=9))
    workload = lowered(tmp_path, host.trace)
    check(workload)
    found = columns(rows_of(workload, "SET", "GLOBAL_CHANGE"), "op", "gfn", "last_gfn", "access", "old_present")
    assert found == [("SET", 5, None, 3, True), ("SET", 6, None, None, None), ("GLOBAL_CHANGE", 5, 9, None, None)]


def test_what_is_done_under_the_lock_is_not_preemptible(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)

    def everything() -> None:
        host.wrote(5, RAM_RW, INVALID)
        host.global_change(2)
        host.timed("PT_PAGE_FREE", domid=3, view=0, level=0, mfn=1)
        host.timed("POD_CACHE_ADD", mfn=1, domid=3, order=0)

    host.hold("misconfig", everything)
    host.timed("FOREIGN_LOOKUP", gfn=1, count=1, domid=3, preemptible=0)
    host.timed("FOREIGN_LOOKUP", gfn=1, count=1, domid=3, preemptible=1)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    locked = {"HOLD_BEGIN", "HOLD_END", *(s.OP_NAMES[op] for op in s.ACTS)}
    rows = rows_of(workload, *s.OP_NAMES)
    assert locked <= {row["op"] for row in rows}
    assert [row["preemptible"] for row in rows if row["op"] == "LOOKUP"] == [False, True]
    assert all(row["preemptible"] == (row["op"] not in locked) for row in rows if row["op"] != "LOOKUP")
