"""Where Xen flushes before it goes on: populate-on-demand looks into pages, or steals what a guest gives back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eptreplay.replay import tally as y
from eptreplay.workload.lower import lower
from eptreplay.workload.workload import Workload
from tests.trace.made_recordings import dataset
from tests.workload import ept_host
from tests.workload.lowering import GHZ, check, columns, lowered, outcome, rows_of
from tests.workload.svm_host import INVALID, NESTED_PAGE_FAULT, POD, RAM_RW, Host

WRITES_AND_POINTS = ("HOLD_BEGIN", "SET", "POD_RECLAIM", "HOLD_END")


def done(workload: Workload) -> list[tuple[Any, ...]]:
    """Return what is done within holds: operation, frame, new type of writes, and cause."""
    check(workload)
    return columns(rows_of(workload, *WRITES_AND_POINTS[1:3]), "op", "gfn", "new_type", "cause")


def test_pages_are_unmapped_flushed_once_and_looked_into(tmp_path: Path) -> None:
    host = Host()
    for gfn in range(3):
        host.marked(gfn)
    for gfn in (0, 2):
        host.wrote(gfn)
    host.taken_back(1)
    workload = lowered(tmp_path, host.trace)
    unmapped = [("SET", gfn, POD, "pod_reclaim") for gfn in range(3)]
    put_back = [("SET", gfn, RAM_RW, "pod_reclaim") for gfn in (0, 2)]
    assert done(workload) == [*unmapped, ("POD_RECLAIM", 2, None, "pod_reclaim"), *put_back]
    rows = rows_of(workload, *WRITES_AND_POINTS)
    assert set(columns(rows, "hold", "p2m_dom", "p2m_view")) == {(0, 3, 0)}
    [point] = rows_of(workload, "POD_RECLAIM")
    assert (point["order"], point["count"], point["origin"], point["gap_ns"]) == (0, 1, "inferred", 0)


def test_each_look_of_its_own_has_a_flush_of_its_own(tmp_path: Path) -> None:
    host = Host()
    host.marked(0)
    host.taken_back(0)
    host.marked(1)
    host.wrote(1)
    host.marked(2)
    host.taken_back(2)
    assert [op for op, *_ in done(lowered(tmp_path, host.trace))] == [
        "SET", "POD_RECLAIM", "SET", "POD_RECLAIM", "SET", "SET", "POD_RECLAIM",
    ]  # fmt: skip


def test_a_superpage_is_looked_into_as_one(tmp_path: Path) -> None:
    host = Host()
    host.marked(0x200, 9)
    host.taken_back(0x200, 9)
    workload = lowered(tmp_path, host.trace)
    assert done(workload) == [("SET", 0x200, POD, "pod_reclaim"), ("POD_RECLAIM", 0x200, None, "pod_reclaim")]
    assert columns(rows_of(workload, "POD_RECLAIM"), "order") == [(9,)]


def test_the_flush_of_a_fault_is_in_its_hold(tmp_path: Path) -> None:
    host = Host()
    host.timed("HVM_VMEXIT64", reason=NESTED_PAGE_FAULT, rip=0)
    host.marked(0x70)
    host.taken_back(0x70)
    host.wrote(5)
    host.trace.add("MEM_POD_POPULATE", gfn=5, mfn=0x99, domid=3, order=0)
    host.trace.add("HVM_NPF", gpa=0x5000, mfn=0x99, p2mt=0)
    host.timed("HVM_VMENTRY")
    workload = lowered(tmp_path, host.trace)
    assert done(workload) == [
        ("SET", 0x70, POD, "pod_reclaim"),
        ("POD_RECLAIM", 0x70, None, "pod_reclaim"),
        ("SET", 5, RAM_RW, "pod_fault"),
    ]
    assert columns(rows_of(workload, "HOLD_BEGIN"), "cause") == [("pod_fault",)]


def test_what_becomes_populate_on_demand_for_good_is_not_looked_into(tmp_path: Path) -> None:
    host = Host()
    for gfn in range(4):
        host.marked(gfn)
    assert rows_of(lowered(tmp_path, host.trace), "POD_RECLAIM") == []


def test_on_a_stock_ept_host_each_page_that_is_taken_back_was_flushed(tmp_path: Path) -> None:
    host = ept_host.Host()
    host.pod_fault(0x40, reclaimed=(0x70, 0x71))
    assert done(lowered(tmp_path, host.trace)) == [
        ("SET", 0x70, POD, "pod_reclaim"),
        ("POD_RECLAIM", 0x70, None, "pod_reclaim"),
        ("SET", 0x71, POD, "pod_reclaim"),
        ("POD_RECLAIM", 0x71, None, "pod_reclaim"),
        ("SET", 0x40, RAM_RW, "pod_fault"),
    ]


def test_where_writes_are_recorded_none_is_inferred_besides(tmp_path: Path) -> None:
    """A sweep unmaps several pages and then takes them back: the records of the latter do not follow their writes."""
    host = ept_host.Host(patched=True)
    for gfn in (0x70, 0x71):
        host.wrote(gfn, RAM_RW, POD, mfn=ept_host.NOWHERE)
    for gfn in (0x70, 0x71):
        host.trace.add("MEM_POD_ZERO_RECLAIM", gfn=gfn, mfn=0x77, domid=3, order=0)
    workload = lowered(tmp_path, host.trace)
    assert done(workload) == [
        ("SET", 0x70, POD, "pod_reclaim"),
        ("SET", 0x71, POD, "pod_reclaim"),
        ("POD_RECLAIM", 0x71, None, "pod_reclaim"),
    ]
    assert columns(rows_of(workload, "SET"), "origin") == [("recorded",)] * 2


def test_what_a_cache_gets_within_a_hold_is_a_flush_that_was_recorded(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)

    def steal() -> None:
        host.wrote(0x200, RAM_RW, INVALID, 9, mfn=ept_host.NOWHERE)
        host.timed("POD_CACHE_ADD", mfn=0x4000, domid=3, order=9)

    host.hold("decrease", steal)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    [point] = rows_of(workload, "POD_RECLAIM")
    names = ("gfn", "mfn", "order", "cause", "origin", "hold", "gap_ns")
    assert columns([point], *names) == [(None, 0x4000, 9, "decrease", "recorded", 0, 1000)]


def test_what_a_cache_gets_without_a_hold_is_nothing(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    host.timed("POD_CACHE_ADD", mfn=0x4000, domid=3, order=0)
    host.hold("decrease", lambda: host.timed("POD_CACHE_ADD", mfn=0x4000, domid=4, order=0))
    assert done(lowered(tmp_path, host.trace)) == []


# Ballooning below what is there


def entries_wait(host: Host) -> None:
    """Let entries be populate-on-demand, more than will ever get a page."""
    host.marked(0x1000)
    host.marked(0x1001)


def entries_waited(host: Host) -> None:
    """Let all entries have got their pages."""
    host.marked(0x1000)
    host.pod_fault(0x1000)


def others_wait(host: Host) -> None:
    """Let entries of another domain be populate-on-demand."""
    host.wrote(0x1000, POD, dom=4)


def nobody_waits(_: Host) -> None:
    """Let there be no populate-on-demand."""


@pytest.mark.parametrize(
    ("before", "stolen"), [(entries_wait, True), (entries_waited, False), (others_wait, False), (nobody_waits, False)]
)
def test_memory_goes_to_the_cache_while_entries_wait(
    tmp_path: Path, before: Callable[[Host], None], *, stolen: bool
) -> None:
    host = Host()
    before(host)
    host.decrease(5)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = [row for row in rows_of(workload, *WRITES_AND_POINTS) if row["cause"] == "decrease"]
    found = columns(rows, "op", "gfn", "origin")
    point = [("POD_RECLAIM", 5, "inferred")] * stolen
    assert found == [("HOLD_BEGIN", None, "inferred"), ("SET", 5, "recorded"), *point, ("HOLD_END", None, "inferred")]
    assert len({row["hold"] for row in rows}) == 1


def test_an_entry_that_gets_a_page_later_waits_already(tmp_path: Path) -> None:
    """Its making was not recorded, but it was there."""
    host = Host()
    host.decrease(5)
    host.pod_fault(0x1000)
    host.decrease(6)
    assert [gfn for op, gfn, *_ in done(lowered(tmp_path, host.trace)) if op == "POD_RECLAIM"] == [5]


def test_an_entry_without_memory_leaves_nothing_to_steal(tmp_path: Path) -> None:
    host = Host()
    entries_wait(host)
    host.decrease(0x1000)
    assert rows_of(lowered(tmp_path, host.trace), "POD_RECLAIM") == []


def test_where_a_patched_host_says_what_the_cache_gets_nothing_is_inferred(tmp_path: Path) -> None:
    host = ept_host.Host(patched=True)
    host.wrote(0x1000, RAM_RW, POD)

    def steal() -> None:
        host.wrote(5, RAM_RW, INVALID)
        host.timed("POD_CACHE_ADD", mfn=0x4000, domid=3, order=0)

    host.hold("decrease", steal)
    host.hold("decrease", lambda: host.wrote(6, RAM_RW, INVALID))
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "POD_RECLAIM"), "mfn", "origin") == [(0x4000, "recorded")]


@pytest.mark.parametrize(("paths", "points"), [("4.6", 512), ("4.9", 1), ("4.21", 1)])
def test_each_entry_that_is_stolen_has_its_flush(tmp_path: Path, paths: str, points: int) -> None:
    host = Host()
    entries_wait(host)
    host.decrease(0x200, 9)
    workload = lower(dataset(tmp_path, host.trace, events="ept", tsc_hz=GHZ), paths)
    ops = [(op, gfn) for op, gfn, _, cause in done(workload) if cause == "decrease"]
    assert ops == [(op, 0x200 + page) for page in range(points) for op in ("SET", "POD_RECLAIM")]


@pytest.mark.parametrize(("strategy", "under_lock"), [("eager", 2), ("deferred", 2), ("deferred-no-pod-sync", 0)])
def test_strategies_with_sync_points_broadcast_there(tmp_path: Path, strategy: str, under_lock: int) -> None:
    host = Host()
    host.marked(0)
    host.taken_back(0)
    entries_wait(host)
    host.decrease(5)
    total = outcome(lowered(tmp_path, host.trace), strategy).tally.total
    # Two writes to populate-on-demand are of entries that nobody knows: they count as present.
    assert total[y.UNDER_LOCK] == under_lock + 2 * (strategy == "eager")
