"""Whose turn it is: a tournament of pCPUs, won by the one with the earliest time, and among equals the lowest number.

Each pCPU has a number of two parts: the time when it has something to do next, above ``clock[0]`` bits for its own
number. ``clock[1]`` is the least of them all, ``clock[i]`` the lesser of those of ``2 i`` and ``2 i + 1``; the second
half of the array are the pCPUs themselves, up to a power of two. A change is carried to the top with one comparison for
each level, all with numbers that are known beforehand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part

Int64s = NDArray[np.int64]

END = 1 << 62
"""The first time that does not fit in, as it stands above the numbers of pCPUs."""


def bits_for(pcpus: int) -> int:
    """Return how many bits the number of one of so many pCPUs takes."""
    return max(1, (pcpus - 1).bit_length())


def new_clock(pcpus: int) -> Int64s:
    """Return a clock for so many pCPUs; nobody's time has come yet."""
    bits = bits_for(pcpus)
    leaves = 1 << bits
    clock = np.empty(2 * leaves, np.int64)
    clock[0] = bits
    clock[leaves:] = END | np.arange(leaves)
    for i in range(leaves - 1, 0, -1):
        clock[i] = clock[2 * i]
    return clock


@part
def end_of_time(clock: Int64s) -> int:
    """Return the first time that does not fit in, in nanoseconds: days with thousands of pCPUs, years with a few."""
    return int(END >> clock[0])


@part
def next_turn(clock: Int64s) -> tuple[int, int]:
    """Return when somebody has something to do, and who that is."""
    return int(clock[1] >> clock[0]), int(clock[1] & ((clock.size >> 1) - 1))


@part
def set_time(clock: Int64s, c: int, time: int) -> None:
    """Enter when pCPU ``c`` has something to do next; what lies behind the end of time, like NEVER, is that end."""
    bits = clock[0]
    i = (clock.size >> 1) + c
    least = min(time, END >> bits) << bits | c
    if clock[i] == least:
        return
    clock[i] = least
    while i > 1:
        least = min(least, clock[i ^ 1])
        i >>= 1
        clock[i] = least
