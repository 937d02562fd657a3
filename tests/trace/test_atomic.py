"""Outputs appear whole or not at all, whatever happens, and replace nothing that is not ours."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import eptreplay
from eptreplay.errors import OutputError, UsageError
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import is_replaceable_dataset, is_replaceable_file
from tests.trace.killing import digest
from tests.trace.made_recordings import busy_recording, dataset, files_of, leftovers, long_recording, write


def make(target: Path, content: str = "new", *, force: bool = False, folder: bool = True) -> None:
    """Write an output: a folder with two files, or a file."""
    replaceable = is_replaceable_dataset if folder else is_replaceable_file
    with staged(target, force=force, replaceable=replaceable, folder=folder) as path:
        if folder:
            (path / "events").mkdir()
            (path / "events" / "part-00000.parquet").write_text(content)
            (path / "manifest.json").write_text(content)
        else:
            path.write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["out", "old", "new", "a b", "[x]*?", ".hidden", "x.partial"])
@pytest.mark.parametrize("folder", [True, False])
def test_an_output_appears_at_the_end_and_nothing_else_does(tmp_path: Path, name: str, *, folder: bool) -> None:
    target = tmp_path / name
    with staged(target, force=False, replaceable=is_replaceable_dataset, folder=folder) as path:
        assert not target.exists()
        assert path.is_dir() == folder
        (path / "manifest.json" if folder else path).write_text("content")
    assert names(tmp_path) == [name]
    make(target, "again", force=True, folder=folder)
    assert names(tmp_path) == [name]
    assert (target / "manifest.json" if folder else target).read_text() == "again"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_interrupts_it_leaves_nothing_new(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupt(target: Path) -> None:
        with staged(target, force=True, replaceable=is_replaceable_dataset, folder=True) as path:
            (path / "manifest.json").write_text("half")
            raise error

    with pytest.raises(error):
        interrupt(tmp_path / "out")
    assert names(tmp_path) == []
    make(tmp_path / "out")
    before = files_of(tmp_path)
    with pytest.raises(error):
        interrupt(tmp_path / "out")
    assert files_of(tmp_path) == before


def test_an_output_may_be_named_relative_to_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("out"))
    (tmp_path / "below").mkdir()
    make(Path("below/out"))
    assert names(tmp_path) == ["below", "out"]
    assert names(tmp_path / "below") == ["out"]


@pytest.mark.parametrize("place", [".", "..", "/", ""])
def test_places_that_exist_are_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    with pytest.raises(UsageError, match="exists already"):
        make(Path(place))
    with pytest.raises((UsageError, OutputError)):
        make(Path(place), force=True)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["above", "above/here"]


# What --force replaces


def test_an_existing_target_needs_force(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("out", "dangling"):
        with pytest.raises(UsageError, match=f"{name}: exists already; choose another name, or --force"):
            make(tmp_path / name)
    assert (tmp_path / "out" / "manifest.json").read_text() == "old"


def somebody_s(folder: Path, kind: str) -> Path:
    """Make something that we did not write."""
    target = folder / "out"
    match kind:
        case "file":
            target.write_text("letter")
        case "folder-with-a-letter":
            make(target)
            (target / "letter.txt").write_text("letter")
        case "folder-with-a-letter-among-events":
            make(target)
            (target / "events" / "letter.txt").write_text("letter")
        case "folder-with-a-folder-among-events":
            make(target)
            (target / "events" / "part-00001.parquet.d").mkdir()
        case "folder-with-events-that-are-no-folder":
            target.mkdir()
            (target / "events").write_text("letter")
        case "link-to-a-dataset":
            make(folder / "linked")
            target.symlink_to("linked")
        case _:
            (folder / "linked").mkdir()
            target.symlink_to("linked")
    return target


@pytest.mark.parametrize(
    "kind",
    [
        "file",
        "folder-with-a-letter",
        "folder-with-a-letter-among-events",
        "folder-with-a-folder-among-events",
        "folder-with-events-that-are-no-folder",
        "link-to-a-dataset",
        "link-to-an-empty-folder",
    ],
)
def test_force_does_not_replace_what_is_not_ours(tmp_path: Path, kind: str) -> None:
    target = somebody_s(tmp_path, kind)
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match="is not an output of eptreplay, so --force does not replace it"):
        make(target, force=True)
    assert files_of(tmp_path) == before
    assert target.exists()


def test_force_does_not_replace_a_folder_by_a_file(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with pytest.raises(UsageError, match="not an output"):
        make(tmp_path / "out", force=True, folder=False)


def test_force_replaces_datasets_tables_in_other_formats_and_empty_folders(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    (tmp_path / "empty").mkdir()
    for to in ("csv", "arrow", "parquet"):
        eptreplay.export(folder, to=to, output=tmp_path / to)
    for name in (folder.name, "empty", "csv", "arrow", "parquet"):
        make(tmp_path / name, force=True)
        assert names(tmp_path / name) == ["events", "manifest.json"]
    assert leftovers(tmp_path) == []


# What cannot be written


@pytest.mark.parametrize("name", ["nowhere/out", "file/out", "a" * 256])
def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written: "):
        make(tmp_path / name)
    assert names(tmp_path) == ["file"]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Put a file system of its own into a folder; skips the test where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        # Lazily: an error that is still being looked at may hold files open.
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 (wherever it is)


def test_a_read_only_folder_is_an_output_error(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "ro") as disk,
        pytest.raises(OutputError, match=r"out: cannot be written: Read-only file system"),
    ):
        make(disk / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not concern root")
def test_a_folder_without_permission_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"out: cannot be written: Permission denied"):
        make(tmp_path / "theirs" / "out")


@pytest.mark.parametrize("kib", [4, 12, 24, 40])
def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path, kib: int) -> None:
    source = write(tmp_path, long_recording(3000 if kib > 12 else 400))
    with mounted(tmp_path / "disk", f"size={kib}k") as disk:
        with pytest.raises(OutputError, match=r"out: cannot be written: .*No space left on device"):
            eptreplay.ingest([source], disk / "out", events="all")
        assert names(disk) == []


def test_an_error_of_the_system_becomes_one_line() -> None:
    with pytest.raises(OutputError, match=r"^out: cannot be written: Is a directory$"), writing(Path("out")):
        Path("/").write_text("")
    with pytest.raises(OutputError, match=r"^out: cannot be written: odd$"), writing(Path("out")):
        raise OSError("odd")


def test_a_target_that_cannot_be_moved_into_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "out", "old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target.name == "out" and self.name != "old":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        make(tmp_path / "out", force=True)
    with pytest.raises(OutputError, match="Input/output error"):
        make(tmp_path / "out", force=True, folder=True)
    assert (tmp_path / "out" / "manifest.json").read_text() == "old"
    assert names(tmp_path) == ["out"]


# Processes that were killed, and those that live


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    dead, other = tmp_path / ".out.00c0ffee.partial", tmp_path / ".other.00c0ffee.partial"
    living, not_ours = tmp_path / ".out.0badcafe.partial", tmp_path / ".out.my.partial"
    for folder in (dead, other, living, not_ours):
        (folder / "new").mkdir(parents=True)
    lock = os.open(living, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    make(tmp_path / "out")
    os.close(lock)
    assert names(tmp_path) == [other.name, living.name, not_ours.name, "out"]


def test_of_two_at_once_the_first_to_end_wins(tmp_path: Path) -> None:
    def slow_one() -> None:
        with staged(tmp_path / "out", force=False, replaceable=is_replaceable_dataset, folder=True) as path:
            (path / "manifest.json").write_text("slow")
            make(tmp_path / "out", "quick")

    with pytest.raises(UsageError, match="exists already"):
        slow_one()
    assert (tmp_path / "out" / "manifest.json").read_text() == "quick"
    assert leftovers(tmp_path) == []


def test_a_stage_that_is_taken_for_a_leftover_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock
    locked: list[int] = []

    def lose_the_first(descriptor: int, operation: int) -> None:
        if not locked:
            [stage] = tmp_path.iterdir()
            stage.rmdir()
        locked.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lose_the_first)
    make(tmp_path / "out")
    assert len(locked) == 2
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("replacing", [False, True])
def test_a_process_that_is_killed_leaves_a_whole_dataset_or_none(tmp_path: Path, *, replacing: bool) -> None:
    source, target = write(tmp_path, long_recording(300)), tmp_path / "out"
    eptreplay.ingest([source], tmp_path / "whole", events="all", input_bytes=4096)
    eptreplay.ingest([source], tmp_path / "other", events="ept", input_bytes=4096)
    complete, old = digest(tmp_path / "whole"), digest(tmp_path / "other")
    if replacing:
        (tmp_path / "other").rename(target)
    done = subprocess.run(
        [sys.executable, "-m", "tests.trace.killing", source, target], capture_output=True, text=True, check=True
    )
    attempts = [line.split() for line in done.stdout.splitlines()]
    assert [ending for ending, _ in attempts] == ["9"] * (len(attempts) - 1) + ["0"]
    assert len(attempts) > 10
    assert {state for _, state in attempts} <= {complete, "none", *([old] if replacing else [])}
    assert attempts[-1][1] == complete
    assert leftovers(tmp_path) == []
