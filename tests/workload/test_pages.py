"""Which PAGE_FREE row a PAGE_ALLOC goes back to: the last one before it that freed one of its pages."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft
from eptreplay.workload.pages import last_frees
from tests.workload.lowering import check, lowered, table
from tests.workload.test_edges import Host
from tests.xentrace.mutants import seeded

MOST_BYTES = 64 << 20
MANY = 200_000
LARGEST_ORDER = 30
"""As large as an order of a record may be, see ``xentrace.actions.MAX_ORDER``."""


def draft(events: list[tuple[bool, int, int]]) -> Draft:
    """Return rows out of (whether it frees, frame, order)."""
    frees, mfn, order = zip(*events, strict=True) if events else ((), (), ())
    return {
        "op": np.where(np.array(frees, bool), s.PAGE_FREE, s.PAGE_ALLOC).astype(np.uint8),
        "mfn": np.array(mfn, np.uint64),
        "order": np.array(order, np.int32),
    }


def slowly(events: list[tuple[bool, int, int]], when: list[int]) -> list[int]:
    """Return what each allocation goes back to, page by page."""
    freed: dict[int, int] = {}
    found = [-1] * len(events)
    for number in sorted(range(len(events)), key=lambda number: (when[number], number)):
        frees, mfn, order = events[number]
        pages = range(mfn >> order << order, (mfn >> order << order) + (1 << order)) if order >= 0 else range(0)
        if frees:
            freed |= dict.fromkeys(pages, number)
            continue
        rank = {row: place for place, row in enumerate(sorted(range(len(events)), key=lambda row: (when[row], row)))}
        found[number] = max((freed[page] for page in pages if page in freed), key=rank.__getitem__, default=-1)
    return found


EVENT = st.tuples(st.booleans(), st.integers(0, 40), st.sampled_from((0, 0, 0, 1, 2, 5, -1)))


@given(timed=st.lists(st.tuples(EVENT, st.integers(0, 9)), max_size=30))
def test_pages_are_found_as_if_one_had_looked_at_each(timed: list[tuple[tuple[bool, int, int], int]]) -> None:
    events, when = [event for event, _ in timed], [t for _, t in timed]
    assert last_frees(draft(events), np.array(when, np.int64)).tolist() == slowly(events, when)


@pytest.mark.parametrize("orders", [(0,), (0, 9), tuple(range(LARGEST_ORDER + 1))], ids=["pages", "two", "all"])
def test_memory_and_time_do_not_depend_on_the_size_of_blocks(orders: tuple[int, ...]) -> None:
    rng = seeded(f"pages of {len(orders)} orders")
    events = [
        (bool(rng.randrange(2)), rng.choice((rng.randrange(1 << 40), (1 << 64) - 1)), rng.choice(orders))
        for _ in range(MANY)
    ]
    rows, when = draft(events), np.arange(MANY)
    tracemalloc.start()
    try:
        begun = time.process_time()
        found = last_frees(rows, when)
        assert time.process_time() - begun < 30  # hours, if blocks were looked at page by page
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert (found < when).all()


class Pages(Host):
    """A host that frees and allocates pages, whoever runs."""

    def frees(self, pcpu: int, tsc: int, mfn: int, order: int = 0) -> None:
        """Free pages of d3."""
        self.on(pcpu, tsc, "PAGE_FREE", mfn=mfn, domid=3, order=order)

    def allocates(self, pcpu: int, tsc: int, mfn: int, order: int = 0) -> None:
        """Allocate pages for d4."""
        self.on(pcpu, tsc, "PAGE_ALLOC", mfn=mfn, domid=4, order=order)


def allocations(folder: Path, host: Host) -> list[tuple[int, int, int | None]]:
    """Return for each allocation its frame and order, and the time of the free that it goes back to."""
    workload = lowered(folder, host.trace)
    check(workload)
    rows = table(workload)
    return [
        (row["mfn"], row["order"], None if row["freed_by"] is None else int(workload.t_ns[row["freed_by"]]))
        for row in rows
        if row["op"] == "PAGE_ALLOC"
    ]


def test_frees_of_all_pcpus_count_by_their_time(tmp_path: Path) -> None:
    host = Pages()
    host.frees(2, 1000, 7)
    host.frees(0, 1500, 7)
    host.allocates(1, 1200, 7)
    host.allocates(1, 1700, 7)
    host.allocates(1, 1800, 7)
    host.frees(1, 1900, 7)
    assert allocations(tmp_path, host) == [(7, 0, 0), (7, 0, 500), (7, 0, 500)]


def test_one_page_in_common_is_enough(tmp_path: Path) -> None:
    host = Pages()
    host.frees(0, 1000, 512, 9)
    host.frees(0, 1100, 1023)
    host.allocates(0, 1200, 512, 9)
    host.allocates(0, 1300, 513)
    host.allocates(0, 1400, 0, 30)
    host.allocates(0, 1500, 1024)
    assert allocations(tmp_path, host) == [(512, 9, 100), (513, 0, 0), (0, 30, 100), (1024, 0, None)]


def test_an_order_that_no_xen_has_frees_nothing(tmp_path: Path) -> None:
    host = Pages()
    host.frees(0, 1000, 0, 64)
    host.allocates(0, 1100, 0)
    host.frees(0, 1200, 0, 0xFFFF)
    host.allocates(0, 1300, 0, 64)
    assert [row[2] for row in allocations(tmp_path, host)] == [None, None]


def test_rows_that_are_made_up_between_do_not_matter(tmp_path: Path) -> None:
    host = Pages()
    host.runs(0, 1000, 3, 0)
    host.frees(0, 1100, 7)
    host.stops(0, 1200, 3, 0)
    host.runs(1, 1300, 3, 0)
    host.frees(1, 1400, 8)
    host.allocates(1, 1500, 7)
    host.allocates(1, 1600, 8)
    workload = lowered(tmp_path, host.trace)
    assert (workload.op == s.CALL).sum() == 1
    assert allocations(tmp_path, host) == [(7, 0, 100), (8, 0, 400)]
