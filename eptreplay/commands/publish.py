"""Where a report goes: to standard output, or whole into a file or folder."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from eptreplay.commands.render import PIPE_COLUMNS, new_console
from eptreplay.report.files import runs_as_csv, write_tables
from eptreplay.report.terminal import print_report
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import is_replaceable_file


def publish(document: dict[str, Any], result: Path, format_: str, output: Path | None, *, force: bool) -> None:
    """Write a report, and the tables of its result dataset, as ``format_``; raises UsageError, OutputError."""
    if format_ == "parquet" and output is not None:
        with staged(output, force=force, replaceable=_is_folder_of_tables, folder=True) as folder, writing(output):
            write_tables(result, folder)
        return
    if output is None and format_ == "table":
        print_report(document, new_console())
        return
    text = _as_text(document, format_)
    if output is None:
        sys.stdout.write(text)
        return
    with staged(output, force=force, replaceable=is_replaceable_file, folder=False) as file, writing(output):
        file.write_text(text)


def _as_text(document: dict[str, Any], format_: str) -> str:
    if format_ == "json":
        return json.dumps(document, indent=1) + "\n"
    if format_ == "csv":
        return runs_as_csv(document)
    text = io.StringIO()
    print_report(document, Console(file=text, width=PIPE_COLUMNS, highlight=False))
    return text.getvalue()


def _is_folder_of_tables(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and all(entry.suffix == ".parquet" for entry in path.iterdir())
