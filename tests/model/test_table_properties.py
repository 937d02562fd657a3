"""What holds for tables, whatever is done to them; beside them, what a plain list of frames would say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.model import Costs, Recording, Result, Row, replay
from eptreplay.model.ept import Entry, Leaf, Table, Work, is_entry_present, look_up, new_leaf, write
from eptreplay.model.logdirty import ALL, LogDirty, extent, switch_range
from eptreplay.model.recalc import CHANGEABLE, Rules, mark_entries, resolve
from eptreplay.p2m_types import (
    GRANT_MAP_RW,
    INVALID,
    MMIO_DM,
    POPULATE_ON_DEMAND,
    RAM_LOGDIRTY,
    RAM_RW,
    is_present,
)
from eptreplay.strategies import Strategy
from tests.model.small import CREATED, NEVER, begin, change, end, misconfig, run
from tests.model.small import write as written_row
from tests.model.workloads import FRAMES, MACHINES, STRATEGIES_TO_TRY, frames_of_interest, recordings

NEW = (CREATED, 0)
GIB = 1 << 18
LEVEL_ORDERS = (0, 9, 18)
examples = settings(max_examples=80)

# What a plain list of frames says.


class Page(NamedTuple):
    """A frame: its type, and its machine frame."""

    type: int
    mfn: int


Write = tuple[int, int, int, int]
"""Order, first frame, type, machine frame."""
GFNS = st.sampled_from(FRAMES)
TYPES = st.sampled_from((RAM_RW, RAM_LOGDIRTY, INVALID, GRANT_MAP_RW, MMIO_DM, POPULATE_ON_DEMAND))
ORDERS = st.sampled_from(LEVEL_ORDERS)
WRITES = st.builds(
    lambda order, gfn, p2m_type, mfn: (order, gfn >> order << order, p2m_type, mfn << order),
    ORDERS,
    GFNS,
    TYPES,
    st.integers(0, 7),
)
PLACES = sorted({max(0, gfn + by) for gfn in FRAMES for by in (-1, 0, 1)})
"""Frames to look at."""


def page_in(writes: list[Write], gfn: int) -> Page | None:
    """Return what a frame is after writes: what the latest one says that it lies in."""
    for order, first, p2m_type, mfn in reversed(writes):
        if first <= gfn < first + (1 << order):
            return None if p2m_type == INVALID else Page(p2m_type, mfn + gfn - first)
    return None


def page_at(table: Table, gfn: int) -> Page | None:
    """Return what a frame is in tables."""
    seen = look_up(table, gfn)
    if seen is None:
        return None
    level = next(level for level in (2, 1, 0) if (at := look_up(table, gfn, level)) is not None and at.kind == "leaf")
    return Page(seen.type, seen.mfn + gfn % (1 << 9 * level))


def entries_of(table: Table) -> Iterator[Entry]:
    """Yield all entries of a table and of those below it; those of tables that have the same once."""
    seen, tables = set[int](), [table]
    while tables:
        top = tables.pop()
        yield from top.entries
        below = {id(entry.entries): entry for entry in top.entries if isinstance(entry, Table)}
        tables += [entry for number, entry in below.items() if number not in seen]
        seen |= set(below)


def path(table: Table, gfn: int) -> list[int]:
    """Return the marks on the way to a frame."""
    return [seen.mark for level in (3, 2, 1, 0) if (seen := look_up(table, gfn, level)) is not None]


def after(rows: list[Row], strategy: Strategy = NEVER) -> Result:
    """Return what is replayed from one hold of a new p2m."""
    named = [row._replace(p2m=NEW) for row in rows]
    return run({0: [begin(0, 1, NEW), *named, end(0, 1, NEW)]}, strategy)


@examples
@given(st.lists(WRITES, max_size=10))
def test_after_any_writes_each_frame_is_what_the_latest_says_that_it_lies_in(writes: list[Write]) -> None:
    rows = [
        written_row(0, gfn=gfn, order=order, mfn=mfn, new_type=p2m_type, present=False)
        for order, gfn, p2m_type, mfn in writes
    ]
    table = after(rows).tables[NEW]
    assert [page_at(table, gfn) for gfn in PLACES] == [page_in(writes, gfn) for gfn in PLACES]


@examples
@given(st.sampled_from([(2, 1), (2, 0), (1, 0)]), st.integers(0, GIB - 1), st.integers(0, GIB - 1))
def test_a_split_keeps_every_frame_but_those_written(levels: tuple[int, int], at: int, look: int) -> None:
    larger, target = levels
    size = 1 << 9 * larger
    gfn = 3 * GIB + (at % size) // (1 << 9 * target) * (1 << 9 * target)
    whole = write(Table(), 3 * GIB, larger, new_leaf(3 * GIB, larger, 0x80000, RAM_LOGDIRTY)).table
    done = write(whole, gfn, target, None)
    frame = 3 * GIB + look % size
    expected = None if gfn <= frame < gfn + (1 << 9 * target) else page_at(whole, frame)
    assert page_at(done.table, frame) == expected
    assert done.work == Work(2, sum(512**i for i in range(1, larger - target + 1)))


# Changes, which take effect later than they are made.


class Frames:
    """The frames of a p2m one by one, in which a change takes effect at once."""

    def __init__(self) -> None:
        self.pages: dict[int, Page | None] = dict.fromkeys(PLACES)
        self.log_dirty = LogDirty()

    def write(self, order: int, first: int, p2m_type: int, mfn: int) -> None:
        """Write an entry."""
        for gfn in self.pages:
            if first <= gfn < first + (1 << order):
                self.pages[gfn] = page_in([(order, first, p2m_type, mfn)], gfn)

    def change(self, new_type: int, frames: tuple[int, int] | None) -> None:
        """Change the type of a range, or of everything."""
        on = new_type == RAM_LOGDIRTY
        if frames is None:
            self.log_dirty = self.log_dirty._replace(everywhere=on)
        else:
            self.log_dirty = switch_range(self.log_dirty, *frames, on=on)
        first, last = frames or (0, (1 << 36) - 1)
        for gfn, page in self.pages.items():
            if page is not None and first <= gfn <= last and page.type in CHANGEABLE:
                self.pages[gfn] = page._replace(type=self.type_of(gfn))

    def type_of(self, gfn: int) -> int:
        """Return the type that memory has there."""
        return RAM_LOGDIRTY if extent(self.log_dirty, gfn, gfn) == ALL else RAM_RW


def effective(table: Table, gfn: int, frames: Frames) -> Page | None:
    """Return what a frame is once all marks on the way to it are resolved."""
    page = page_at(table, gfn)
    if page is None or 2 not in path(table, gfn) or page.type not in CHANGEABLE:
        return page
    return page._replace(type=frames.type_of(gfn))


RANGES = st.builds(lambda one, other: (min(one, other), max(one, other)), GFNS, GFNS)
NEW_TYPES = st.sampled_from((RAM_RW, RAM_LOGDIRTY))
DEEDS = st.lists(
    WRITES | st.tuples(NEW_TYPES, st.none() | RANGES) | GFNS | st.none(),
    max_size=14,
)
"""Writes, changes of type and range, exits, and changes of memory types."""


@examples
@given(DEEDS, st.sampled_from(("ept", "npt")))
def test_marks_change_no_more_than_when_a_change_takes_effect(
    deeds: list[Write | tuple[int, tuple[int, int] | None] | int | None], tables: str
) -> None:
    frames, rows = Frames(), list[Row]()
    for deed in deeds:
        match deed:
            case None:
                rows.append(change(0, None))
            case int(gfn) if frames.pages[gfn] is not None:
                rows.append(misconfig(0, gfn))
            case (order, gfn, p2m_type, mfn):
                frames.write(order, gfn, p2m_type, mfn)
                rows.append(written_row(0, gfn=gfn, order=order, mfn=mfn, new_type=p2m_type, present=False))
            case (new_type, extent_of):
                frames.change(new_type, extent_of)
                rows.append(change(0, new_type, extent_of))
            case _:
                pass
    table = after(rows, replace(NEVER, tables=tables)).tables[NEW]
    assert {gfn: effective(table, gfn, frames) for gfn in PLACES} == frames.pages


# Random workloads.

RULES = st.builds(Rules, st.builds(LogDirty, st.booleans()), st.booleans())


@examples
@given(recordings(), STRATEGIES_TO_TRY, MACHINES)
def test_only_what_is_present_is_marked(rec: Recording, strategy: Strategy, costs: Costs) -> None:
    for table in replay(rec, strategy, costs).tables.values():
        for entry in entries_of(table):
            assert entry is None or is_entry_present(entry) or not entry.mark
            if isinstance(entry, Leaf):
                assert entry.present or not is_present(entry.type, entry.access)


@examples
@given(recordings(), STRATEGIES_TO_TRY, MACHINES, GFNS, RULES)
def test_an_exit_leaves_no_mark_on_the_way_to_its_frame(
    rec: Recording, strategy: Strategy, costs: Costs, gfn: int, rules: Rules
) -> None:
    for table in replay(rec, strategy, costs).tables.values():
        once, work = resolve(table, gfn, rules)
        assert set(path(once, gfn)) <= {0}
        assert (work.stores > 0) == any(path(table, gfn))
        assert resolve(once, gfn, rules) == (once, Work())


@examples
@given(st.lists(st.integers(0, (1 << 27) - 1), min_size=1, max_size=5))
def test_a_global_change_of_a_domain_below_512_gib_is_one_store(gfns: list[int]) -> None:
    table = Table()
    for gfn in gfns:
        table = write(table, gfn, 0, new_leaf(gfn, 0, 1, RAM_RW)).table
    assert mark_entries(table, 2).stores == 1


@examples
@given(recordings(), STRATEGIES_TO_TRY, MACHINES)
def test_costs_and_broadcasts_change_no_table_of_a_p2m_that_one_pcpu_writes(
    rec: Recording, strategy: Strategy, costs: Costs
) -> None:
    writers: dict[tuple[int, int], set[int]] = {}
    for pcpu, (_, rows) in rec.programs.items():
        for row in rows:
            if row.p2m is not None:
                writers.setdefault(row.p2m, set()).add(pcpu)
    result, plain = replay(rec, strategy, costs), replay(rec, replace(NEVER, tables=strategy.tables), costs)
    for p2m, pcpus in writers.items():
        if len(pcpus) == 1:
            frames = frames_of_interest(rec)
            assert [look_up(result.tables[p2m], gfn) for gfn in frames] == [
                look_up(plain.tables[p2m], gfn) for gfn in frames
            ]
