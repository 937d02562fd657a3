"""The report as files: CSV of the runs, Parquet of all tables."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from eptreplay.replay.results import read_table, table_names
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
        pq.write_table(read_table(result, name), folder / f"{name}.parquet", compression="zstd")
