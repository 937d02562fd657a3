"""``scan_xentrace``: a Polars LazyFrame straight from a xentrace file, which decodes only what a query can need.

A filter on ``pcpu`` selects windows by their CPU_CHANGE, one on ``tsc`` by the lowest and highest TSC in them. Every
row that is decoded is filtered again, so a query's result does not depend on any of this. A file with damage in a
selected window is read as a whole; what stands in windows of other pCPUs is not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from eptreplay.errors import UsageError
from eptreplay.trace.bounds import Range, column_range
from eptreplay.trace.schema import arrow_schema
from eptreplay.trace.tables import events_batch
from eptreplay.xentrace import state as st
from eptreplay.xentrace.columns import columns_of
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.index import Offsets, read_stretch, stretches, summarise_windows, window_offsets
from eptreplay.xentrace.reader import Batch, Reader
from eptreplay.xentrace.source import MAGIC, Source


def scan_xentrace(path: str | os.PathLike[str]) -> pl.LazyFrame:
    """Return all records of a xentrace file, plain or compressed, as a LazyFrame: a row a record, in file order.

    Columns are those of the table ``events`` with ``source`` 0. Filters ``pcpu`` and ``tsc`` against literals, joined
    by ``&``, decide which windows of a plain file are decoded. A damaged file is read tolerantly, as by ``ingest``.
    Raises UsageError for standard input and other pipes, which cannot be read twice; InputError, when collected, if
    the file holds no record.
    """
    if _is_pipe(path):
        raise UsageError(
            f"{path}: a pipe cannot be scanned, since it is read more than once; ingest it, then scan that"
        )
    Source(path, digest=False).close()
    scanner = _Scanner(os.fspath(path))
    schema = pl.DataFrame(arrow_schema("events").empty_table()).schema
    return register_io_source(scanner.frames, schema=schema)


def _is_pipe(path: str | os.PathLike[str]) -> bool:
    if os.fspath(path) == "-":
        return True
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False  # opening it says what is wrong
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@dataclass
class _Scanner:
    """Reads one file for one or more queries. ``decoded``: windows that the last query decoded, None if all."""

    path: str
    decoded: int | None = None

    def frames(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows that a query asks for; called by Polars.

        Of a query with both, ``n_rows`` are counted before ``predicate`` selects among them.
        """
        left, bounds = n_rows, predicate if n_rows is None else None
        for batch in self._batches(column_range(bounds, "pcpu"), column_range(bounds, "tsc")):
            frame = pl.DataFrame(pl.from_arrow(batch))
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            if with_columns is not None:
                frame = frame.select(with_columns)
            yield frame
            if left == 0:
                return

    def _batches(self, pcpus: Range, time: Range) -> Iterator[pa.RecordBatch]:
        compressed = any(self.path.lower().endswith(suffix) for suffix in MAGIC)
        offsets = None if compressed else window_offsets(self.path)
        chosen = _chosen(offsets, pcpus) if offsets and offsets.offset.size else None
        summary = summarise_windows(self.path, chosen) if chosen and chosen.offset.size else None
        if chosen and summary:
            yield from self._needed_windows(chosen, *summary, time)
        elif chosen and not chosen.offset.size:
            self.decoded = 0
        else:
            self.decoded = None
            yield from self._whole_file()

    def _needed_windows(
        self, chosen: Offsets, windows: st.Windows, known: st.Pcpus, time: Range
    ) -> Iterator[pa.RecordBatch]:
        needed = _needed(windows, known, time)
        self.decoded = int(needed.sum())
        for stretch in stretches(windows.pcpu, needed):
            reader, source = read_stretch(self.path, chosen, windows, stretch, KEEP_ALL)
            for batch in reader:
                yield from _rows(reader, batch, known, source.file_offset)

    def _whole_file(self) -> Iterator[pa.RecordBatch]:
        """Read everything, damage included, twice: the first TSC of a pCPU may come late."""
        first_pass = Reader([self.path], digest=False)
        for batch in first_pass:
            first_pass.recycle(batch)
        reader = Reader([self.path], keep=KEEP_ALL, digest=False)
        for batch in reader:
            yield from _rows(reader, batch, first_pass.pcpus, lambda offset: offset)


def _chosen(offsets: Offsets, pcpus: Range) -> Offsets:
    wanted = (offsets.pcpu >= pcpus.low) & (offsets.pcpu <= pcpus.high)
    return Offsets(offsets.offset[wanted], offsets.pcpu[wanted], offsets.bytes[wanted])


def _needed(windows: st.Windows, known: st.Pcpus, time: Range) -> NDArray[np.bool_]:
    """Tell for each window whether a record in it may have a TSC within ``time``, be it inherited or filled in."""
    if time == Range():
        return np.ones(windows.pcpu.size, np.bool_)
    inherited = np.where(windows.timed_in > 0, windows.tsc_in, known.first[windows.pcpu])
    inherits = (inherited >= time.low) & (inherited <= time.high)
    has_own = (windows.timed > 0) & (windows.low <= time.high) & (windows.high >= time.low)
    return (known.timed[windows.pcpu] > 0) & (inherits | has_own)


def _rows(
    reader: Reader, batch: Batch, known: st.Pcpus, file_offset: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch, if any; records before their pCPU's first TSC get it: ``known`` has seen all."""
    if batch.buffer is not None and batch.count:
        columns = columns_of(batch)
        unknown = ~columns.tsc_known
        columns.tsc[unknown] = known.first[columns.pcpu[unknown]]
        columns.tsc_known[unknown] = known.timed[columns.pcpu[unknown]] > 0
        yield events_batch(columns._replace(offset=file_offset(columns.offset)))
    reader.recycle(batch)
