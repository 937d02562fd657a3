"""Marks of EPT entries, which stand for the reserved memory type that makes the processor raise EPT_MISCONFIG.

How they are set (``ept_invalidate_emt()``, ``ept_invalidate_emt_range()``) and resolved (``resolve_misconfig()``; NPT:
``do_recalc()`` of ``p2m-pt.c``).
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.ept import (
    ENTRIES,
    P2M_TYPE,
    ROOT_LEVEL,
    UNMARKED,
    Entry,
    Leaf,
    Table,
    Work,
    first_frame,
    index_of,
    is_entry_present,
    mark_of,
    size_of,
    split,
)
from eptreplay.model.logdirty import ALL, SOME, LogDirty, extent
from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW, is_present

CHANGEABLE = frozenset({RAM_RW, RAM_LOGDIRTY})
"""``p2m_is_changeable()``."""


class Marked(NamedTuple):
    """A table some of whose entries have been marked, and how many of them were stored for it."""

    table: Table
    stores: int


def mark_entries(table: Table, mark: int, first: int = 0, last: int = ENTRIES - 1) -> Marked:
    """Mark the entries from one place in a table to another that are present and whose mark is lower."""
    lower = [first <= i <= last and is_entry_present(e) and mark_of(e) < mark for i, e in enumerate(table.entries)]
    entries = tuple(_marked(e, mark) if low else e for e, low in zip(table.entries, lower, strict=True))
    rest = max(table.rest, mark) if (first, last) == (0, ENTRIES - 1) else table.rest
    return Marked(table._replace(entries=entries, rest=rest), sum(lower))


def _marked(entry: Entry, mark: int) -> Entry:
    return entry if entry is None else entry._replace(mark=mark)


# Resolving.


class Rules(NamedTuple):
    """What marks are resolved by."""

    log_dirty: LogDirty
    one_by_one: bool = False
    """NPT: of a table of leaves only the one in question is mended, not all of them."""


def resolve(table: Table, gfn: int, rules: Rules, level: int = ROOT_LEVEL) -> tuple[Table, Work]:
    """Resolve the marks on the way to a frame: ``resolve_misconfig()``. The table has entries of ``level``."""
    i = index_of(gfn, level)
    entry, log_dirty = table.entries[i], rules.log_dirty
    if entry is None or (isinstance(entry, Leaf) and not entry.mark):
        return table, Work()
    if level == 0 and not rules.one_by_one:
        return _resolve_all(table, gfn, log_dirty)
    if isinstance(entry, Table):
        below, work = _push_down(entry) if entry.mark else (entry, Work())
    elif _must_split(entry, gfn, level, log_dirty):
        below, work = split(entry, level, level - 1)
    else:
        return table.put(i, _recalculated(entry, gfn, level, log_dirty)), Work(stores=1)
    below, more = resolve(below, gfn, rules, level - 1)
    return table.put(i, below), work.plus(more)


def _push_down(table: Table) -> tuple[Table, Work]:
    """Pass the mark of a table on to its entries."""
    marked = mark_entries(table, table.mark)
    return marked.table._replace(mark=UNMARKED), Work(marked.stores + 1)


def _resolve_all(table: Table, gfn: int, log_dirty: LogDirty) -> tuple[Table, Work]:
    """Store every present entry of a table of level 0, marked or not."""
    first = first_frame(gfn, 1)
    entries = tuple(
        _recalculated(entry, first + i, 0, log_dirty) if isinstance(entry, Leaf) and entry.present else entry
        for i, entry in enumerate(table.entries)
    )
    stores = sum(is_entry_present(entry) for entry in table.entries)
    return table._replace(entries=entries, rest=UNMARKED), Work(stores)


def _extent(gfn: int, level: int, log_dirty: LogDirty) -> int:
    """Return whether log-dirty is on for none, some or all frames of an entry."""
    first = first_frame(gfn, level)
    return extent(log_dirty, first, first + size_of(level) - 1)


def _must_split(leaf: Leaf, gfn: int, level: int, log_dirty: LogDirty) -> bool:
    """Tell whether the frames of a leaf are to have different types."""
    return leaf.mark == P2M_TYPE and leaf.type in CHANGEABLE and _extent(gfn, level, log_dirty) == SOME


def _recalculated(leaf: Leaf, gfn: int, level: int, log_dirty: LogDirty) -> Leaf:
    """Return a leaf without its mark, and, if that asked for it, with the type that its frames are to have."""
    if leaf.mark == P2M_TYPE and leaf.type in CHANGEABLE:
        new_type = RAM_LOGDIRTY if _extent(gfn, level, log_dirty) == ALL else RAM_RW
        leaf = leaf._replace(type=new_type, present=is_present(new_type, leaf.access))
    return leaf._replace(mark=UNMARKED)


# Changes of a range.


class Changed(NamedTuple):
    """A p2m some of whose entries have been marked. ``marked``: how many; the work includes splits."""

    table: Table
    work: Work = Work()
    marked: int = 0


def change_range(root: Table, first: int, last: int) -> Changed:
    """Mark what a range of frames consists of, with the largest entries that do: ``ept_change_entry_type_range()``."""
    changed, level = Changed(root), 0
    while first <= last:
        within = size_of(level + 1) - 1  # a frame's place in a table of this level
        if first & within or level == ROOT_LEVEL:
            end = min(first | within, last)
            changed = _mark_range(changed, first, end, level)
            first = end + 1
        elif last & within != within:
            start = max(first, last & ~within)
            changed = _mark_range(changed, start, last, level)
            last = start - 1
        else:
            level += 1
    return changed


def _mark_range(changed: Changed, first: int, last: int, target: int) -> Changed:
    """Mark entries of the level ``target``, all in one table: ``ept_invalidate_emt_range()``."""
    below = mark_below(changed.table, first, last, target)
    return Changed(below.table, changed.work.plus(below.work), changed.marked + below.marked)


def mark_below(table: Table, first: int, last: int, target: int, level: int = ROOT_LEVEL) -> Changed:
    """Mark the entries of the level ``target`` from one frame to another; a larger leaf on the way is split."""
    i = index_of(first, level)
    if level == target:
        marked = mark_entries(table, P2M_TYPE, i, index_of(last, level))
        return Changed(marked.table, Work(marked.stores), marked.stores)
    entry = table.entries[i]
    if entry is None or not is_entry_present(entry):
        return Changed(table)
    below, work = split(entry, level, target) if isinstance(entry, Leaf) else (entry, Work())
    changed = mark_below(below, first, last, target, level - 1)
    return Changed(table.put(i, changed.table), work.plus(changed.work), changed.marked)
