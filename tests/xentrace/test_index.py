"""The window index: where windows stand, what is in them, and that any of them can be decoded by itself."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from eptreplay.trace.tables import events_batch
from eptreplay.xentrace.columns import columns_of
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.index import (
    Offsets,
    WindowSource,
    read_stretch,
    stretches,
    summarise_windows,
    window_offsets,
)
from eptreplay.xentrace.reader import Reader
from tests.compiled import COMPILED
from tests.xentrace.made_files import files, record, window

many = settings(max_examples=80 if COMPILED else 20, suppress_health_check=[HealthCheck.function_scoped_fixture])

ENTRY = record(0x81001, tsc=100)
TWO_PCPUS = [window(0, ENTRY * 2), window(300, b""), window(0, record(0x8200B)), window(300, ENTRY)]


def made(folder: Path, data: bytes) -> Path:
    path = folder / "made.xentrace"
    path.write_bytes(data)
    return path


def indexed(path: Path) -> Offsets:
    offsets = window_offsets(path)
    assert offsets is not None
    return offsets


def rows(reader: Reader) -> pl.DataFrame:
    """Return all rows of a reader; TSCs that are not known yet stay null."""
    frames = []
    for batch in reader:
        if batch.buffer is not None and batch.count:
            frames.append(pl.DataFrame(events_batch(columns_of(batch))))
        reader.recycle(batch)
    return pl.concat(frames)


def test_offsets_are_those_of_the_window_headers(tmp_path: Path) -> None:
    found = indexed(made(tmp_path, b"".join(TWO_PCPUS)))
    assert found.offset.tolist() == [0, 36, 48, 64]
    assert found.pcpu.tolist() == [0, 300, 0, 300]
    assert found.bytes.tolist() == [24, 0, 4, 12]


def test_an_empty_file_has_no_windows(tmp_path: Path) -> None:
    assert indexed(made(tmp_path, b"")).offset.size == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"no windows at all, and longer than a header", id="text"),
        pytest.param(b"short", id="too-short"),
        pytest.param(TWO_PCPUS[0][:-4], id="cut-in-a-window"),
        pytest.param(TWO_PCPUS[0] + TWO_PCPUS[1][:8], id="cut-in-a-header"),
        pytest.param(window(0, ENTRY, 16) + TWO_PCPUS[1], id="wrong-size"),
        pytest.param(window(0, b"12345"), id="size-of-odd-bytes"),
        pytest.param(window(16384, ENTRY), id="impossible-pcpu"),
        pytest.param(ENTRY + TWO_PCPUS[0], id="records-before-the-first-window"),
        pytest.param(window(0, ENTRY, 0xFFFFFFFC), id="size-beyond-the-file"),
    ],
)
def test_a_broken_chain_of_windows_is_no_index(tmp_path: Path, data: bytes) -> None:
    assert window_offsets(made(tmp_path, data)) is None


@pytest.mark.parametrize("at_a_time", [5, 36, 4096])
def test_chosen_windows_are_read_as_if_they_were_a_file(tmp_path: Path, at_a_time: int) -> None:
    path = made(tmp_path, b"".join(TWO_PCPUS))
    every = indexed(path)
    for chosen in ([0, 1, 2, 3], [1, 2], [0, 3], [2], []):
        source = WindowSource(path, Offsets(every.offset[chosen], every.pcpu[chosen], every.bytes[chosen]))
        parts: list[bytes] = []
        while not parts or len(parts[-1]) == at_a_time:
            target = memoryview(bytearray(at_a_time))
            parts.append(bytes(target[: source.readinto(target)]))
        source.close()
        assert b"".join(parts) == b"".join(TWO_PCPUS[i] for i in chosen)
        assert source.bytes == sum(len(TWO_PCPUS[i]) for i in chosen)
        starts = np.cumsum([0, *(len(TWO_PCPUS[i]) for i in chosen)])[:-1]
        assert source.file_offset(starts + 4).tolist() == (every.offset[chosen] + 4).tolist()


def test_a_file_that_got_shorter_meanwhile_ends_early(tmp_path: Path) -> None:
    path = made(tmp_path, b"".join(TWO_PCPUS))
    source = WindowSource(path, indexed(path))
    path.write_bytes(TWO_PCPUS[0])
    target = memoryview(bytearray(4096))
    assert source.readinto(target) == len(TWO_PCPUS[0])
    source.close()


def test_summaries_hold_what_windows_start_from(tmp_path: Path) -> None:
    starts, stops = record(0x21101, [7 << 16 | 1], 50), record(0x21021, [7 << 16 | 1], 40)
    parts = [window(4, record(0x8200B) + starts), window(4, stops), window(4, record(0x8200B)), window(9, b"")]
    path = made(tmp_path, b"".join(parts))
    summary = summarise_windows(path, indexed(path))
    assert summary is not None
    windows, pcpus = summary
    assert windows.pcpu.tolist() == [4, 4, 4, 9]
    assert windows.timed.tolist() == [1, 1, 0, 0]
    assert (windows.first[:2].tolist(), windows.last[:2].tolist()) == ([50, 40], [50, 40])
    assert (windows.low[:2].tolist(), windows.high[:2].tolist()) == ([50, 40], [50, 40])
    assert windows.timed_in.tolist() == [0, 1, 2, 0]
    assert windows.tsc_in[1:3].tolist() == [50, 40]
    assert windows.place_in.tolist() == [-1, 1 << 16 | 7, -1, -1]
    assert (pcpus.first[4], pcpus.timed[4], pcpus.timed[9]) == (50, 2, 0)


def test_a_summary_spans_all_times_in_a_window_also_where_they_step_back(tmp_path: Path) -> None:
    times = [500, 700, 300, 400, 900, 600]
    path = made(tmp_path, window(0, ENTRY) + window(0, b"".join(record(0x81001, tsc=tsc) for tsc in times)))
    summary = summarise_windows(path, indexed(path))
    assert summary is not None
    windows, _ = summary
    assert (windows.first[1], windows.last[1], windows.low[1], windows.high[1]) == (500, 600, 300, 900)


def test_there_are_no_summaries_of_damaged_windows(tmp_path: Path) -> None:
    lost = record(0x1F001, [5, 3, 10, 0], 90)
    path = made(tmp_path, window(0, lost) + window(1, b"\xff" * 40) + window(1, ENTRY))
    found = indexed(path)
    undamaged = Offsets(found.offset[:1], found.pcpu[:1], found.bytes[:1])
    assert summarise_windows(path, undamaged) is not None
    assert summarise_windows(path, found) is None


def test_there_are_no_summaries_where_windows_hide_in_windows(tmp_path: Path) -> None:
    path = made(tmp_path, window(0, TWO_PCPUS[0]) + TWO_PCPUS[3])
    assert summarise_windows(path, indexed(path)) is None


def cut(pcpus: list[int], selected: list[int]) -> list[list[int]]:
    wanted = np.isin(np.arange(len(pcpus)), selected)
    return [stretch.tolist() for stretch in stretches(np.array(pcpus, np.uint16), wanted)]


def test_stretches_are_cut_where_a_pcpu_goes_on_behind_a_gap() -> None:
    assert cut([0, 1, 0, 1, 0], [0, 1, 2, 3, 4]) == [[0, 1, 2, 3, 4]]
    assert cut([0, 1, 0, 1, 0], []) == []
    assert cut([0, 1, 0, 1, 0], [2, 3]) == [[2, 3]]
    assert cut([0, 1, 0, 1, 0], [0, 3, 4]) == [[0, 3], [4]]
    assert cut([0, 1, 0, 1, 0], [0, 1, 3]) == [[0, 1, 3]]
    assert cut([0, 1, 0, 1, 0], [0, 1, 3, 4]) == [[0, 1, 3], [4]]
    assert cut([5, 5, 5, 5], [0, 2, 3]) == [[0], [2, 3]]


@many
@given(data=files(unknown=False), rng=st.randoms(use_true_random=False))
def test_any_selection_of_windows_decodes_to_the_same_rows(data: bytes, rng: Random, tmp_path: Path) -> None:
    path = made(tmp_path, data)
    chosen = indexed(path)
    summary = summarise_windows(path, chosen)
    assert summary is not None
    windows, _ = summary
    wanted = np.array([rng.random() < 0.6 for _ in windows.pcpu])
    ends = [*chosen.offset[1:].tolist(), len(data)]
    spans = [(a, b) for a, b, take in zip(chosen.offset.tolist(), ends, wanted, strict=True) if take]

    expected = rows(Reader([path], keep=KEEP_ALL, digest=False))
    inside = [pl.col("offset").is_between(a, b - 1) for a, b in spans]
    expected = expected.filter(pl.any_horizontal(pl.lit(value=False), *inside))
    found = [expected.clear()]
    for stretch in stretches(windows.pcpu, wanted):
        reader, source = read_stretch(path, chosen, windows, stretch, KEEP_ALL)
        part = rows(reader)
        found.append(part.with_columns(offset=pl.Series(source.file_offset(part["offset"].to_numpy()))))

    assert_frame_equal(pl.concat(found), expected)
