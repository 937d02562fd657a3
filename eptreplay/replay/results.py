"""The result dataset on disk: written whole, its manifest last, and read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay import __version__
from eptreplay.errors import InputError
from eptreplay.replay.rows import Table
from eptreplay.replay.schema import RESULT_KIND, RESULT_SCHEMA, RESULT_TABLES, result_schema
from eptreplay.trace.dataset import MANIFEST, read_json

WORKLOAD_TABLE = "workload"
_KEYS = {"tables", "assumptions", "source", "sources", "trace"}


def result_file(folder: Path, table: str) -> Path:
    """Return the file of a table of the result dataset."""
    return folder / f"{table}.parquet"


def is_replaceable_result(path: Path) -> bool:
    """Tell whether a folder holds nothing but files of a result, so that ``--force`` may replace it."""
    if not path.is_dir() or path.is_symlink():
        return False
    ours = {MANIFEST, *(f"{table}.parquet" for table in (*RESULT_TABLES, WORKLOAD_TABLE))}
    return {entry.name for entry in path.iterdir()} <= ours


def rows_table(table: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return rows as an Arrow table."""
    schema = result_schema(table)
    return pa.table({name: pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names},
                    schema=schema)  # fmt: skip


def columns_table(table: str, parts: Iterable[Table]) -> pa.Table:
    """Return columns of several runs as one Arrow table."""
    schema = result_schema(table)
    tables = [
        pa.table({name: pa.array(part[name], schema.field(name).type) for name in schema.names}, schema=schema)
        for part in parts
    ]
    return pa.concat_tables([schema.empty_table(), *tables])


def write_result(folder: Path, tables: dict[str, pa.Table], manifest: dict[str, Any]) -> dict[str, Any]:
    """Write tables and, at last, the manifest into a folder that nobody sees yet; returns the manifest."""
    for name, table in tables.items():
        pq.write_table(table, result_file(folder, name), compression="zstd", store_schema=True)
    document = {
        "schema": RESULT_SCHEMA,
        "kind": RESULT_KIND,
        "eptreplay": __version__,
        "tables": sorted(tables),
        **manifest,
    }
    (folder / MANIFEST).write_text(json.dumps(document, indent=1) + "\n")
    return document


def is_result(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder is a result dataset, as far as its manifest says."""
    try:
        return bool(json.loads((Path(path) / MANIFEST).read_text()).get("kind") == RESULT_KIND)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def table_names(folder: str | os.PathLike[str]) -> list[str]:
    """Return the tables that a result dataset has; raises InputError if it is none."""
    manifest = read_json(folder, RESULT_KIND, RESULT_SCHEMA, _KEYS)
    return [name for name in (*RESULT_TABLES, WORKLOAD_TABLE) if name in manifest["tables"]]


def read_table(folder: str | os.PathLike[str], table: str) -> pa.Table:
    """Return a table of a result dataset; raises InputError if its file is missing or damaged."""
    path = result_file(Path(folder), table)
    if not path.is_file():
        raise InputError(f"{path}: missing, so the result is incomplete; replay again")
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def read_result(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Return manifest and tables of a result dataset; raises InputError if it is none, or lost a file."""
    manifest = read_json(folder, RESULT_KIND, RESULT_SCHEMA, _KEYS)
    tables = {}
    for name in (name for name in RESULT_TABLES if name in manifest["tables"]):
        table = tables[name] = read_table(folder, name)
        if missing := {column.name for column in RESULT_TABLES[name]} - set(table.schema.names):
            path = result_file(Path(folder), name)
            raise InputError(f"{path}: expected the columns {', '.join(sorted(missing))} as well; replay again")
    for name in ("runs", "causes", "pcpus"):
        if name not in tables:
            raise InputError(f"{folder}: expected a table {name}; replay again")
    return manifest, tables
