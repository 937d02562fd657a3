"""Standard streams: only results on standard output, and nothing breaks when a stream does."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import threading
from pathlib import Path

import pytest

from eptreplay.commands import console
from tests.commands.conftest import Run
from tests.commands.running import ENVIRONMENT, EPTREPLAY, PATIENCE_S, Outcome, command, finish, started
from tests.trace.made_recordings import busy_recording, long_recording, write

EVENTS_JSON = [*EPTREPLAY, "events", "--format", "json"]


def shell(redirections: str, *arguments: object) -> Outcome:
    """Carry out a command line in a shell that does something with its streams; its own code is printed last."""
    line = " ".join(f"'{argument}'" for argument in (*EPTREPLAY, *arguments))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{{ {line}; echo $? >&3; }} 3>&1 {redirections}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=ENVIRONMENT,
    )
    *out, code = done.stdout.splitlines()
    return Outcome(int(code), "\n".join(out), done.stderr)


@pytest.mark.parametrize("line", [["events"], ["events", "--format", "json"], ["info", "{}"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_error(recording: Path, line: list[str]) -> None:
    with started(*(part.format(recording) for part in line)) as process:
        assert process.stdout
        process.stdout.close()  # before anything has been written
        assert process.stderr
        errors = process.stderr.read().decode().splitlines()
        assert process.wait(PATIENCE_S) == 0
    assert [text for text in errors if "layouts of Xen" not in text] == []


@pytest.mark.parametrize(
    ("redirection", "line", "code", "message"),
    [
        (
            ">/dev/full",
            ["events", "--format", "json"],
            4,
            "standard output: cannot be written: No space left on device",
        ),
        (">/dev/full", ["info", "{recording}"], 4, "standard output: cannot be written: No space left on device"),
        (">/dev/full", ["--help"], 4, "standard output: cannot be written: No space left on device"),
        (">&-", ["events"], 4, "standard output: cannot be written: Bad file descriptor"),
        (">&-", ["ingest", "{recording}", "-o", "{recording}.ds"], 0, "28 records in 6 windows"),
        ("<&-", ["info", "-"], 3, "-: byte 0: expected a CPU_CHANGE record (03 f0 01 20), found an empty file"),
    ],
)
def test_streams_that_are_closed_or_full_are_told_in_one_line(
    recording: Path, redirection: str, line: list[str], code: int, message: str
) -> None:
    done = shell(redirection, *(part.format(recording=recording) for part in line))
    assert (done.code, done.out) == (code, "")
    assert message in done.lines[-1]
    assert [text for text in done.lines[:-1] if "layouts of Xen" not in text] == []


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_where_nobody_can_be_told_results_are_the_same(recording: Path, redirection: str) -> None:
    done = shell(redirection, "info", recording, "--format", "json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["records"] == 28


def test_names_that_are_no_text_are_printed_nevertheless(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.xentrace"))
    path.write_bytes(busy_recording().bytes())
    for encoding in ("utf-8:strict", "ascii"):
        done = command("info", path, env={"PYTHONIOENCODING": encoding})
        assert done.code == 0
        assert "\\udcff\\udcfe.xentrace" in done.out


def test_a_message_is_one_line_whatever_the_name(here: Run, tmp_path: Path) -> None:
    done = here("ingest", write(tmp_path, busy_recording()), "-o", tmp_path / "two\nlines")
    assert done.lines[-1] == f"eptreplay: {tmp_path}/two lines: 28 records in 6 windows, events: ept"
    assert len(here("info", "no\nwhere").lines) == 1


def test_a_pipe_that_gives_a_little_at_a_time_is_read_to_its_end(tmp_path: Path) -> None:
    packed = gzip.compress(long_recording(200).bytes())
    with started("ingest", "-", "-o", tmp_path / "ds", stdin=subprocess.PIPE) as process:
        assert process.stdin
        with process.stdin as pipe:
            for i in range(0, len(packed), 97):
                pipe.write(packed[i : i + 97])
                pipe.flush()
        process.stdin = None
        done = finish(process)
    assert (done.code, done.out) == (0, "")
    assert "404 records in 4 windows" in done.err


def test_a_named_pipe_is_a_recording(tmp_path: Path) -> None:
    fifo, data = tmp_path / "fifo.gz", gzip.compress(busy_recording().bytes())
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(data,))
    writer.start()
    done = command("info", fifo, "--format", "json")
    writer.join()
    assert done.code == 0
    assert json.loads(done.out)["records"] == 28


# A terminal


def on_a_terminal(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Carry out a command line with a terminal for standard error; returns its code and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*EPTREPLAY, *map(str, arguments)],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**ENVIRONMENT, "TERM": "xterm", **(env or {})},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # what a terminal says when its last user is gone
            break
        seen += more
    os.close(ours)
    return process.wait(PATIENCE_S), seen.decode()


@pytest.mark.compiled
def test_the_first_run_says_why_it_takes_longer_but_only_to_people(tmp_path: Path) -> None:
    empty = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    code, seen = on_a_terminal("info", "nowhere", env=empty)
    assert code == 3
    assert "first run: compiling the decoder" in seen
    assert command("info", "nowhere", env=empty).err == "eptreplay: nowhere: no such file\n"


def test_progress_is_drawn_on_terminals_only(here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, long_recording(100))
    drawn: list[str] = []

    class Terminal:
        def __init__(self) -> None:
            self.encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            drawn.append(text)
            return len(text)

        def flush(self) -> None:
            pass

        def fileno(self) -> int:
            raise OSError

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "announce_compilation", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", Terminal())
        assert here("ingest", path, "-o", tmp_path / "ds").code == 0
    text = "".join(drawn)
    assert "ingest" in text
    assert "MB" in text
    assert "100%" in text
    assert "MB" not in here("info", path).err


def test_the_note_on_compiling_appears_once_it_is_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for compiled, lines in ((True, 0), (False, 1)):
        monkeypatch.setattr("eptreplay.jit.is_compiled", lambda _, compiled=compiled: compiled)
        console.announce_compilation()
        assert len(capsys.readouterr().err.splitlines()) == lines
