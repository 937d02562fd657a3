"""EPT tables: what is in them, evidence of what was there before, and ``ept_set_entry()`` (``p2m-ept.c``).

``docs/background/tables.md`` says what each does. Tables are immutable. A leaf holds the distance from its guest frame
to its machine frame, so that the 512 leaves which a larger one is split into are one object, and so are the tables.
"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from eptreplay.p2m_types import RWX, is_present

ROOT_LEVEL = 3
"""Level of the entries of the root: 512 GiB each."""
ENTRIES = 512
LEVEL_BITS = 9
FRAME_BITS = 36
"""Four levels of 9 bits."""

UNMARKED, MEMORY_TYPE, P2M_TYPE = range(3)
"""Marks: nothing, only the memory type, or the p2m type too (``recalc``) is to be recalculated."""


class Leaf(NamedTuple):
    """An entry that maps pages, or says why it does not."""

    type: int
    offset: int
    """Machine frame less guest frame."""
    access: int
    present: bool
    mark: int = UNMARKED


class Table(NamedTuple):
    """512 entries, and, but for the root, the entry that leads to them."""

    entries: tuple[Leaf | Table | None, ...] = (None,) * ENTRIES
    """None: nothing, or unknown."""
    mark: int = UNMARKED
    """That of the entry that leads here."""
    rest: int = UNMARKED
    """The mark of the rest: of the entries that are nothing, should one turn out to have been there."""

    def put(self, i: int, entry: Entry) -> Table:
        """Return the table with another entry in one place."""
        return self._replace(entries=(*self.entries[:i], entry, *self.entries[i + 1 :]))

    def __repr__(self) -> str:
        """Return a text in which equal neighbours are told of once."""
        runs, first = [], 0
        for entry, alike in groupby(self.entries):
            end = first + len(list(alike))
            runs += [f"{first}-{end - 1}: {entry!r}"] if entry is not None else []
            first = end
        return f"Table(mark={self.mark}, rest={self.rest}, {{{', '.join(runs)}}})"


Entry = Leaf | Table | None

UNKNOWN_ROOT = Table().put(0, Table())
"""The root of a p2m that was there before the recording: the domain has memory."""


class Work(NamedTuple):
    """Entries of 8 bytes that were written: ``stores`` in tables in use, ``built`` in such as are not linked yet."""

    stores: int = 0
    built: int = 0

    def plus(self, other: Work) -> Work:
        """Return both."""
        return Work(self.stores + other.stores, self.built + other.built)


class Seen(NamedTuple):
    """An entry, as others may compare it. Of a table, ``type`` and ``mfn`` are -1."""

    kind: str
    """leaf or table."""
    type: int
    mfn: int
    """Machine frame of the first page of the entry."""
    mark: int


def index_of(gfn: int, level: int) -> int:
    """Return which entry of its table is that of a frame. Bits of the frame number above the 36th do not count."""
    return gfn >> LEVEL_BITS * level & ENTRIES - 1


def size_of(level: int) -> int:
    """Return how many frames an entry of a level is for."""
    return 1 << LEVEL_BITS * level


def first_frame(gfn: int, level: int) -> int:
    """Return the first frame of the entry of a level that a frame lies in."""
    return gfn % (1 << FRAME_BITS) & -size_of(level)


def is_entry_present(entry: Entry) -> bool:
    """Tell whether an entry is present: ``is_epte_present()``."""
    return isinstance(entry, Table) or (entry is not None and entry.present)


def mark_of(entry: Entry) -> int:
    """Return the mark of an entry; nothing has none."""
    return UNMARKED if entry is None else entry.mark


def new_leaf(gfn: int, level: int, mfn: int, p2m_type: int, access: int = RWX) -> Leaf:
    """Return a leaf for a frame."""
    return Leaf(p2m_type, mfn - first_frame(gfn, level), access, is_present(p2m_type, access))


def look_up(table: Table, gfn: int, level: int = 0) -> Seen | None:
    """Return the entry of a frame at a level, or where the walk from the root ends above it; None if it is nothing."""
    at = ROOT_LEVEL
    entry = table.entries[index_of(gfn, at)]
    while at > level and isinstance(entry, Table):
        at -= 1
        entry = entry.entries[index_of(gfn, at)]
    if isinstance(entry, Table):
        return Seen("table", -1, -1, entry.mark)
    return None if entry is None else Seen("leaf", entry.type, first_frame(gfn, at) + entry.offset, entry.mark)


# Evidence.


class Evidence(NamedTuple):
    """What a row tells of an entry before it is written."""

    linked: bool
    """The tables on the way to it are there."""
    present: bool
    type: int


def enter_evidence(table: Table, gfn: int, target: int, evidence: Evidence, level: int = ROOT_LEVEL) -> Table:
    """Enter what a row tells of the entry of a frame at the level ``target``, unless something is known there."""
    i = index_of(gfn, level)
    entry = table.entries[i]
    if level == target:
        if entry is not None or not evidence.present:
            return table
        leaf = new_leaf(gfn, level, 0, evidence.type)
        return table.put(i, leaf._replace(present=True, mark=table.rest))
    if entry is None and evidence.linked:
        entry = Table(mark=table.rest)
    if not isinstance(entry, Table):
        return table
    return table.put(i, enter_evidence(entry, gfn, target, evidence, level - 1))


# Writes.


def split(leaf: Leaf, level: int, target: int) -> tuple[Table, Work]:
    """Split a leaf of a level down to the level ``target``, all of it: ``ept_split_super_page()``.

    The new leaves are the old one's parts, with its mark. Installing the table is one store.
    """
    entry: Leaf | Table = leaf
    table, built = Table(), 0
    for _ in range(level - target):
        table = Table((entry,) * ENTRIES)
        built = ENTRIES * (1 + built)
        entry = table
    return table, Work(stores=1, built=built)


class Written(NamedTuple):
    """A table after a write."""

    table: Table
    work: Work
    split: bool
    """A larger leaf was split."""
    freed: bool
    """The entry was a table, which is to be freed, with all below it."""


def write(table: Table, gfn: int, target: int, entry: Leaf | None, level: int = ROOT_LEVEL) -> Written:
    """Write the entry of a frame at the level ``target``: ``ept_set_entry()``, once marks are resolved."""
    i = index_of(gfn, level)
    old = table.entries[i]
    if level == target:
        return Written(table.put(i, entry), Work(stores=1), split=False, freed=isinstance(old, Table))
    work = Work()
    if old is None:  # ept_set_middle_entry()
        below, work = Table(), Work(stores=1)
    elif isinstance(old, Leaf):
        below, work = split(old, level, target)
    else:
        below = old
    written = write(below, gfn, target, entry, level - 1)
    return Written(
        table.put(i, written.table),
        work.plus(written.work),
        split=isinstance(old, Leaf) or written.split,
        freed=written.freed,
    )
