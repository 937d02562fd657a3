"""Whose turn it is: a tournament of pCPUs, won by the one with the earliest time, and among equals the lowest number.

``tree[1]`` is the winner of all, ``tree[i]`` that of ``tree[2 i]`` and ``tree[2 i + 1]``; the second half of the array
are the pCPUs themselves, up to a power of two. A change costs one comparison for each level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine.fields import NEVER

Int64s = NDArray[np.int64]


def new_clock(pcpus: int) -> tuple[Int64s, Int64s]:
    """Return the times and the tree for so many pCPUs; nobody's time has come yet."""
    leaves = 1 << max(1, (pcpus - 1).bit_length())
    tree = np.zeros(2 * leaves, np.int64)
    tree[leaves:] = np.arange(leaves)
    for i in range(leaves - 1, 0, -1):
        tree[i] = tree[2 * i]
    return np.full(leaves, NEVER, np.int64), tree


@part
def set_time(times: Int64s, tree: Int64s, c: int, time: int) -> None:
    """Enter when pCPU ``c`` has something to do next."""
    if times[c] == time:
        return
    times[c] = time
    i = (tree.size >> 1) + c
    while i > 1:
        left = tree[i & ~1]
        right = tree[i | 1]
        winner = left if times[left] <= times[right] else right
        i >>= 1
        tree[i] = winner
