"""Datasets in other formats: the same tables, and the recording itself, byte for byte."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import eptreplay
from eptreplay.errors import InputError, UsageError
from eptreplay.trace import export as module
from eptreplay.trace import ingest as ingest_module
from eptreplay.trace.schema import TABLES
from eptreplay.xentrace.encode import Trace
from tests.trace.made_recordings import (
    busy_recording,
    dataset,
    files_of,
    leftovers,
    long_recording,
    tables,
    window_sizes,
    write,
)
from tests.xentrace.made_files import record, window


def readable(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table with names of a category as text: formats differ in how they keep them."""
    return table.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def read_table(path: Path, like: pl.DataFrame) -> pl.DataFrame:
    """Return a table that was exported; CSV says nothing of types."""
    match path.suffix:
        case ".csv":
            return pl.read_csv(path, schema=readable(like).schema)
        case ".arrow":
            return pl.read_ipc(path)
        case _:
            return pl.read_parquet(path)


@pytest.fixture(params=[1 << 18, 3], ids=["whole", "in-small-batches"])
def batch_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows that are exported at a time."""
    monkeypatch.setattr(module, "BATCH_ROWS", request.param)
    rows: int = request.param
    return rows


@pytest.mark.parametrize("to", ["csv", "arrow", "parquet"])
@pytest.mark.usefixtures("batch_rows")
def test_every_format_has_the_tables_of_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    monkeypatch.setattr(ingest_module, "PART_BATCHES", 1)
    folder = dataset(tmp_path, busy_recording(), long_recording(30), window(1, b"\xff" * 8), input_bytes=512)
    assert len(list((folder / "events").iterdir())) == 3
    eptreplay.export(folder, to=to, output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{name}.{to}" for name in TABLES)
    for name, table in tables(folder).items():
        assert_frame_equal(readable(read_table(tmp_path / "out" / f"{name}.{to}", table)), readable(table))


def test_csv_has_empty_fields_for_what_is_null(tmp_path: Path) -> None:
    eptreplay.export(dataset(tmp_path, window(3, record(0x8200B))), to="csv", output=tmp_path / "out")
    lines = (tmp_path / "out" / "events.csv").read_text().splitlines()
    assert lines[0] == ",".join(f'"{column.name}"' for column in TABLES["events"])
    assert lines[1:] == ["0,0,3,,false,126979,,,2,3,4,,,,,", "0,12,3,,false,532491,,,0,,,,,,,"]


@pytest.mark.usefixtures("batch_rows")
@pytest.mark.parametrize("recording", [busy_recording(), long_recording(120)], ids=["busy", "long"])
def test_the_recording_comes_back_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: Trace
) -> None:
    monkeypatch.setattr(ingest_module, "PART_BATCHES", 1)
    folder = dataset(tmp_path, recording, input_bytes=512)
    eptreplay.export(folder, to="xentrace", output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == recording.bytes()


@pytest.mark.usefixtures("batch_rows")
def test_several_sources_become_one_file(tmp_path: Path) -> None:
    first, second = busy_recording().bytes(), long_recording(20).bytes()
    eptreplay.export(dataset(tmp_path, first, second), to="xentrace", output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == first + second


@pytest.mark.usefixtures("batch_rows")
def test_what_is_exported_of_a_damaged_recording_is_a_valid_file(tmp_path: Path) -> None:
    entry = record(0x81001, tsc=5)
    damaged = window(2, entry + b"\xff" * 20 + entry * 9) + b"rubbish!" + window(1, entry, 700)
    eptreplay.export(dataset(tmp_path, damaged), to="xentrace", output=tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == window(2, entry * 10) + window(1, entry)
    assert window_sizes((tmp_path / "out").read_bytes()) == [120, 12]


def test_a_selection_cannot_become_a_recording_again(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording(), events="ept")
    with pytest.raises(UsageError, match=r"holds a selection of events; ingest with --events all"):
        eptreplay.export(folder, to="xentrace", output=tmp_path / "out")
    eptreplay.export(folder, to="csv", output=tmp_path / "out")


def test_wrong_requests_are_errors_and_leave_nothing(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"--to xentrac: expected one of .*; did you mean xentrace"):
        eptreplay.export(folder, to="xentrac", output=tmp_path / "out")
    with pytest.raises(UsageError, match=r"exists already"):
        eptreplay.export(folder, to="csv", output=folder)
    with pytest.raises(InputError, match=r"manifest.json is missing"):
        eptreplay.export(tmp_path, to="csv", output=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_force_replaces_what_we_wrote_in_any_format(tmp_path: Path) -> None:
    folder, out = dataset(tmp_path, busy_recording()), tmp_path / "out"
    for to in ("csv", "arrow", "parquet"):
        eptreplay.export(folder, to=to, output=out, force=True)
        assert {path.suffix for path in out.iterdir()} == {f".{to}"}
    with pytest.raises(UsageError, match=r"not an output of eptreplay"):
        eptreplay.export(folder, to="xentrace", output=out, force=True)
    write(tmp_path, b"old", "file")
    eptreplay.export(folder, to="xentrace", output=tmp_path / "file", force=True)
    assert (tmp_path / "file").read_bytes() == busy_recording().bytes()
    with pytest.raises(UsageError, match=r"not an output of eptreplay"):
        eptreplay.export(folder, to="csv", output=tmp_path / "file", force=True)
    assert leftovers(tmp_path) == []


# Datasets that something happened to


@pytest.mark.parametrize("to", ["csv", "xentrace"])
@pytest.mark.parametrize("lost", ["events/part-00000.parquet", "events/part-00002.parquet", "p2m.parquet"])
def test_a_dataset_that_lost_a_file_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str, to: str
) -> None:
    monkeypatch.setattr(ingest_module, "PART_BATCHES", 1)
    folder = dataset(tmp_path, long_recording(80), input_bytes=1000)
    assert len(list((folder / "events").iterdir())) == 3
    (folder / lost).unlink()
    if to == "xentrace" and lost == "p2m.parquet":
        eptreplay.export(folder, to=to, output=tmp_path / "out")  # which is made of events only
        return
    with pytest.raises(InputError, match=rf"{lost}: missing, so the dataset is incomplete"):
        eptreplay.export(folder, to=to, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def damages(content: bytes) -> list[bytes]:
    """Return what a Parquet file may look like after a mishap."""
    middle = len(content) // 2
    return [
        b"",
        b"no parquet",
        content[:middle],
        content[:-1],
        content[middle:],
        content[:8] + bytes(len(content) - 8),
        content[:4] + b"\xff" * (middle - 4) + content[middle:],
    ]


@pytest.mark.parametrize("to", ["csv", "parquet", "xentrace"])
def test_a_table_that_cannot_be_read_is_an_input_error(tmp_path: Path, to: str) -> None:
    folder = dataset(tmp_path, long_recording(300))
    path = folder / "events" / "part-00000.parquet"
    for content in damages(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"part-00000.parquet: cannot be read as table events"):
            eptreplay.export(folder, to=to, output=tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_a_table_with_columns_of_another_is_an_input_error(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    (folder / "p2m.parquet").write_bytes((folder / "windows.parquet").read_bytes())
    with pytest.raises(InputError, match=r"p2m.parquet: cannot be read as table p2m"):
        eptreplay.export(folder, to="csv", output=tmp_path / "out")


@pytest.mark.parametrize(
    "change", [{"n": 8}, {"event": 1 << 28}, {"offset": 0}], ids=["more-words", "larger-event", "no-window"]
)
def test_rows_that_no_record_can_hold_are_an_input_error(tmp_path: Path, change: dict[str, int]) -> None:
    folder = dataset(tmp_path, busy_recording())
    path = folder / "events" / "part-00000.parquet"
    table = pq.read_table(path)
    if "offset" in change:
        table = table.slice(1)
    for name, value in change.items():
        column = table.schema.get_field_index(name)
        values = pa.array([value] * len(table), table.schema.field(name).type)
        table = table.set_column(column, table.schema.field(name), values)
    pq.write_table(table, path)
    with pytest.raises(InputError, match=r"table events holds records that no xentrace file can hold"):
        eptreplay.export(folder, to="xentrace", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_changes_nothing_in_the_dataset(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    before = files_of(folder)
    for to in module.FORMATS:
        eptreplay.export(folder, to=to, output=tmp_path / to)
    assert files_of(folder) == before
