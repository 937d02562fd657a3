"""Datasets on disk: which folder is one, and whether this version can read it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eptreplay.errors import InputError, UsageError
from eptreplay.trace.schema import SCHEMA_VERSION, TABLES

MANIFEST = "manifest.json"
"""Written last: a folder without it is not a dataset, whatever else it holds."""
TRACE_KIND = "trace"

_KEYS = {
    "options", "parts", "source", "sources", "records", "windows", "pcpus", "events", "first_tsc", "span_ticks",
    "span_ns", "timed_records", "tsc_hz", "tsc_steps_back", "xen", "vendor", "bytes_decoded", "bytes_skipped", "damage",
    "damage_total", "lost_records", "p2m", "missing",
}  # fmt: skip
_FILES = {MANIFEST, *(f"{name}{suffix}" for name in TABLES for suffix in (".parquet", ".csv", ".arrow"))}
_PARTS = "events"
_PART = re.compile(r"part-\d{5,}\.parquet")


def is_replaceable_dataset(path: Path) -> bool:
    """Tell whether a folder holds nothing but files that we write, so that ``--force`` may replace it."""
    if not path.is_dir() or path.is_symlink():
        return False
    parts = path / _PARTS
    if not {entry.name for entry in path.iterdir()} <= _FILES | {_PARTS}:
        return False
    return not parts.exists() or (parts.is_dir() and all(_PART.fullmatch(entry.name) for entry in parts.iterdir()))


def is_replaceable_file(path: Path) -> bool:
    """Tell whether ``--force`` may replace a file: any regular one, as with other tools that write one file."""
    return path.is_file()


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the manifest of the trace dataset ``folder``; raises InputError if it is none that this version reads."""
    return read_json(folder, TRACE_KIND, SCHEMA_VERSION, _KEYS)


_AGAIN = {TRACE_KIND: "ingest the recording again", "result": "replay again"}
_INTERRUPTED = "if ingest or replay was interrupted, run it again"


def read_json(folder: str | os.PathLike[str], kind: str, newest: int, keys: set[str]) -> dict[str, Any]:
    """Return the manifest of a dataset of ``kind``; raises InputError if it is none that this version reads."""
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{folder}: no dataset: {MANIFEST} is missing; {_INTERRUPTED}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), int):
        raise InputError(f"{path}: expected the manifest of a dataset with a schema number")
    if manifest["schema"] > newest:
        raise InputError(
            f"{folder}: schema {manifest['schema']}, written by eptreplay {manifest.get('eptreplay')};"
            f" this version reads up to {newest}: use a newer eptreplay"
        )
    if manifest.get("kind") != kind:
        raise InputError(f"{folder}: expected a {kind} dataset, found kind {manifest.get('kind')!r}")
    if missing := keys - manifest.keys():
        raise InputError(f"{path}: expected the keys {', '.join(sorted(missing))} as well; {_AGAIN[kind]}")
    return manifest


def dataset_among(paths: Sequence[str | os.PathLike[str]], *, xen: str | None, tsc_hz: int | None) -> Path | None:
    """Return the folder if ``paths`` name one dataset, None if they name files.

    Raises UsageError for ``xen`` or ``tsc_hz`` with a dataset.
    """
    if len(paths) != 1 or not os.path.isdir(paths[0]):  # noqa: PTH112 (Path.is_dir raises what opening it says better)
        return None
    if xen is not None or tsc_hz is not None:
        raise UsageError(f"{paths[0]}: --xen and --tsc-hz were fixed when it was ingested; ingest again with them")
    return Path(paths[0])


def part_file(folder: Path, number: int) -> Path:
    """Return the file of a part of ``events``, counted from 0."""
    return folder / _PARTS / f"part-{number:05}.parquet"


def table_files(folder: str | os.PathLike[str], table: str) -> list[Path]:
    """Return the Parquet files of a table in order; raises InputError if ``folder`` is no dataset, or lost one."""
    root, count = Path(folder), read_manifest(folder)["parts"]
    files = [part_file(root, number) for number in range(count)] if table == "events" else [root / f"{table}.parquet"]
    for path in files:
        if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises where a folder cannot be searched)
            raise InputError(f"{path}: missing, so the dataset is incomplete; ingest the recording again")
    return files
