"""Each verb does what the function of its name does, and says what it assumed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

import eptreplay
from eptreplay.xentrace.catalogue import EVENTS
from tests.commands.conftest import Run
from tests.commands.running import command
from tests.trace.made_recordings import busy_recording, files_of, long_recording, scheduled_recording, write
from tests.workload.test_skew import moved
from tests.xentrace.made_files import record, window

ASSUMED = "eptreplay: TSC 2400000000 Hz (assumed), layouts of Xen 4.17 (inferred)"


def test_ingest_makes_a_dataset_and_prints_no_result(here: Run, recording: Path, tmp_path: Path) -> None:
    done = here("ingest", recording, "-o", tmp_path / "ds")
    assert (done.code, done.out) == (0, "")
    assert done.lines == [ASSUMED, f"eptreplay: {tmp_path}/ds: 28 records in 6 windows, events: ept"]
    eptreplay.ingest([recording], tmp_path / "same")
    assert files_of(tmp_path / "ds") == files_of(tmp_path / "same")


def test_ingest_passes_its_options_on(here: Run, recording: Path, tmp_path: Path) -> None:
    options = ["--events", "all", "--xen", "4.20", "--tsc-hz", "1000000000", "--strict"]
    done = here("ingest", recording, recording, "-o", tmp_path / "ds", *options)
    assert done.lines[0] == "eptreplay: TSC 1000000000 Hz (given), layouts of Xen 4.20 (given)"
    manifest = json.loads((tmp_path / "ds" / "manifest.json").read_text())
    assert manifest["options"] == {"events": "all", "xen": "4.20", "tsc_hz": 10**9, "strict": True}
    assert [source["name"] for source in manifest["sources"]] == ["small.xentrace"] * 2
    assert here("ingest", recording, "-o", tmp_path / "ds").code == 2
    assert here("ingest", recording, "-o", tmp_path / "ds", "--force").code == 0


def test_info_prints_one_json_document(here: Run, recording: Path, folder: Path) -> None:
    done = here("info", recording, "--format", "json")
    assert done.lines == [ASSUMED]
    document = json.loads(done.out)
    assert document == eptreplay.info(recording)
    of_dataset = json.loads(here("info", folder, "--format", "json").out)
    assert of_dataset == {**document, "source": of_dataset["source"], "sources": of_dataset["sources"]}


@pytest.mark.parametrize(
    ("into", "words"),
    [
        (3000, "none seen in 1 move of a vCPU to another pCPU"),
        (1200, "those of pCPUs 0 and 3 differ by 800 ticks (0.333 us) at least: 1 of 1 moves of vCPUs to another pCPU"),
    ],
)
def test_info_prints_what_moves_tell_of_clocks(here: Run, tmp_path: Path, into: int, words: str) -> None:
    done = here("info", write(tmp_path, moved(2000, into).trace))
    [line] = [" ".join(line.split()) for line in done.out.splitlines() if line.startswith("TSC skew")]
    assert line.startswith(f"TSC skew {words}")


def test_info_prints_a_table_with_everything(here: Run, recording: Path) -> None:
    lines = [" ".join(line.split()) for line in here("info", recording).out.splitlines()]
    document = eptreplay.info(recording)
    assert lines[:6] == [
        f"source small.xentrace, {recording.stat().st_size} bytes, sha256 {document['source']['sha256']}",
        "records 28 in 6 windows; 12 with a TSC",
        "pCPUs 3: 0, 3, 300",
        "span 0.000 s, 2,100 ticks",
        "TSC 2400.000 MHz, assumed",
        "Xen layouts 4.17, inferred",
    ]
    assert "TSC steps back 1, by up to 100 ticks" in lines
    assert "lost records 17" in lines
    assert "MEM_SET_P2M_ENTRY 0x010f004 2" in lines
    assert "p2m writes recorded 3 (d1 2, d2 1)" in lines
    assert sum(line.startswith("missing: ") for line in lines) == len(document["missing"])
    assert sum(line.startswith("invisible: ") for line in lines) == len(document["p2m"]["invisible"])


def test_info_of_a_large_file_says_what_it_did_not_compute(
    here: Run, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eptreplay.trace.info.LARGE_BYTES", 100)
    out = here("info", recording).out
    assert "sha256 not computed" in out
    assert "p2m writes" not in out
    assert "sha256 not computed" not in here("info", recording, "--full").out
    document = json.loads(here("info", recording, "--format", "json").out)
    assert (document["source"]["sha256"], document["p2m"]) == (None, None)


def test_tables_show_what_is_unknown_as_such(here: Run, tmp_path: Path) -> None:
    data = b"".join(window(pcpu, record(0x800F123, [1])) for pcpu in (7, 1, 2, 3, 9, 8))
    out = here("info", write(tmp_path, data, "[red]odd[bold].xentrace")).out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("source [red]odd[bold].xentrace, ")
    assert "pCPUs 6: 1-3, 7-9" in lines
    assert "span unknown" in lines
    assert "vendor unknown" in lines
    assert "(not in the catalogue) 0x800f123 6" in lines
    assert "p2m writes recorded 0" in lines


def test_info_warns_of_damage_in_one_line(here: Run, tmp_path: Path) -> None:
    entry = record(0x81001, tsc=5)
    damaged = write(tmp_path, window(2, (entry * 9 + b"\xff" * 20) * 5 + entry * 9), "bad")
    whole = write(tmp_path, window(2, entry), "good")
    _, warning = here("info", damaged).lines
    assert warning.startswith("eptreplay: warning: 5 damaged spots, 100 of 760 bytes skipped: byte 120: expected")
    assert warning.count("byte ") == 3
    assert warning.endswith("; and 2 more")
    _, warning = here("info", whole, damaged).lines
    assert "bytes skipped: bad byte 120: expected" in warning
    (tmp_path / "bad").write_bytes(window(2, entry * 9 + b"\xff" * 20 + entry * 9))
    _, warning, _ = here("ingest", damaged, "-o", tmp_path / "ds").lines
    assert warning.startswith("eptreplay: warning: 1 damaged spot, 20 of 248 bytes skipped: byte 120:")
    assert warning in here("info", tmp_path / "ds").lines


def test_the_spread_of_an_estimate_is_printed(here: Run, tmp_path: Path) -> None:
    done = here("info", write(tmp_path, scheduled_recording(2_000_000_000)))
    assert "Hz (estimated, spread " in done.lines[0]
    assert ", estimated, spread 0.0" in done.out


def test_events_prints_the_catalogue(here: Run) -> None:
    table = here("events")
    assert (table.code, table.err) == (0, "")
    lines = table.out.splitlines()
    assert len(lines) >= sum(len(event.layouts) for event in EVENTS)
    assert all(event.name in table.out for event in EVENTS)
    assert any("runtime[ns] slice:i32[ns]" in line for line in lines)
    done = here("events", "--format", "json")
    document = json.loads(done.out)
    assert [event["name"] for event in document["events"]] == [event.name for event in EVENTS]
    assert document["events"][0]["id"] == "0x001f001"


@pytest.mark.parametrize("to", ["csv", "parquet", "arrow"])
def test_export_writes_tables(here: Run, folder: Path, tmp_path: Path, to: str) -> None:
    done = here("export", folder, "--to", to, "-o", tmp_path / "out")
    assert (done.code, done.out) == (0, "")
    assert done.lines == [f"eptreplay: {tmp_path}/out: written as {to}"]
    assert len(list((tmp_path / "out").glob(f"*.{to}"))) == 4


def test_export_writes_the_recording(here: Run, folder: Path, tmp_path: Path) -> None:
    assert here("export", folder, "--to", "xentrace", "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out").read_bytes() == busy_recording().bytes()


def test_from_a_pipe_to_a_dataset_and_back(tmp_path: Path) -> None:
    data = long_recording(500).bytes()
    done = command("ingest", "-", "-o", tmp_path / "ds", "--events", "all", stdin=gzip.compress(data))
    assert (done.code, done.out) == (0, "")
    assert json.loads((tmp_path / "ds" / "manifest.json").read_text())["source"]["name"] == "-"
    done = command("export", tmp_path / "ds", "--to", "xentrace", "-o", tmp_path / "out")
    assert done.code == 0
    assert (tmp_path / "out").read_bytes() == data
    done = command("info", "-", "--format", "json", stdin=data)
    assert json.loads(done.out)["bytes_decoded"] == len(data)


@pytest.mark.compiled
def test_a_recording_of_the_repository_is_read_end_to_end(here: Run, traces: Path, tmp_path: Path) -> None:
    [path] = traces.glob("r04-*.xz")
    assert here("ingest", path, "-o", tmp_path / "ds").code == 0
    p2m = eptreplay.scan(tmp_path / "ds", "p2m").group_by("kind").agg(pl.len()).collect()
    assert dict(p2m.rows()) == {"set": 1280, "npf": 1303}
