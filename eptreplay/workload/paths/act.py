"""What a write path does to p2ms, act by act, and the shapes that all paths are made of.

An act is what ``docs/background/tables.md`` calls a row, without a time and without a pCPU. Whether its entry was
present follows from the type and the access that the entry had, as it does in EPT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, NamedTuple, get_args

from eptreplay.p2m_types import INVALID, RAM_RW, RWX, is_present

Era = Literal["4.6", "4.9", "4.21"]
"""Releases whose hold structure a path can have (``--paths``)."""

ERAS: tuple[Era, ...] = get_args(Era)
TODAY: Era = "4.21"

HOST_VIEW = 0
NESTED_VIEW = 256
"""View of the first nested p2m; alternate ones are between."""

NO_FRAME = 2**64 - 1
"""``INVALID_MFN``: what an entry has that maps nothing."""

UNKNOWN_FRAME = 0
"""In place of a frame that a change of type leaves as it was, and the path does not know."""

SIZES = (18, 9, 0)
"""Orders that an entry can map: 1 GiB, 2 MiB, 4 KiB."""

GFN, MFN = 0x40000, 0x140000
"""Frames of examples: 1 GiB into the guest, 5 GiB into the machine."""


class Act(NamedTuple):
    """One thing that a path does. Which fields count depends on ``op``."""

    op: str
    """HOLD_BEGIN SET MISCONFIG GLOBAL_CHANGE FREE_TABLE POD_RECLAIM CALL HOLD_END PAUSE UNPAUSE"""
    dom: int
    """Whose p2m it is; or the domain that is paused."""
    view: int = HOST_VIEW
    gfn: int | None = None
    """None if unknown; of GLOBAL_CHANGE the first of a range, None for the whole p2m."""
    order: int = 0
    mfn: int = UNKNOWN_FRAME
    old_type: int | None = None
    """None if unknown, and of an entry that was a table."""
    present: bool = False
    """The entry was present before."""
    new_type: int | None = None
    """None for a GLOBAL_CHANGE of memory types alone."""
    cause: str = "other"
    count: int = 1  # type: ignore[assignment]  # tuples have a method of this name, which rows need not
    """So many writes at unknown frames."""
    access: int = RWX
    """``p2m_access_t`` of the entry afterwards."""
    last_gfn: int | None = None
    """GLOBAL_CHANGE: the last of a range."""


Acts = Iterable[Act]


class Chunk(NamedTuple):
    """What one entry of a set-entry call maps."""

    gfn: int
    mfn: int
    order: int


def chunks(gfn: int, mfn: int, order: int) -> list[Chunk]:
    """Return the entries that ``p2m_set_entry()`` writes: as large as both frames and the rest are aligned (rule R1).

    Without a frame the alignment of the guest's counts alone, since Xen 4.9 (``efa9596e9d``).
    """
    found = []
    rest = 1 << order
    while rest:
        aligned = gfn | rest | (0 if mfn == NO_FRAME else mfn)
        size = next(size for size in SIZES if aligned % (1 << size) == 0)
        found.append(Chunk(gfn, mfn, size))
        gfn, mfn, rest = gfn + (1 << size), _further(mfn, 1 << size), rest - (1 << size)
    return found


def removal_chunks(gfn: int, order: int, era: Era) -> list[Chunk]:
    """Return the entries that a removal writes: up to 4.8 ``INVALID_MFN``, all ones, spoilt any alignment (R1)."""
    if era == "4.6":
        return [Chunk(gfn + page, NO_FRAME, 0) for page in range(1 << order)]
    return chunks(gfn, NO_FRAME, order)


class P2m(NamedTuple):
    """A p2m that a path works on, and why."""

    dom: int
    cause: str
    view: int = HOST_VIEW

    def act(self, op: str) -> Act:
        """Return an act that needs no more than this."""
        return Act(op, self.dom, self.view, cause=self.cause)

    def hold(self, *parts: Acts) -> list[Act]:
        """Return acts with the write lock held: ``p2m_lock()`` or ``get_gfn()``, and its counterpart."""
        return [self.act("HOLD_BEGIN"), *chain(*parts), self.act("HOLD_END")]

    def set(self, chunk: Chunk, old: int, new: int, access: int = RWX, old_access: int = RWX) -> Act:
        """Return the write of one entry; ``old`` and ``new`` are types, ``INVALID`` for nothing."""
        return self.act("SET")._replace(
            gfn=chunk.gfn,
            order=chunk.order,
            mfn=chunk.mfn,
            old_type=old,
            present=is_present(old, old_access),
            new_type=new,
            access=access,
        )

    def set_entry(self, gfn: int, mfn: int, order: int, *, new: int, old: int = INVALID) -> list[Act]:
        """Return ``p2m_set_entry()`` where all entries had the same type."""
        return [self.set(chunk, old, new) for chunk in chunks(gfn, mfn, order)]

    def remove(self, gfn: int, order: int = 0, *, old: int = RAM_RW, era: Era = TODAY) -> list[Act]:
        """Return the removal of pages (``p2m_remove_page()``)."""
        return [self.set(chunk, old, INVALID) for chunk in removal_chunks(gfn, order, era)]

    def change_type(self, gfn: int, old: int, new: int, mfn: int = UNKNOWN_FRAME) -> Act:
        """Return what ``p2m_change_type_one()`` writes."""
        return self.set(Chunk(gfn, mfn, 0), old, new)

    def change_all(self, new_type: int | None) -> Act:
        """Return a change of the whole p2m; None: memory types are to be recalculated, p2m types are not."""
        return self.act("GLOBAL_CHANGE")._replace(new_type=new_type)

    def change_range(self, first: int, last: int, new_type: int) -> Act:
        """Return ``p2m_change_type_range()`` of one p2m."""
        return self.change_all(new_type)._replace(gfn=first, last_gfn=last)

    def misconfig(self, gfn: int) -> Act:
        """Return ``resolve_misconfig()``."""
        return self.act("MISCONFIG")._replace(gfn=gfn)

    def reclaim(self, gfn: int, order: int = 0) -> Act:
        """Return the sync point before pages go to the cache of populate-on-demand (``p2m_tlb_flush_sync()``)."""
        return self.act("POD_RECLAIM")._replace(gfn=gfn, order=order)


def paused(dom: int, *parts: Acts) -> list[Act]:
    """Return acts with a domain paused."""
    return [Act("PAUSE", dom), *chain(*parts), Act("UNPAUSE", dom)]


def number_holds(acts: Acts) -> Iterator[tuple[int | None, Act]]:
    """Yield each act with the hold that it is in, from 0 on: the outermost one of its p2m. None outside of any.

    Write locks are recursive: within a hold, another one of the same p2m is none of its own.
    """
    numbers: dict[tuple[int, int], int] = {}
    depths: dict[tuple[int, int], int] = {}
    held = 0
    for act in acts:
        p2m = act.dom, act.view
        if act.op == "HOLD_BEGIN":
            depths[p2m] = depths.get(p2m, 0) + 1
            if depths[p2m] == 1:
                numbers[p2m], held = held, held + 1
        yield numbers.get(p2m), act
        if act.op == "HOLD_END":
            depths[p2m] -= 1
            if depths[p2m] == 0:
                del numbers[p2m]


def _further(mfn: int, pages: int) -> int:
    return NO_FRAME if mfn == NO_FRAME else mfn + pages
