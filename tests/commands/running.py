"""Command lines, carried out as a user does: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from eptreplay.commands import render

EPTREPLAY = (sys.executable, "-m", "eptreplay")
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": ""}
"""Output gathers in buffers, as it does for most users: what cannot be written shows late."""
PATIENCE_S = 120
"""As long as compiling takes on a slow machine, and then some."""


class Outcome(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines on standard error."""
        return self.err.splitlines()


def command(*arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
    """Carry out a command line and return what it gave."""
    done = subprocess.run(
        [*EPTREPLAY, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
        env={**ENVIRONMENT, **(env or {})},
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def started(
    *arguments: object,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    measured: bool = True,
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command line; whatever becomes of the test, it has ended and its pipes are closed afterwards.

    ``measured``: for coverage, where that is taken.
    """
    kept = {name: value for name, value in ENVIRONMENT.items() if measured or not name.startswith("COVERAGE_")}
    process = subprocess.Popen(
        [*EPTREPLAY, *map(str, arguments)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**kept, **(env or {})},
    )
    with process:  # on its way out it closes the pipes, and waits
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finish(process: subprocess.Popen[bytes]) -> Outcome:
    """Return what a command line that was started gives."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return Outcome(process.returncode, out.decode(), err.decode())


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is so; fails when it takes too long."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)


def written(folder: Path, end: str) -> bool:
    """Return whether a path below a folder ends like this.

    For folders in which a command is at work: what it renames or removes meanwhile is no error, as it is for `rglob`.
    """
    return any(f"{parent}/{name}".endswith(end) for parent, _, names in os.walk(folder) for name in names)


def hidden(folder: Path) -> list[str]:
    """Return what is hidden in a folder: outputs that are not complete."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@contextmanager
def narrow(columns: int) -> Iterator[None]:
    """Let tables have as many columns as on a terminal, though it is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "PIPE_COLUMNS", columns)
        yield
