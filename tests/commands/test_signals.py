"""Ctrl-C and SIGTERM end a command at once, wherever it is, with nothing left behind.

None of these processes is measured for coverage: an exception that a signal raises in the midst of measuring leaves
coverage's own lock locked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from eptreplay import commands
from tests.commands.conftest import Run
from tests.commands.running import finish, hidden, started, wait_until
from tests.compiled import COMPILED
from tests.trace.made_recordings import files_of, long_recording

ENDS = {signal.SIGINT: (130, ["eptreplay: interrupted"]), signal.SIGTERM: (143, ["eptreplay: terminated"])}
both = pytest.mark.parametrize("sent", ENDS, ids=lambda sent: sent.name)


def end(process: subprocess.Popen[bytes], sent: signal.Signals) -> None:
    """Send a signal and assert that the command ends as it should."""
    process.send_signal(sent)
    done = finish(process)
    assert (done.code, done.out, done.lines) == (ENDS[sent][0], "", ENDS[sent][1])


@both
def test_while_it_waits_for_standard_input(tmp_path: Path, sent: signal.Signals) -> None:
    reading, writing = os.pipe()
    with started("ingest", "-", "-o", tmp_path / "ds", stdin=reading, measured=False) as process:
        os.close(reading)
        wait_until(lambda: hidden(tmp_path))
        end(process, sent)
    os.close(writing)
    assert list(tmp_path.iterdir()) == []


@both
def test_while_a_pipe_has_stalled_in_the_middle(tmp_path: Path, sent: signal.Signals) -> None:
    reading, writing = os.pipe()
    with started("ingest", "-", "-o", tmp_path / "ds", stdin=reading, measured=False) as process:
        os.close(reading)
        data = long_recording(3000).bytes()
        sender = threading.Thread(target=os.write, args=(writing, data[: len(data) // 2 + 1]))
        sender.start()
        wait_until(lambda: hidden(tmp_path))
        sender.join()
        end(process, sent)
    os.close(writing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", [["ingest", "-", "-o", "{}/ds", "--events", "all"], ["info", "-"]])
def test_while_it_works_as_fast_as_it_can(tmp_path: Path, line: list[str]) -> None:
    reading, writing = os.pipe()
    with started(*(part.format(tmp_path) for part in line), stdin=reading, measured=False) as process:
        os.close(reading)
        data, sent = long_recording(2000).bytes(), [0]

        def send_for_ever() -> None:
            try:
                while True:
                    sent[0] += os.write(writing, data)
            except BrokenPipeError:
                os.close(writing)

        sender = threading.Thread(target=send_for_ever)
        sender.start()
        wait_until(lambda: sent[0] > (20_000_000 if COMPILED else 200_000))
        end(process, signal.SIGINT)
    sender.join()
    assert list(tmp_path.iterdir()) == []


def test_an_old_dataset_survives_an_interrupted_replacement(here: Run, tmp_path: Path, recording: Path) -> None:
    target = tmp_path / "ds"
    assert here("ingest", recording, "-o", target).code == 0
    before = files_of(tmp_path)
    reading, writing = os.pipe()
    with started("ingest", "-", "-o", target, "--force", stdin=reading, measured=False) as process:
        os.close(reading)
        wait_until(lambda: hidden(tmp_path))
        end(process, signal.SIGINT)
    os.close(writing)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("happens", "code", "line"),
    [
        (signal.default_int_handler, 130, "eptreplay: interrupted"),
        (commands._terminate, 143, "eptreplay: terminated"),
    ],
    ids=["SIGINT", "SIGTERM"],
)
def test_in_this_process(
    here: Run, monkeypatch: pytest.MonkeyPatch, happens: Callable[[int, None], object], code: int, line: str
) -> None:
    monkeypatch.setattr("eptreplay.xentrace.catalogue.document.catalogue_document", partial(happens, 0, None))
    assert here("events") == (code, "", f"{line}\n")
