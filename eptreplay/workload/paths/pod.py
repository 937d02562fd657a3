"""Populate-on-demand.

A page of zeros may go back to the cache: its entry is unmapped, whoever may still reach the page is interrupted at a
sync point, and then all of it is looked at. If it is not empty after all, or is in use elsewhere, the entry is
restored. Pages whose first bytes are not zero are not even unmapped, and not among the acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eptreplay.p2m_types import INVALID, POPULATE_ON_DEMAND, RAM_RW
from eptreplay.workload.paths import found
from eptreplay.workload.paths.act import (
    GFN,
    MFN,
    NO_FRAME,
    TODAY,
    UNKNOWN_FRAME,
    Act,
    Chunk,
    Era,
    P2m,
    removal_chunks,
)
from eptreplay.workload.paths.path import Path

ELSEWHERE = GFN + 0x800
"""Where examples reclaim pages."""


class Check(NamedTuple):
    """A page that is unmapped to be looked at."""

    gfn: int
    order: int = 0
    """0, or 9 for a superpage."""
    mfn: int = UNKNOWN_FRAME
    empty: bool = True
    """It goes to the cache; else its entry is restored."""


def fault(dom: int = 1, gfn: int = GFN, mfn: int = MFN, order: int = 0) -> Iterable[Act]:
    """Give an entry that the guest touches a page of the cache."""
    p2m = P2m(dom, "pod_fault")
    return p2m.hold(_populated(p2m, gfn, mfn, order))


def fault_with_reclaim(
    dom: int = 1,
    gfn: int = GFN,
    mfn: int = MFN,
    order: int = 0,
    checks: Sequence[Check] = (Check(ELSEWHERE, 9, empty=False), Check(ELSEWHERE), Check(ELSEWHERE + 1)),
) -> Iterable[Act]:
    """Reclaim pages first, as more entries lack one than the cache has (since 4.7).

    ``checks``: one or more of the pages populated last, superpages as such; pages of a superpage that was not empty
    follow one by one.
    """
    p2m = P2m(dom, "pod_fault")
    reclaim = (
        check_superpage(dom, check.gfn, check.mfn, empty=check.empty) if check.order else _check_pages(dom, [check])
        for check in checks
    )
    return p2m.hold(*reclaim, _populated(p2m, gfn, mfn, order))


def fault_with_sweep(
    dom: int = 1,
    gfn: int = GFN,
    mfn: int = MFN,
    order: int = 0,
    strides: Sequence[Sequence[Check]] = (
        (Check(ELSEWHERE + 1), Check(ELSEWHERE, empty=False)),
        (Check(ELSEWHERE + 2),),
    ),
) -> Iterable[Act]:
    """Sweep memory for pages of zeros first, as the cache is empty.

    ``strides``: what is unmapped, up to 16 pages at a time.
    """
    p2m = P2m(dom, "pod_fault")
    sweep = P2m(dom, "pod_reclaim").hold(*(_check_pages(dom, stride) for stride in strides))
    return p2m.hold(sweep, _populated(p2m, gfn, mfn, order))


def remap(dom: int = 1, gfn: int = GFN, era: Era = TODAY) -> Iterable[Act]:
    """Split an entry of 2 MiB, as the cache has no superpage for it; the guest faults again.

    Up to 4.9 all 512 entries were written, though the first write splits.
    """
    p2m = P2m(dom, "pod_fault")
    pages = range(1) if era == TODAY else range(512)
    start = gfn - gfn % 512
    return p2m.hold([p2m.set(_nothing(start + page), POPULATE_ON_DEMAND, POPULATE_ON_DEMAND) for page in pages])


def check_superpage(dom: int = 1, gfn: int = GFN, mfn: int = UNKNOWN_FRAME, *, empty: bool = True) -> Iterable[Act]:
    """Look at a superpage, to reclaim it; mostly within a hold that is there already.

    ``empty``: it goes to the cache.
    """
    p2m = P2m(dom, "pod_reclaim")
    restored = [] if empty else [p2m.set(Chunk(gfn, mfn, 9), POPULATE_ON_DEMAND, RAM_RW)]
    unmapped = p2m.set(_nothing(gfn, 9), RAM_RW, POPULATE_ON_DEMAND)
    return p2m.hold([unmapped, p2m.reclaim(gfn, 9), *restored])


def decrease(
    dom: int = 1, gfn: int = GFN + 2, order: int = 2, ram: int = 1, pod: int = 2, piece: int = 0, era: Era = TODAY
) -> Iterable[Act]:
    """Take 2^order frames back, some of which have no page; of the others, the cache takes what it lacks.

    ``ram``: entries, of order ``piece`` and from the first on, whose pages the cache takes. ``pod``: entries behind
    them that have none. With 4.6 all entries are of 4 KiB. An unaligned request is taken in aligned pieces, with a
    hold for each, since 4.16.
    """
    p2m = P2m(dom, "decrease")
    pieces = [
        *((number << piece, RAM_RW) for number in range(ram)),
        *((ram + number << piece, POPULATE_ON_DEMAND) for number in range(pod)),
    ]
    size = 1 << _order_of_holds(gfn, order, era)
    for start in range(0, 1 << order, size):
        within = [(gfn + page, old) for page, old in pieces if start <= page < start + size]
        yield from p2m.hold(*(_given_back(p2m, page, piece, old, era) for page, old in within))


def mark(dom: int = 1, gfn: int = GFN, order: int = 9, era: Era = TODAY) -> Iterable[Act]:
    """Let 2^order frames have pages on demand.

    An unaligned request is taken in aligned pieces since 4.16.
    """
    p2m = P2m(dom, "populate")
    aligned = _order_of_holds(gfn, order, era)
    for start in range(gfn, gfn + (1 << order), 1 << aligned):
        yield from p2m.hold(p2m.set_entry(start, NO_FRAME, aligned, new=POPULATE_ON_DEMAND))


def _order_of_holds(gfn: int, order: int, era: Era) -> int:
    """Return how much of a request is done in one hold: since ``182c737b9b`` (4.16) as much as is aligned."""
    if era != TODAY:
        return order
    both = gfn | 1 << order
    return (both & -both).bit_length() - 1


def _populated(p2m: P2m, gfn: int, mfn: int, order: int) -> list[Act]:
    start = gfn >> order << order
    return p2m.set_entry(start, mfn, order, old=POPULATE_ON_DEMAND, new=RAM_RW)


def _check_pages(dom: int, checks: Sequence[Check]) -> list[Act]:
    """Return ``p2m_pod_zero_check()``: unmap all, one sync point, restore what is not empty."""
    p2m = P2m(dom, "pod_reclaim")
    unmapped = [p2m.set(_nothing(check.gfn), RAM_RW, POPULATE_ON_DEMAND) for check in checks]
    restored = [
        p2m.set(Chunk(check.gfn, check.mfn, 0), POPULATE_ON_DEMAND, RAM_RW) for check in checks if not check.empty
    ]
    return [*unmapped, p2m.reclaim(checks[0].gfn), *restored]


def _given_back(p2m: P2m, gfn: int, order: int, old: int, era: Era) -> Iterable[Act]:
    for chunk in removal_chunks(gfn, order, era):
        yield p2m.set(chunk, old, INVALID)
        if old == RAM_RW:
            yield p2m.reclaim(chunk.gfn, chunk.order)


def _nothing(gfn: int, order: int = 0) -> Chunk:
    return Chunk(gfn, NO_FRAME, order)


PATHS = (
    Path("pod_fault", "p2m_pod_demand_populate()", fault),
    Path("pod_fault_with_reclaim", "pod_eager_reclaim()", fault_with_reclaim),
    Path("pod_fault_with_sweep", "p2m_pod_emergency_sweep(), p2m_pod_zero_check()", fault_with_sweep),
    Path("pod_remap", "p2m_pod_demand_populate(), remap_and_retry", remap, found.superpage_on_demand),
    Path("pod_check_superpage", "p2m_pod_zero_check_superpage()", check_superpage),
    Path("pod_decrease", "p2m_pod_decrease_reservation()", decrease),
    Path("pod_mark", "guest_physmap_mark_populate_on_demand()", mark),
)
