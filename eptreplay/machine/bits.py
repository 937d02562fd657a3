"""Sets of pCPUs as words of 64 bits: the dirty mask of a domain, the marks of a p2m."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part

Words = NDArray[np.uint64]


def words_for(pcpus: int) -> int:
    """Return how many words a set of so many pCPUs takes."""
    return (pcpus + 63) // 64


@part
def contains(words: Words, c: int) -> bool:
    """Tell whether pCPU ``c`` is in the set."""
    return bool((words[c >> 6] >> np.uint64(c & 63)) & np.uint64(1))


@part
def insert(words: Words, c: int) -> None:
    """Put pCPU ``c`` into the set."""
    words[c >> 6] |= np.uint64(1) << np.uint64(c & 63)


@part
def remove(words: Words, c: int) -> None:
    """Take pCPU ``c`` out of the set."""
    words[c >> 6] &= ~(np.uint64(1) << np.uint64(c & 63))


@part
def fill(words: Words) -> None:
    """Put every pCPU into the set."""
    for word in range(words.size):
        words[word] = ~np.uint64(0)


@part
def fill_except(words: Words, others: Words) -> None:
    """Put every pCPU into the set that is not in ``others``."""
    for word in range(words.size):
        words[word] = ~others[word]
