"""Recordings of any size on any number of pCPUs, made of one small recording: it is repeated in time and copied across pCPUs.

A copy is the recorded host once more, on pCPUs and vCPUs of its own: their numbers are moved up, domain ids stay. Copies start at
different times of the recording, so that a file of any length holds the mixture of records that the whole recording has. Every
pCPU is cut to the stretch between two idle times, so that a repetition goes on exactly where the one before it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace.catalogue import by_id
from eptreplay.xentrace.columns import columns_of
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.reader import Reader
from eptreplay.xentrace.record import CPU_CHANGE, CPU_CHANGE_HEADER
from eptreplay.xentrace.source import Source

IDLE_DOMAIN = 32767
RUNNABLE_TO_RUNNING, RUNNING_TO_RUNNABLE = 0x21101, 0x21011
GAP_TICKS = 1_000_000
"""Between two repetitions: about what lies between two records of a quiet host."""
WRITE_WORDS = 1 << 20

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pattern:
    """A recording as it is repeated: words of its windows without their CPU_CHANGE, pCPU by pCPU.

    Per window: ``start`` (word, one more than there are windows), ``pcpu``, ``time`` (last TSC of its pCPU, from 0). ``at``:
    words at which records start. ``tsc_at``, ``tsc``: words that hold the low half of a TSC, and the TSC. ``number_at``: words
    whose low half numbers a pCPU or vCPU. ``entries``: [pCPU, word, time; record] of the records that a pCPU may begin with.
    ``span``: pCPUs. ``period``: TSC ticks from one repetition to the next.
    """

    words: NDArray[np.uint32]
    start: Ints
    pcpu: Ints
    time: Ints
    at: Ints
    tsc_at: Ints
    tsc: Ints
    number_at: Ints
    entries: Ints
    span: int
    period: int

    @property
    def file_bytes(self) -> int:
        """Size of a file that holds it once, on as many pCPUs as were recorded."""
        return 4 * self.words.size + 12 * self.pcpu.size


@dataclass(frozen=True)
class _Records:
    """All records of a recording but CPU_CHANGE, as arrays of equal length; ``at``: word in the file."""

    at: Ints
    pcpu: Ints
    tsc: Ints
    timed: NDArray[np.bool_]
    event: Ints
    size: Ints
    first_word: Ints
    window: Ints


def read_pattern(recording: Path) -> Pattern:
    """Return the pattern of a recording without damage; raises ValueError if some vCPU's number is none of its pCPUs'."""
    source = Source(recording, digest=False)
    data = bytearray()
    chunk = memoryview(bytearray(1 << 20))
    while count := source.readinto(chunk):
        data += chunk[:count]
    source.close()
    words = np.frombuffer(data, np.uint32)
    records = _cut_to_idle(_read_records(recording))
    span = int(records.pcpu.max()) + 1
    taken = np.repeat(records.at - np.concatenate([[0], np.cumsum(records.size)[:-1]]), records.size)
    kept = words[taken + np.arange(taken.size)]
    at = np.cumsum(records.size) - records.size
    number_at = _numbers(kept, at, records)
    if (kept[number_at] & 0xFFFF).max(initial=0) >= span:
        raise ValueError(f"{recording}: a vCPU is numbered higher than every pCPU, so copies would share vCPUs")
    heads = np.flatnonzero(np.diff(records.window, prepend=-1))
    begins = np.flatnonzero(_idle_stops(records))
    begins = begins if begins.size else heads
    time = _times(records)
    timed = records.timed
    origin = int(records.tsc[timed].min())
    return Pattern(
        words=kept,
        start=np.append(at[heads], kept.size),
        pcpu=records.pcpu[heads],
        time=time[np.append(heads[1:], records.at.size) - 1] - origin,
        at=at,
        tsc_at=at[timed] + 1,
        tsc=records.tsc[timed],
        number_at=number_at,
        entries=np.stack([records.pcpu[begins], at[begins], time[begins] - origin]),
        span=span,
        period=int(records.tsc[timed].max()) - origin + GAP_TICKS,
    )


def _read_records(recording: Path) -> _Records:
    reader = Reader([recording], keep=KEEP_ALL, digest=False)
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for batch in reader:
        if batch.buffer is not None:
            c = columns_of(batch)
            parts.append((c.offset >> 2, c.pcpu, c.tsc, c.timed, c.event, 1 + 2 * c.timed + c.n, c.words[0]))
        reader.recycle(batch)
    at, pcpu, tsc, timed, event, size, first_word = map(np.concatenate, zip(*parts, strict=True))
    rows = event != CPU_CHANGE
    columns = (at, pcpu, tsc, timed, event, size, first_word, np.cumsum(~rows) - 1)
    whole = [column[rows].astype(np.bool_ if column is timed else np.int64) for column in columns]
    return _Records(*whole)


def _idle_stops(records: _Records) -> NDArray[np.bool_]:
    return (records.first_word >> 16 == IDLE_DOMAIN) & (records.event == RUNNING_TO_RUNNABLE)


def _cut_to_idle(records: _Records) -> _Records:
    """Order records by pCPU; drop what comes before one first stops idling and after it last starts to, if it ever does."""
    stops = np.flatnonzero(_idle_stops(records))
    starts = np.flatnonzero((records.first_word >> 16 == IDLE_DOMAIN) & (records.event == RUNNABLE_TO_RUNNING))
    kept = []
    for pcpu in np.unique(records.pcpu):
        rows = np.flatnonzero(records.pcpu == pcpu)
        begins, ends = stops[records.pcpu[stops] == pcpu], starts[records.pcpu[starts] == pcpu]
        if begins.size and ends.size and begins[0] < ends[-1]:
            rows = rows[(rows >= begins[0]) & (rows <= ends[-1])]
        kept.append(rows)
    order = np.concatenate(kept)
    return _Records(*(column[order] for column in vars(records).values()))


def _times(records: _Records) -> Ints:
    """Return for each record the last TSC of its pCPU, or the first one where none has been."""
    time = np.empty_like(records.tsc)
    for pcpu in np.unique(records.pcpu):
        rows = np.flatnonzero(records.pcpu == pcpu)
        stamped = np.flatnonzero(records.timed[rows])
        before = np.searchsorted(stamped, np.arange(rows.size), side="right") - 1
        time[rows] = records.tsc[rows[stamped[np.maximum(before, 0)]]]
    return time


def _numbers(words: NDArray[np.uint32], at: Ints, records: _Records) -> Ints:
    """Return the words that hold the number of a vCPU or pCPU in their low half, ascending; -1 means none and is left out."""
    found = [np.zeros(0, np.int64)]
    for event_id in np.unique(records.event).tolist():
        event = by_id(event_id)
        names = {} if event is None else {f.name: f for layout in event.layouts_in("4.17") for f in layout.fields}
        of_event = records.event == event_id
        first = at[of_event] + 1 + 2 * records.timed[of_event]
        for field in names.values():
            if field.name.endswith(("vcpu", "cpu")) and field.shift == 0:
                place = first + field.word
                found.append(place[words[place] & 0xFFFF != 0xFFFF])
    return np.sort(np.concatenate(found))


@dataclass(frozen=True)
class Tiled:
    """A made file: its path, size in bytes, records (CPU_CHANGE included), windows."""

    path: Path
    bytes: int
    records: int
    windows: int


def write_tiled(pattern: Pattern, target: Path, pcpus: int, size: int) -> Tiled:
    """Write a file of ``pcpus`` pCPUs that ends with the first poll of xentrace that takes it to ``size`` bytes.

    Needs as little memory as the pattern, whatever the size. Raises ValueError unless copies fill the pCPUs evenly.
    """
    if pcpus % pattern.span or pcpus <= 0:
        raise ValueError(f"{pcpus} pCPUs: expected a multiple of the {pattern.span} that were recorded")
    total = records = windows = 0
    buffer, filled = np.empty(WRITE_WORDS, np.uint32), 0
    with target.open("wb") as file:
        for piece in _schedule(pattern, pcpus // pattern.span):
            length = 3 + piece.end - piece.start
            if filled + length > buffer.size:
                buffer[:filled].tofile(file)
                filled = 0
                buffer = np.empty(max(length, WRITE_WORDS), np.uint32)
            _fill(pattern, piece, buffer[filled : filled + length])
            filled += length
            total += 4 * length
            records += 1 + int(np.diff(np.searchsorted(pattern.at, (piece.start, piece.end)))[0])
            windows += 1
            if piece.ends_poll and total >= size:
                break
        buffer[:filled].tofile(file)
    return Tiled(target, total, records, windows)


class _Piece(NamedTuple):
    """A window to write: words ``start`` to ``end`` of the pattern, of ``pcpu``, with numbers and TSCs increased."""

    start: int
    end: int
    pcpu: int
    more_numbers: int
    more_ticks: int
    ends_poll: bool


def _schedule(pattern: Pattern, copies: int) -> Iterator[_Piece]:
    """Yield windows without end, in file order.

    Polls are as far apart as the windows of one recorded pCPU are on average; a poll goes through the pCPUs in ascending order.
    """
    phase = _phases(pattern, copies)
    window, copy = (grid.ravel() for grid in np.indices((pattern.time.size, copies)))
    pcpu = copy * pattern.span + pattern.pcpu[window]
    # What a pCPU recorded before its copy's phase comes once the rest of the recording has passed.
    is_early = pattern.time[window] < phase[copy]
    ticks = pattern.period * (1 + is_early) - phase[copy]
    time = pattern.time[window] + ticks
    start, end = pattern.start[window], pattern.start[window + 1]
    entry = np.concatenate([_entries(pattern, since)[0] for since in phase.tolist()])
    starts = np.where(is_early, start, np.maximum(start, entry[pcpu]))
    poll = time // (pattern.period * pattern.span // pattern.time.size)
    # The first poll finds one window of every pCPU: xenalyze takes up a late one too late, and stops at the contradictions that
    # it then sees.
    first_poll = max(poll[(pcpu == one) & (starts < end)].min() for one in np.unique(pcpu))
    poll = np.maximum(poll, first_poll)
    for one in np.unique(pcpu):
        of_one = np.flatnonzero((pcpu == one) & (poll == first_poll) & (starts < end))
        starts[of_one[-1]] = starts[of_one[0]]
        starts[of_one[:-1]] = end[of_one[:-1]]
    order = np.lexsort((window, time, pcpu, poll))
    ends_poll = np.diff(poll[order], append=-1) != 0
    more_ticks = 0
    while True:
        columns = (starts, end, pcpu, copy * pattern.span, ticks + more_ticks)
        for *piece, is_end in zip(*(column[order].tolist() for column in columns), ends_poll.tolist(), strict=True):
            if piece[0] < piece[1]:
                yield _Piece(*piece, is_end)
        starts = start
        more_ticks += pattern.period


def _phases(pattern: Pattern, copies: int) -> Ints:
    """Return when in the recording each copy starts: evenly spread, but where all its pCPUs soon stop idling."""
    times = np.unique(pattern.entries[2])
    wait = np.array([_entries(pattern, since)[1].max() - since for since in times.tolist()])
    phases = np.zeros(copies, np.int64)
    for copy in range(1, copies):
        first, last = (pattern.period * k // copies for k in (copy, copy + 1))
        near = np.flatnonzero((times >= first) & (times < last))
        phases[copy] = times[near[wait[near].argmin()]] if near.size else first
    return phases


def _entries(pattern: Pattern, since: int) -> tuple[Ints, Ints]:
    """Return for each pCPU word and time of the first record from ``since`` on that it may begin with, else the period's end."""
    word, when = np.full(pattern.span, pattern.words.size), np.full(pattern.span, pattern.period)
    pcpu, at, time = pattern.entries[:, pattern.entries[2] >= since]
    np.minimum.at(word, pcpu, at)
    np.minimum.at(when, pcpu, time)
    return word, when


def _fill(pattern: Pattern, piece: _Piece, out: NDArray[np.uint32]) -> None:
    """Write one window with its CPU_CHANGE."""
    start, end = piece.start, piece.end
    out[:3] = CPU_CHANGE_HEADER, piece.pcpu, 4 * (end - start)
    block = out[3:]
    block[:] = pattern.words[start:end]
    a, b = np.searchsorted(pattern.tsc_at, (start, end))
    at = pattern.tsc_at[a:b] - start
    halves = (pattern.tsc[a:b] + piece.more_ticks).view(np.uint32)
    block[at], block[at + 1] = halves[::2], halves[1::2]
    if piece.more_numbers:
        a, b = np.searchsorted(pattern.number_at, (start, end))
        block[pattern.number_at[a:b] - start] += np.uint32(piece.more_numbers)


def tiled_file(recording: Path, folder: Path, pcpus: int, size: int) -> Tiled:
    """Return a file made as ``write_tiled`` says, kept in ``folder`` until this module or the recording changes."""
    key = hashlib.sha256(Path(__file__).read_bytes() + recording.read_bytes()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("tiled-*"):
        if not old.name.startswith(f"tiled-{key}-"):
            old.unlink()
    path = folder / f"tiled-{key}-{pcpus}-{size}.xentrace"
    facts = path.with_suffix(".facts")
    if not (facts.exists() and path.exists()):
        made = write_tiled(read_pattern(recording), path.with_suffix(".partial"), pcpus, size)
        made.path.replace(path)
        facts.write_text(f"{made.bytes} {made.records} {made.windows}\n")
    return Tiled(path, *map(int, facts.read_text().split()))
