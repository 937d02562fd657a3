"""Fixtures of the tests of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eptreplay.commands import run
from tests.commands.running import Outcome
from tests.trace.made_recordings import busy_recording, dataset, write

Run = Callable[..., Outcome]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that carries out a command line in this process, which is quicker than in one of its own."""

    def carry_out(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return carry_out


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Path of a small recording."""
    return write(tmp_path, busy_recording(), "small.xentrace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Path of a dataset of all records of a small recording."""
    (tmp_path / "made").mkdir()
    return dataset(tmp_path / "made", busy_recording())
