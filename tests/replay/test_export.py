"""Results in other formats."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import eptreplay
from eptreplay.errors import InputError, UsageError
from eptreplay.replay import replay
from eptreplay.replay.schema import RESULT_TABLES
from tests.conftest import TRACES

TABLES = {*RESULT_TABLES, "workload"}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "r04"
    replay(next(TRACES.glob("r04*")), folder, detail="full")
    return folder


@pytest.mark.parametrize("to", ["parquet", "csv", "arrow"])
def test_every_table_is_exported(result: Path, tmp_path: Path, to: str) -> None:
    eptreplay.export(result, to=to, output=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{table}.{to}" for table in TABLES}


def test_exported_tables_hold_what_the_result_holds(result: Path, tmp_path: Path) -> None:
    for to in ("parquet", "arrow", "csv"):
        eptreplay.export(result, to=to, output=tmp_path / to)
    for table in TABLES:
        original = pl.read_parquet(result / f"{table}.parquet")
        assert pl.read_parquet(tmp_path / "parquet" / f"{table}.parquet").equals(original)
        assert pl.read_ipc(tmp_path / "arrow" / f"{table}.arrow").equals(original)
        rows = pl.read_csv(tmp_path / "csv" / f"{table}.csv", infer_schema_length=None)
        assert rows.columns == original.columns
        assert rows.height == original.height
    runs = pl.read_csv(tmp_path / "csv" / "runs.csv")
    assert runs["broadcasts"].to_list() == [1464, 1287, 1287]
    assert runs["ipis"].null_count() == 3


def test_an_export_is_replaced_only_by_force_and_only_if_it_is_one(result: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    eptreplay.export(result, to="csv", output=out)
    with pytest.raises(UsageError, match="exists"):
        eptreplay.export(result, to="parquet", output=out)
    eptreplay.export(result, to="parquet", output=out, force=True)
    (out / "mine.txt").touch()
    with pytest.raises(UsageError):
        eptreplay.export(result, to="csv", output=out, force=True)


def test_a_result_is_no_recording(result: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a result holds no records"):
        eptreplay.export(result, to="xentrace", output=tmp_path / "out")
    with pytest.raises(UsageError, match="did you mean parquet"):
        eptreplay.export(result, to="parqet", output=tmp_path / "out")


def test_a_result_that_lost_a_file_is_not_exported(result: Path, tmp_path: Path) -> None:
    for name, text in (("pcpus.parquet", "missing"), ("causes.parquet", "cannot be read")):
        broken = tmp_path / name
        broken.mkdir()
        for path in result.iterdir():
            (broken / path.name).write_bytes(path.read_bytes())
        if text == "missing":
            (broken / name).unlink()
        else:
            (broken / name).write_bytes(b"PAR1 or not")
        with pytest.raises(InputError, match=text):
            eptreplay.export(broken, to="csv", output=tmp_path / "out")
        assert not (tmp_path / "out").exists()
