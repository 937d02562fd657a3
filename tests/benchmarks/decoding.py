"""The decoder alone: bytes in memory to rows and columns in memory, without reading, hashing or threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace import state as st
from eptreplay.xentrace.chain import LOOKAHEAD
from eptreplay.xentrace.columns import append, new_columns
from eptreplay.xentrace.decode import decode
from eptreplay.xentrace.reader import DAMAGE_ROWS, INPUT_BYTES, SAMPLES, WINDOW_ROWS, Batch, Buffer, batch_rows
from eptreplay.xentrace.table import event_table


def load(path: Path) -> NDArray[np.uint8]:
    """Return a file's bytes with room behind them for the decoder to look ahead."""
    size = path.stat().st_size
    data = np.zeros((size & ~3) + 2 * LOOKAHEAD, np.uint8)
    with path.open("rb", buffering=0) as file:
        view = data.data
        done = 0
        while done < size:
            done += file.readinto(view[done:size]) or 0
    return data


class Memory:
    """Decodes bytes in memory in slices as large as a reader's buffers, each time into the same rows.

    ``records``: all that were decoded, CPU_CHANGE included.
    """

    def __init__(self, data: NDArray[np.uint8], size: int, keep: int) -> None:
        self._data, self._size, self._keep = data, size, keep
        self._buffer, self._columns = Buffer(INPUT_BYTES), new_columns(batch_rows(INPUT_BYTES))
        self._windows, self._damages = st.new_windows(WINDOW_ROWS), st.new_damages(DAMAGE_ROWS)
        self.records = 0

    def batches(self) -> Iterator[Batch]:
        """Yield what a reader would: batches whose rows stand in memory that the next one overwrites."""
        cursor, pcpus, tally = st.new_cursor(), st.new_pcpus(), st.new_tally(SAMPLES)
        buffer, table = self._buffer, event_table()
        cursor[st.EPOCH] += 1
        status = st.NEED_INPUT
        while status != st.END:
            start = int(cursor[st.BASE] + cursor[st.POS])
            avail = min(INPUT_BYTES, self._size - start)
            cursor[st.BASE], cursor[st.POS], cursor[st.AVAIL] = start, 0, avail
            buffer.bytes, buffer.start = self._data[start : start + avail + LOOKAHEAD & ~3], 0
            status = st.FLUSH
            while status == st.FLUSH:
                final = start + avail == self._size
                status = decode(
                    buffer.words,
                    final,
                    cursor,
                    pcpus,
                    table,
                    self._keep,
                    buffer.rows,
                    self._windows,
                    self._damages,
                    tally,
                )
                cursor[st.WINDOWS] = cursor[st.DAMAGES] = 0
            count, memory = int(cursor[st.ROWS]), int(cursor[st.MEMORY_ROWS])
            cursor[st.ROWS] = cursor[st.MEMORY_ROWS] = 0
            yield Batch(0, buffer, start, count, memory, self._windows, self._damages)
        self.records = int(tally.events.sum())

    def decode(self) -> int:
        """Decode everything; returns the number of rows."""
        return sum(batch.count for batch in self.batches())

    def decode_to_columns(self) -> int:
        """Decode everything and write each batch to columns, over the one before; returns the number of rows."""
        return sum(append(self._columns, 0, batch) for batch in self.batches())
