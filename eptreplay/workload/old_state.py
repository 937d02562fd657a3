"""What an entry was before it was written: evidence, the best there is, in recorded order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""No earlier write of the entry is known."""
TABLE = -2
"""Smaller entries were written there, so the entry pointed to a table: it was present."""

LEVELS = (0, 9, 18)
"""Orders of entries: 4 KiB, 2 MiB, 1 GiB."""


def earlier_writes(p2m: NDArray[np.int64], gfn: NDArray[np.uint64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each write, in recorded order, the latest write before it that made the entry what it was.

    That is a write of the entry itself, or of a larger one around it. NONE if there is none, TABLE if what stood there
    since then was a table of smaller entries.
    """
    level = np.searchsorted(LEVELS, order, side="right") - 1
    latest = np.full(gfn.size, NONE, np.int64)
    smaller = np.full(gfn.size, NONE, np.int64)
    for number, shift in enumerate(LEVELS):
        if not (level >= number).any():
            continue
        group = _groups(p2m, gfn >> np.uint64(shift))
        here = level <= number
        latest[here] = np.maximum(latest, _latest_before(group, level == number))[here]
        here = level == number
        smaller[here] = _latest_before(group, level < number)[here]
    return np.where(smaller > latest, TABLE, latest)


def _groups(p2m: NDArray[np.int64], frame: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return a number for each write that is the same for writes of the same frame of the same p2m."""
    order = np.lexsort((frame, p2m))
    new = (np.diff(p2m[order], prepend=p2m[order[:1]]) != 0) | (np.diff(frame[order], prepend=frame[order[:1]]) != 0)
    groups = np.empty(p2m.size, np.int64)
    groups[order] = np.cumsum(new)
    return groups


def _latest_before(group: NDArray[np.int64], counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each write the last one before it of its group for which ``counts`` is True, or NONE."""
    size = group.size
    order = np.argsort(group, kind="stable")
    ranked = group[order] * (size + 1) + np.where(counts[order], order + 1, 0)
    running = np.maximum.accumulate(ranked) if size else ranked
    before = np.append(np.int64(0), running[:-1]) if size else running
    base = group[order] * (size + 1)
    found = np.empty(size, np.int64)
    found[order] = np.where(before > base, before - base - 1, NONE)
    return found
