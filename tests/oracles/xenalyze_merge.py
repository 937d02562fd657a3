"""The order in which xenalyze reads the records of all pCPUs.

Every pCPU has a reading position of its own in the file, and a key: the TSC of the record it has come to, kept over
records without one. The positions stand in a queue. The first one reads on until its key is greater than the next
one's; then it moves back to just behind the last smaller key. So of equal keys the one that came last is read first.

A position that comes to the end of its window walks over the windows of others to its own next one. New pCPUs are found
on the way: where a position meets one, it enters the queue in front. The highest pCPU looks one window ahead as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tests.oracles.struct_reader import CPU_CHANGE, LOST_RECORDS

_END_OF_TIME = 1 << 63


@dataclass(eq=False)
class Position:
    """Where xenalyze is reading the records of one pCPU: the row it has come to, in a window that ends at ``end``."""

    pcpu: int
    window: int
    row: int = 0
    end: int = 0
    key: int = 0


class Merge:
    """The queue of reading positions over one file's records."""

    def __init__(self, records: pl.DataFrame, *, repeats: bool) -> None:
        self.keys = reading_key(records).to_numpy()
        self.starts = np.flatnonzero(records["event"] == CPU_CHANGE)
        self.ends = np.append(self.starts[1:], records.height)
        self.pcpus: list[int] = records["pcpu"].gather(self.starts).to_list()
        self.repeats = repeats
        self.queue: list[Position] = []
        self.seen: set[int] = set()

    def runs(self) -> list[npt.NDArray[np.int64]]:
        """Return the rows of the file in the order of reading, in stretches of one pCPU each."""
        window = 0
        while self._look_at(window):
            window += 1
        runs = []
        while self.queue:
            first = self.queue[0]
            limit = self.queue[1].key if len(self.queue) > 1 else _END_OF_TIME
            ahead = self.keys[first.row : first.end]
            stop = first.row + int(np.searchsorted(ahead, np.uint64(limit), side="right"))
            runs.append(np.arange(first.row, stop))
            first.row = stop
            if stop < first.end:
                first.key = int(self.keys[stop])
            else:
                self._walk(first)
            self._move_back(first)
        return runs

    def _look_at(self, window: int) -> bool:
        """Start reading a pCPU at this window if it is not being read; True if so.

        xenalyze 4.17 forgets to ask whether it has read that pCPU to its end before, so that it reads the rest again.
        """
        if window == len(self.starts):
            return False
        pcpu = self.pcpus[window]
        reading = any(position.pcpu == pcpu for position in self.queue)
        if reading or (pcpu in self.seen and not self.repeats):
            return False
        self._start(window)
        return True

    def _start(self, window: int) -> None:
        self.seen.add(self.pcpus[window])
        self.queue.insert(0, Position(self.pcpus[window], window))

    def _walk(self, position: Position) -> None:
        """Go to the next window of this pCPU, or leave the queue."""
        if position.end:
            position.window += 1
        while position.window < len(self.starts):
            found = self.pcpus[position.window]
            if found == position.pcpu:
                position.row = int(self.starts[position.window])
                position.end = int(self.ends[position.window])
                if position.pcpu == max(other.pcpu for other in self.queue):
                    self._look_at(position.window + 1)
                return
            if found not in self.seen:
                self._start(position.window)
                return
            position.window += 1
        self.queue.remove(position)

    def _move_back(self, position: Position) -> None:
        if position not in self.queue:
            return
        at = self.queue.index(position)
        self.queue.pop(at)
        while at < len(self.queue) and self.queue[at].key < position.key:
            at += 1
        self.queue.insert(at, position)


def reading_key(records: pl.DataFrame) -> pl.Series:
    """Return each record's key. A LOST_RECORDS is read when the first lost record would have been."""
    first_lost = pl.col("w2").cast(pl.UInt64) + pl.col("w3").cast(pl.UInt64) * 2**32
    carried = pl.when("timed").then("tsc").forward_fill().over("pcpu").fill_null(0).cast(pl.UInt64)
    key = pl.when(pl.col("event") == LOST_RECORDS).then(first_lost).otherwise(carried)
    return records.select(key).to_series()


def merged(records: pl.DataFrame, *, repeats: bool = False) -> pl.DataFrame:
    """Return ``records``, given in file order, in the order of reading; ``repeats``: as often as 4.17 reads them."""
    return records[np.concatenate(Merge(records, repeats=repeats).runs())]
