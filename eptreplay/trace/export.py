"""From a trace dataset to other formats: one file per table, or the xentrace file that it was made from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eptreplay.errors import InputError, UsageError, unknown_choice
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import is_replaceable_dataset, is_replaceable_file, read_manifest, table_files
from eptreplay.trace.schema import TABLES, arrow_schema
from eptreplay.trace.tables import TableWriter, columns_of_events
from eptreplay.xentrace.catalogue.layout import MAX_WORDS
from eptreplay.xentrace.columns import Columns
from eptreplay.xentrace.encode import encode, window_sizes, window_starts
from eptreplay.xentrace.record import EVENT_MASK

BATCH_ROWS = 1 << 18


class _Writer(Protocol):
    def write(self, batch: pa.RecordBatch) -> None: ...


class _Csv:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        plain = [pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
        self._schema = pa.schema(plain)
        self._writer = pyarrow.csv.CSVWriter(path, self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch.cast(self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class _Arrow:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.ipc.new_file(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


TABLE_WRITERS: dict[str, Callable[[Path, pa.Schema], AbstractContextManager[_Writer]]] = {
    "parquet": TableWriter,
    "csv": _Csv,
    "arrow": _Arrow,
}
"""How each table format is written; the name is also the files' suffix."""
FORMATS = (*TABLE_WRITERS, "xentrace")


def export_trace(
    dataset: str | os.PathLike[str], *, to: str, output: str | os.PathLike[str], force: bool = False
) -> None:
    """Write a trace dataset in the format ``to``: parquet, csv, arrow or xentrace.

    The first three are a folder with one file per table. ``xentrace`` gives a valid file of all records: that of an
    undamaged recording byte for byte; several sources become one. Raises UsageError for an unknown format, an existing
    output, or ``xentrace`` from a dataset without all records.
    """
    if to not in FORMATS:
        raise unknown_choice("--to", to, FORMATS)
    manifest = read_manifest(dataset)
    if to == "xentrace":
        if manifest["options"]["events"] != "all":
            raise UsageError(
                f"{dataset}: holds a selection of events; ingest with --events all to export a xentrace file"
            )
        write, replaceable = partial(_write_xentrace, dataset), is_replaceable_file
    else:
        write, replaceable = partial(_write_tables, dataset, to), is_replaceable_dataset
    with (
        staged(Path(output), force=force, replaceable=replaceable, folder=to != "xentrace") as path,
        writing(Path(output)),
    ):
        write(path)


def _batches(dataset: str | os.PathLike[str], table: str) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema(table)
    for path in table_files(dataset, table):
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    yield batch.cast(schema)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as table {table}: {error}") from None


def _write_tables(dataset: str | os.PathLike[str], to: str, folder: Path) -> None:
    for table in TABLES:
        with TABLE_WRITERS[to](folder / f"{table}.{to}", arrow_schema(table)) as writer:
            for batch in _batches(dataset, table):
                writer.write(batch)


def _write_xentrace(dataset: str | os.PathLike[str], path: Path) -> None:
    """Write all records; the byte counts of the windows are computed, so that the file is valid also behind damage."""
    sizes = _all_window_sizes(dataset)
    with path.open("wb") as file:
        for columns, starts in _records(dataset):
            words = columns.words
            words[1, starts] = [next(sizes) for _ in starts]
            out = np.empty(int(_record_sizes(columns).sum()) // 4, "<u4")
            encode(columns.event, columns.timed, columns.tsc, columns.n, words, out)
            file.write(out.data)


def _records(dataset: str | os.PathLike[str]) -> Iterator[tuple[Columns, NDArray[np.intp]]]:
    """Yield all records, and which of them start a window.

    Raises InputError for rows that ingest never writes, since no file could hold them.
    """
    first = True
    for batch in _batches(dataset, "events"):
        columns = columns_of_events(batch)
        starts = window_starts(columns.event, columns.timed, columns.n)
        possible = (columns.n <= MAX_WORDS) & (columns.event <= EVENT_MASK)
        if not possible.all() or (first and starts[:1].tolist() != [0]):
            raise InputError(f"{dataset}: table events holds records that no xentrace file can hold; ingest again")
        first = False
        yield columns, starts


def _record_sizes(columns: Columns) -> NDArray[np.int64]:
    """Return the length of each record in bytes."""
    return 4 + 8 * columns.timed.astype(np.int64) + 4 * columns.n.astype(np.int64)


def _all_window_sizes(dataset: str | os.PathLike[str]) -> Iterator[int]:
    """Yield the byte count of every window, in order of their CPU_CHANGE records."""
    open_bytes, started = 0, False
    for columns, starts in _records(dataset):
        closed, open_bytes = window_sizes(starts, _record_sizes(columns), open_bytes)
        # What precedes the very first CPU_CHANGE is no window, and is empty.
        yield from closed[0 if started else 1 :]
        started = started or bool(closed)
    if started:
        yield open_bytes
