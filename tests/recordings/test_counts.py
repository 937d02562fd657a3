"""What a recording holds agrees with what was counted when it was made."""

from __future__ import annotations

import polars as pl
import pytest

from tests.oracles.hist import Histogram, P2mCounts, Row, Shape, read_histogram, read_readme
from tests.oracles.struct_reader import CPU_CHANGE, LOST_RECORDS
from tests.recordings.choice import recordings
from tests.recordings.conftest import Recording

SET_P2M_ENTRY = 0x10F004
VMEXIT64 = 0x81102
SCHED_CLASS = 0x2
README_COLUMNS = {
    "LOST": [LOST_RECORDS],
    "WRAP": [0x1F002],
    "P2M": [SET_P2M_ENTRY],
    "DEC": [0x10F005],
    "PODPOP": [0x10F010],
    "PODZERO": [0x10F011],
    "SPLINTER": [0x10F012],
    "VMENTRY": [0x81001],
    "VMEXIT": [0x81002, VMEXIT64],
    "NPF": [0x82021],
}
DATASET_KINDS = {
    "set": "P2M",
    "decrease": "DEC",
    "pod_populate": "PODPOP",
    "pod_zero": "PODZERO",
    "splinter": "SPLINTER",
    "npf": "NPF",
}


@pytest.fixture
def histogram(recording: Recording) -> Histogram:
    """Return the counts in the recording's ``hist.txt``."""
    return read_histogram(recording.oracle("hist").decode())


@pytest.fixture
def row(recording: Recording) -> Row:
    """Return what the README says of the recording."""
    return read_readme((recording.path.parent / "README.md").read_text())[recording.name]


@recordings()
def test_records_windows_and_pcpus(recording: Recording, histogram: Histogram, row: Row) -> None:
    info = recording.info

    assert info["records"] == recording.records.height == histogram.records == row["records"]
    assert info["windows"] == histogram.windows == row["windows"]
    assert info["bytes_decoded"] == histogram.bytes == row["bytes"]
    assert info["pcpus"] == sorted(histogram.pcpu_records) == row.pcpus
    assert info["span_ticks"] == histogram.span_ticks
    assert histogram.span_ticks / 2_596_121_000 == pytest.approx(row.seconds, abs=0.05)


@recordings()
def test_records_of_each_event(recording: Recording, histogram: Histogram, row: Row) -> None:
    events = dict(recording.records.group_by("event").len().iter_rows())

    assert events == histogram.events
    assert recording.info["events"] == {f"0x{event:07x}": n for event, n in histogram.events.items()}
    for column, ids in README_COLUMNS.items():
        assert sum(events.get(event, 0) for event in ids) == row[column], column
    assert sum(n for event, n in events.items() if event >> 16 == SCHED_CLASS) == row["SCHED"]


@recordings()
def test_words_and_tsc_of_each_event(recording: Recording, histogram: Histogram) -> None:
    shapes = recording.records.group_by("event", "n", "timed").len()

    assert {Shape(event, n, timed): count for event, n, timed, count in shapes.iter_rows()} == histogram.shapes


@recordings()
def test_records_and_tscs_of_each_pcpu(recording: Recording, histogram: Histogram) -> None:
    records = recording.records.filter(pl.col("event") != CPU_CHANGE)
    timed = (
        records.filter("timed")
        .group_by("pcpu")
        .agg(pl.col("tsc").first().alias("first"), pl.col("tsc").last().alias("last"))
    )

    assert dict(records.group_by("pcpu").len().iter_rows()) == histogram.pcpu_records
    assert dict(timed.select("pcpu", "first").iter_rows()) == histogram.first_tsc
    assert dict(timed.select("pcpu", "last").iter_rows()) == histogram.last_tsc


@recordings()
def test_windows_of_the_dataset(recording: Recording, histogram: Histogram) -> None:
    windows = recording.table("windows")
    per_pcpu = windows.group_by("pcpu").agg(
        pl.col("records").sum(), pl.col("first_tsc").min(), pl.col("last_tsc").max()
    )

    assert windows.height == histogram.windows
    assert (windows["bytes"].min(), windows["bytes"].max()) == (histogram.smallest_window, histogram.largest_window)
    assert dict(per_pcpu.select("pcpu", "records").iter_rows()) == histogram.pcpu_records
    assert dict(per_pcpu.select("pcpu", "first_tsc").drop_nulls().iter_rows()) == histogram.first_tsc
    assert dict(per_pcpu.select("pcpu", "last_tsc").drop_nulls().iter_rows()) == histogram.last_tsc


@recordings()
def test_p2m_writes_by_type_order_and_domain(recording: Recording, histogram: Histogram, row: Row) -> None:
    writes = recording.table("p2m").filter(pl.col("kind") == "set")
    counts = P2mCounts(*(dict(writes.group_by(column).len().iter_rows()) for column in ["p2mt", "order", "p2m_dom"]))
    p2m = recording.info["p2m"]

    assert counts == histogram.p2m == row.p2m
    assert p2m["recorded"] == row["P2M"]
    assert {int(dom): n for dom, n in p2m["by_domain"].items()} == row.p2m.doms


@recordings()
def test_p2m_records_of_each_kind(recording: Recording, histogram: Histogram, row: Row) -> None:
    kinds = dict(recording.table("p2m").group_by("kind").len().iter_rows())

    for kind, column in DATASET_KINDS.items():
        assert kinds.pop(kind, 0) == row[column], kind
    assert kinds.pop("grant_map", 0) == histogram.events.get(0x10F001, 0)
    assert kinds.pop("grant_unmap", 0) == histogram.events.get(0x10F002, 0)
    assert kinds == {}


@recordings()
def test_exit_reasons(recording: Recording, histogram: Histogram) -> None:
    exits = recording.records.filter(pl.col("event") == VMEXIT64).group_by("w0").len()

    assert {hex(reason): n for reason, n in exits.iter_rows()} == histogram.svm_exits


@recordings()
def test_lost_records(recording: Recording, histogram: Histogram) -> None:
    info = recording.info

    assert info["lost_records"] == histogram.lost_records
    assert info["events"].get(f"0x{LOST_RECORDS:07x}", 0) == histogram.lost_rows
