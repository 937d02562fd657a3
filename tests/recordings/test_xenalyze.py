"""``xenalyze -a`` prints our records: the same ones, in its order, with the same fields and the same vCPU running.

Where the two differ, the differences are counted here by what causes them, and nothing else may differ.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from tests.oracles.struct_reader import CPU_CHANGE, LOST_RECORDS, WRAP_BUFFER
from tests.oracles.xenalyze import CPU_HZ, LAPIC_STOP_TIMER, UNPRINTED, printed_time_ns, reactivations, read_dump
from tests.oracles.xenalyze_merge import merged, reading_key
from tests.oracles.xenalyze_text import mismatches
from tests.recordings.choice import recordings
from tests.recordings.conftest import Recording

SET_P2M_ENTRY = 0x10F004
REPORTED_IN_R01 = 534_121
"""SET_P2M_ENTRY records that Debian's xenalyze reports for r01, which has 68,420."""

NOT_PRINTED = {"cpu_change": CPU_CHANGE, "wrap_buffer": WRAP_BUFFER, "lapic_stop_timer": LAPIC_STOP_TIMER}


@dataclass(frozen=True)
class Differences:
    """How many records xenalyze treats differently, by cause."""

    cpu_change: int
    """Not printed: they say which pCPU follows, and it skips those of others."""
    wrap_buffer: int
    """Not printed: padding."""
    lapic_stop_timer: int
    """Not printed: an event that it does not know."""
    ties: int
    """Printed at another place than a sort by TSC puts them, among records of the same TSC on other pCPUs."""
    blank_time: int
    """Without a time: the first record of all, and those before the first TSC of their pCPU, which we give that TSC."""
    lost_placement: int
    """LOST_RECORDS that it shows with who ran before the gap, and we with who ran after it."""


DIFFERENCES = {
    "r01": Differences(109, 1, 0, 21, 272, 0),
    "r04": Differences(70, 1, 0, 6, 3, 0),
    "r06": Differences(732, 8, 0, 6, 1, 0),
    "r08": Differences(164, 2, 0, 44, 2, 0),
    "r11": Differences(412, 4, 0, 2, 5, 0),
    "r12": Differences(1026, 16, 13, 112, 1, 0),
    "r14": Differences(51, 1, 0, 6, 1, 1),
    "r16": Differences(95, 4, 0, 0, 2, 0),
    "r20": Differences(405, 51, 0, 35, 1, 18),
    "r22": Differences(1196, 4, 0, 12, 1, 0),
    "r25": Differences(1601, 37, 0, 2, 1, 0),
}


@dataclass(frozen=True)
class Comparison:
    """Our records with ``key`` and ``time_ns``, in xenalyze's order, and the lines that it printed."""

    every: pl.DataFrame
    ours: pl.DataFrame
    lines: pl.DataFrame


@pytest.fixture(scope="session")
def comparison(recording: Recording) -> Comparison:
    """Return our records beside xenalyze's lines.

    Debian's dump of r01 was not kept, as it repeats records many times over; a mended xenalyze made the one used here.
    """
    mended = recording.name.startswith("r01")
    every = recording.records.with_columns(key=reading_key(recording.records))
    every = merged(every, repeats=not mended)
    every = every.with_columns(time_ns=printed_time_ns(every, CPU_HZ))
    dump = recording.oracle("xenalyze-fixed-dump" if mended else "xenalyze-dump")
    return Comparison(every, every.filter(pl.col("event").is_in(UNPRINTED).not_()), read_dump(dump))


@recordings()
def test_it_prints_a_line_for_each_record_in_the_order_of_its_merge(comparison: Comparison) -> None:
    assert_series_equal(comparison.ours["pcpu"], comparison.lines["pcpu"])
    assert_series_equal(comparison.ours["time_ns"], comparison.lines["time_ns"])


@recordings()
def test_its_line_shows_event_and_fields_of_our_record(comparison: Comparison) -> None:
    assert mismatches(comparison.ours, comparison.lines["text"]).is_empty()


@recordings()
def test_the_same_vcpu_is_running(comparison: Comparison) -> None:
    lost = comparison.ours["event"] == LOST_RECORDS
    placement = ["run_dom", "run_vcpu"]

    assert_frame_equal(
        comparison.ours.select(placement).filter(~lost), comparison.lines.select(placement).filter(~lost)
    )


@recordings()
def test_every_difference_has_a_known_cause(recording: Recording, comparison: Comparison) -> None:
    every, ours, lines = comparison.every, comparison.ours, comparison.lines
    by_tsc = ours.sort("key", "offset")
    moved = ours["offset"] != by_tsc["offset"]
    placed_otherwise = ours["run_dom"].ne_missing(lines["run_dom"]) | ours["run_vcpu"].ne_missing(lines["run_vcpu"])

    assert_series_equal(ours["key"], by_tsc["key"])  # so that whatever moved, moved among equal keys
    assert ours.filter(placed_otherwise)["event"].is_in([LOST_RECORDS]).all()
    differences = Differences(
        **{name: int((every["event"] == event).sum()) for name, event in NOT_PRINTED.items()},
        ties=int(moved.sum()),
        blank_time=int((lines["time_ns"].is_null() & ours["tsc"].is_not_null()).sum()),
        lost_placement=int(placed_otherwise.sum()),
    )
    sys.stdout.write(f"{recording.name}: {lines.height} lines, {differences}\n")
    assert differences == DIFFERENCES[recording.name[:3]]


@recordings(["r01"])
def test_the_records_it_repeats_in_r01_follow_from_where_it_starts_reading_again(recording: Recording) -> None:
    once = recording.records.filter(pl.col("event") == SET_P2M_ENTRY)
    again = [
        once.filter((pl.col("pcpu") == pcpu) & (pl.col("offset") >= offset)).height
        for pcpu, offset in reactivations(recording.oracle("xenalyze-stderr").decode())
    ]

    assert once.height + sum(again) == REPORTED_IN_R01
    repeated = merged(recording.records, repeats=True)
    assert (repeated["event"] == SET_P2M_ENTRY).sum() == REPORTED_IN_R01
