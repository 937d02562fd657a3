"""What a domain with more than one p2m adds to a path: writes to alternate p2ms, and the flush of nested ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eptreplay.p2m_types import INVALID, RAM_RW
from eptreplay.workload.paths.act import GFN, HOST_VIEW, MFN, NESTED_VIEW, Act, Acts, Chunk, P2m
from eptreplay.workload.paths.path import Path


def propagated(acts: Acts, views: Sequence[int]) -> Iterable[Act]:
    """Yield acts; behind each write of a host p2m, the same in alternate ones that map the frame.

    Each is done in a hold of the alternate p2m, within that of the host p2m.
    """
    for act in acts:
        yield act
        if act.op == "SET" and act.view == HOST_VIEW:
            for view in views:
                yield from P2m(act.dom, act.cause, view).hold([act._replace(view=view)])


def flushing(acts: Acts, nested: Sequence[int]) -> Iterable[Act]:
    """Yield acts; behind the first sync of each hold of a host p2m, the calls for nested p2ms that are in use.

    A sync empties them, so that further ones in the same hold find nothing to do.
    """
    flushed = False
    for act in acts:
        yield act
        if act.op == "HOLD_BEGIN":
            flushed = False
        elif not flushed and act.view == HOST_VIEW and (act.present or act.op == "GLOBAL_CHANGE"):
            flushed = True
            yield from (P2m(act.dom, act.cause, view).act("CALL") for view in nested)


def write_with_views(
    dom: int = 1, gfn: int = GFN, mfn: int = MFN, old: int = RAM_RW, new: int = INVALID, views: Sequence[int] = (1, 2)
) -> Iterable[Act]:
    """Change an entry in a domain with alternate p2ms.

    ``views``: those that map the frame too. ``old``, ``new``: types of the entry.
    """
    p2m = P2m(dom, "other")
    return propagated(p2m.hold([p2m.set(Chunk(gfn, mfn, 0), old, new)]), views)


def write_with_nested(
    dom: int = 1, gfn: int = GFN, mfn: int = MFN, old: int = RAM_RW, new: int = INVALID, nested: int = 2
) -> Iterable[Act]:
    """Change an entry in a domain that runs guests of its own.

    ``nested``: p2ms of theirs in use, 10 at most. ``old``, ``new``: types of the entry.
    """
    p2m = P2m(dom, "other")
    views = range(NESTED_VIEW, NESTED_VIEW + nested)
    return flushing(p2m.hold([p2m.set(Chunk(gfn, mfn, 0), old, new)]), views)


PATHS = (
    Path("write_with_views", "ept_set_entry() with p2m_altp2m_propagate_change()", write_with_views),
    Path("write_with_nested", "ept_set_entry() with p2m_flush_nestedp2m()", write_with_nested),
)
