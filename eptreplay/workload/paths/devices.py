"""Pages that are not the guest's own: grants of other domains, and device memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eptreplay.p2m_types import GRANT_MAP_RO, GRANT_MAP_RW, INVALID, MMIO_DIRECT
from eptreplay.workload.paths import found
from eptreplay.workload.paths.act import GFN, MFN, TODAY, Act, Era, P2m, chunks
from eptreplay.workload.paths.path import Path

DEVICE = 0xE0000
"""A machine frame of a device, as an example."""


def grant_map(
    dom: int = 1, gfn: int = GFN, mfn: int = MFN, old: int = INVALID, *, writable: bool = True
) -> Iterable[Act]:
    """Map a page that was granted to a translated guest.

    ``old``: the type that the entry had. ``writable``: it is granted for writing.
    """
    p2m = P2m(dom, "grant")
    return p2m.hold(p2m.set_entry(gfn, mfn, 0, old=old, new=_grant(writable=writable)))


def grant_unmap(dom: int = 1, gfns: Sequence[int] = (GFN, GFN + 1), *, writable: bool = True) -> Iterable[Act]:
    """Unmap granted pages: one operation each, with the lock dropped in between.

    The reference of the granted page is dropped after the release. ``writable``: as of ``grant_map``.
    """
    p2m = P2m(dom, "grant")
    for gfn in gfns:
        yield from p2m.hold(p2m.remove(gfn, old=_grant(writable=writable)))


def map_mmio(dom: int = 1, gfn: int = GFN, mfn: int = DEVICE, order: int = 9, replaced: int = 0) -> Iterable[Act]:
    """Map 2^order pages of device memory, with a hold for each entry.

    One call does 64 entries at most; whoever wants more calls again. ``replaced``: so many of the entries, from the
    first on, were there.
    """
    p2m = P2m(dom, "other")
    for number, chunk in enumerate(chunks(gfn, mfn, order)):
        yield from p2m.hold([p2m.set(chunk, MMIO_DIRECT if number < replaced else INVALID, MMIO_DIRECT)])


def unmap_mmio(dom: int = 1, gfn: int = GFN, mfn: int = DEVICE, order: int = 9, era: Era = TODAY) -> Iterable[Act]:
    """Unmap device memory, with a hold for each set-entry call: its order suits both frames, as when it was mapped."""
    p2m = P2m(dom, "other")
    for chunk in chunks(gfn, mfn, order):
        yield from p2m.hold(p2m.remove(chunk.gfn, chunk.order, old=MMIO_DIRECT, era=era))


def _grant(*, writable: bool) -> int:
    return GRANT_MAP_RW if writable else GRANT_MAP_RO


PATHS = (
    Path("grant_map", "create_grant_p2m_mapping()", grant_map),
    Path("grant_unmap", "replace_grant_p2m_mapping()", grant_unmap),
    Path("map_mmio", "map_mmio_regions(), set_mmio_p2m_entry()", map_mmio),
    Path("unmap_mmio", "unmap_mmio_regions(), clear_mmio_p2m_entry()", unmap_mmio, found.superpages),
)
