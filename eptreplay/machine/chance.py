"""The only thing that is left to chance: a hash of the seed, a pCPU and how often it has drawn.

Arithmetic modulo 2^64 is done in halves of 32 bits: so it is the same with and without the compiler, and no product is
larger than its type.
"""

from __future__ import annotations

import numpy as np

from eptreplay.jit import part

_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


@part
def _times(a: np.uint64, b: np.uint64) -> np.uint64:
    low = (a & _LOW) * (b & _LOW)
    high = (((a >> _HALF) * (b & _LOW)) & _LOW) + (((a & _LOW) * (b >> _HALF)) & _LOW) + (low >> _HALF)
    return ((high & _LOW) << _HALF) | (low & _LOW)


@part
def _plus(a: np.uint64, b: np.uint64) -> np.uint64:
    low = (a & _LOW) + (b & _LOW)
    high = (a >> _HALF) + (b >> _HALF) + (low >> _HALF)
    return ((high & _LOW) << _HALF) | (low & _LOW)


@part
def draw(seed: int, pcpu: int, draws: int, total: int) -> int:
    """Return a number from 0 to ``total`` - 1, for a total below 2^32; every one is as likely (splitmix64's mixer)."""
    x = _plus(_times(np.uint64(seed), _GOLDEN), _times(np.uint64(pcpu), _FIRST))
    x = _plus(x, _times(np.uint64(draws), _SECOND))
    x = _times(x ^ (x >> np.uint64(30)), _FIRST)
    x = _times(x ^ (x >> np.uint64(27)), _SECOND)
    x = x ^ (x >> np.uint64(31))
    return int(((x >> _HALF) * np.uint64(total)) >> _HALF)
