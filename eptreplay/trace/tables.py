"""Decoded batches as Arrow record batches, and the one way in which this package writes Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eptreplay.trace.schema import arrow_schema
from eptreplay.xentrace import damage
from eptreplay.xentrace import state as st
from eptreplay.xentrace.catalogue.layout import MAX_WORDS
from eptreplay.xentrace.columns import Columns

ROW_GROUP_ROWS = 1 << 20
PENDING_ROWS = 1 << 16
ENCODE_ROWS = 1 << 16
"""Rows that the encoder takes at a time: more than its own 1,024, which cost it a tenth of its time."""

DICTIONARY_COLUMNS = ["kind", "reason"]
DELTA_COLUMNS = {"offset": "DELTA_BINARY_PACKED", "tsc": "DELTA_BINARY_PACKED"}
"""Measured best for these tables: names as dictionaries, ascending numbers as deltas, all else as it is. Dictionaries
of small numbers save next to nothing once compressed, and take twice the time."""
STATISTICS_COLUMNS = ["offset", "pcpu", "tsc", "p2m_dom", "gfn"]
"""Columns whose lowest and highest values let a reader skip row groups; of the others they would only cost time."""


def masked(values: NDArray[np.generic], known: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Return an Arrow array over ``values``, null where ``known`` is False, without copying the values."""
    nulls = int(known.size - np.count_nonzero(known))
    bits = None if nulls == 0 else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(kind, known.size, [bits, pa.py_buffer(np.ascontiguousarray(values))], nulls)


def events_batch(columns: Columns) -> pa.RecordBatch:
    """Return decoded records as rows of the table ``events``."""
    schema = arrow_schema("events")
    arrays = [
        pa.array(columns.source),
        pa.array(columns.offset),
        pa.array(columns.pcpu),
        masked(columns.tsc, columns.tsc_known, pa.int64()),
        pa.array(columns.timed),
        pa.array(columns.event),
        masked(columns.run_dom, columns.place_known, pa.uint16()),
        masked(columns.run_vcpu, columns.place_known, pa.uint16()),
        pa.array(columns.n),
        *(masked(column, columns.n > word, pa.uint32()) for word, column in enumerate(columns.words)),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def columns_of_events(rows: pa.RecordBatch) -> Columns:
    """Return rows of the table ``events`` as columns again: the inverse of ``events_batch``."""

    def values(name: str) -> NDArray[Any]:
        column = rows[name]
        return np.asarray((column.fill_null(0) if column.null_count else column).to_numpy(zero_copy_only=False))

    def known(name: str) -> NDArray[np.bool_]:
        return np.asarray(rows[name].is_valid().to_numpy(zero_copy_only=False))

    return Columns(
        tsc_known=known("tsc"),
        place_known=known("run_dom"),
        words=np.stack([values(f"w{word}") for word in range(MAX_WORDS)]),
        **{name: values(name) for name in Columns._fields if name not in ("tsc_known", "place_known", "words")},
    )


def windows_batch(source: int, windows: st.Windows) -> pa.RecordBatch:
    """Return closed windows as rows of the table ``windows``."""
    timed = windows.timed > 0
    arrays = [
        pa.array(np.full(windows.offset.size, source, np.int16)),
        pa.array(windows.offset),
        pa.array(windows.pcpu),
        pa.array(windows.bytes),
        pa.array(windows.records),
        masked(windows.first, timed, pa.int64()),
        masked(windows.last, timed, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema("windows"))


def damage_batch(source: int, damages: st.Damages) -> pa.RecordBatch:
    """Return damage rows of the decoder as rows of the table ``damage``."""
    lost = damages.reason == st.LOST
    arrays = [
        pa.array(np.full(damages.offset.size, source, np.int16)),
        pa.array(damages.offset),
        pa.array(damages.bytes),
        masked(damages.pcpu.astype(np.uint16), damages.pcpu != st.UNKNOWN, pa.uint16()),
        pa.DictionaryArray.from_arrays(pa.array(damages.reason.astype(np.int8)), pa.array(damage.NAMES)),
        masked(damages.lost, lost, pa.int64()),
        masked(damages.tsc_from, lost, pa.int64()),
        masked(damages.tsc_to, lost, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema("damage"))


class TableWriter:
    """Writes one Parquet file from record batches of any size, in bounded memory; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        names = set(schema.names)
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in DICTIONARY_COLUMNS if name in names],
            column_encoding={name: how for name, how in DELTA_COLUMNS.items() if name in names},
            write_statistics=[name for name in STATISTICS_COLUMNS if name in names],
            write_batch_size=ENCODE_ROWS,
            store_schema=True,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; they reach the file in groups."""
        self._pending.append(batch)
        self._rows += batch.num_rows
        if self._rows >= PENDING_ROWS:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._pending, self._schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._pending, self._rows = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._pending:
            self._flush()
        self._writer.close()


def write_table(path: Path, batches: list[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write a whole Parquet file."""
    with TableWriter(path, schema) as writer:
        for batch in batches:
            writer.write(batch)
