"""Whose turn it is: a tournament of pCPUs, won by the one with the earliest time, and among equals the lowest number.

``key[1]`` and ``tree[1]`` are the time and the number of the winner of all, ``key[i]`` and ``tree[i]`` those of the
earlier of ``2 i`` and ``2 i + 1``; the second half of the arrays are the pCPUs themselves, up to a power of two. A
change is carried to the top with one comparison for each level, all with numbers that are known beforehand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine.fields import NEVER

Int64s = NDArray[np.int64]


def new_clock(pcpus: int) -> tuple[Int64s, Int64s]:
    """Return times and numbers for so many pCPUs; nobody's time has come yet."""
    leaves = 1 << max(1, (pcpus - 1).bit_length())
    tree = np.zeros(2 * leaves, np.int64)
    tree[leaves:] = np.arange(leaves)
    for i in range(leaves - 1, 0, -1):
        tree[i] = tree[2 * i]
    return np.full(2 * leaves, NEVER, np.int64), tree


@part
def set_time(key: Int64s, tree: Int64s, c: int, time: int) -> None:
    """Enter when pCPU ``c`` has something to do next."""
    i = (tree.size >> 1) + c
    if key[i] == time:
        return
    key[i] = time
    winner = c
    while i > 1:
        # Both are read before anything is decided, so that nothing has to be guessed.
        other, rival = key[i ^ 1], tree[i ^ 1]
        loses = (other < time) | ((other == time) & (rival < winner))
        time = other if loses else time
        winner = rival if loses else winner
        i >>= 1
        key[i] = time
        tree[i] = winner
