"""Batches of rows as columns: what the bytes of each record hold, one array per field."""

from __future__ import annotations

from collections.abc import Sequence
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

    source: NDArray[np.int16]
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
def read_headers(
    words: Words,
    pos: NDArray[np.int32],
    event: NDArray[np.uint32],
    timed: NDArray[np.bool_],
    n: NDArray[np.uint8],
    first: NDArray[np.int32],
) -> int:
    """Read the headers of the records at byte positions ``pos``, and where in ``words`` their payloads begin.

    Returns the greatest number of payload words among them.
    """
    longest = 0
    for row in range(pos.size):
        i = i64(pos[row]) >> 2
        head = i64(words[i])
        event[row] = head & EVENT_MASK
        timed[row] = head >> 31
        n[row] = (head >> 28) & 7
        first[row] = i + 1 + 2 * (head >> 31)
        longest = max(longest, (head >> 28) & 7)
    return longest


@kernel
def gather_word(
    words: Words, first: NDArray[np.int32], n: NDArray[np.uint8], word: int, out: NDArray[np.uint32]
) -> None:
    """Read payload word ``word`` of each record; zero where a record does not have it. One column at a time is fastest."""
    for row in range(first.size):
        value = words[i64(first[row]) + word]
        out[row] = value if n[row] > word else 0


def columns_of(batch: Batch, chosen: slice | NDArray[np.int32] = slice(None)) -> Columns:
    """Return the rows of a batch, or the ``chosen`` ones, as columns of their own memory; then it may be recycled."""
    if batch.buffer is None:
        raise ValueError("the batch has no rows")
    rows, source = batch.buffer.rows, batch.buffer.words
    pos, place = rows.pos[: batch.count][chosen], rows.place[: batch.count][chosen]
    flags = rows.flags[: batch.count][chosen]
    count = pos.size
    event, timed, n = np.empty(count, np.uint32), np.empty(count, np.bool_), np.empty(count, np.uint8)
    first = np.empty(count, np.int32)
    longest = read_headers(source, pos, event, timed, n, first)
    words = np.zeros((PAYLOAD_WORDS, count), np.uint32)
    for word in range(longest):
        gather_word(source, first, n, word, words[word])
    return Columns(
        source=np.full(count, batch.source, np.int16),
        offset=pos.astype(np.int64) + batch.base,
        pcpu=rows.pcpu[: batch.count][chosen].copy(),
        tsc=rows.tsc[: batch.count][chosen].copy(),
        tsc_known=(flags & TSC_KNOWN).astype(np.bool_),
        timed=timed,
        event=event,
        run_dom=place.astype(np.uint16),
        run_vcpu=(place >> np.uint32(16)).astype(np.uint16),
        place_known=(flags & PLACE_KNOWN).astype(np.bool_),
        n=n,
        words=words,
    )


def concatenate(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several columns behind each other."""
    return Columns._make(np.concatenate(fields, axis=-1) for fields in zip(*parts, strict=True))
