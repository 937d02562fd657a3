"""Log-dirty tracking of a live migration, and of the frame buffer.

Up to 4.13 these operations also flushed the TLBs of the domain's dirty mask (``flush_tlb_mask()``, no more for HAP on
Intel since ``3174835ba8``). That goes through ``flush_lock``, writes no p2m, and is not among the acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW
from eptreplay.workload.paths import found
from eptreplay.workload.paths.act import GFN, TODAY, UNKNOWN_FRAME, Act, Era, P2m, paused
from eptreplay.workload.paths.path import Path
from eptreplay.workload.paths.recalculation import change_type_global

DIRTY = (GFN, GFN + 1, GFN + 7)


def logdirty_fault(dom: int = 1, gfn: int = GFN, mfn: int = UNKNOWN_FRAME) -> Iterable[Act]:
    """Make a tracked page that the guest writes to ordinary memory.

    If it is in a superpage, that is split.
    """
    p2m = P2m(dom, "logdirty_fault")
    return p2m.hold([p2m.change_type(gfn, RAM_LOGDIRTY, RAM_RW, mfn)])


def enable(dom: int = 1, views: Sequence[int] = (), *, pml: bool = True, era: Era = TODAY) -> Iterable[Act]:
    """Switch tracking on, with the domain paused.

    ``pml``: the processor logs writes, and did not do so before for this domain: then its A/D bits are switched on,
    which invalidates without a write (since 4.7). ``views``: alternate p2ms.
    """
    first = _switch_pml(dom) if pml and era != "4.6" else []
    return paused(dom, first, change_type_global(dom, RAM_LOGDIRTY, views))


def disable(dom: int = 1, views: Sequence[int] = (), *, pml: bool = True, era: Era = TODAY) -> Iterable[Act]:
    """Switch tracking off, with the domain paused.

    ``views``, ``pml``: as of ``enable``.
    """
    first = _switch_pml(dom) if pml and era != "4.6" else []
    return paused(dom, first, change_type_global(dom, RAM_RW, views))


def clean(dom: int = 1, logged: Sequence[int] = DIRTY, unknown: int = 0, views: Sequence[int] = ()) -> Iterable[Act]:
    """Take the bitmap of dirty pages, and track them all again.

    The bitmap is copied between the two holds. ``logged``, ``unknown``: as of ``pml_full``, of all vCPUs together.
    ``views``: alternate p2ms.
    """
    return paused(dom, drain(dom, logged, unknown), change_type_global(dom, RAM_LOGDIRTY, views))


def peek(dom: int = 1, logged: Sequence[int] = DIRTY, unknown: int = 0) -> Iterable[Act]:
    """Take the bitmap of dirty pages, which stay as they are.

    ``logged``, ``unknown``: as of ``clean``.
    """
    return paused(dom, drain(dom, logged, unknown))


def pml_full(dom: int = 1, logged: Sequence[int] = DIRTY, unknown: int = 0) -> Iterable[Act]:
    """Empty the log of a vCPU, which is full (at most 512 entries).

    ``logged``: pages in it that are tracked. ``unknown``: how many more whose frames nothing tells.
    """
    p2m = P2m(dom, "pml")
    return p2m.hold(_logged(p2m, logged, unknown))


def drain(dom: int = 1, logged: Sequence[int] = DIRTY, unknown: int = 0) -> Iterable[Act]:
    """Empty the logs of all vCPUs of a paused domain: all in one hold, in all releases.

    ``logged``, ``unknown``: as of ``clean``.
    """
    p2m = P2m(dom, "logdirty_global")
    return p2m.hold(P2m(dom, "pml").hold(_logged(p2m, logged, unknown)))


def scan_vram(
    dom: int = 1, dirty: Sequence[int] = DIRTY, logged: Sequence[int] = (), unknown: int = 0
) -> Iterable[Act]:
    """Tell the device model which pages of the frame buffer are dirty.

    Logs are drained, then every page is looked at in one hold, and those that are ordinary memory, ``dirty``, are
    tracked again. ``logged``, ``unknown``: as of ``clean``.
    """
    p2m = P2m(dom, "logdirty_global")
    changes = p2m.hold([p2m.change_type(gfn, RAM_RW, RAM_LOGDIRTY) for gfn in dirty])
    return paused(dom, drain(dom, logged, unknown), changes)


def set_vram(
    dom: int = 1,
    first: int = GFN,
    last: int = GFN + 0x401,
    old: tuple[int, int] | None = None,
    *,
    pml: bool = False,
    era: Era = TODAY,
) -> Iterable[Act]:
    """Make another range the frame buffer, from its first to its last frame.

    ``old``: first and last frame of the one before. ``pml``: as of ``enable``. The domain is paused for that alone.
    """
    p2m = P2m(dom, "logdirty_global")
    if pml and era != "4.6":
        yield from paused(dom, _switch_pml(dom))
    if old:
        yield from p2m.hold([p2m.change_range(*old, RAM_RW)])
    yield from p2m.hold([p2m.change_range(first, last, RAM_LOGDIRTY)])


def _switch_pml(dom: int) -> list[Act]:
    """Return what ``vmx_domain_update_eptp()`` does: ``ept_sync_domain()``, and no write."""
    p2m = P2m(dom, "logdirty_global")
    return p2m.hold([p2m.act("CALL")])


def _logged(p2m: P2m, logged: Sequence[int], unknown: int) -> list[Act]:
    """Return what becomes of the entries of a log."""
    p2m = p2m._replace(cause="pml")
    acts = [p2m.change_type(gfn, RAM_LOGDIRTY, RAM_RW) for gfn in logged]
    if unknown:
        acts.append(p2m.change_type(0, RAM_LOGDIRTY, RAM_RW)._replace(gfn=None, count=unknown))
    return acts


PATHS = (
    Path("logdirty_fault", "hvm_hap_nested_page_fault()", logdirty_fault, found.tracked_superpages),
    Path("enable", "hap_enable_log_dirty()", enable),
    Path("disable", "hap_disable_log_dirty()", disable),
    Path("clean", "paging_log_dirty_op() of XEN_DOMCTL_SHADOW_OP_CLEAN", clean),
    Path("peek", "paging_log_dirty_op() of XEN_DOMCTL_SHADOW_OP_PEEK", peek),
    Path("pml_full", "vmx_vcpu_flush_pml_buffer()", pml_full),
    Path("drain", "p2m_flush_hardware_cached_dirty()", drain),
    Path("scan_vram", "hap_track_dirty_vram(), paging_log_dirty_range()", scan_vram),
    Path("set_vram", "hap_track_dirty_vram()", set_vram, found.superpages),
)
