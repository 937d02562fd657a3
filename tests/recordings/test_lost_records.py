"""Where Xen lost records, the loss is counted and located, and nobody is guessed to have run."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.oracles.struct_reader import CONTINUE_RUNNING, LOST_RECORDS
from tests.recordings.choice import WITH_LOST_RECORDS, WITH_SCHED, recordings, recordings_and_traces
from tests.recordings.conftest import Recording

LOST = {"r14": (2, 968_644), "r20": (24, 72_008)}
"""LOST_RECORDS records, and records lost."""


@pytest.fixture
def losses(recording: Recording) -> pl.DataFrame:
    """Return the LOST_RECORDS records with what is in them; ``first_lost`` is a TSC."""
    word = [pl.col(f"w{i}").cast(pl.Int64) for i in range(4)]
    return recording.records.filter(pl.col("event") == LOST_RECORDS).with_columns(
        lost_records=word[0],
        dom=(word[1] % 2**16).cast(pl.UInt16),
        vcpu=(word[1] // 2**16).cast(pl.UInt16),
        first_lost=word[2] + word[3] * 2**32,
    )


@recordings(WITH_LOST_RECORDS)
def test_lost_records_are_counted(recording: Recording, losses: pl.DataFrame) -> None:
    assert (losses.height, losses["lost_records"].sum()) == LOST[recording.name[:3]]
    assert recording.info["lost_records"] == losses["lost_records"].sum()


@recordings(WITH_LOST_RECORDS)
def test_lost_records_are_located_and_are_no_damage(recording: Recording, losses: pl.DataFrame) -> None:
    located = losses.select(
        "source",
        "offset",
        "pcpu",
        "lost_records",
        bytes=pl.lit(0, pl.Int64),
        reason=pl.lit("lost"),
        first_tsc="first_lost",
        last_tsc="tsc",
    )
    damage = recording.table("damage").with_columns(pl.col("reason").cast(pl.String))

    assert_frame_equal(damage.select(located.columns), located)
    assert recording.info["damage"] == []


@recordings(WITH_LOST_RECORDS)
def test_a_pcpu_has_no_record_within_its_gap(recording: Recording, losses: pl.DataFrame) -> None:
    gaps = losses.select("pcpu", "first_lost", end="tsc")
    within = pl.col("tsc").is_between("first_lost", "end", closed="left")

    assert (losses["first_lost"] < losses["tsc"]).all()
    assert recording.records.join(gaps, on="pcpu").filter(within).is_empty()


@recordings(WITH_LOST_RECORDS)
def test_who_ran_when_recording_resumed_is_taken_from_the_record(losses: pl.DataFrame) -> None:
    assert_frame_equal(losses.select("run_dom", "run_vcpu"), losses.select(run_dom="dom", run_vcpu="vcpu"))


@recordings_and_traces(WITH_SCHED)
def test_nobody_runs_where_the_last_word_on_it_is_that_a_vcpu_stopped_or_nothing(recording: Recording) -> None:
    event = pl.col("event")
    starts = event.is_in([CONTINUE_RUNNING, *(0x21001 | old << 8 for old in range(4))])
    stops = event.is_in([0x21001 | new << 4 for new in range(1, 4)])
    resumes = event == LOST_RECORDS
    somebody = pl.when(starts | resumes).then(1).when(stops).then(0)
    before = somebody.forward_fill().shift(1, fill_value=0).over("pcpu").fill_null(0)

    records = recording.records.with_columns(known=resumes | (before == 1))
    assert_frame_equal(
        records.select(run_dom=pl.col("run_dom").is_not_null(), run_vcpu=pl.col("run_vcpu").is_not_null()),
        records.select(run_dom="known", run_vcpu="known"),
    )


@recordings_and_traces(["r01", "r04", "r11", "r16"])
def test_without_scheduler_records_nobody_is_known_to_run(recording: Recording) -> None:
    assert recording.records["run_dom"].null_count() == recording.records.height
