"""Types that change, for one entry or for many at a time, and the marks that such a change leaves behind.

A change of many entries marks the uppermost ones alone; each entry is recalculated when somebody comes to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW
from eptreplay.workload.paths import found
from eptreplay.workload.paths.act import GFN, MFN, Act, P2m
from eptreplay.workload.paths.path import Path


def change_type_one(
    dom: int = 1, gfn: int = GFN, old: int = RAM_RW, new: int = RAM_LOGDIRTY, *, matches: bool = True
) -> Iterable[Act]:
    """Change the type of a page, if it is the expected one.

    ``old``: that one, and ``matches`` says that it is so.
    """
    p2m = P2m(dom, "other")
    return p2m.hold([p2m.change_type(gfn, old, new)] if matches else [])


def change_type_global(
    dom: int = 1, new: int | None = RAM_LOGDIRTY, views: Sequence[int] = (), cause: str = "logdirty_global"
) -> Iterable[Act]:
    """Change a type in the whole p2m.

    ``views``: alternate p2ms, in which it changes within the same hold (since 4.12). ``new``: None for memory types.
    ``cause``: what it is for.
    """
    p2m = P2m(dom, cause)
    return p2m.hold([p2m.change_all(new)], *_in_each(p2m, views, [p2m.change_all(new)]))


def change_type_range(
    dom: int = 1,
    first: int = GFN,
    last: int = GFN + 0x401,
    new: int = RAM_LOGDIRTY,
    views: Sequence[int] = (),
) -> Iterable[Act]:
    """Change a type in a range, from the first to the last frame.

    ``views``: alternate p2ms, in which it changes within the same hold (since 4.12).
    """
    p2m = P2m(dom, "logdirty_global")
    change = [p2m.change_range(first, last, new)]
    return p2m.hold(change, *_in_each(p2m, views, change))


def memory_type_changed(dom: int = 1, views: Sequence[int] = ()) -> Iterable[Act]:
    """Have memory types recalculated, as MTRRs or passed-through devices have changed.

    ``views``: as of ``change_type_global``.
    """
    return change_type_global(dom, None, views, "other")


def misconfig(dom: int = 1, gfn: int = GFN, view: int = 0) -> Iterable[Act]:
    """Resolve the mark that a processor came upon (EPT_MISCONFIG).

    Marks move down to what lies beside the path to the frame. ``view``: the p2m that the vCPU runs on.
    """
    p2m = P2m(dom, "misconfig", view)
    return p2m.hold([p2m.misconfig(gfn)])


def finish_type_change(dom: int = 1, gfn: int = GFN, count: int = 2) -> Iterable[Act]:
    """Recalculate types of frames without waiting for anybody to come to them.

    Nothing is invalidated.
    """
    p2m = P2m(dom, "other")
    return p2m.hold([p2m.misconfig(gfn + page) for page in range(count)])


def exec_fault(dom: int = 1, gfn: int = GFN, mfn: int = MFN) -> Iterable[Act]:
    """Split a superpage that the guest executes in, and that is not executable for an erratum's sake (XSA-304)."""
    p2m = P2m(dom, "other")
    return p2m.hold([p2m.change_type(gfn, RAM_RW, RAM_RW, mfn)])


def _in_each(p2m: P2m, views: Sequence[int], acts: Sequence[Act]) -> list[list[Act]]:
    """Return the same acts in a hold of each alternate p2m."""
    return [p2m._replace(view=view).hold(act._replace(view=view) for act in acts) for view in views]


PATHS = (
    Path("change_type_one", "p2m_change_type_one()", change_type_one),
    Path("change_type_global", "p2m_change_entry_type_global()", change_type_global),
    Path("change_type_range", "p2m_change_type_range()", change_type_range, found.superpages),
    Path("memory_type_changed", "p2m_memory_type_changed()", memory_type_changed),
    Path("misconfig", "ept_handle_misconfig()", misconfig, found.marks),
    Path("finish_type_change", "p2m_finish_type_change()", finish_type_change, found.marks),
    Path("exec_fault", "hvm_hap_nested_page_fault()", exec_fault, found.superpages),
)
