"""The reader: sources in order, batches within bounds, errors that say where."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eptreplay.errors import DamageError, InputError
from eptreplay.xentrace import reader as module
from eptreplay.xentrace import state as st
from eptreplay.xentrace.columns import append, columns_of, new_columns
from eptreplay.xentrace.damage import NAMES, REASONS, describe
from eptreplay.xentrace.decode import KEEP_ALL, KEEP_EPT, KEEP_NONE
from eptreplay.xentrace.reader import Reader, SourceFacts
from eptreplay.xentrace.source import Source
from tests.compiled import COMPILED
from tests.xentrace.made_files import record, window
from tests.xentrace.mutants import seeded

ENTRY, WAKE, UNTIMED = record(0x81001, tsc=100), record(0x28004, [3, 0], 110), record(0x8200B)


def made(folder: Path, data: bytes, name: str = "made.xentrace") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def rows(reader: Reader) -> Iterator[tuple[Any, ...]]:
    """Yield (source, offset, event, TSC or None) of all rows."""
    for batch in reader:
        if batch.buffer is not None and batch.count:
            columns = columns_of(batch)
            known = columns.tsc_known
            tscs = [tsc if k else None for tsc, k in zip(columns.tsc.tolist(), known.tolist(), strict=True)]
            yield from zip(columns.source.tolist(), columns.offset.tolist(), columns.event.tolist(), tscs, strict=True)
        reader.recycle(batch)


def exhaust(reader: Reader) -> Reader:
    for batch in reader:
        reader.recycle(batch)
    return reader


def test_sources_are_one_recording_in_the_order_given(tmp_path: Path) -> None:
    first, second = made(tmp_path, window(0, ENTRY), "a"), made(tmp_path, window(0, UNTIMED + WAKE), "b")
    reader = Reader([first, second], keep=KEEP_ALL)
    assert list(rows(reader)) == [
        (0, 0, 0x1F003, None), (0, 12, 0x81001, 100),
        (1, 0, 0x1F003, 100), (1, 12, 0x8200B, 100), (1, 16, 0x28004, 110),
    ]  # fmt: skip
    assert [(x.name, x.bytes) for x in reader.sources] == [("a", 24), ("b", 36)]
    assert all(len(x.sha256 or "") == 64 for x in reader.sources)
    assert reader.records == 5


def test_only_what_is_asked_for_becomes_rows(tmp_path: Path) -> None:
    path = made(tmp_path, window(0, ENTRY + WAKE + UNTIMED))
    events = {keep: [row[2] for row in rows(Reader([path], keep=keep))] for keep in (KEEP_NONE, KEEP_EPT, KEEP_ALL)}
    assert events == {KEEP_NONE: [], KEEP_EPT: [0x81001], KEEP_ALL: [0x1F003, 0x81001, 0x28004, 0x8200B]}


def test_a_digest_that_nobody_asks_for_is_null(tmp_path: Path) -> None:
    path = made(tmp_path, window(0, ENTRY))
    assert exhaust(Reader([path], digest=False)).sources == [SourceFacts("made.xentrace", 24, None)]


@pytest.mark.parametrize("input_bytes", [64, 1000, 4096])
def test_rows_do_not_depend_on_the_size_of_reads(tmp_path: Path, input_bytes: int) -> None:
    data = b"".join(window(i % 3, (ENTRY + UNTIMED + WAKE) * (i % 40)) for i in range(120 if COMPILED else 30))
    path = made(tmp_path, data)
    whole = list(rows(Reader([path], keep=KEEP_ALL)))
    assert list(rows(Reader([path], keep=KEEP_ALL, input_bytes=input_bytes))) == whole
    assert len(whole) == sum(1 + 3 * (i % 40) for i in range(120 if COMPILED else 30))


def test_columns_are_put_behind_each_other(tmp_path: Path) -> None:
    path = made(tmp_path, window(0, (ENTRY + WAKE) * 100))
    columns, end = new_columns(300), 0
    reader = Reader([path], keep=KEEP_ALL, input_bytes=256)
    for batch in reader:
        end = append(columns, end, batch)
        reader.recycle(batch)
    assert end == 201
    assert columns.offset[:end].tolist() == [row[1] for row in rows(Reader([path], keep=KEEP_ALL))]
    assert columns.words[:, 1:3].T.tolist() == [[0] * 7, [3] + [0] * 6]


def test_a_batch_without_rows_has_no_columns(tmp_path: Path) -> None:
    batch = next(iter(Reader([made(tmp_path, window(0, ENTRY))])))
    batch.buffer = None
    columns = new_columns(1)
    assert append(columns, 0, batch) == 0


def test_progress_is_told_in_bytes_and_as_a_share(tmp_path: Path) -> None:
    calls: list[tuple[int, float | None]] = []
    data = window(0, ENTRY * 1000)
    path = made(tmp_path, data)
    exhaust(Reader([path], input_bytes=4096, progress=lambda done, share: calls.append((done, share))))
    assert calls == sorted(calls)
    assert calls[-1] == (len(data), 1.0)
    assert len(calls) >= 3


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"ab", "61 62, and no xentrace record in all 2 bytes"),
        (b"text that is none" * 1000, "74 65 78 74, and no xentrace record in all 17000 bytes; is this the output of"),
        (bytes(5000), "00 00 00 00, and no xentrace record in all 5000 bytes"),
    ],
)
def test_what_holds_no_record_is_an_error(tmp_path: Path, data: bytes, found: str) -> None:
    path = made(tmp_path, data)
    with pytest.raises(InputError, match=rf"made.xentrace: byte 0: expected a CPU_CHANGE .*, found {found}"):
        exhaust(Reader([path]))


def test_each_source_must_hold_a_record(tmp_path: Path) -> None:
    good, bad = made(tmp_path, window(0, ENTRY), "good"), made(tmp_path, b"text", "bad")
    with pytest.raises(InputError, match=r"bad: byte 0"):
        exhaust(Reader([good, bad]))


def test_a_compressed_stream_that_gives_nothing_says_why(tmp_path: Path) -> None:
    path = made(tmp_path, lzma.compress(window(0, ENTRY))[:20], "made.xz")
    with pytest.raises(InputError, match="found the compressed stream is cut off"):
        exhaust(Reader([path]))


def test_a_compressed_stream_that_breaks_off_is_damage_behind_what_was_read(tmp_path: Path) -> None:
    data = b"".join(window(pcpu, ENTRY * 300 + record(0x28004, [pcpu, 7])) for pcpu in range(300))
    packed = lzma.compress(data + seeded("stream").randbytes(50_000))
    path = made(tmp_path, packed[: len(packed) - 40_000], "made.xz")
    reader = Reader([path])
    reasons, offsets = [], []
    for batch in reader:
        reasons += [NAMES[reason] for reason in batch.damages.reason]
        offsets += batch.damages.offset.tolist()
        reader.recycle(batch)
    assert reasons[-1] == "stream"
    assert offsets[-1] == reader.sources[0].bytes
    totals = reader.tally.totals
    assert totals[st.DECODED] + totals[st.SKIPPED] == reader.sources[0].bytes >= 1_000_000
    with pytest.raises(DamageError, match=r"made.xz: byte \d+: .*\(the compressed stream is cut off\)"):
        exhaust(Reader([path], strict=True))


STRICT = {
    "byte 24: expected a CPU_CHANGE record .* to start a window, found ff ff ff ff": window(0, ENTRY) + b"\xff" * 16,
    "byte 24: expected the header of a record of a known class": window(0, ENTRY + b"\xff" * 16),
    "byte 12: expected a TSC below 2.63": window(0, record(0x81001, tsc=1 << 63) + ENTRY * 9),
    "byte 0: expected the window's byte count to lead to the next CPU_CHANGE, found 04 00": window(0, ENTRY * 9, 4),
    "byte 24: expected more bytes: the file ends inside a window": window(0, ENTRY, 24),
    "byte 24: expected a CPU_CHANGE with a pCPU below 16384": window(0, ENTRY) + window(16384, ENTRY * 9),
}


@pytest.mark.parametrize("message", STRICT)
def test_strict_reading_stops_at_the_first_damage_and_says_where(tmp_path: Path, message: str) -> None:
    path = made(tmp_path, STRICT[message])
    assert exhaust(Reader([path])).records > 0
    with pytest.raises(DamageError, match=f"made.xentrace: {message}"):
        exhaust(Reader([path], strict=True))


def test_lost_records_pass_strict_reading(tmp_path: Path) -> None:
    lost = record(0x1F001, [5, 3, 10, 0], 90)
    assert exhaust(Reader([made(tmp_path, window(0, lost))], strict=True)).tally.totals[st.LOST_COUNT] == 5


def test_every_reason_has_a_name_and_words() -> None:
    assert sorted(REASONS) == list(range(9))
    assert len(set(NAMES)) == len(REASONS)
    assert describe(8, st.FILE_END, 0) == "byte 8: expected more bytes: the file ends inside a window"
    assert describe(8, st.NO_WINDOW, 0x04030201).endswith("found 01 02 03 04")


def test_an_error_of_the_reading_thread_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise InputError("the disk fell out")

    monkeypatch.setattr(Source, "readinto", fail)
    with pytest.raises(InputError, match="the disk fell out"):
        exhaust(Reader([made(tmp_path, window(0, ENTRY))]))


def test_a_reader_that_is_left_early_lets_go_of_its_file(tmp_path: Path) -> None:
    path = made(tmp_path, window(0, ENTRY * 10_000))
    for batches in range(4):
        reader = Reader([path], input_bytes=4096)
        iterator = iter(reader)
        for _ in range(batches):
            reader.recycle(next(iterator))
        iterator.close()  # type: ignore[attr-defined]  # a generator, which closes its file


def test_more_windows_than_a_buffer_holds_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_ROWS", 8)
    monkeypatch.setattr(module, "DAMAGE_ROWS", 8)
    lost = record(0x1F001, [1, 3, 10, 0], 90)
    path = made(tmp_path, b"".join(window(i, lost * 3) for i in range(50)))
    reader = Reader([path], keep=KEEP_ALL)
    windows, damages, count = [], [], 0
    for batch in reader:
        windows.append(batch.windows.pcpu)
        damages.append(batch.damages.lost)
        count += batch.count
        reader.recycle(batch)
    assert np.concatenate(windows).tolist() == list(range(50))
    assert np.concatenate(damages).tolist() == [1] * 150
    assert count == 200
