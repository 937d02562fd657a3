"""What counts as damage, where reading goes on, and what is no longer known: the rules of docs/background/damage.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from eptreplay.errors import DamageError, InputError
from eptreplay.xentrace.damage import REASONS
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.reader import Reader
from tests.oracles.tolerant_reader import Reading, Record, read_tolerantly
from tests.xentrace.made_files import CPU_CHANGE, LOST_RECORDS, MAX_PCPUS, record, window
from tests.xentrace.reading import difference, read_fast

VMENTRY, HLT, SET_P2M, NEW_IN_MEM = 0x81001, 0x82013, 0x10F004, 0x10FABC
STARTS, STOPS = 0x21101, 0x21021
"""Runstate changes runnable->running and running->blocked."""
GARBAGE = b"\xfd\xff\xff\xff"
PLACE = 7 | 1 << 16
"""Domain 7, vCPU 1."""

Read = Callable[[bytes], Reading]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads a file, with our reader and with the plain one."""

    def read_both(data: bytes) -> Reading:
        path = tmp_path / "made.xentrace"
        path.write_bytes(data)
        found = read_fast(path)
        assert not difference(found, read_tolerantly(data))
        return found

    return read_both


def entries(count: int, tsc: int = 1000) -> bytes:
    """Return records of 12 bytes each, one tick apart."""
    return b"".join(record(VMENTRY, tsc=tsc + i) for i in range(count))


def spots(reading: Reading) -> list[tuple[str, int, int, int]]:
    """Return reason, offset, bytes and pCPU of all damage."""
    return [(spot.reason, spot.offset, spot.bytes, spot.pcpu) for spot in reading.damage]


def records_of(reading: Reading, pcpu: int) -> list[Record]:
    """Return the records of a pCPU, CPU_CHANGE aside."""
    return [r for r in reading.records if r.pcpu == pcpu and r.event != CPU_CHANGE]


def places(records: Iterable[Record]) -> list[int | None]:
    return [r.place for r in records]


def test_reading_goes_on_behind_garbage_at_any_alignment(read: Read) -> None:
    for garbage in (GARBAGE, GARBAGE * 9, GARBAGE[:1], GARBAGE[:3]):
        found = read(window(2, entries(3) + garbage + entries(8, 2000)))
        assert ("bad-record", 48, len(garbage), 2) in spots(found)
        assert len(records_of(found, 2)) == 11


def test_fewer_records_than_a_chain_are_believed_where_they_end_the_window(read: Read) -> None:
    found = read(window(0, GARBAGE + entries(2)) + window(1, GARBAGE + entries(1)))
    assert [len(records_of(found, pcpu)) for pcpu in (0, 1)] == [2, 1]


def test_a_chain_that_fits_in_time_is_preferred(read: Read) -> None:
    past = record(HLT, [0]) * 2 + entries(4, 10)
    followed = read(window(0, entries(2) + GARBAGE + past + entries(6, 5000)))
    assert spots(followed) == [("bad-record", 36, len(GARBAGE + past), 0)]
    alone = read(window(0, entries(2) + GARBAGE + past + GARBAGE * 99))
    assert spots(alone)[0] == ("bad-record", 36, len(GARBAGE), 0)


def test_an_event_that_nobody_knows_is_kept_if_records_follow(read: Read) -> None:
    new = record(NEW_IN_MEM, [1, 2, 3], 1500)
    found = read(window(0, entries(2) + new + entries(4, 2000)))
    assert (spots(found), found.events[NEW_IN_MEM]) == ([], 1)
    found = read(window(0, entries(2) + new + GARBAGE + entries(6, 2000)))
    assert spots(found) == [("bad-record", 36, 28, 0)]


def test_a_record_of_an_unknown_length_has_no_effect(read: Read) -> None:
    starts = record(STARTS, [0, 0, 0], 1) + entries(4)
    assert places(records_of(read(window(0, starts)), 0)) == [None] * 5


def test_an_impossible_tsc_is_damage(read: Read) -> None:
    found = read(window(0, entries(1) + record(VMENTRY, tsc=1 << 63) + entries(6, 2000)))
    assert spots(found) == [("bad-tsc", 24, 12, 0)]


def test_a_tsc_that_steps_back_is_counted_but_no_damage(read: Read) -> None:
    found = read(window(0, entries(2, 5000) + entries(2, 1000)))
    assert (spots(found), found.steps_back, found.longest_step_back) == ([], 1, 4001)


@pytest.mark.parametrize("size", [0, 12, 16, 71, 73, 84, 400, 0xFFFFFFFC, 0xFFFFFFFF])
def test_a_wrong_byte_count_costs_no_record(read: Read, size: int) -> None:
    found = read(window(4, record(STARTS, [7 << 16 | 1], 1) + entries(9), size) + window(5, entries(8)))
    assert spots(found) == [("window-size", 0, 0, 4)]
    assert found.skipped == 0
    assert [len(records_of(found, pcpu)) for pcpu in (4, 5)] == [10, 8]
    assert places(records_of(found, 4)) == [None] + [PLACE] * 9


def test_records_without_a_window_are_skipped(read: Read) -> None:
    found = read(entries(5) + window(1, entries(2)))
    assert spots(found) == [("no-window", 0, 60, -1)]


def test_a_window_of_an_impossible_pcpu_is_skipped(read: Read) -> None:
    found = read(window(0, entries(1)) + window(MAX_PCPUS, entries(7)) + window(MAX_PCPUS - 1, entries(2)))
    assert spots(found) == [("bad-window", 24, 96, -1)]
    assert len(records_of(found, MAX_PCPUS - 1)) == 2


def test_a_file_may_end_anywhere(read: Read) -> None:
    data = window(0, entries(1)) + window(1, entries(7) + record(HLT, [0]))
    for size in range(12, len(data)):
        found = read(data[:size])
        # Between the two windows nothing is missing.
        assert [spot.reason for spot in found.damage] == ([] if size == 24 else ["file-end"])
        assert found.decoded + found.skipped == size


def test_who_runs_is_unknown_behind_damage_on_this_pcpu_only(read: Read) -> None:
    start = record(STARTS, [7 << 16 | 1], 10)
    data = window(0, start) + window(1, start + entries(1) + GARBAGE + entries(6, 2000) + start) + window(0, entries(1))
    found = read(data)
    assert places(records_of(found, 0)) == [None, PLACE]
    assert places(records_of(found, 1)) == [None, PLACE] + [None] * 7


def test_who_runs_is_unknown_everywhere_if_nobody_knows_whose_records_are_missing(read: Read) -> None:
    start = record(STARTS, [7 << 16 | 1], 10)
    found = read(window(0, start) + window(1, start) + GARBAGE + window(0, entries(6) + start) + window(1, entries(1)))
    assert places(records_of(found, 0)) == [None] + [None] * 7
    assert places(records_of(found, 1)) == [None, None]


def test_lost_records_are_no_damage_and_say_who_runs(read: Read, tmp_path: Path) -> None:
    lost = record(LOST_RECORDS, [55, PLACE, 900, 0], 1000)
    found = read(window(3, record(STOPS, [0], 5) + lost + entries(2)))
    assert (spots(found), found.lost) == ([("lost", 28, 0, 3)], 55)
    assert (found.damage[0].tsc_from, found.damage[0].tsc_to) == (900, 1000)
    assert places(records_of(found, 3)) == [None, PLACE, PLACE, PLACE]
    list(Reader([tmp_path / "made.xentrace"], strict=True))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (window(0, entries(2) + GARBAGE + entries(6)), "byte 36: expected .* record .*, found fd ff ff ff"),
        (window(0, entries(2), 12) + window(1, entries(2)), "byte 0: expected .* byte count .*, found 0c 00 00 00"),
        (window(0, entries(2))[:-5], "byte 24: expected more bytes"),
        (entries(3), "byte 0: expected a CPU_CHANGE record"),
        (window(MAX_PCPUS, entries(3)), "byte 0: expected a CPU_CHANGE with a pCPU below 16384"),
    ],
)
def test_strict_reading_ends_at_the_first_damage(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "made.xentrace"
    path.write_bytes(data)
    with pytest.raises(DamageError, match=f"{path}: {message}"):
        list(Reader([path], strict=True))


@pytest.mark.parametrize("data", [b"", b"no trace at all\n" * 9, entries(50), GARBAGE * 3000])
def test_a_file_without_any_record_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "made.xentrace"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{path}: byte 0: expected a CPU_CHANGE record"):
        list(Reader([path]))


def test_records_at_odd_positions_do_not_come_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "made.xentrace"
    path.write_bytes(window(0, (entries(6) + b"?") * 1001, 0xFFFFFFFC))
    reader = Reader([path], keep=KEEP_ALL)
    counts = []
    for batch in reader:
        counts.append(batch.count)
        reader.recycle(batch)
    assert sum(counts) == 1 + 6 * 1001
    assert len(counts) < 5


def test_every_reason_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "background" / "damage.md").read_text()
    assert all(f"| `{name}` |" in page for name, _ in REASONS.values())
