"""``scan_xentrace``: what is read lazily is what is read whole, and no more is decoded than a query needs."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import eptreplay
from eptreplay.errors import InputError, UsageError
from eptreplay.trace.pushdown import _Scanner
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.trace.made_recordings import busy_recording, dataset, long_recording, write
from tests.xentrace.made_files import files, record, window
from tests.xentrace.mutants import mutate

many = settings(max_examples=150 if COMPILED else 30, suppress_health_check=[HealthCheck.function_scoped_fixture])
of_tsc, of_pcpu = pl.col("tsc"), pl.col("pcpu")


@st.composite
def small_traces(draw: st.DrawFn) -> bytes:
    """Draw a recording of four pCPUs and small TSCs, so that predicates hit and miss."""
    trace, tsc = Trace(), [0, 100, 50, 0]
    for pcpu in draw(st.lists(st.integers(0, 3), min_size=1, max_size=10)):
        trace.window(pcpu)
        for kind in draw(st.lists(st.integers(0, 4), max_size=5)):
            if kind == 0 or pcpu == 3:  # pCPU 3 has no clock at all
                trace.add("HVM_DR_WRITE")
                continue
            tsc[pcpu] = max(0, tsc[pcpu] + draw(st.integers(-20, 60)))
            match kind:
                case 1:
                    trace.add("HVM_VMENTRY", tsc=tsc[pcpu])
                case 2:
                    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=tsc[pcpu], domid=draw(st.integers(0, 3)), vcpu=1)
                case 3:
                    trace.add("RUNSTATE_RUNNING_TO_BLOCKED", tsc=tsc[pcpu], domid=1, vcpu=1)
                case _:
                    trace.add("LOST_RECORDS", tsc=tsc[pcpu], count=2, domid=5, vcpu=0, first_tsc=1)
    return trace.bytes()


NUMBERS = st.one_of(st.integers(-2, 4), st.integers(-10, 300), st.sampled_from([1 << 16, 1 << 63, -(1 << 63)]))
LITERALS = st.one_of(
    NUMBERS.map(pl.lit),
    st.floats(-5, 300).map(pl.lit),
    st.none().map(pl.lit),
    st.booleans().map(pl.lit),
    st.tuples(NUMBERS, st.sampled_from([pl.Int8, pl.UInt8, pl.UInt16, pl.Int64, pl.Float32, pl.Boolean])).map(
        lambda x: pl.lit(x[0]).cast(x[1], strict=False)
    ),
)
COMPARISONS = st.sampled_from(["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "eq_missing"])


def compare(operands: tuple[pl.Expr, str, pl.Expr]) -> pl.Expr:
    """Return a comparison of two expressions."""
    left, how, right = operands
    comparison: pl.Expr = getattr(left, how)(right)
    return comparison


@st.composite
def conditions(draw: st.DrawFn) -> pl.Expr:
    """Draw a condition on one column."""
    column = draw(
        st.sampled_from([of_tsc, of_tsc, of_pcpu, of_pcpu, pl.col("run_dom"), pl.col("event"), pl.col("offset")])
    )
    match draw(st.integers(0, 5)):
        case 0:
            return compare((draw(LITERALS), draw(COMPARISONS), column))
        case 1:
            low, high = draw(LITERALS), draw(LITERALS)
            return draw(
                st.sampled_from(
                    [
                        column.is_between(low, high),
                        column.is_between(low, high, closed="left"),
                        column.is_between(low, high, closed="right"),
                        column.is_between(low, high, closed="none"),
                    ]
                )
            )
        case 2:
            return column.is_in(draw(st.lists(st.integers(0, 300), max_size=3)))
        case 3:
            return column.is_null()
        case _:
            return compare((column, draw(COMPARISONS), draw(LITERALS)))


PREDICATES = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda x: x[0] & x[1]),
        st.tuples(inner, inner).map(lambda x: x[0] & x[1]),
        st.tuples(inner, inner).map(lambda x: x[0] | x[1]),
        st.tuples(inner, inner).map(lambda x: x[0] ^ x[1]),
        inner.map(lambda x: ~x),
    ),
    max_leaves=5,
)


@many
@given(data=small_traces(), predicate=PREDICATES)
def test_what_is_filtered_lazily_is_what_is_filtered_afterwards(
    tmp_path: Path, data: bytes, predicate: pl.Expr
) -> None:
    path = write(tmp_path, data)
    whole = eptreplay.scan_xentrace(path).collect()
    try:
        expected = whole.filter(predicate)
    except pl.exceptions.PolarsError:  # what cannot be compared
        assume(condition=False)
    assert_frame_equal(eptreplay.scan_xentrace(path).filter(predicate).collect(), expected)


@settings(many, max_examples=60 if COMPILED else 12)
@given(
    data=st.one_of(small_traces(), files()),
    rng=st.one_of(st.none(), st.randoms(use_true_random=False)),
    pcpu=st.integers(0, 3),
    since=st.integers(0, 300),
    rows=st.integers(0, 20),
    packed=st.booleans(),
)
def test_a_damaged_or_compressed_file_gives_the_same(
    tmp_path: Path, data: bytes, rng: Random | None, pcpu: int, since: int, rows: int, *, packed: bool
) -> None:
    data = mutate(rng, data) if rng else data
    path = write(tmp_path, gzip.compress(data) if packed else data, "made.gz" if packed else "made.xentrace")
    try:
        whole = eptreplay.scan_xentrace(path).collect()
    except InputError:
        return
    lazy = eptreplay.scan_xentrace(path)
    assert_frame_equal(lazy.filter(of_tsc >= since).collect(), whole.filter(of_tsc >= since))
    if rng is None:  # windows of other pCPUs are not looked at, so damage that moves windows goes unseen
        both = (of_pcpu == pcpu) & (of_tsc >= since)
        assert_frame_equal(lazy.filter(both).select("w0", "tsc").collect(), whole.filter(both).select("w0", "tsc"))
    assert_frame_equal(lazy.head(rows).collect(), whole.head(rows))
    assert_frame_equal(lazy.head(rows).filter(of_pcpu == pcpu).collect(), whole.head(rows).filter(of_pcpu == pcpu))
    assert_frame_equal(lazy.filter(of_tsc < since).head(rows).collect(), whole.filter(of_tsc < since).head(rows))
    assert lazy.select(pl.len()).collect().item() == whole.height


@pytest.mark.parametrize("recording", [busy_recording(), long_recording(300)], ids=["busy", "long"])
def test_it_has_the_rows_of_the_dataset_of_all_records(tmp_path: Path, recording: Trace) -> None:
    path = write(tmp_path, recording)
    scanned = eptreplay.scan_xentrace(path)
    events = eptreplay.scan(dataset(tmp_path, recording)).collect()
    assert_frame_equal(scanned.collect(), events)
    assert scanned.collect_schema() == events.schema


# What is decoded


def decoded(path: Path, predicate: pl.Expr | None) -> int | None:
    """Return how many windows a query decodes, None for all there are."""
    scanner = _Scanner(str(path))
    for _ in scanner.frames(None, predicate, None, None):
        pass
    return scanner.decoded


def test_windows_of_other_pcpus_and_times_are_not_decoded(tmp_path: Path) -> None:
    path = write(tmp_path, long_recording(1000, 4))  # 20 windows of 500 ticks: pCPU 0, 1, 2, 3, 0, ...
    start = 10_000
    assert decoded(path, None) == 20
    assert decoded(path, of_pcpu == 2) == 5
    assert decoded(path, of_pcpu >= 2) == 10
    assert decoded(path, of_pcpu == 9) == 0
    # Two windows of that time, and the two behind them on their pCPUs, which start from it.
    assert decoded(path, of_tsc < start + 1000) == 4
    assert decoded(path, of_tsc.is_between(start + 4000, start + 4100)) == 1
    assert decoded(path, (of_pcpu == 1) & (of_tsc >= start + 6000)) == 2
    assert decoded(path, (of_pcpu == 1) & (of_tsc >= start + 100_000)) == 0
    assert decoded(path, (of_pcpu == 1) | (of_tsc < start)) == 20
    assert decoded(path, of_pcpu.is_in([1])) == 20
    assert decoded(path, of_pcpu > 1.5) == 20


def test_pcpus_without_a_clock_are_in_no_time(tmp_path: Path) -> None:
    path = write(tmp_path, window(0, record(0x8200B)) + window(1, record(0x81001, tsc=5)))
    assert decoded(path, of_tsc >= 0) == 1
    assert decoded(path, pl.lit(value=True)) == 2


def test_damage_and_compression_make_the_whole_file_be_read(tmp_path: Path) -> None:
    data = long_recording(200).bytes()
    assert decoded(write(tmp_path, gzip.compress(data), "made.gz"), of_pcpu == 1) is None
    assert decoded(write(tmp_path, data[:-4], "cut"), of_pcpu == 1) is None
    hidden = write(tmp_path, window(0, b"\xff" * 40) + data, "hidden")
    assert decoded(hidden, of_pcpu == 0) is None
    assert decoded(hidden, of_pcpu == 1) == 1


def test_reading_stops_when_there_are_rows_enough(tmp_path: Path) -> None:
    path = write(tmp_path, long_recording(100))
    frames = list(_Scanner(str(path)).frames(["offset"], None, 3, None))
    assert sum(frame.height for frame in frames) == 3
    assert all(frame.columns == ["offset"] for frame in frames)


# Wrong requests


def test_what_holds_no_record_is_an_input_error(tmp_path: Path) -> None:
    for data in (b"", b"no trace at all", bytes(100)):
        frame = eptreplay.scan_xentrace(write(tmp_path, data))
        for query in (frame, frame.filter(of_pcpu == 1)):
            with pytest.raises(InputError, match=r"made.xentrace: byte 0: expected"):
                query.collect()
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError):
            eptreplay.scan_xentrace(path)


def test_pipes_are_a_usage_error_as_they_are_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("-", tmp_path / "fifo", "/dev/zero"):
        with pytest.raises(UsageError, match=r"a pipe cannot be scanned"):
            eptreplay.scan_xentrace(path)
