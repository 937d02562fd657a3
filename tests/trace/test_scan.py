"""Tables of a dataset as lazy frames, and folders that are no dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import eptreplay
from eptreplay.errors import InputError, UsageError
from eptreplay.trace import ingest as ingest_module
from eptreplay.trace.dataset import read_manifest
from eptreplay.trace.schema import SCHEMA_VERSION, TABLES
from tests.trace.made_recordings import busy_recording, dataset, long_recording


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_scanned_with_its_columns(tmp_path: Path, table: str) -> None:
    frame = eptreplay.scan(dataset(tmp_path, busy_recording()), table)
    assert frame.collect_schema().names() == [column.name for column in TABLES[table]]
    assert frame.collect().height > 0


def test_rows_come_in_file_order_over_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "PART_BATCHES", 1)
    folder = dataset(tmp_path, long_recording(400), input_bytes=512)
    assert len(list((folder / "events").iterdir())) > 20
    offsets = eptreplay.scan(folder).collect()["offset"]
    assert offsets.is_sorted()
    assert offsets.n_unique() == len(offsets)


def test_names_of_tables_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected one of events, p2m, windows, damage"):
        eptreplay.scan(dataset(tmp_path, busy_recording()), "event")


def test_a_folder_name_may_look_like_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*?"
    folder.mkdir()
    assert eptreplay.scan(dataset(folder, busy_recording())).collect().height == 28


def test_the_last_part_that_is_missing_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "PART_BATCHES", 1)
    folder = dataset(tmp_path, long_recording(60), input_bytes=512)
    last = max((folder / "events").iterdir())
    last.unlink()
    with pytest.raises(InputError, match=rf"{last.name}: missing, so the dataset is incomplete"):
        eptreplay.scan(folder)
    assert eptreplay.scan(folder, "windows").collect().height > 0


def test_what_is_no_dataset_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"no dataset: manifest.json is missing; if ingest or replay was inter"):
            read_manifest(path)
    with pytest.raises(InputError, match=r"cannot be read: .*Not a directory"):
        read_manifest(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("\xff", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "expected the manifest of a dataset with a schema number"),
        ("{}", "expected the manifest of a dataset with a schema number"),
        ('{"schema": "1"}', "expected the manifest of a dataset with a schema number"),
        ('{"schema": 1}', "expected a trace dataset, found kind None"),
        ('{"schema": 1, "kind": "result"}', "expected a trace dataset, found kind 'result'"),
        ('{"schema": 1, "kind": "trace"}', "expected the keys bytes_decoded, .*; ingest the recording again"),
        ('{"schema": 2}', "schema 2, written by eptreplay None; this version reads up to 1: use a newer eptreplay"),
    ],
)
def test_a_manifest_that_is_none_is_an_input_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    for read in (read_manifest, eptreplay.info, eptreplay.scan):
        with pytest.raises(InputError, match=message):
            read(tmp_path)


def test_a_newer_schema_is_refused_by_everything(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    newer = {**manifest, "schema": SCHEMA_VERSION + 1, "eptreplay": "9.0"}
    (folder / "manifest.json").write_text(json.dumps(newer))
    for use in (
        lambda: eptreplay.info(folder),
        lambda: eptreplay.scan(folder),
        lambda: eptreplay.export(folder, to="csv", output=tmp_path / "out"),
    ):
        with pytest.raises(InputError, match=r"schema 2, written by eptreplay 9.0; this version reads up to 1"):
            use()
