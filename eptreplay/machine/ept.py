"""The EPT tables of every p2m: nodes of 512 entries, four levels deep, and what Xen does to them.

The rules are those of docs/background/tables.md. ``node[n, i]`` is an entry of 64 bits::

    bit 0        used
    bit 1        leaf; a used entry that is none is a table
    bit 2        uniform: a table that is not spelt out, all of its entries being leaves of one kind, frame after frame
    bits 3, 4    mark
    bits 5, 6    mark of a uniform table's leaves
    bit 7        present, for a leaf or a uniform table's leaves
    bits 8-15    p2m type, likewise
    bits 16-63   machine frame of a leaf, or of a uniform table's first; number of the node of another table

``rest[n]`` is the mark of the entries of node n that are nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import kernel, part, piece
from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW

LEVELS = 4
ENTRIES = 512
USED, LEAF, UNIFORM, PRESENT = 1, 2, 4, 0x80
MARK_SHIFT, CHILD_MARK_SHIFT, TYPE_SHIFT, FRAME_SHIFT = 3, 5, 8, 16
MARK, CHILD_MARK = 3 << MARK_SHIFT, 3 << CHILD_MARK_SHIFT
TYPE_MASK = 0xFF
FRAME_MASK = (1 << 48) - 1
GFN_MASK = (1 << 36) - 1
"""Frame numbers that four levels can map; a recording that has others is not about EPT, and they wrap."""

MEMORY_TYPES, ALL_TYPES = 1, 2
"""Marks: memory types are to be recalculated; p2m types are too."""

ABSENT, NO_TYPE = 0, -1
NONE_OF, ALL_OF, SOME_OF = range(3)
"""For how many of some frames log-dirty is on."""

SPLIT, FREED, RESOLVED, MARKED = 1, 2, 4, 8
"""What a change of tables did, in one number: it split a leaf, freed a table, resolved or set marks."""
STORES_SHIFT, BUILT_SHIFT = 4, 32
"""Above these flags stands how many entries it stored, and above that how many it built."""
STORES_MASK = (1 << (BUILT_SHIFT - STORES_SHIFT)) - 1

Int64s = NDArray[np.int64]


def plan_nodes(roots: int, p2m: Int64s, gfn: Int64s, lowest: Int64s) -> tuple[Int64s, int]:
    """Return for each frame the numbers of the nodes on its path, [frame, level], and how many nodes there are.

    ``lowest``: the lowest level of whose tables each may need one; below, its path has -1. Nodes of a frame's path have
    numbers of their own, whether they are in use at a time or not; those below ``roots`` are the roots. So the engine
    allocates nothing, and a table that comes, goes and comes again takes no new room.
    """
    path = np.full((gfn.size, LEVELS - 1), -1, np.int64)
    total = roots
    for level in range(LEVELS - 1):
        wanted = lowest <= level
        keys, number = np.unique(p2m[wanted] << 48 | (gfn[wanted] & GFN_MASK) >> (9 * (level + 1)), return_inverse=True)
        path[wanted, level] = number + total
        total += keys.size
    return path, total


@part
def leaf(kind: int, present: int, frame: int, mark: int) -> int:
    """Return a leaf; ``present``: 1 if it grants any right."""
    return int(
        (frame & FRAME_MASK) << FRAME_SHIFT
        | (kind & TYPE_MASK) << TYPE_SHIFT
        | (PRESENT if present else 0)
        | mark << MARK_SHIFT
        | LEAF
        | USED
    )


@part
def mark_of(entry: int) -> int:
    """Return the mark of an entry."""
    return (entry & MARK) >> MARK_SHIFT


@part
def is_table(entry: int) -> bool:
    """Tell whether an entry is a table, spelt out or not."""
    return entry & (USED | LEAF) == USED


@part
def is_present(entry: int) -> bool:
    """Tell whether an entry is present: a table, or a leaf that grants any right."""
    return is_table(entry) or entry & (LEAF | PRESENT) == LEAF | PRESENT


@part
def index_of(gfn: int, level: int) -> int:
    """Return the place of a frame's entry in its table of a level."""
    return (gfn >> (9 * level)) & (ENTRIES - 1)


@piece
def _link(node: Int64s, rest: Int64s, linked: Int64s, n: int, i: int, below: int, mark: int) -> None:
    """Let an entry that was nothing, or a leaf, become an empty table."""
    node[n, i] = below << FRAME_SHIFT | mark << MARK_SHIFT | USED
    if linked[below]:
        for k in range(ENTRIES):
            node[below, k] = ABSENT
    linked[below] = 1
    rest[below] = 0


@piece
def _spell_out(node: Int64s, rest: Int64s, linked: Int64s, n: int, i: int, below: int) -> None:
    """Write the leaves of a uniform table down."""
    entry = node[n, i]
    _link(node, rest, linked, n, i, below, mark_of(entry))
    first, kind = (entry >> FRAME_SHIFT) & FRAME_MASK, (entry >> TYPE_SHIFT) & TYPE_MASK
    mark = (entry & CHILD_MARK) >> CHILD_MARK_SHIFT
    for k in range(ENTRIES):
        node[below, k] = leaf(kind, entry & PRESENT, first + k, mark)


@piece
def _split(node: Int64s, rest: Int64s, linked: Int64s, n: int, i: int, level: int, below: int, target: int) -> int:
    """Replace a leaf of ``level`` by a tree of leaves of level ``target`` that map the same; returns how many it built.

    Only the table on the path is spelt out. Everything but the leaves is unmarked.
    """
    entry = node[n, i]
    first, kind = (entry >> FRAME_SHIFT) & FRAME_MASK, (entry >> TYPE_SHIFT) & TYPE_MASK
    mark, present = mark_of(entry), entry & PRESENT
    _link(node, rest, linked, n, i, below, 0)
    size = 1 << (9 * (level - 1))
    for k in range(ENTRIES):
        if level - 1 == target:
            node[below, k] = leaf(kind, present, first + k * size, mark)
        else:
            node[below, k] = leaf(kind, present, first + k * size, 0) & ~LEAF | UNIFORM | mark << CHILD_MARK_SHIFT
    return ENTRIES if level - 1 == target else ENTRIES + ENTRIES * ENTRIES


@piece
def enter_evidence(
    node: Int64s, rest: Int64s, linked: Int64s, path: Int64s, root: int, gfn: int, level: int, unknown: int,
    present: int, kind: int,
) -> None:  # fmt: skip
    """Enter what a row tells of its entry: that it was ``present``, and of what type, or -1.

    ``unknown``: 1 for the p2m of a domain that was there before the recording.
    """
    n = root
    for above in range(LEVELS - 1, level, -1):
        i = index_of(gfn, above)
        below = path[above - 1]
        entry = node[n, i]
        if entry & LEAF:
            return
        if entry == ABSENT:
            if not unknown and not present:
                return
            _link(node, rest, linked, n, i, below, rest[n])
        elif entry & UNIFORM:
            _spell_out(node, rest, linked, n, i, below)
        n = below
    i = index_of(gfn, level)
    if present and node[n, i] == ABSENT:
        node[n, i] = leaf(RAM_RW if kind < 0 else kind, 1, 0, rest[n])


@piece
def _logdirty(ranges: Int64s, used: int, everywhere: int, first: int, last: int) -> int:
    """Tell whether log-dirty is on for all frames from first to last, for some or for none."""
    if everywhere:
        return ALL_OF
    for k in range(used):
        if ranges[k, 0] <= last and ranges[k, 1] >= first:
            return ALL_OF if ranges[k, 0] <= first and ranges[k, 1] >= last else SOME_OF
    return NONE_OF


@part
def _is_changeable(entry: int) -> bool:
    """Tell whether an entry changes its type with log-dirty."""
    kind = (entry >> TYPE_SHIFT) & TYPE_MASK
    return bool(kind == RAM_RW) or bool(kind == RAM_LOGDIRTY)


@part
def _recalculated(entry: int, tracked: int) -> int:
    """Return a leaf without its mark, and of the type that the mark calls for."""
    if mark_of(entry) == ALL_TYPES and _is_changeable(entry):
        kind = RAM_LOGDIRTY if tracked == ALL_OF else RAM_RW
        entry = entry & ~(TYPE_MASK << TYPE_SHIFT) | kind << TYPE_SHIFT
    return entry & ~MARK


@piece
def mark_all(node: Int64s, rest: Int64s, n: int, mark: int) -> int:
    """Mark what is present in a table, and the rest; returns the number of stores.

    Of the root that is ``ept_change_entry_type_global()``.
    """
    stores = 0
    for k in range(ENTRIES):
        entry = node[n, k]
        if is_present(entry) and mark_of(entry) < mark:
            node[n, k] = entry & ~MARK | mark << MARK_SHIFT
            stores += 1
    rest[n] = max(rest[n], mark)
    return stores


@piece
def resolve(
    node: Int64s, rest: Int64s, linked: Int64s, path: Int64s, root: int, gfn: int, ranges: Int64s, used: int,
    everywhere: int, alone: int,
) -> int:  # fmt: skip
    """Resolve the marks on a frame's path, ``resolve_misconfig()``; returns what that did.

    ``ranges``: the first ``used`` are log-dirty, from first to last frame; ``everywhere``: 1 if all of the p2m is.
    ``alone``: 1 if only the frame's own entry is, and not all of its table, as in NPT.
    """
    stores, built = 0, 0
    n = root
    for level in range(LEVELS - 1, 0, -1):
        i = index_of(gfn, level)
        below = path[level - 1]
        entry = node[n, i]
        mark = mark_of(entry)
        if entry == ABSENT or (entry & LEAF and mark == 0):
            return _work(stores, built)
        if entry & LEAF:
            size = 1 << (9 * level)
            first = gfn & ~(size - 1)
            tracked = _logdirty(ranges, used, everywhere, first, first + size - 1)
            stores += 1
            if mark != ALL_TYPES or not _is_changeable(entry) or tracked != SOME_OF:
                node[n, i] = _recalculated(entry, tracked)
                return _work(stores, built)
            built += _split(node, rest, linked, n, i, level, below, level - 1)
        else:
            if entry & UNIFORM:
                _spell_out(node, rest, linked, n, i, below)
            else:
                # The row may write a larger entry, so that nobody planned its path down to here.
                below = (entry >> FRAME_SHIFT) & FRAME_MASK
            if mark:
                stores += 1 + mark_all(node, rest, below, mark)
                node[n, i] &= ~MARK
        n = below
    return _work(stores + _resolve_leaves(node, rest, n, gfn, ranges, used, everywhere, alone), built)


@part
def _work(stores: int, built: int) -> int:
    """Return what was done in one number."""
    return built << BUILT_SHIFT | stores << STORES_SHIFT


@piece
def _resolve_leaves(
    node: Int64s, rest: Int64s, n: int, gfn: int, ranges: Int64s, used: int, everywhere: int, alone: int
) -> int:
    """Resolve the marks of a table of 4 KiB entries, if that of the frame is marked; returns the number of stores."""
    own = index_of(gfn, 0)
    if mark_of(node[n, own]) == 0:
        return 0
    stores = 0
    first = gfn & ~(ENTRIES - 1)
    for k in range(own if alone else 0, own + 1 if alone else ENTRIES):
        entry = node[n, k]
        if is_present(entry):
            stores += 1
            node[n, k] = _recalculated(entry, _logdirty(ranges, used, everywhere, first + k, first + k))
    if not alone:
        rest[n] = 0
    return stores


@piece
def write(node: Int64s, rest: Int64s, linked: Int64s, path: Int64s, root: int, gfn: int, level: int, entry: int) -> int:
    """Write an entry, once what it replaces is told and resolved; returns what that did, see ``STORES_SHIFT``."""
    stores, built, flags = 1, 0, 0
    n = root
    for above in range(LEVELS - 1, level, -1):
        i = index_of(gfn, above)
        below = path[above - 1]
        old = node[n, i]
        if old == ABSENT:
            _link(node, rest, linked, n, i, below, 0)
            stores += 1
        elif old & LEAF:
            built += _split(node, rest, linked, n, i, above, below, level)
            stores += 1
            flags |= SPLIT
        elif old & UNIFORM:
            _spell_out(node, rest, linked, n, i, below)
        n = below
    i = index_of(gfn, level)
    if is_table(node[n, i]):
        flags |= FREED
    node[n, i] = entry
    return built << BUILT_SHIFT | stores << STORES_SHIFT | flags


@part
def write_plainly(node: Int64s, path: Int64s, root: int, gfn: int, level: int, present: int, entry: int) -> bool:
    """Write an entry if nothing is to be told, resolved, linked, split or freed, which is most often so; tells whether.

    One store then.
    """
    n = root
    for above in range(LEVELS - 1, level, -1):
        if node[n, index_of(gfn, above)] & (USED | LEAF | UNIFORM | MARK) != USED:
            return False
        n = path[above - 1]
    i = index_of(gfn, level)
    old = node[n, i]
    if (present and old == ABSENT) or old & MARK or is_table(old):
        return False
    node[n, i] = entry
    return True


@piece
def mark_range(
    node: Int64s, rest: Int64s, linked: Int64s, first_path: Int64s, last_path: Int64s, root: int, first: int, last: int
) -> int:
    """Mark the frames from first to last, ``ept_change_entry_type_range()``; returns what that did.

    Each path is that of the frame at that end: whatever table is cut by an end is on it.
    """
    done, marked = 0, 0
    for level in range(LEVELS):
        whole = (1 << (9 * (level + 1))) - 1
        if first & whole or level == LEVELS - 1:
            end = min(first | whole, last)
            ours = _mark_entries(node, rest, linked, first_path, root, level, first, end)
            done, marked = done + (ours & ~MARKED), marked | ours & MARKED
            first = end + 1
        if first <= last and last & whole != whole:
            start = max(first, last & ~whole)
            ours = _mark_entries(node, rest, linked, last_path, root, level, start, last)
            done, marked = done + (ours & ~MARKED), marked | ours & MARKED
            last = start - 1
        if first > last:
            break
    return done | marked


@piece
def _mark_entries(
    node: Int64s, rest: Int64s, linked: Int64s, path: Int64s, root: int, level: int, first: int, last: int
) -> int:
    """Mark entries of one table of a level, from that of the first frame to that of the last; returns what that did."""
    done, marked = 0, 0
    n = root
    for above in range(LEVELS - 1, level, -1):
        i = index_of(first, above)
        below = path[above - 1]
        entry = node[n, i]
        if not is_present(entry):
            return done
        if entry & LEAF:
            done += _split(node, rest, linked, n, i, above, below, level) << BUILT_SHIFT | 1 << STORES_SHIFT
        elif entry & UNIFORM:
            _spell_out(node, rest, linked, n, i, below)
        n = below
    begin, end = index_of(first, level), index_of(last, level)
    for k in range(begin, end + 1):
        entry = node[n, k]
        if is_present(entry) and mark_of(entry) < ALL_TYPES:
            node[n, k] = entry & ~MARK | ALL_TYPES << MARK_SHIFT
            marked += 1
    if begin == 0 and end == ENTRIES - 1:
        rest[n] = ALL_TYPES
    return done + (marked << STORES_SHIFT) | (MARKED if marked else 0)


@piece
def track(ranges: Int64s, used: int, first: int, last: int, on: int) -> int:
    """Switch log-dirty on or off for a range of frames; returns how many ranges there are then.

    They are in order and apart: between two of them lies at least one frame. The new ones are collected behind the old
    ones, for which there is room, and then moved to the front.
    """
    new = used
    placed = 0
    for k in range(used):
        low, high = ranges[k, 0], ranges[k, 1]
        if high < first - on or low > last + on:
            if on and not placed and low > last:
                new = _append(ranges, new, first, last)
                placed = 1
            new = _append(ranges, new, low, high)
        elif on:
            # It becomes a part of the range, which is written once no more of them touch it.
            first, last = min(first, low), max(last, high)
        else:
            if low < first:
                new = _append(ranges, new, low, first - 1)
            if high > last:
                new = _append(ranges, new, last + 1, high)
    if on and not placed:
        new = _append(ranges, new, first, last)
    for k in range(new - used):
        ranges[k, 0], ranges[k, 1] = ranges[used + k, 0], ranges[used + k, 1]
    return new - used


@piece
def _append(ranges: Int64s, used: int, first: int, last: int) -> int:
    """Write a range behind others; returns how many there are then."""
    ranges[used, 0], ranges[used, 1] = first, last
    return used + 1


@kernel
def look_up(node: Int64s, root: int, gfn: int, lowest: int) -> int:
    """Return the entry of a frame at a level, or that at which the walk ends above it; for tests and debuggers.

    A leaf of a uniform table is made up on the way.
    """
    gfn &= GFN_MASK
    n = root
    for level in range(LEVELS - 1, lowest, -1):
        entry = node[n, index_of(gfn, level)]
        if not is_table(entry):
            return int(entry)
        if entry & UNIFORM:
            mark = (entry & CHILD_MARK) >> CHILD_MARK_SHIFT
            frame = ((entry >> FRAME_SHIFT) & FRAME_MASK) + index_of(gfn, 0)
            return leaf((entry >> TYPE_SHIFT) & TYPE_MASK, entry & PRESENT, frame, mark)
        n = (entry >> FRAME_SHIFT) & FRAME_MASK
    return int(node[n, index_of(gfn, lowest)])
