"""Guest memory that comes, goes and moves.

Where nothing is said, entries that a path finds are ordinary memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eptreplay.p2m_types import INVALID, MAP_FOREIGN, RAM_RW
from eptreplay.workload.paths import found
from eptreplay.workload.paths.act import GFN, MFN, TODAY, Act, Era, P2m, chunks
from eptreplay.workload.paths.path import Path


def add_page(
    dom: int = 1, gfn: int = GFN, mfn: int = MFN, order: int = 0, replaced: int = 0, aliases: Sequence[int] = ()
) -> Iterable[Act]:
    """Give 2^order pages frames.

    ``replaced``: so many of the entries, from the first on, were there. ``aliases``: other guest frames that the
    machine frames are found at, and lose, page by page.
    """
    p2m = P2m(dom, "populate")
    entries = enumerate(chunks(gfn, mfn, order))
    return p2m.hold(
        *(p2m.remove(alias) for alias in aliases),
        [p2m.set(chunk, RAM_RW if number < replaced else INVALID, RAM_RW) for number, chunk in entries],
    )


def populate_physmap(
    dom: int = 1, gfns: Sequence[int] = (GFN, GFN + 4), mfn: int = MFN, order: int = 2
) -> Iterable[Act]:
    """Populate extents of 2^order pages.

    ``mfn``: the first frame of the first one.
    """
    for number, gfn in enumerate(gfns):
        yield from add_page(dom, gfn, mfn + (number << order), order)


def remove_page(dom: int = 1, gfn: int = GFN, order: int = 9, old: int = RAM_RW, era: Era = TODAY) -> Iterable[Act]:
    """Take the frames of 2^order pages away.

    ``old``: the type that their entries had.
    """
    p2m = P2m(dom, "physmap")
    return p2m.hold(p2m.remove(gfn, order, old=old, era=era))


def guest_remove_page(dom: int = 1, gfn: int = GFN) -> Iterable[Act]:
    """Take one page from the guest.

    It may be free before the lock is released.
    """
    p2m = P2m(dom, "decrease")
    return p2m.hold(p2m.remove(gfn))


def decrease_reservation(dom: int = 1, gfns: Sequence[int] = (GFN, GFN + 2), order: int = 1) -> Iterable[Act]:
    """Take extents of 2^order pages back: page by page, with the lock dropped in between."""
    for gfn in gfns:
        for page in range(1 << order):
            yield from guest_remove_page(dom, gfn + page)


def replace_table(dom: int = 1, gfn: int = GFN, mfn: int = MFN, order: int = 9) -> Iterable[Act]:
    """Put a superpage in the place of a table, which is freed."""
    p2m = P2m(dom, "populate")
    (superpage,) = p2m.set_entry(gfn, mfn, order, new=RAM_RW)
    return p2m.hold([superpage._replace(old_type=None, present=True), p2m.act("FREE_TABLE")])


def add_gmfn(
    dom: int = 1, gfn: int = GFN, mfn: int = MFN, source: int | None = GFN + 512, *, displaced: bool = True
) -> Iterable[Act]:
    """Move a frame of the guest to another of its guest frames.

    ``source``: where it was; the lookup of it holds the lock throughout. ``displaced``: another page was in the way.
    """
    p2m = P2m(dom, "physmap")
    return p2m.hold(*_moved(p2m, gfn, mfn, source, displaced=displaced))


def add_xen_page(
    dom: int = 1,
    gfn: int = GFN,
    mfn: int = MFN,
    source: int | None = GFN + 512,
    *,
    displaced: bool = True,
    era: Era = TODAY,
) -> Iterable[Act]:
    """Give a page of Xen's, shared info or a grant table frame, a guest frame.

    ``source``, ``displaced``: as of ``add_gmfn``. Up to 4.15 each step was a hold of its own; XSA-379 was the gap
    between them.
    """
    p2m = P2m(dom, "physmap")
    steps = _moved(p2m, gfn, mfn, source, displaced=displaced)
    if era == TODAY:
        return p2m.hold(*steps)
    return [act for step in steps for act in p2m.hold(step)]


def add_foreign(
    dom: int = 1, gfns: Sequence[int] = (GFN, GFN + 1), mfn: int = MFN, displaced: int = 0
) -> Iterable[Act]:
    """Map pages of another domain into a translated toolstack, one after the other.

    ``displaced``: so many of the guest frames, from the first on, had pages of their own.
    """
    p2m = P2m(dom, "foreign")
    for number, gfn in enumerate(gfns):
        removal = p2m.remove(gfn) if number < displaced else ()
        yield from p2m.hold(removal, p2m.set_entry(gfn, mfn + number, 0, new=MAP_FOREIGN))


def _moved(p2m: P2m, gfn: int, mfn: int, source: int | None, *, displaced: bool) -> list[list[Act]]:
    """Return the steps of ``xenmem_add_to_physmap_one()``."""
    steps = [p2m.remove(gfn)] if displaced else []
    if source is not None:
        steps.append(p2m.remove(source))
    return [*steps, p2m.set_entry(gfn, mfn, 0, new=RAM_RW)]


PATHS = (
    Path("add_page", "guest_physmap_add_page(), p2m_add_page()", add_page),
    Path("populate_physmap", "XENMEM_populate_physmap", populate_physmap),
    Path("remove_page", "guest_physmap_remove_page(), XENMEM_remove_from_physmap", remove_page, found.superpages),
    Path("guest_remove_page", "guest_remove_page()", guest_remove_page),
    Path("decrease_reservation", "XENMEM_decrease_reservation", decrease_reservation),
    Path("replace_table", "ept_set_entry() with ept_free_entry()", replace_table, found.pages),
    Path("add_gmfn", "XENMEM_add_to_physmap of XENMAPSPACE_gmfn", add_gmfn),
    Path("add_xen_page", "XENMEM_add_to_physmap of XENMAPSPACE_shared_info and _grant_table", add_xen_page),
    Path("add_foreign", "XENMEM_add_to_physmap_batch of XENMAPSPACE_gmfn_foreign, p2m_add_foreign()", add_foreign),
)
