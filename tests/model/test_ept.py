"""EPT tables by themselves: looking up, evidence, writes and splits."""

from __future__ import annotations

import pytest

from eptreplay.model.ept import (
    MEMORY_TYPE,
    P2M_TYPE,
    UNKNOWN_ROOT,
    Evidence,
    Leaf,
    Seen,
    Table,
    Work,
    enter_evidence,
    is_entry_present,
    look_up,
    new_leaf,
    write,
)
from eptreplay.p2m_types import (
    MMIO_DIRECT,
    MMIO_DM,
    POPULATE_ON_DEMAND,
    RAM_LOGDIRTY,
    RAM_RW,
    is_present,
)

GIB = 1 << 18
MIB2 = 1 << 9
"""Frames of 4 KiB in a region of 1 GiB, and of 2 MiB."""
THERE = Evidence(linked=True, present=True, type=RAM_RW)
ABSENT = Evidence(linked=True, present=False, type=RAM_RW)
CREATED_ABSENT = Evidence(linked=False, present=False, type=RAM_RW)


def written(*entries: tuple[int, int, int], table: Table = Table()) -> Table:  # noqa: B008 (tables are immutable)
    """Return a table after writes of ordinary memory: level, first frame, machine frame."""
    for level, gfn, mfn in entries:
        table = write(table, gfn, level, new_leaf(gfn, level, mfn, RAM_RW)).table
    return table


def removed(table: Table, gfn: int, level: int = 0) -> Table:
    """Return a table without the entry of a frame."""
    return write(table, gfn, level, None).table


def leaf_at(table: Table, gfn: int, level: int = 0) -> tuple[int, int]:
    """Return type and machine frame of a leaf that must be there."""
    seen = look_up(table, gfn, level)
    assert seen is not None
    assert seen.kind == "leaf"
    return seen.type, seen.mfn


@pytest.mark.parametrize("level", range(4))
def test_in_an_empty_table_there_is_nothing(level: int) -> None:
    assert look_up(Table(), 0x1234, level) is None


def test_a_walk_ends_at_the_level_asked_for_or_at_a_leaf_above_it() -> None:
    table = written((1, 3 * MIB2, 0x800))
    assert look_up(table, 3 * MIB2 + 5, 3) == Seen("table", -1, -1, 0)
    assert look_up(table, 3 * MIB2 + 5, 2) == Seen("table", -1, -1, 0)
    assert look_up(table, 3 * MIB2 + 5, 1) == look_up(table, 3 * MIB2 + 5) == Seen("leaf", RAM_RW, 0x800, 0)
    assert look_up(table, 4 * MIB2, 1) is None


def test_of_a_frame_number_36_bits_count() -> None:
    table = written((0, 5, 9))
    assert look_up(table, (1 << 36) + 5) == look_up(table, 5) == Seen("leaf", RAM_RW, 9, 0)


def test_a_root_that_was_there_before_the_recording_has_a_table_for_its_first_entry() -> None:
    assert look_up(UNKNOWN_ROOT, 0, 3) == Seen("table", -1, -1, 0)
    assert look_up(UNKNOWN_ROOT, 0, 2) is None
    assert look_up(UNKNOWN_ROOT, 1 << 27, 3) is None


@pytest.mark.parametrize(
    ("p2m_type", "access", "there"),
    [
        (RAM_RW, 7, True),
        (RAM_RW, 0, False),
        (RAM_RW, 2, True),
        (RAM_LOGDIRTY, 2, False),
        (RAM_LOGDIRTY, 8, True),
        (RAM_RW, 9, False),
        (MMIO_DM, 7, False),
        (POPULATE_ON_DEMAND, 7, False),
    ],
)
def test_a_leaf_is_present_if_type_and_access_leave_it_any_right(p2m_type: int, access: int, there: bool) -> None:  # noqa: FBT001
    assert is_present(p2m_type, access) == there
    assert is_entry_present(new_leaf(0, 0, 1, p2m_type, access)) == there


# Evidence.


@pytest.mark.parametrize("level", [0, 1, 2])
def test_evidence_of_a_present_entry_links_the_tables_above_it_and_enters_a_leaf(level: int) -> None:
    table = enter_evidence(Table(), 5 * GIB, level, THERE._replace(type=RAM_LOGDIRTY))
    for above in range(level + 1, 4):
        assert look_up(table, 5 * GIB, above) == Seen("table", -1, -1, 0)
    assert look_up(table, 5 * GIB, level) == Seen("leaf", RAM_LOGDIRTY, 0, 0)


def test_evidence_of_an_absent_entry_links_tables_of_an_unknown_p2m_alone() -> None:
    unknown = enter_evidence(UNKNOWN_ROOT, 5, 0, ABSENT)
    assert look_up(unknown, 5, 1) == Seen("table", -1, -1, 0)
    assert look_up(unknown, 5, 0) is None
    assert enter_evidence(Table(), 5, 0, CREATED_ABSENT) == Table()


def test_what_evidence_enters_has_the_mark_of_the_rest_of_its_table() -> None:
    table = enter_evidence(Table(rest=MEMORY_TYPE), 5, 2, THERE)
    assert look_up(table, 5, 3) == Seen("table", -1, -1, MEMORY_TYPE)
    assert look_up(table, 5, 2) == Seen("leaf", RAM_RW, 0, 0)
    inner = Table(mark=MEMORY_TYPE, rest=P2M_TYPE)
    table = enter_evidence(Table().put(0, inner), 5, 2, THERE)
    assert look_up(table, 5, 3) == Seen("table", -1, -1, MEMORY_TYPE)
    assert look_up(table, 5, 2) == Seen("leaf", RAM_RW, 0, P2M_TYPE)


@pytest.mark.parametrize("level", [0, 1])
def test_evidence_changes_nothing_where_something_is_known(level: int) -> None:
    table = written((level, 0, 8))
    assert enter_evidence(table, 0, level, THERE._replace(type=RAM_LOGDIRTY)) == table
    assert enter_evidence(written((1, 0, 8)), 7, 0, THERE) == written((1, 0, 8))
    assert enter_evidence(written((0, 0, 8)), 0, 1, THERE) == written((0, 0, 8))


def test_an_entry_that_was_present_is_so_whatever_its_type() -> None:
    table = enter_evidence(Table(rest=P2M_TYPE), 0, 0, THERE._replace(type=MMIO_DM))
    table_of_leaf = table
    for _ in range(3):
        inner = table_of_leaf.entries[0]
        assert isinstance(inner, Table)
        table_of_leaf = inner
    leaf = table_of_leaf.entries[0]
    assert isinstance(leaf, Leaf)
    assert (leaf.type, leaf.present) == (MMIO_DM, True)


# Writes.


@pytest.mark.parametrize(("level", "stores"), [(0, 4), (1, 3), (2, 2)])
def test_a_write_into_nothing_links_a_table_for_each_level_above_and_builds_nothing(level: int, stores: int) -> None:
    done = write(Table(), 0, level, new_leaf(0, level, 3, RAM_RW))
    assert done.work == Work(stores, 0)
    assert (done.split, done.freed) == (False, False)
    assert leaf_at(done.table, 0, level) == (RAM_RW, 3)


def test_a_write_beside_another_stores_one_entry() -> None:
    assert write(written((0, 4, 40)), 5, 0, new_leaf(5, 0, 50, RAM_RW)).work == Work(1, 0)


def test_a_removal_leaves_nothing_and_keeps_the_tables() -> None:
    table = removed(written((0, 4, 40)), 4)
    assert look_up(table, 4, 0) is None
    assert look_up(table, 4, 1) == Seen("table", -1, -1, 0)


@pytest.mark.parametrize(
    ("larger", "target", "built"),
    [(1, 0, 512), (2, 1, 512), (2, 0, 512 + 512 * 512)],
    ids=["4 KiB in 2 MiB", "2 MiB in 1 GiB", "4 KiB in 1 GiB: 513 tables"],
)
def test_a_split_builds_all_tables_down_to_the_entry_and_installs_them_with_one_store(
    larger: int, target: int, built: int
) -> None:
    table = written((larger, GIB, 0x40000))
    gfn = GIB + (3 << 9 * target)
    done = write(table, gfn, target, new_leaf(gfn, target, 0x7000, MMIO_DIRECT))
    assert done.split
    assert done.work == Work(2, built)
    assert leaf_at(done.table, gfn, target) == (MMIO_DIRECT, 0x7000)


@pytest.mark.parametrize("gfn", [GIB, GIB + 2, GIB + 511, GIB + 512, 2 * GIB - 1])
def test_a_split_leaves_all_other_frames_as_they_were(gfn: int) -> None:
    table = written((2, GIB, 0x40000), (0, GIB + 1, 5))
    assert look_up(table, gfn, 0) == Seen("leaf", RAM_RW, 0x40000 + gfn - GIB, 0)


def test_a_leaf_that_is_not_present_is_split_too() -> None:
    table = write(Table(), 0, 1, new_leaf(0, 1, 0, POPULATE_ON_DEMAND)).table
    done = write(table, 7, 0, new_leaf(7, 0, 5, RAM_RW))
    assert done.split
    assert leaf_at(done.table, 8)[0] == POPULATE_ON_DEMAND


@pytest.mark.parametrize("entry", [new_leaf(0, 1, 0x200, RAM_RW), None], ids=["superpage", "nothing"])
def test_an_entry_that_replaces_a_table_is_one_store_and_frees_it(entry: Leaf | None) -> None:
    done = write(written((0, 3, 30)), 0, 1, entry)
    assert (done.work, done.split, done.freed) == (Work(1, 0), False, True)


def test_a_table_is_told_of_with_equal_neighbours_as_one() -> None:
    text = repr(written((1, 0, 0x200), (0, 3, 7)))
    leaf = "Leaf(type=0, offset=512, access=7, present=True, mark=0)"
    assert f"{{0-2: {leaf}, 3-3: Leaf(type=0, offset=4, access=7, present=True, mark=0), 4-511: {leaf}}}" in text
    assert repr(Table(mark=2)) == "Table(mark=2, rest=0, {})"
