"""What some paths find, where their acts alone do not tell: tables as the examples of the documentation have them."""

from __future__ import annotations

from eptreplay.p2m_types import INVALID, POPULATE_ON_DEMAND, RAM_LOGDIRTY, RAM_RW
from eptreplay.workload.paths.act import GFN, MFN, NO_FRAME, Acts, Chunk, P2m


def pages() -> Acts:
    """Map 2 MiB page by page."""
    p2m = P2m(1, "populate")
    return p2m.hold([p2m.set(Chunk(GFN + page, MFN + page, 0), INVALID, RAM_RW) for page in range(512)])


def superpages(kind: int = RAM_RW) -> Acts:
    """Map 8 MiB in superpages."""
    p2m = P2m(1, "populate")
    return p2m.hold([p2m.set(Chunk(GFN + start, MFN + start, 9), INVALID, kind) for start in range(0, 4 * 512, 512)])


def tracked_superpages() -> Acts:
    """Map superpages whose writes are tracked."""
    return superpages(RAM_LOGDIRTY)


def superpage_on_demand() -> Acts:
    """Leave an entry of 2 MiB without a page."""
    p2m = P2m(1, "populate")
    return p2m.hold([p2m.set(Chunk(GFN, NO_FRAME, 9), INVALID, POPULATE_ON_DEMAND)])


def marks() -> Acts:
    """Switch log-dirty on, which marks the root."""
    p2m = P2m(1, "logdirty_global")
    return p2m.hold([p2m.change_all(RAM_LOGDIRTY)])
