"""A recording made ready for repetition: cut so that it can follow itself, and marked where copies of it differ.

Every pCPU is cut to the stretch between two idle times, so that a repetition goes on exactly where the one before it
stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace.catalogue import by_id
from eptreplay.xentrace.columns import columns_of
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.reader import Reader
from eptreplay.xentrace.record import CPU_CHANGE
from eptreplay.xentrace.source import Source

IDLE_DOMAIN = 32767
RUNNABLE_TO_RUNNING, RUNNING_TO_RUNNABLE = 0x21101, 0x21011
GAP_TICKS = 1_000_000
"""Between two repetitions: about what lies between two records of a quiet host."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Pattern:
    """A recording as it is repeated: words of its windows without their CPU_CHANGE, pCPU by pCPU.

    Per window: ``start`` (word, one more than there are windows), ``pcpu``, ``time`` (last TSC of its pCPU, from 0).
    ``at``: words at which records start. ``tsc_at``, ``tsc``: words that hold the low half of a TSC, and the TSC.
    ``number_at``: words whose low half numbers a pCPU or vCPU. ``entries``: [pCPU, word, time; record] of the records
    that a pCPU may begin with. ``span``: pCPUs. ``period``: TSC ticks from one repetition to the next.
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
    """Return the pattern of a recording without damage. Raises ValueError if a vCPU's number is none of a pCPU."""
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
    stops: NDArray[np.bool_] = (records.first_word >> 16 == IDLE_DOMAIN) & (records.event == RUNNING_TO_RUNNABLE)
    return stops


def _cut_to_idle(records: _Records) -> _Records:
    """Order records by pCPU, and drop of each what comes before it first stops idling and after it last starts to."""
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
    """Return, ascending, the words that hold the number of a vCPU or pCPU in their low half; -1 means none."""
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
