"""The report as files: CSV of the runs, Parquet of all tables."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import InputError
from eptreplay.replay.results import result_file, table_names
from eptreplay.replay.schema import RUNS


def runs_as_csv(document: dict[str, Any]) -> str:
    """Return the rows of ``runs`` as CSV, with a header; what is unknown is empty."""
    text = io.StringIO()
    names = [column.name for column in RUNS]
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in document["runs"]:
        writer.writerow({name: _cell(row[name]) for name in names})
    return text.getvalue()


def _cell(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def write_tables(result: str | os.PathLike[str], folder: Path) -> None:
    """Write every table of a result dataset into a folder, one Parquet file each."""
    for name in table_names(result):
        try:
            table = pq.read_table(result_file(Path(result), name))
        except FileNotFoundError:
            raise InputError(f"{result_file(Path(result), name)}: missing, so the result is incomplete") from None
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{result_file(Path(result), name)}: cannot be read: {error}") from None
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
