"""Where a report goes: to standard output, or whole into a file or folder."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from eptreplay.commands.render import PIPE_COLUMNS, new_console
from eptreplay.report.files import runs_as_csv, write_tables
from eptreplay.report.terminal import print_report
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import is_replaceable_file

Publish = Callable[[dict[str, Any], Path], None]
"""Takes the document of a report, and the result dataset that it is about."""


@contextmanager
def publishing(format_: str, output: Path | None, *, force: bool) -> Iterator[Publish]:
    """Yield the function that writes a report as ``format_``; what it has written appears when the block ends.

    What is wrong with ``output`` is told at once, not after everything has been worked out. Raises UsageError,
    OutputError.
    """
    if output is None:
        yield lambda document, _: _print(document, format_)
        return
    as_folder = format_ == "parquet"
    replaceable = _is_folder_of_tables if as_folder else is_replaceable_file
    with staged(output, force=force, replaceable=replaceable, folder=as_folder) as inside:

        def write(document: dict[str, Any], result: Path) -> None:
            with writing(output):
                if as_folder:
                    write_tables(result, inside)
                else:
                    inside.write_text(_as_text(document, format_))

        yield write


def _print(document: dict[str, Any], format_: str) -> None:
    if format_ == "table":
        print_report(document, new_console())
    else:
        sys.stdout.write(_as_text(document, format_))


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
