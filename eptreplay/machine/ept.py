"""The EPT tables of every p2m: nodes of 512 entries, as the processor sees them, four levels deep.

``node[n, i]`` is an entry of 64 bits: bit 0 says that it is used, bit 1 that it is a leaf, bits 2 to 7 hold the p2m
type of a leaf, and the bits above the machine frame of a leaf or the number of the next node.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import kernel, part

LEVELS = 4
ENTRIES = 512
USED, LEAF = 1, 2
TYPE_SHIFT, TYPE_MASK, FRAME_SHIFT = 2, 0x3F, 8
FRAME_MASK = (1 << 52) - 1
GFN_MASK = (1 << 36) - 1
"""Frame numbers that four levels can map; a recording that has others is not about EPT, and they wrap."""

Int64s = NDArray[np.int64]


def plan_nodes(roots: int, p2m: Int64s, gfn: Int64s) -> tuple[Int64s, int]:
    """Return for each write the numbers of the nodes on its path, [write, level], and how many nodes there are.

    Nodes of a frame's path have numbers of their own, whether they are in use at a time or not; those below ``roots``
    are the roots. So the engine allocates nothing, and a table that comes, goes and comes again takes no new room.
    """
    path = np.empty((gfn.size, LEVELS - 1), np.int64)
    total = roots
    for level in range(LEVELS - 1):
        keys, path[:, level] = np.unique(p2m << 48 | (gfn & GFN_MASK) >> (9 * (level + 1)), return_inverse=True)
        path[:, level] += total
        total += keys.size
    return path, total


@part
def store(node: Int64s, linked: Int64s, path: Int64s, root: int, gfn: int, order: int, kind: int, mfn: int) -> None:
    """Write one entry, and link the tables on the way to it. ``linked[n]``: whether node n has ever been in use."""
    target = min(order // 9, LEVELS - 1)
    gfn &= GFN_MASK
    n = root
    for level in range(LEVELS - 1, target, -1):
        i = (gfn >> (9 * level)) & (ENTRIES - 1)
        below = path[level - 1]
        if node[n, i] & (USED | LEAF) != USED:
            # What was empty, or a larger leaf, becomes a table.
            node[n, i] = (below << FRAME_SHIFT) | USED
            if linked[below]:
                for k in range(ENTRIES):
                    node[below, k] = 0
            linked[below] = 1
        n = below
    i = (gfn >> (9 * target)) & (ENTRIES - 1)
    node[n, i] = ((mfn & FRAME_MASK) << FRAME_SHIFT) | ((kind & TYPE_MASK) << TYPE_SHIFT) | LEAF | USED


@kernel
def look_up(node: Int64s, root: int, gfn: int, order: int) -> int:
    """Return the entry for a frame at the level of ``order``, or 0 if there is none at that level."""
    target = min(order // 9, LEVELS - 1)
    gfn &= GFN_MASK
    n = root
    for level in range(LEVELS - 1, target, -1):
        entry = node[n, (gfn >> (9 * level)) & (ENTRIES - 1)]
        if entry & (USED | LEAF) != USED:
            return 0
        n = (entry >> FRAME_SHIFT) & FRAME_MASK
    return int(node[n, (gfn >> (9 * target)) & (ENTRIES - 1)])
