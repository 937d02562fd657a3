"""Batches of rows as columns: what the bytes of each record hold, one array per field."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import i64, kernel
from eptreplay.xentrace.catalogue.layout import MAX_WORDS
from eptreplay.xentrace.chain import Words
from eptreplay.xentrace.reader import Batch
from eptreplay.xentrace.record import EVENT_MASK
from eptreplay.xentrace.state import NOT_NEGATIVE, PLACE_KNOWN, TSC_KNOWN


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
def _read_payloads(words: Words, pos: NDArray[np.int32], out: Columns) -> None:
    """Write what the bytes of the records at positions ``pos`` say to the rows of ``out``, as many as there are."""
    event, timed, n = out.event, out.timed, out.n
    w0, w1, w2, w3, w4, w5, w6 = (
        out.words[0], out.words[1], out.words[2], out.words[3], out.words[4], out.words[5], out.words[6],
    )  # fmt: skip
    for row in range(pos.size):
        i = (i64(pos[row]) >> 2) & NOT_NEGATIVE
        head = i64(words[i])
        length = (head >> 28) & 7
        first = (i + 1 + 2 * (head >> 31)) & NOT_NEGATIVE
        event[row] = head & EVENT_MASK
        timed[row] = head >> 31
        n[row] = length
        # Masks, not branches: lengths are as good as random.
        w0[row] = i64(words[first]) & -i64(length > 0)
        w1[row] = i64(words[first + 1]) & -i64(length > 1)
        w2[row] = i64(words[first + 2]) & -i64(length > 2)
        w3[row] = i64(words[first + 3]) & -i64(length > 3)
        w4[row] = i64(words[first + 4]) & -i64(length > 4)
        w5[row] = i64(words[first + 5]) & -i64(length > 5)
        w6[row] = i64(words[first + 6]) & -i64(length > 6)


def new_columns(capacity: int) -> Columns:
    """Return columns of ``capacity`` rows, not filled; the system provides their memory as they are."""
    types = {
        "source": np.int16, "pcpu": np.uint16, "event": np.uint32, "run_dom": np.uint16, "run_vcpu": np.uint16,
        "n": np.uint8, "tsc_known": np.bool_, "timed": np.bool_, "place_known": np.bool_, "words": np.uint32,
    }  # fmt: skip
    return Columns._make(
        np.empty((MAX_WORDS, capacity) if name == "words" else capacity, types.get(name, np.int64))
        for name in Columns._fields
    )


def rows_of(columns: Columns, rows: slice | NDArray[np.int64]) -> Columns:
    """Return chosen rows: views for a slice, copies for row numbers."""
    return Columns._make(field[..., rows] for field in columns)


def append(columns: Columns, at: int, batch: Batch) -> int:
    """Write the rows of a batch behind the first ``at`` rows of ``columns``; returns how many there are then.

    The batch may be recycled afterwards.
    """
    if batch.buffer is None:
        return at
    rows, end = batch.buffer.rows, at + batch.count
    out = rows_of(columns, slice(at, end))
    pos, place, flags = rows.pos[: batch.count], rows.place[: batch.count], rows.flags[: batch.count]
    _read_payloads(batch.buffer.words, pos, out)
    out.source[:] = batch.source
    out.pcpu[:] = rows.pcpu[: batch.count]
    out.tsc[:] = rows.tsc[: batch.count]
    np.not_equal(flags & TSC_KNOWN, 0, out=out.tsc_known)
    np.not_equal(flags & PLACE_KNOWN, 0, out=out.place_known)
    np.bitwise_and(place, 0xFFFF, out=out.run_dom, casting="unsafe")
    np.right_shift(place, 16, out=out.run_vcpu, casting="unsafe")
    out.offset[:] = offsets_of(batch)
    return end


def offsets_of(batch: Batch) -> NDArray[np.int64]:
    """Return where the records of a batch stand in the source, in bytes."""
    if batch.buffer is None:
        return np.zeros(0, np.int64)
    rows = batch.buffer.rows
    offset = rows.pos[: batch.count].astype(np.int64)
    # From some rows on the buffer's first byte is that at another offset: bytes were moved behind damage.
    starts = [0, *rows.shift_row[: batch.shifts].tolist(), batch.count]
    bases = [batch.base, *rows.shift_base[: batch.shifts].tolist()]
    for base, start, stop in zip(bases, starts[:-1], starts[1:], strict=True):
        offset[start:stop] += base
    return offset


def columns_of(batch: Batch) -> Columns:
    """Return the rows of a batch as columns of their own memory; the batch may be recycled afterwards."""
    columns = new_columns(batch.count)
    append(columns, 0, batch)
    return columns
