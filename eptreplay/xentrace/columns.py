"""Batches of rows as columns: what the bytes of each record hold, one array per field."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace.chain import Words
from eptreplay.xentrace.jit import i64, kernel
from eptreplay.xentrace.reader import Batch
from eptreplay.xentrace.record import EVENT_MASK
from eptreplay.xentrace.state import PLACE_KNOWN, TSC_KNOWN

PAYLOAD_WORDS = 7


class Columns(NamedTuple):
    """Records as arrays of equal length. Where a mask is False, the value means nothing. ``words``: [word, row]."""

    offset: NDArray[np.int64]
    pcpu: NDArray[np.uint16]
    tsc: NDArray[np.int64]
    tsc_known: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    event: NDArray[np.uint32]
    run_dom: NDArray[np.uint16]
    run_vcpu: NDArray[np.uint16]
    place_known: NDArray[np.bool_]
    n: NDArray[np.uint8]
    words: NDArray[np.uint32]


@kernel
def gather(
    words: Words,
    pos: NDArray[np.int32],
    event: NDArray[np.uint32],
    timed: NDArray[np.bool_],
    n: NDArray[np.uint8],
    out: Words,
) -> None:
    """Read the records at byte positions ``pos``; payload words that a record does not have become zero."""
    for row in range(pos.size):
        i = i64(pos[row]) >> 2
        head = i64(words[i])
        length = (head >> 28) & 7
        first = i + 1 + 2 * (head >> 31)
        event[row] = head & EVENT_MASK
        timed[row] = head >> 31
        n[row] = length
        for word in range(PAYLOAD_WORDS):
            out[word, row] = words[first + word] if word < length else 0


def columns_of(batch: Batch) -> Columns:
    """Return the rows of a batch as columns of their own memory; the batch may be recycled afterwards."""
    if batch.buffer is None:
        raise ValueError("the batch has no rows")
    rows, count = batch.buffer.rows, batch.count
    event, timed = np.empty(count, np.uint32), np.empty(count, np.bool_)
    n, words = np.empty(count, np.uint8), np.empty((PAYLOAD_WORDS, count), np.uint32)
    pos, place, flags = rows.pos[:count], rows.place[:count], rows.flags[:count]
    gather(batch.buffer.words, pos, event, timed, n, words)
    return Columns(
        offset=pos.astype(np.int64) + batch.base,
        pcpu=rows.pcpu[:count].copy(),
        tsc=rows.tsc[:count].copy(),
        tsc_known=(flags & TSC_KNOWN).astype(np.bool_),
        timed=timed,
        event=event,
        run_dom=place.astype(np.uint16),
        run_vcpu=(place >> np.uint32(16)).astype(np.uint16),
        place_known=(flags & PLACE_KNOWN).astype(np.bool_),
        n=n,
        words=words,
    )
