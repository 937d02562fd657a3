"""What listeners to memory events do: access rights, paging, and sharing of pages between domains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eptreplay.p2m_types import ACCESSES, RAM_RW, RWX
from eptreplay.workload.paths.act import GFN, MFN, UNKNOWN_FRAME, Act, Chunk, P2m
from eptreplay.workload.paths.path import Path

PAGING_OUT, PAGED, PAGING_IN, SHARED = range(9, 13)
"""Numbers of p2m types."""

ACCESS = {access.name: access.number for access in ACCESSES}
"""Numbers of ``p2m_access_t``."""


def set_mem_access(
    dom: int = 1,
    gfn: int = GFN,
    count: int = 3,
    access: int = ACCESS["rx"],
    old_access: int = RWX,
    per_hold: int = 64,
) -> Iterable[Act]:
    """Take rights from ``count`` pages, or give them back.

    ``access``, ``old_access``: what the pages have afterwards, and had before. ``per_hold``: pages until the hypercall
    is preempted, to be continued. It looks for a reason after each 64.
    """
    p2m = P2m(dom, "mem_access")
    for start in range(0, count, per_hold):
        pages = range(start, min(count, start + per_hold))
        yield from p2m.hold([_change_access(p2m, gfn + page, access, old_access) for page in pages])


def promote_access(
    dom: int = 1, gfn: int = GFN, access: int = ACCESS["rw"], old_access: int = ACCESS["rx2rw"]
) -> Iterable[Act]:
    """Give the guest what it was denied, having told of it.

    ``old_access``: ``rx2rw``, which becomes ``rw``, or ``n2rwx``, which becomes ``rwx``.
    """
    p2m = P2m(dom, "mem_access")
    return p2m.hold([_change_access(p2m, gfn, access, old_access)])


def nominate_for_paging(dom: int = 1, gfn: int = GFN) -> Iterable[Act]:
    """Choose a page to be paged out: nobody is to reach it any more."""
    return _one_type(dom, gfn, RAM_RW, PAGING_OUT)


def evict(dom: int = 1, gfn: int = GFN) -> Iterable[Act]:
    """Free the frame of a page that has been paged out."""
    return _one_type(dom, gfn, PAGING_OUT, PAGED)


def populate_paged(dom: int = 1, gfn: int = GFN) -> Iterable[Act]:
    """Tell the pager that the guest wants a page back."""
    return _one_type(dom, gfn, PAGED, PAGING_IN)


def prepare_paged(dom: int = 1, gfn: int = GFN, mfn: int = MFN) -> Iterable[Act]:
    """Give a page its frame and its contents back."""
    return _one_type(dom, gfn, PAGING_IN, RAM_RW, mfn)


def nominate_for_sharing(dom: int = 1, gfn: int = GFN) -> Iterable[Act]:
    """Make a page one that can be shared: nobody may write to it any more."""
    return _one_type(dom, gfn, RAM_RW, SHARED)


def share(
    source: int = 1,
    client: int = 2,
    mfn: int = MFN,
    gfns: Sequence[tuple[int, int]] = ((2, GFN), (2, GFN + 1), (3, GFN)),
) -> Iterable[Act]:
    """Join two equal pages: whoever maps the client's gets the source's frame.

    ``gfns``: domain and guest frame of each; the client's own is among them. The p2ms of ``source`` and ``client``, two
    domains, are locked throughout, that with the lower number first.
    """
    held = [P2m(dom, "other") for dom in sorted({source, client})]
    writes: list[Act] = []
    for dom, gfn in gfns:
        p2m = P2m(dom, "other")
        write = [p2m.set(Chunk(gfn, mfn, 0), SHARED, SHARED)]
        writes += write if p2m in held else p2m.hold(write)
    for p2m in reversed(held):
        writes = p2m.hold(writes)
    return writes


def unshare(dom: int = 1, gfn: int = GFN, mfn: int = MFN, *, last: bool = False) -> Iterable[Act]:
    """Give a guest that writes to a shared page one of its own.

    ``last``: nobody else has it any more, so it may keep it.
    """
    p2m = P2m(dom, "other")
    copied = [] if last else [p2m.set(Chunk(gfn, mfn, 0), SHARED, SHARED)]
    return p2m.hold(copied, [p2m.change_type(gfn, SHARED, RAM_RW, UNKNOWN_FRAME if last else mfn)])


def _one_type(dom: int, gfn: int, old: int, new: int, mfn: int = UNKNOWN_FRAME) -> list[Act]:
    p2m = P2m(dom, "other")
    return p2m.hold([p2m.change_type(gfn, old, new, mfn)])


def _change_access(p2m: P2m, gfn: int, access: int, old_access: int) -> Act:
    return p2m.set(Chunk(gfn, UNKNOWN_FRAME, 0), RAM_RW, RAM_RW, access, old_access)


PATHS = (
    Path("set_mem_access", "p2m_set_mem_access()", set_mem_access),
    Path("promote_access", "p2m_mem_access_check()", promote_access),
    Path("nominate_for_paging", "p2m_mem_paging_nominate()", nominate_for_paging),
    Path("evict", "p2m_mem_paging_evict()", evict),
    Path("populate_paged", "p2m_mem_paging_populate()", populate_paged),
    Path("prepare_paged", "p2m_mem_paging_prep()", prepare_paged),
    Path("nominate_for_sharing", "mem_sharing_nominate_page()", nominate_for_sharing),
    Path("share", "mem_sharing_share_pages()", share),
    Path("unshare", "mem_sharing_unshare_page()", unshare),
)
