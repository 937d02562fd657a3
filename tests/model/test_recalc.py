"""Marks of entries: how they are set, passed on and resolved."""

from __future__ import annotations

import pytest

from eptreplay.model.ept import (
    MEMORY_TYPE,
    P2M_TYPE,
    UNKNOWN_ROOT,
    Evidence,
    Seen,
    Table,
    Work,
    enter_evidence,
    look_up,
    new_leaf,
    write,
)
from eptreplay.model.logdirty import LogDirty
from eptreplay.model.recalc import Rules, change_range, mark_entries, resolve
from eptreplay.p2m_types import (
    GRANT_MAP_RW,
    MMIO_DM,
    RAM_LOGDIRTY,
    RAM_RW,
)
from tests.model.test_ept import ABSENT, GIB, MIB2, THERE, written

NOWHERE, EVERYWHERE = Rules(LogDirty()), Rules(LogDirty(everywhere=True))
TABLE = Seen("table", -1, -1, 0)


def marked(table: Table, mark: int = P2M_TYPE) -> Table:
    """Return a table whose root entries are marked."""
    return mark_entries(table, mark).table


def marks(table: Table, gfn: int) -> list[int]:
    """Return the marks on the way to a frame, from the root down, 0 where there is nothing."""
    found = [look_up(table, gfn, level) for level in (3, 2, 1, 0)]
    return [entry.mark if entry else 0 for entry in found]


def test_a_global_change_marks_present_entries_of_the_root_one_store_each_and_the_rest() -> None:
    done = mark_entries(written((0, 0, 1), (0, 1 << 27, 1)), P2M_TYPE)
    assert done.stores == 2
    assert done.table.rest == P2M_TYPE
    assert marks(done.table, 0) == [2, 0, 0, 0]


def test_entries_with_that_mark_or_a_higher_one_are_left_alone() -> None:
    table = marked(written((0, 0, 1)))
    assert mark_entries(table, P2M_TYPE).stores == 0
    assert mark_entries(table, MEMORY_TYPE) == (table, 0)
    assert mark_entries(marked(written((0, 0, 1)), MEMORY_TYPE), P2M_TYPE).stores == 1


def test_entries_that_are_not_present_are_not_marked() -> None:
    table = write(written((0, 0, 1)), 1, 0, new_leaf(1, 0, 0, MMIO_DM)).table
    assert marks(resolve(marked(table), 0, NOWHERE)[0], 1) == [0, 0, 0, 0]


# Resolving.


def test_one_exit_resolves_all_from_the_root_to_the_leaf() -> None:
    # A mark moves from each of three tables to its one entry: 2 stores each, and the leaf's own.
    table, work = resolve(marked(written((0, 0, 8))), 0, EVERYWHERE)
    assert work == Work(stores=7)
    assert look_up(table, 0) == Seen("leaf", RAM_LOGDIRTY, 8, 0)
    assert marks(table, 0) == [0, 0, 0, 0]


def test_neighbours_inherit_the_mark() -> None:
    table = written((0, 0, 1), (0, MIB2, 2), (0, GIB, 3))
    table, work = resolve(marked(table), 0, NOWHERE)
    # Level 2: 2 entries and the root's mark; level 1: 2 and 1; level 0: 1 and 1; the leaf.
    assert work == Work(stores=3 + 3 + 2 + 1)
    assert marks(table, MIB2) == [0, 0, 2, 0]
    assert marks(table, GIB) == [0, 2, 0, 0]


def test_a_table_of_leaves_is_stored_as_a_whole_present_entries_alone() -> None:
    table = written(*((0, gfn, gfn) for gfn in range(5)))
    table = write(table, 5, 0, new_leaf(5, 0, 0, MMIO_DM)).table
    table, work = resolve(marked(table), 2, EVERYWHERE)
    assert work == Work(stores=2 + 2 + (5 + 1) + 5)
    assert [look_up(table, gfn) for gfn in (0, 4)] == [Seen("leaf", RAM_LOGDIRTY, gfn, 0) for gfn in (0, 4)]
    assert look_up(table, 5) == Seen("leaf", MMIO_DM, 0, 0)


def test_in_a_table_of_leaves_those_without_a_mark_are_stored_too_but_keep_their_type() -> None:
    table = change_range(written((0, 0, 1), (0, 1, 2)), 1, 1).table
    table, work = resolve(table, 1, EVERYWHERE)
    assert work == Work(stores=2)
    assert [look_up(table, gfn) for gfn in (0, 1)] == [Seen("leaf", RAM_RW, 1, 0), Seen("leaf", RAM_LOGDIRTY, 2, 0)]


def test_a_table_of_leaves_is_left_alone_if_the_one_in_question_has_no_mark() -> None:
    table = change_range(written((0, 0, 1), (0, 1, 2)), 1, 1).table
    assert resolve(table, 0, EVERYWHERE) == (table, Work())


@pytest.mark.parametrize("level", [1, 2])
def test_a_large_leaf_gets_its_type_with_one_store(level: int) -> None:
    table, work = resolve(marked(written((level, 0, 0x40000))), 7, EVERYWHERE)
    assert work == Work(stores=2 * (3 - level) + 1)
    assert look_up(table, 7, level) == Seen("leaf", RAM_LOGDIRTY, 0x40000, 0)


def test_a_large_leaf_of_which_a_part_is_log_dirty_is_split_by_one_level_at_a_time() -> None:
    partly = Rules(LogDirty(ranges=((3 * MIB2 + 5, 3 * MIB2 + 5),)))
    table, work = resolve(marked(written((2, 0, 0x40000))), 0, partly)
    # The root's mark: 2. Split: 1, 512 built. The first 2 MiB are none of it: 1.
    assert work == Work(stores=4, built=512)
    assert look_up(table, 0, 1) == Seen("leaf", RAM_RW, 0x40000, 0)
    assert look_up(table, 3 * MIB2, 1) == Seen("leaf", RAM_RW, 0x40600, 2)
    table, work = resolve(table, 3 * MIB2, partly)
    # Split: 1, 512 built; the table of leaves: 512.
    assert work == Work(stores=513, built=512)
    assert [look_up(table, 3 * MIB2 + i) for i in (4, 5, 6)] == [
        Seen("leaf", RAM_RW, 0x40604, 0),
        Seen("leaf", RAM_LOGDIRTY, 0x40605, 0),
        Seen("leaf", RAM_RW, 0x40606, 0),
    ]


def test_a_mark_for_memory_types_alone_keeps_the_type_and_splits_nothing() -> None:
    partly = Rules(LogDirty(ranges=((5, 5),)))
    table, work = resolve(marked(written((1, 0, 0x200)), MEMORY_TYPE), 0, partly)
    assert work == Work(stores=5)
    assert look_up(table, 0) == Seen("leaf", RAM_RW, 0x200, 0)


def test_types_that_are_not_changeable_stay() -> None:
    table = write(Table(), 0, 0, new_leaf(0, 0, 3, GRANT_MAP_RW)).table
    assert look_up(resolve(marked(table), 0, EVERYWHERE)[0], 0) == Seen("leaf", GRANT_MAP_RW, 3, 0)


def test_log_dirty_ends_where_it_is_off() -> None:
    table = write(Table(), 0, 0, new_leaf(0, 0, 3, RAM_LOGDIRTY)).table
    assert look_up(resolve(marked(table), 0, NOWHERE)[0], 0) == Seen("leaf", RAM_RW, 3, 0)


def test_a_new_type_may_take_the_last_right_from_an_entry_of_restricted_access() -> None:
    write_only = 2
    table = write(Table(), 0, 0, new_leaf(0, 0, 3, RAM_RW, write_only)).table
    table, _ = resolve(marked(table), 0, EVERYWHERE)
    assert look_up(table, 0) == Seen("leaf", RAM_LOGDIRTY, 3, 0)
    assert change_range(table, 0, 0).marked == 0  # as it is not present


def test_where_nothing_is_known_resolving_ends_and_remembers_the_mark() -> None:
    table, work = resolve(marked(UNKNOWN_ROOT), 7, EVERYWHERE)
    assert work == Work(stores=1)
    table = enter_evidence(table, 7, 0, THERE)
    assert marks(table, 7) == [0, 2, 0, 0]
    assert marks(enter_evidence(table, GIB, 2, THERE), GIB) == [0, 2, 2, 2]


def test_a_table_of_leaves_that_was_resolved_has_no_mark_for_the_rest() -> None:
    table = enter_evidence(marked(UNKNOWN_ROOT), 7, 0, THERE)
    table, _ = resolve(table, 7, EVERYWHERE)
    table = enter_evidence(table, 8, 0, Evidence(linked=True, present=True, type=RAM_RW))
    assert look_up(table, 8) == Seen("leaf", RAM_RW, 0, 0)


def test_with_npt_only_the_leaf_in_question_is_mended() -> None:
    one_by_one = EVERYWHERE._replace(one_by_one=True)
    table = enter_evidence(marked(UNKNOWN_ROOT), 7, 0, THERE)
    table, work = resolve(table, 7, one_by_one)
    # The mark moves down three times; then the leaf.
    assert work == Work(stores=2 + 2 + 2 + 1)
    assert look_up(table, 7) == Seen("leaf", RAM_LOGDIRTY, 0, 0)
    assert look_up(enter_evidence(table, 8, 0, THERE), 8) == Seen("leaf", RAM_RW, 0, 2)
    assert resolve(table, 7, one_by_one) == (table, Work())


# Ranges.

FULL = enter_evidence(written((2, 0, 0x40000)), GIB, 2, THERE)
"""Two leaves of 1 GiB."""


@pytest.mark.parametrize(
    ("first", "last", "stores", "found"),
    [
        (0, GIB - 1, 1, {0: (2, 2)}),
        (GIB, 2 * GIB - 1, 1, {GIB: (2, 2)}),
        (0, 2 * GIB - 1, 2, {0: (2, 2), GIB: (2, 2)}),
        (0, MIB2 - 1, 1 + 1, {0: (1, 2), MIB2: (1, 0)}),
        (3, 5, 1 + 3, {2: (0, 0), 3: (0, 2), 5: (0, 2), 6: (0, 0)}),
        # The first 512 but 3 frames; 511 entries of 2 MiB, the next 1 GiB. Only the first leaf is split, once.
        (3, 2 * GIB - 1, 1 + 509 + 511 + 1, {2: (0, 0), 3: (0, 2), MIB2: (1, 2), GIB: (2, 2)}),
        # Backwards: 4 frames; 1 entry of 2 MiB; the first 1 GiB.
        (0, GIB + MIB2 + 3, 1 + 4 + 1 + 1, {0: (2, 2), GIB: (1, 2), GIB + MIB2 + 3: (0, 2), GIB + MIB2 + 4: (0, 0)}),
    ],
)
def test_a_range_is_marked_with_the_largest_entries_that_it_consists_of(
    first: int, last: int, stores: int, found: dict[int, tuple[int, int]]
) -> None:
    changed = change_range(FULL, first, last)
    splits = stores - changed.marked
    assert changed.work.stores == stores
    assert splits == (0 if first % GIB == 0 == (last + 1) % GIB else 1)
    for gfn, (level, mark) in found.items():
        assert marks(changed.table, gfn)[3 - level] == mark


def test_all_of_the_tables_is_the_root() -> None:
    changed = change_range(FULL, 0, (1 << 36) - 1)
    assert (changed.marked, changed.table.rest) == (1, P2M_TYPE)


def test_a_leaf_that_is_split_hands_its_mark_on_and_is_not_resolved() -> None:
    table = mark_entries(written((1, 0, 0x200)), MEMORY_TYPE).table
    table, _ = resolve(table, GIB, NOWHERE)
    assert marks(table, 0) == [0, 1, 0, 0]
    table = change_range(table, MIB2, MIB2).table  # nothing there
    assert marks(table, 0) == [0, 1, 0, 0]
    marked_leaf = change_range(written((1, 0, 0x200)), 0, MIB2 - 1).table
    split = change_range(marked_leaf, 5, 5)
    assert (split.work, split.marked) == (Work(stores=1, built=512), 0)
    assert marks(split.table, 4) == marks(split.table, 5) == [0, 0, 0, 2]


def test_what_is_not_present_is_neither_split_nor_marked() -> None:
    table = write(Table(), 0, 1, new_leaf(0, 1, 0, MMIO_DM)).table
    assert change_range(table, 5, MIB2 + 5) == (table, Work(), 0)


def test_of_an_unknown_p2m_the_tables_around_a_range_are_marked() -> None:
    table = enter_evidence(enter_evidence(UNKNOWN_ROOT, MIB2, 0, ABSENT), 2 * MIB2 - 1, 0, ABSENT)
    changed = change_range(table, MIB2, 2 * MIB2 - 1)
    assert (changed.work, changed.marked) == (Work(stores=1), 1)
    assert look_up(changed.table, MIB2, 1) == TABLE._replace(mark=2)
