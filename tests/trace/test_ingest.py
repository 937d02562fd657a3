"""A recording becomes a dataset: the same tables however it is read, and all that the contract promises of them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import eptreplay
from eptreplay.errors import DamageError, InputError, UsageError
from eptreplay.trace import ingest as module
from eptreplay.trace.schema import TABLES, arrow_schema
from eptreplay.xentrace.catalogue import EVENTS
from tests.compiled import COMPILED
from tests.trace.made_recordings import (
    busy_recording,
    dataset,
    files_of,
    leftovers,
    long_recording,
    scheduled_recording,
    tables,
    write,
)
from tests.xentrace.made_files import files, record, window
from tests.xentrace.mutants import mutate

many = settings(max_examples=40 if COMPILED else 12, suppress_health_check=[HealthCheck.function_scoped_fixture])
KEPT = [event.id for event in EVENTS if event.ept]


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a dataset."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def assert_same_tables(found: Path, expected: Path) -> None:
    """Compare two datasets table by table."""
    ours, theirs = tables(found), tables(expected)
    for name in TABLES:
        assert_frame_equal(ours[name], theirs[name])


# What is in a dataset


def test_the_tables_have_the_columns_of_the_contract(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    p2m = "source offset pcpu tsc run_dom run_vcpu kind p2m_dom gfn order mfn p2mt qualification"
    expected = {
        "events": "source offset pcpu tsc timed event run_dom run_vcpu n w0 w1 w2 w3 w4 w5 w6",
        "p2m": p2m,
        "windows": "source offset pcpu bytes records first_tsc last_tsc",
        "damage": "source offset bytes pcpu reason lost_records first_tsc last_tsc",
    }
    assert {name: table.columns for name, table in tables(folder).items()} == {
        k: v.split() for k, v in expected.items()
    }
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {
        "manifest.json", "events/part-00000.parquet", "p2m.parquet", "windows.parquet", "damage.parquet",
    }  # fmt: skip


def test_the_types_of_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    for name, path in {"events": "events/part-00000", "p2m": "p2m", "windows": "windows", "damage": "damage"}.items():
        assert pq.read_schema(folder / f"{path}.parquet").equals(arrow_schema(name))


def test_ept_keeps_what_the_catalogue_marks_and_all_keeps_everything(tmp_path: Path) -> None:
    recording = busy_recording()
    every, some = (tables(dataset(tmp_path, recording, events=events)) for events in ("all", "ept"))
    assert every["events"].height == manifest_of(tmp_path / "0.ds")["records"]
    assert_frame_equal(some["events"], every["events"].filter(pl.col("event").is_in(KEPT)))
    for name in ("p2m", "windows", "damage"):
        assert_frame_equal(some[name], every[name])


def test_rows_hold_the_words_of_records_and_null_where_there_is_none(tmp_path: Path) -> None:
    events = tables(dataset(tmp_path, busy_recording()))["events"]
    words = [f"w{i}" for i in range(7)]
    exit_, wake = events.filter(pl.col("event") == 0x81102), events.filter(pl.col("event") == 0x28004)
    assert exit_.select("n", *words).rows() == [(3, 0x400, 0x1000, 0xFFFF_8000, None, None, None, None)]
    assert wake.select("n", *words).rows() == [(2, 1, 1, None, None, None, None, None)]
    changes = events.filter(pl.col("event") == 0x1F003).select("pcpu", "w0", "w1", "timed", "n")
    assert changes.rows()[:2] == [(3, 3, 28 + 20, False, 2), (300, 300, 28, False, 2)]


def test_who_runs_is_whom_the_record_finds_on_the_pcpu(tmp_path: Path) -> None:
    events = tables(dataset(tmp_path, busy_recording()))["events"].filter(pl.col("event") != 0x1F003)
    placed = events.filter(pl.col("pcpu") == 0).select("event", "run_dom", "run_vcpu").rows()
    assert placed == [
        (0x21101, None, None),
        *((event, 1, 0) for event in (0x81001, 0x81102, 0x10F004, 0x82021, 0x10F010, 0x10F011, 0x28004, 0x21021)),
        (0x21101, None, None),
        *((event, 1, 1) for event in (0x10F042, 0x10F045, 0x10F012)),
    ]
    after_loss = events.filter((pl.col("pcpu") == 3) & (pl.col("tsc") >= 2500))
    assert set(after_loss.select("run_dom", "run_vcpu").rows()) == {(1, 2)}


def test_untimed_records_take_the_last_tsc_of_their_pcpu_or_else_its_first(tmp_path: Path) -> None:
    events = tables(dataset(tmp_path, busy_recording()))["events"]
    of = {pcpu: events.filter(pl.col("pcpu") == pcpu)["tsc"].to_list() for pcpu in (0, 3, 300)}
    assert of[3] == [2000, 2000, 2000, 2000, 2000, 1900, 2100, 2500, 2500, 2500]
    assert of[300] == [None] * 3
    assert of[0] == [1000, 1000, 1100, *[1200] * 5, 1300, 1400, 1500, 1500, 3000, 3100, 3100]


def test_windows_say_what_their_headers_and_records_say(tmp_path: Path) -> None:
    windows = tables(dataset(tmp_path, busy_recording()))["windows"]
    assert windows.drop("offset", "bytes").rows() == [
        (0, 3, 2, None, None),
        (0, 300, 1, None, None),
        (0, 0, 10, 1000, 1500),
        (0, 3, 6, 2000, 2500),
        (0, 0, 3, 3000, 3100),
        (0, 300, 0, None, None),
    ]
    ends = windows["offset"] + windows["bytes"] + 12
    assert ends.to_list() == [*windows["offset"].to_list()[1:], len(busy_recording().bytes())]


def test_lost_records_are_rows_of_damage_and_no_damage(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording(), strict=True)
    assert tables(folder)["damage"].drop("offset").rows() == [(0, 0, 3, "lost", 17, 2200, 2500)]
    manifest = manifest_of(folder)
    assert (manifest["damage"], manifest["damage_total"], manifest["lost_records"]) == ([], 0, 17)


def test_damage_is_located_and_every_byte_accounted_for(tmp_path: Path) -> None:
    entry = record(0x81001, tsc=5)
    data = window(2, entry + b"\xff" * 20 + entry * 9) + b"rubbish!" + window(1, entry)
    folder = dataset(tmp_path, data)
    damage = tables(folder)["damage"]
    assert damage.drop("first_tsc", "last_tsc").rows() == [
        (0, 24, 20, 2, "bad-record", None),
        (0, 152, 8, None, "no-window", None),
    ]
    manifest = manifest_of(folder)
    assert (manifest["bytes_decoded"], manifest["bytes_skipped"]) == (len(data) - 28, 28)
    assert [spot["message"][:8] for spot in manifest["damage"]] == ["byte 24:", "byte 152"]
    with pytest.raises(DamageError, match="byte 24"):
        dataset(tmp_path, data, strict=True)


def test_several_sources_are_one_recording_in_the_order_given(tmp_path: Path) -> None:
    first, second = window(0, record(0x81001, tsc=5)), window(0, record(0x8200B)) + window(1, record(0x81001, tsc=7))
    folder = dataset(tmp_path, first, second)
    found = tables(folder)
    assert found["events"].select("source", "offset", "pcpu", "tsc").rows() == [
        (0, 0, 0, 5), (0, 12, 0, 5), (1, 0, 0, 5), (1, 12, 0, 5), (1, 16, 1, 7), (1, 28, 1, 7),
    ]  # fmt: skip
    assert found["windows"].select("source", "offset").rows() == [(0, 0), (1, 0), (1, 16)]
    manifest = manifest_of(folder)
    assert [x["bytes"] for x in manifest["sources"]] == [len(first), len(second)]
    assert manifest["source"] == manifest["sources"][0]


def test_placement_does_not_carry_over_to_another_source(tmp_path: Path) -> None:
    starts, entry = record(0x21101, [7 << 16], 5), record(0x81001, tsc=9)
    events = tables(dataset(tmp_path, window(0, starts + entry), window(0, entry)))["events"]
    assert events.filter(pl.col("event") == 0x81001)["run_dom"].to_list() == [7, None]


# The manifest


def test_the_manifest_says_what_was_read_and_how(tmp_path: Path) -> None:
    source = write(tmp_path, scheduled_recording(2_500_000_000))
    returned = eptreplay.ingest([source], tmp_path / "ds", xen="4.20", tsc_hz=2_000_000_000)
    manifest = manifest_of(tmp_path / "ds")
    assert returned == manifest
    assert manifest["schema"] == 1
    assert manifest["kind"] == "trace"
    assert manifest["eptreplay"] == eptreplay.__version__
    assert manifest["options"] == {"events": "ept", "xen": "4.20", "tsc_hz": 2_000_000_000, "strict": False}
    assert manifest["xen"] == {"layout": "4.20", "how": "given"}
    assert manifest["tsc_hz"] == {"value": 2_000_000_000, "how": "given", "spread": None}
    assert manifest["source"]["name"] == "made.xentrace"


def test_the_same_input_gives_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    recording, made = long_recording(3000 if COMPILED else 300).bytes() + busy_recording().bytes(), []
    for place in ("a", "b/c", "d"):
        (tmp_path / place).mkdir(parents=True)
        source = write(tmp_path / place, recording)
        eptreplay.ingest([source], tmp_path / place / "ds", events="all", input_bytes=4096)
        made.append(files_of(tmp_path / place / "ds"))
    assert made[0] == made[1] == made[2]
    assert not any(str(tmp_path).encode() in content for content in made[0].values())


# However it is read


@many
@given(
    data=files(),
    rng=st.one_of(st.none(), st.randoms(use_true_random=False)),
    events=st.sampled_from(["ept", "all"]),
    input_bytes=st.sampled_from([64, 252, 1000]),
    part_batches=st.integers(1, 3),
)
def test_tables_do_not_depend_on_the_size_of_reads_and_parts(
    tmp_path: Path, data: bytes, rng: Random | None, events: str, input_bytes: int, part_batches: int
) -> None:
    source = write(tmp_path, mutate(rng, data) if rng else data)
    try:
        whole = eptreplay.ingest([source], tmp_path / "whole", events=events, force=True)
    except InputError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_BATCHES", part_batches)
        cut = eptreplay.ingest([source], tmp_path / "cut", events=events, force=True, input_bytes=input_bytes)
    assert_same_tables(tmp_path / "cut", tmp_path / "whole")
    assert {**cut, "parts": 1} == whole


def test_a_long_recording_has_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = long_recording(2000 if COMPILED else 500)
    whole = dataset(tmp_path, recording)
    monkeypatch.setattr(module, "PART_BATCHES", 2)
    cut = dataset(tmp_path, recording, input_bytes=4096)
    assert len(list((whole / "events").iterdir())) == manifest_of(whole)["parts"] == 1
    assert len(list((cut / "events").iterdir())) == manifest_of(cut)["parts"] >= 3
    assert_same_tables(cut, whole)


def test_a_first_tsc_that_comes_late_is_filled_into_earlier_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untimed = record(0x10F004, [5, 0, 6, 0, 0, 3]) * 30
    windows = [window(pcpu, untimed) for pcpu in (0, 1, 2)] * 10
    data = b"".join(windows) + window(1, record(0x10F001, [3], 777)) + window(2, record(0x10F001, [3], 888))
    monkeypatch.setattr(module, "PART_BATCHES", 1)
    folder = dataset(tmp_path, data, input_bytes=1000)
    assert manifest_of(folder)["parts"] > 10
    for table in ("events", "p2m"):
        found = tables(folder)[table].group_by("pcpu").agg(pl.col("tsc").unique()).sort("pcpu")
        assert found.rows() == [(0, [None]), (1, [777]), (2, [888])]


@pytest.mark.parametrize("late_tsc", [False, True])
def test_a_release_that_shows_late_is_applied_to_earlier_memory_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, late_tsc: bool
) -> None:
    unclear = record(0x10F005, [7, 0, 3, 0])
    # Of a length that no release writes: what it says is unknown, and it makes no row, now as then.
    odd = record(0x10F005, [7, 0, 3])
    first = b"" if late_tsc else record(0x10F001, [3], 5)
    data = b"".join(window(0, first + unclear * 40 + odd) for _ in range(9)) + window(
        0, record(0x10F005, [8, 0, 3, 9]) + record(0x10F001, [3], 900) + record(0x28004, [3, 0], 901) * 9
    )
    whole = dataset(tmp_path, data)
    monkeypatch.setattr(module, "PART_BATCHES", 1)
    cut = dataset(tmp_path, data, input_bytes=1000)
    assert_same_tables(cut, whole)
    decreases = tables(cut)["p2m"].filter(pl.col("kind") == "decrease")
    assert decreases.height == 9 * 40 + 1
    assert decreases["p2m_dom"].unique().to_list() == [3]
    assert decreases["order"].value_counts().sort("order").rows() == [(0, 9 * 40), (9, 1)]
    assert manifest_of(cut)["xen"] == {"layout": "4.18", "how": "inferred"}


def test_a_recording_of_nothing_that_is_kept_has_one_empty_part(tmp_path: Path) -> None:
    folder = dataset(tmp_path, window(0, record(0x28004, [3, 0], 901)), events="ept")
    found = tables(folder)
    assert [table.height for table in found.values()] == [0, 0, 1, 0]
    assert manifest_of(folder)["parts"] == 1


# Wrong requests


def test_wrong_requests_are_usage_errors_and_leave_nothing(tmp_path: Path) -> None:
    source, target = write(tmp_path, busy_recording()), tmp_path / "ds"
    wrong: list[tuple[list[Path], dict[str, Any], str]] = [
        ([], {}, "nothing to read"),
        ([source], {"events": "epts"}, "--events epts: expected one of ept, all"),
        ([source], {"xen": "3.4"}, "--xen 3.4"),
        ([source], {"tsc_hz": 5}, "--tsc-hz 5"),
    ]
    for sources, options, message in wrong:
        with pytest.raises(UsageError, match=message):
            eptreplay.ingest(sources, target, **options)
    target.mkdir()
    with pytest.raises(UsageError, match="exists already"):
        eptreplay.ingest([source], target)
    assert [path.name for path in tmp_path.iterdir() if path != source] == ["ds"]


def test_wrong_input_leaves_nothing(tmp_path: Path) -> None:
    good, bad = write(tmp_path, busy_recording(), "good"), write(tmp_path, b"no trace", "bad")
    for sources in ([bad], [good, bad], [tmp_path / "nowhere"], [tmp_path]):
        with pytest.raises(InputError):
            eptreplay.ingest(sources, tmp_path / "ds")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good"]


def test_force_replaces_a_dataset_and_only_once_the_new_one_is_complete(tmp_path: Path) -> None:
    good, bad = write(tmp_path, busy_recording(), "good"), write(tmp_path, b"no trace", "bad")
    target = tmp_path / "ds"
    eptreplay.ingest([good], target)
    before = files_of(target)
    with pytest.raises(InputError):
        eptreplay.ingest([bad], target, force=True)
    assert files_of(target) == before
    eptreplay.ingest([good], target, events="all", force=True)
    assert manifest_of(target)["options"]["events"] == "all"
    assert leftovers(tmp_path) == []


def test_progress_is_told(tmp_path: Path) -> None:
    calls: list[tuple[int, float | None]] = []
    source = write(tmp_path, long_recording(200))
    eptreplay.ingest([source], tmp_path / "ds", progress=lambda done, share: calls.append((done, share)))
    assert calls[-1] == (source.stat().st_size, 1.0)
