"""Exit codes of the contract, each with one clear line and nothing half-written."""

from __future__ import annotations

import json
import lzma
import resource
import tomllib
from pathlib import Path

import pytest

from eptreplay.commands import options
from tests.commands.conftest import Run
from tests.commands.running import EPTREPLAY, command, hidden
from tests.trace.made_recordings import busy_recording, dataset, long_recording, write
from tests.xentrace.made_files import record, window

USAGE = {
    "": "Missing command",
    "inof": "No such command 'inof'. Did you mean 'info'?",
    "info": "Missing argument 'SRC",
    "ingest {recording}": "Missing option '-o'",
    "ingest -o out": "Missing argument 'SRC...'",
    "ingest {recording} -o": "Option '-o' requires an argument",
    "export {dataset} -o out": "Missing option '--to'",
    "export {dataset} {dataset} --to csv -o out": "unexpected extra argument",
    "info {recording} --strcit": "No such option: --strcit",
    "info {recording} --formt json": "--format",
    "info {recording} --format jsn": "--format jsn: expected one of table, json; did you mean json?",
    "events --format yaml": "--format yaml: expected one of table, json",
    "strategies --format yaml": "--format yaml: expected one of table, json",
    "strategies eager": "unexpected extra argument",
    "profiles --format yaml": "--format yaml: expected one of table, json",
    "profiles two-sockets": "zero, FILE.toml; did you mean two-socket?",
    "profiles zero two-socket": "unexpected extra argument",
    "profiles nowhere.toml": "nowhere.toml: no such profile file",
    "profiles ./two-socket": "two-socket: no such profile file",
    "profiles {dataset}": "cannot be read: Is a directory",
    "profiles {text}": "expected TOML: ",
    "ingest {recording} -o out --events epts": "--events epts: expected one of ept, all",
    "ingest {recording} -o out --xen 3.4": "--xen 3.4: expected a Xen release from 4.6 on, such as 4.17",
    "ingest {recording} -o out --tsc-hz fast": "valid integer",
    "ingest {recording} -o out --tsc-hz 2400": "--tsc-hz 2400: expected ticks per second between",
    "ingest {recording} -o {dataset}": "exists already; choose another name, or --force to replace it",
    "ingest {recording} -o {recording} --force": "is not an output of eptreplay",
    "export {dataset} --to cvs -o out": "--to cvs: expected one of parquet, csv, arrow, xentrace; did you mean csv?",
    "export {dataset} --to csv -o {recording}": "exists already",
    "export {selection} --to xentrace -o out": "ingest with --events all to export",
    "info {dataset} --xen 4.18": "fixed when it was ingested",
}

INPUT = {
    "info nowhere": "nowhere: no such file",
    "info {recording} nowhere": "nowhere: no such file",
    "ingest nowhere -o out": "nowhere: no such file",
    "ingest {dataset} -o out": "is a directory, expected a xentrace file",
    "info .": "no dataset: manifest.json is missing",
    "export . --to csv -o out": "no dataset: manifest.json is missing",
    "export {recording} --to csv -o out": "cannot be read: ",
    "export nowhere --to csv -o out": "no dataset: manifest.json is missing",
    "info {newer}": "schema 2, written by eptreplay 9.0; this version reads up to 1: use a newer eptreplay",
    "export {newer} --to csv -o out": "use a newer eptreplay",
    "export {torn} --to csv -o out": "p2m.parquet: missing, so the dataset is incomplete",
    "info {empty}": "byte 0: expected a CPU_CHANGE record (03 f0 01 20), found an empty file",
    "info {text}": "found 44 65 61 72, and no xentrace record in all 2000 bytes; is this the output of xentrace?",
    "ingest {text} -o out": "is this the output of xentrace?",
    "info {named_xz}": "named.xz: byte 0: expected xz data (fd 37 7a 58 5a 00) by its name, found 03 f0 01 20",
    "info {hidden_xz}": "hidden: byte 0: found xz data",
    "info {cut_xz}": "found the compressed stream is cut off",
    "info {damaged} --strict": "damaged: byte 12: expected",
    "ingest {damaged} -o out --strict": "damaged: byte 12: expected",
    "ingest {recording} {damaged} -o out --strict": "damaged: byte 12: expected",
    "info {cut} --strict": "expected more bytes: the file ends inside a window",
    "info " + "a" * 300: "File name too long",
    "ingest " + "a" * 300 + " -o out": "File name too long",
}

OUTPUT = {
    "ingest {recording} -o nowhere/out": "nowhere/out: cannot be written",
    "ingest {recording} -o {recording}/out": "cannot be written: ",
    "export {dataset} --to csv -o nowhere/out": "cannot be written",
    "export {dataset} --to xentrace -o nowhere/out": "cannot be written",
    "ingest {recording} -o /proc/out": "/proc/out: cannot be written: ",
    "ingest {recording} -o " + "a" * 256: "File name too long",
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Things to read, by name; the working directory is an empty one."""
    made = tmp_path / "made"
    made.mkdir()
    entry = record(0x81001, tsc=5)
    newer, torn = dataset(made, busy_recording()), dataset(made, busy_recording())
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "schema": 2, "eptreplay": "9.0"}))
    (torn / "p2m.parquet").unlink()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return {
        "recording": write(made, busy_recording(), "recording"),
        "dataset": dataset(made, busy_recording()),
        "selection": dataset(made, busy_recording(), events="ept"),
        "newer": newer,
        "torn": torn,
        "empty": write(made, b"", "empty"),
        "text": write(made, b"Dear reader, this is a letter. "[:20] * 100, "text"),
        "named_xz": write(made, busy_recording(), "named.xz"),
        "hidden_xz": write(made, lzma.compress(busy_recording().bytes()), "hidden"),
        "cut_xz": write(made, lzma.compress(busy_recording().bytes())[:30], "cut.xz"),
        "damaged": write(made, window(0, b"\xff" * 8 + entry * 9), "damaged"),
        "cut": write(made, busy_recording().bytes()[:-30], "cut"),
    }


def check(here: Run, places: dict[str, Path], line: str, code: int, message: str) -> None:
    """Assert that a command line ends so, with one line that says why, and changes nothing."""
    before = sorted(str(path) for path in places["recording"].parents[1].rglob("*"))
    done = here(*line.format(**places).split())
    assert (done.code, done.out) == (code, "")
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("eptreplay: ")
    assert message in done.err
    assert "Traceback" not in done.err
    assert sorted(str(path) for path in places["recording"].parents[1].rglob("*")) == before


@pytest.mark.parametrize("line", USAGE)
def test_wrong_usage_is_2(here: Run, places: dict[str, Path], line: str) -> None:
    check(here, places, line, 2, USAGE[line])


@pytest.mark.parametrize("line", INPUT)
def test_bad_input_is_3(here: Run, places: dict[str, Path], line: str) -> None:
    check(here, places, line, 3, INPUT[line])


@pytest.mark.parametrize("line", OUTPUT)
def test_what_cannot_be_written_is_4(here: Run, places: dict[str, Path], line: str) -> None:
    check(here, places, line, 4, OUTPUT[line])


@pytest.mark.parametrize("line", ["info {damaged}", "ingest {damaged} -o out", "info {cut}"])
def test_damage_that_is_skipped_is_0_and_a_warning(here: Run, places: dict[str, Path], line: str) -> None:
    done = here(*line.format(**places).split())
    assert done.code == 0
    assert [text for text in done.lines if text.startswith("eptreplay: warning: 1 damaged spot, ")]


def test_the_process_ends_with_the_code_and_one_line(places: dict[str, Path]) -> None:
    for line, code in {"inof": 2, "info {text}": 3, "ingest {recording} -o nowhere/out": 4}.items():
        done = command(*line.format(**places).split())
        assert (done.code, done.out, len(done.lines)) == (code, "", 1), done.err


def test_a_bug_of_ours_is_70_and_says_how_to_report_it(here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("eptreplay.xentrace.catalogue.document.catalogue_document", stumble)
    done = here("events")
    assert (done.code, done.out) == (70, "")
    [line] = done.lines
    assert line.startswith(
        "eptreplay: internal error: ZeroDivisionError: by zero; please report it with the command line"
    )
    monkeypatch.setenv("EPTREPLAY_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        here("events")
    assert options.FORMATS == ("table", "json")


@pytest.mark.parametrize("verb", ["ingest", "csv", "arrow", "parquet", "xentrace"])
@pytest.mark.parametrize("size", [0, 3000])
def test_a_file_that_may_not_grow_is_4_and_leaves_nothing(here: Run, tmp_path: Path, verb: str, size: int) -> None:
    source, out = dataset(tmp_path, long_recording(1000)), tmp_path / "out"
    line = ["ingest", tmp_path / "0-0.xentrace"] if verb == "ingest" else ["export", source, "--to", verb]
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        done = here(*line, "-o", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (done.code, done.out) == (4, "")
    [text] = done.lines
    assert text.startswith(f"eptreplay: {out}: cannot be written: ")
    assert "File too large" in text
    assert not out.exists()
    assert hidden(tmp_path) == []


def test_the_console_script_is_the_module() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"eptreplay": "eptreplay.commands:main"}
    assert EPTREPLAY[1:] == ("-m", "eptreplay")
