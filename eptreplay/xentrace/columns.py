"""Batches of rows as columns: what the bytes of each record hold, one array per field."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace.chain import Words
from eptreplay.xentrace.jit import i64, kernel
from eptreplay.xentrace.reader import Batch
from eptreplay.xentrace.record import EVENT_MASK
from eptreplay.xentrace.state import NOT_NEGATIVE, PLACE_KNOWN, TSC_KNOWN, Rows

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
def _fill(words: Words, base: int, shifts: int, rows: Rows, at: int, count: int, out: Columns) -> None:
    """Write ``count`` rows, read from where they stand in ``words``, to ``out`` from row ``at`` on."""
    row = 0
    for shift in range(shifts + 1):
        stop = rows.shift_row[shift] if shift < shifts else count
        _fill_stretch(words, base, rows, row, stop, at, out)
        if shift < shifts:
            row, base = stop, rows.shift_base[shift]


@kernel
def _fill_stretch(words: Words, base: int, rows: Rows, start: int, stop: int, at: int, out: Columns) -> None:
    """Do so with the rows from ``start`` to ``stop``, whose positions count from offset ``base``."""
    pos_in, tsc_in, place_in, pcpu_in, flags_in = rows.pos, rows.tsc, rows.place, rows.pcpu, rows.flags
    offset, pcpu, tsc, tsc_known, timed = out.offset, out.pcpu, out.tsc, out.tsc_known, out.timed
    event, run_dom, run_vcpu, place_known, n = out.event, out.run_dom, out.run_vcpu, out.place_known, out.n
    w0, w1, w2, w3, w4, w5, w6 = (
        out.words[0], out.words[1], out.words[2], out.words[3], out.words[4], out.words[5], out.words[6],
    )  # fmt: skip
    for row in range(start, stop):
        to = at + row
        i = (i64(pos_in[row]) >> 2) & NOT_NEGATIVE
        head = i64(words[i])
        length = (head >> 28) & 7
        first = (i + 1 + 2 * (head >> 31)) & NOT_NEGATIVE
        offset[to] = base + pos_in[row]
        pcpu[to] = pcpu_in[row]
        tsc[to] = tsc_in[row]
        tsc_known[to] = flags_in[row] & TSC_KNOWN != 0
        timed[to] = head >> 31
        event[to] = head & EVENT_MASK
        run_dom[to] = place_in[row] & 0xFFFF
        run_vcpu[to] = place_in[row] >> 16
        place_known[to] = flags_in[row] & PLACE_KNOWN != 0
        n[to] = length
        # Masks, not branches: lengths are as good as random.
        w0[to] = i64(words[first]) & -i64(length > 0)
        w1[to] = i64(words[first + 1]) & -i64(length > 1)
        w2[to] = i64(words[first + 2]) & -i64(length > 2)
        w3[to] = i64(words[first + 3]) & -i64(length > 3)
        w4[to] = i64(words[first + 4]) & -i64(length > 4)
        w5[to] = i64(words[first + 5]) & -i64(length > 5)
        w6[to] = i64(words[first + 6]) & -i64(length > 6)


def new_columns(capacity: int) -> Columns:
    """Return columns of ``capacity`` rows, not filled; the system provides their memory as they are."""
    types = {
        "source": np.int16, "pcpu": np.uint16, "event": np.uint32, "run_dom": np.uint16, "run_vcpu": np.uint16,
        "n": np.uint8, "tsc_known": np.bool_, "timed": np.bool_, "place_known": np.bool_, "words": np.uint32,
    }  # fmt: skip
    return Columns._make(
        np.empty((PAYLOAD_WORDS, capacity) if name == "words" else capacity, types.get(name, np.int64))
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
    end = at + batch.count
    _fill(batch.buffer.words, batch.base, batch.shifts, batch.buffer.rows, at, batch.count, columns)
    columns.source[at:end] = batch.source
    return end


def columns_of(batch: Batch) -> Columns:
    """Return the rows of a batch as columns of their own memory; the batch may be recycled afterwards."""
    columns = new_columns(batch.count)
    append(columns, 0, batch)
    return columns
