"""From datasets to other formats: trace datasets, and results."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import InputError, UsageError, unknown_choice
from eptreplay.replay.results import WORKLOAD_TABLE, is_result, result_file, table_names
from eptreplay.replay.schema import result_schema
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.export import BATCH_ROWS, FORMATS, TABLE_WRITERS, export_trace
from eptreplay.workload.schema import workload_schema


def export(dataset: str | os.PathLike[str], *, to: str, output: str | os.PathLike[str], force: bool = False) -> None:
    """Write a trace dataset in the format ``to``: parquet, csv, arrow or xentrace; or a result, but for xentrace.

    The first three are a folder with one file per table. ``xentrace`` gives a valid file of all records: that of an
    undamaged recording byte for byte; several sources become one. Raises UsageError for an unknown format, an existing
    output, or ``xentrace`` from a result or from a dataset without all records.
    """
    if not is_result(dataset):
        export_trace(dataset, to=to, output=output, force=force)
        return
    if to not in FORMATS:
        raise unknown_choice("--to", to, FORMATS)
    if to not in TABLE_WRITERS:
        raise UsageError(f"{dataset}: a result holds no records; export the trace dataset that it is about")
    with (
        staged(Path(output), force=force, replaceable=_is_replaceable_export, folder=True) as folder,
        writing(Path(output)),
    ):
        for table in table_names(dataset):
            schema = workload_schema() if table == WORKLOAD_TABLE else result_schema(table)
            _write(result_file(Path(dataset), table), folder / f"{table}.{to}", schema, to)


def _write(source: Path, target: Path, schema: pa.Schema, to: str) -> None:
    with TABLE_WRITERS[to](target, schema) as writer:
        try:
            with pq.ParquetFile(source) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    writer.write(batch.cast(schema))
        except FileNotFoundError:
            raise InputError(f"{source}: missing, so the result is incomplete; replay again") from None
        except (pa.ArrowException, ValueError) as error:
            raise InputError(f"{source}: cannot be read: {error}") from None


def _is_replaceable_export(path: Path) -> bool:
    """Tell whether a folder holds nothing but exported tables of a result, so that ``--force`` may replace it."""
    if not path.is_dir() or path.is_symlink():
        return False
    suffixes = {f".{to}" for to in TABLE_WRITERS}
    return {entry.stem for entry in path.iterdir() if entry.suffix in suffixes} >= {"runs"} and all(
        entry.suffix in suffixes for entry in path.iterdir()
    )
