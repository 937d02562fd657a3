"""Undamaged recordings are read as the format says, nothing is left out, and they can be written back byte for byte."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import eptreplay
from tests.recordings.choice import EVERY, WITH_SCHED, recordings_and_traces
from tests.recordings.conftest import Recording

HOST_TSC_HZ = 2_596_121_000
"""Xen's own measurement on the host of all recordings."""


@recordings_and_traces()
def test_every_record_is_read_as_the_format_says(recording: Recording) -> None:
    assert_frame_equal(recording.records, recording.specified)


@recordings_and_traces()
def test_every_byte_is_decoded(recording: Recording) -> None:
    info = recording.info

    assert info["bytes_decoded"] == len(recording.data)
    assert info["bytes_skipped"] == 0
    assert info["damage"] == []


@recordings_and_traces()
def test_the_dataset_of_all_records_has_the_rows_that_are_scanned(recording: Recording) -> None:
    assert_frame_equal(recording.table("events"), recording.records)


@recordings_and_traces()
def test_what_is_exported_from_a_dataset_of_all_records_is_the_recording(recording: Recording, tmp_path: Path) -> None:
    exported = tmp_path / "exported.xentrace"
    eptreplay.export(recording.dataset, to="xentrace", output=exported)

    assert exported.read_bytes() == recording.data


@recordings_and_traces(WITH_SCHED)
def test_the_tsc_frequency_is_estimated_from_scheduler_records(recording: Recording) -> None:
    tsc_hz = recording.info["tsc_hz"]

    assert tsc_hz["how"] == "estimated"
    assert tsc_hz["value"] == pytest.approx(HOST_TSC_HZ, rel=0.003)


@recordings_and_traces(sorted(set(EVERY) - set(WITH_SCHED)))
def test_without_scheduler_records_the_tsc_frequency_is_assumed(recording: Recording) -> None:
    tsc_hz = recording.info["tsc_hz"]

    assert (tsc_hz["how"], tsc_hz["value"]) == ("assumed", 2_400_000_000)


@recordings_and_traces()
def test_records_of_a_pcpu_never_step_back_in_time(recording: Recording) -> None:
    steps = recording.records.select(pl.col("tsc").diff().over("pcpu")).to_series()

    assert (steps.drop_nulls() >= 0).all()
