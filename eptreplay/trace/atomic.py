"""Outputs that appear whole or not at all: written under a temporary name beside the target, synced, then renamed."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eptreplay.errors import OutputError, UsageError

STAGE_BYTES = 4
"""Random part of a stage's name, written with two digits a byte."""

Replaceable = Callable[[Path], bool]
"""Tells whether an existing target is something that we wrote and may replace under ``--force``."""


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn operating system errors within the block into OutputError: one line that names the target."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


@contextmanager
def staged(target: Path, *, force: bool, replaceable: Replaceable, folder: bool) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` (a folder, or a file to be created) and rename it at the end.

    On any exception the temporary path is removed and the target is as it was. What an earlier process that was
    killed has left behind for the same target is removed first. Raises UsageError if the target exists and ``force``
    is False, or if it is nothing that we wrote; OutputError if it cannot be written.
    """
    parent = target.absolute().parent
    with writing(target):
        _check(target, force=force, replaceable=replaceable)
        if not parent.exists():
            raise OutputError(f"{target}: cannot be written: there is no folder {target.parent}; make it first")
        _remove_leftovers(parent, target.name)
    with _stage(target) as stage:
        inside = stage / "new"
        if folder:
            with writing(target):
                inside.mkdir()
        yield inside
        with writing(target):
            _sync_tree(inside)
            _check(target, force=force, replaceable=replaceable)  # it may have come into being meanwhile
            _replace(inside, target, stage)
            _sync(parent)


def _check(target: Path, *, force: bool, replaceable: Replaceable) -> None:
    if not os.path.lexists(target):
        return
    if not force:
        raise UsageError(f"{target}: exists already; choose another name, or --force to replace it")
    if not replaceable(target):
        raise UsageError(f"{target}: exists and is not an output of eptreplay, so --force does not replace it")


def _replace(inside: Path, target: Path, stage: Path) -> None:
    """Move the new output into place; an old folder moves aside first: no rename replaces a full one."""
    old = stage / "old"
    if target.is_dir() and not target.is_symlink():
        target.rename(old)
    try:
        inside.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


@contextmanager
def _stage(target: Path) -> Iterator[Path]:
    """Yield a new folder beside the target, which is removed at the end, and whose lock we hold for as long as we live.

    Before it is locked another process may take the folder for a leftover and remove it; then the next one will do.
    """
    while True:
        stage = target.absolute().parent / f".{target.name}.{secrets.token_hex(STAGE_BYTES)}.partial"
        try:  # from before it exists, since a signal may come at any time
            with writing(target):
                stage.mkdir()
                lock = os.open(stage, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if stage.exists():
                    yield stage
                    return
            finally:
                os.close(lock)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _remove_leftovers(parent: Path, name: str) -> None:
    """Remove stages of this target that nobody holds the lock of: their process was killed."""
    for stage in parent.glob(f".{_literal(name)}.{'[0-9a-f]' * 2 * STAGE_BYTES}.partial"):
        with suppress(OSError):
            lock = os.open(stage, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stage, ignore_errors=True)
            finally:
                os.close(lock)


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _sync_tree(path: Path) -> None:
    """Bring a file, or a folder and all in it, to the disk; the manifest last: it says that all is there."""
    files = (
        [path] if path.is_file() else sorted((p for p in path.rglob("*")), key=lambda p: (p.name == "manifest.json", p))
    )
    for entry in files:
        _sync(entry)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
