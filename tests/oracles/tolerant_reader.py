"""The executable specification of reading any bytes at all: ``struct`` calls over one bytes object, damage included.

The rules are those of ``docs/background/damage.md``. What a legal record looks like is data: the catalogue's.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from eptreplay.xentrace.catalogue import CLASSES, EVENTS

LOST_RECORDS, CPU_CHANGE = 0x1F001, 0x1F003
CPU_CHANGE_HEADER = 0x2001F003
P2M_WRITES = (0x10F004, 0x10F042)
"""SET_P2M_ENTRY and P2M_SET: the domain is in the low half of payload word 5."""
RUNSTATE_CHANGES = {0x21001 + (old << 8) + (new << 4): (old, new) for old in range(4) for new in range(4)}
CONTINUE_RUNNING = 0x21002
RUNNING = 0

MAX_PCPUS = 16384
CHAIN_RECORDS = 6
ACCEPT_RECORDS = 4
MARGIN_BYTES = 256
NO_END = 1 << 62
"""End of a window whose byte count is wrong."""

SHAPES = {
    (event.id, words, timed)
    for event in EVENTS
    for words in event.word_counts
    for timed in (False, True)
    if event.timed in (None, timed)
}
CLASS_BITS = set(CLASSES.values())


class Record(NamedTuple):
    """A decoded record. ``tsc`` is None before the pCPU's first; ``place`` is domain | vCPU << 16, or None."""

    offset: int
    pcpu: int
    tsc: int | None
    timed: bool
    event: int
    place: int | None
    words: tuple[int, ...]


class Window(NamedTuple):
    """A window as it was read; ``bytes`` is what its CPU_CHANGE says.

    ``first`` to ``high``: of the TSCs in it, None if no record is timed. ``tsc_in``, ``place_in``: the pCPU's before.
    """

    offset: int
    pcpu: int
    bytes: int
    records: int
    timed: int
    first: int | None
    last: int | None
    low: int | None
    high: int | None
    tsc_in: int | None
    place_in: int | None


class Damage(NamedTuple):
    """A damaged spot, or lost records. ``pcpu`` is -1 where it is not known; ``word`` is what was found there."""

    offset: int
    bytes: int
    pcpu: int
    reason: str
    word: int = 0
    lost: int = 0
    tsc_from: int = 0
    tsc_to: int = 0


@dataclass
class Reading:
    """Everything that there is to know about a file."""

    records: list[Record] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    decoded: int = 0
    skipped: int = 0
    lost: int = 0
    steps_back: int = 0
    longest_step_back: int = 0
    events: Counter[int] = field(default_factory=Counter)
    sets: Counter[int] = field(default_factory=Counter)


class Raw(NamedTuple):
    """The bytes of a record taken for what they are."""

    event: int
    words: tuple[int, ...]
    tsc: int | None
    end: int

    @property
    def known(self) -> bool:
        """Whether the catalogue has this event in this shape."""
        return (self.event, len(self.words), self.tsc is not None) in SHAPES

    @property
    def of_known_class(self) -> bool:
        """Whether some Xen might write this event."""
        return of_known_class(self.event)


@dataclass
class OpenWindow:
    """The window being read."""

    offset: int
    pcpu: int
    bytes: int
    end: int
    records: int = 0
    tscs: list[int] = field(default_factory=list)


def of_known_class(event: int) -> bool:
    """Tell whether an id has a class of Xen's and a subclass."""
    return event >> 16 in CLASS_BITS and event >> 12 & 0xF != 0


def read_tolerantly(data: bytes) -> Reading:
    """Return all records of a file and all its damage."""
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reading = Reading()
        self.tsc: dict[int, int] = {}
        self.place: dict[int, int] = {}

    def read(self) -> Reading:
        pos = 0
        while pos < len(self.data):
            pos = self.read_window(pos) if self.may_start_window(pos) else self.skip_to_window(pos)
        return self.reading

    # What stands at a position?

    def word(self, pos: int) -> int | None:
        return struct.unpack_from("<I", self.data, pos)[0] if pos + 4 <= len(self.data) else None

    def whole_record(self, pos: int) -> Raw | None:
        """Return the record at ``pos`` if all of it is in the file."""
        header = self.word(pos)
        if header is None:
            return None
        timed, count = header >> 31, header >> 28 & 7
        payload = pos + 4 + 8 * timed
        end = payload + 4 * count
        if end > len(self.data):
            return None
        tsc = struct.unpack_from("<Q", self.data, pos + 4)[0] if timed else None
        return Raw(header & 0x0FFFFFFF, struct.unpack_from(f"<{count}I", self.data, payload), tsc, end)

    def record(self, pos: int) -> Raw | None:
        """Return the record at ``pos`` if it is whole, its TSC is believable, and it is no CPU_CHANGE."""
        raw = self.whole_record(pos)
        if raw is None or self.word(pos) == CPU_CHANGE_HEADER or (raw.tsc or 0) >= 1 << 63:
            return None
        return raw

    def may_start_window(self, pos: int) -> bool:
        change = self.whole_record(pos)
        return self.word(pos) == CPU_CHANGE_HEADER and change is not None and change.words[0] < MAX_PCPUS

    def looks_like_window(self, pos: int) -> bool:
        change = self.whole_record(pos)
        return self.may_start_window(pos) and change is not None and change.words[1] % 4 == 0

    def ends_chain(self, pos: int, end: int) -> bool:
        return pos in (end, len(self.data)) or self.looks_like_window(pos)

    def known_chain(self, pos: int, end: int) -> list[Raw]:
        """Return CHAIN_RECORDS known records from ``pos`` on, or fewer that end well; nothing if there are none."""
        chain: list[Raw] = []
        while len(chain) < CHAIN_RECORDS and not (chain and self.ends_chain(pos, end)):
            raw = self.record(pos)
            if raw is None or not raw.known or raw.end > end:
                return []
            chain.append(raw)
            pos = raw.end
        return chain

    def goes_on(self, pos: int, end: int) -> bool:
        """Tell whether ACCEPT_RECORDS records of known classes follow, or fewer that end well."""
        for _ in range(ACCEPT_RECORDS):
            if self.ends_chain(pos, end):
                return True
            raw = self.record(pos)
            if raw is None or not raw.of_known_class or raw.end > end:
                return False
            pos = raw.end
        return True

    def verifies_as_window(self, pos: int) -> bool:
        change = self.whole_record(pos)
        if change is None or not self.looks_like_window(pos):
            return False
        if change.words[1] == 0:
            return change.end == len(self.data) or self.looks_like_window(change.end)
        return bool(self.known_chain(change.end, change.end + change.words[1]))

    # Reading

    def read_window(self, pos: int) -> int:
        """Read the window that starts at ``pos``, with all that belongs to it, and return where the next one is due."""
        change = self.whole_record(pos)
        assert change is not None
        pcpu, size = change.words
        window = OpenWindow(pos, pcpu, size, change.end + size)
        before = self.tsc.get(pcpu), self.place.get(pcpu)
        self.emit(pos, pcpu, change)
        if size % 4:
            self.doubt_end(window)
        pos = self.read_records(change.end, window)
        # Records where the next window is due: the byte count was too small.
        while pos < len(self.data) and self.known_chain(pos, NO_END):
            self.doubt_end(window)
            pos = self.read_records(pos, window)
        if pos == len(self.data) and pos < window.end < NO_END:
            self.skip(pos, pos, window.pcpu, "file-end")
        tscs = window.tscs
        span = (tscs[0], tscs[-1], min(tscs), max(tscs)) if tscs else (None,) * 4
        known = (window.offset, pcpu, size, window.records, len(tscs))
        self.reading.windows.append(Window._make((*known, *span, *before)))
        return pos

    def read_records(self, pos: int, window: OpenWindow) -> int:
        """Read and skip up to the window's end, to a CPU_CHANGE, or to the end of the file; return that position."""
        while pos < min(window.end, len(self.data)):
            raw = self.record(pos)
            if raw is not None and raw.end <= window.end and (raw.known or self.acceptable(raw, window)):
                self.take(pos, raw, window)
                pos = raw.end
                continue
            size_found = self.size_found(pos)
            if pos + size_found > len(self.data) and window.end > len(self.data):
                self.skip(pos, len(self.data), window.pcpu, "file-end")
                window.end = NO_END
                return len(self.data)
            if self.word(pos) == CPU_CHANGE_HEADER:
                if window.end != NO_END:
                    self.doubt_end(window)
                return pos
            if pos + size_found > window.end and not self.ends_well(window) and self.known_chain(pos, NO_END):
                self.doubt_end(window)
                continue
            behind = self.next_trustworthy(pos, window)
            self.skip(pos, behind, window.pcpu, self.reason(pos, window))
            pos = behind
            if self.verifies_as_window(pos):
                return pos
        return pos

    def acceptable(self, raw: Raw, window: OpenWindow) -> bool:
        return raw.of_known_class and self.goes_on(raw.end, window.end)

    def size_found(self, pos: int) -> int:
        header = self.word(pos)
        return 4 if header is None else 4 + 4 * (header >> 28 & 7) + 8 * (header >> 31)

    def ends_well(self, window: OpenWindow) -> bool:
        return window.end == len(self.data) or self.looks_like_window(window.end)

    def next_trustworthy(self, pos: int, window: OpenWindow) -> int:
        """Return where reading goes on behind damage at ``pos``."""
        stop = min(window.end, len(self.data))
        for candidate in range(pos + 1, stop):
            if self.verifies_as_window(candidate):
                return candidate
            chain = self.known_chain(candidate, window.end)
            if not chain:
                continue
            if not self.in_time(chain, window):
                for later in range(candidate + 1, min(candidate + MARGIN_BYTES, window.end)):
                    better = self.known_chain(later, window.end)
                    if better and self.in_time(better, window):
                        return later
            return candidate
        return stop

    def in_time(self, chain: list[Raw], window: OpenWindow) -> bool:
        tscs = [self.tsc.get(window.pcpu, 0), *(raw.tsc for raw in chain if raw.tsc is not None)]
        return tscs == sorted(tscs)

    def reason(self, pos: int, window: OpenWindow) -> str:
        header = self.word(pos)
        if header is None:
            return "overrun"
        if not of_known_class(header & 0x0FFFFFFF):
            return "bad-record"
        raw = self.whole_record(pos)
        if raw is None or raw.end > window.end:
            return "overrun"
        return "bad-tsc" if (raw.tsc or 0) >= 1 << 63 else "bad-record"

    def skip_to_window(self, pos: int) -> int:
        """Skip what stands where a window is due, up to one that verifies, and return where that is."""
        header, whole = self.word(pos), pos + 12 <= len(self.data)
        if header == CPU_CHANGE_HEADER:
            reason = "bad-window" if whole else "file-end"
        else:
            reason = "file-end" if header is None else "no-window"
        candidates: Iterator[int] = (p for p in range(pos, len(self.data)) if self.verifies_as_window(p))
        behind = next(candidates, len(self.data))
        self.skip(pos, behind, -1, reason)
        return behind

    # Accounting

    def take(self, pos: int, raw: Raw, window: OpenWindow) -> None:
        """Decode one record of a window."""
        pcpu = window.pcpu
        window.records += 1
        if raw.tsc is not None:
            step = self.tsc.get(pcpu, 0) - raw.tsc
            self.reading.steps_back += step > 0
            self.reading.longest_step_back = max(self.reading.longest_step_back, step)
            self.tsc[pcpu] = raw.tsc
            window.tscs.append(raw.tsc)
        if raw.known and raw.event == LOST_RECORDS:
            count, self.place[pcpu], low, high = raw.words
            self.reading.lost += count
            since = low | (high & 0x7FFFFFFF) << 32
            self.reading.damage.append(Damage(pos, 0, pcpu, "lost", lost=count, tsc_from=since, tsc_to=self.tsc[pcpu]))
        if raw.known and raw.event in P2M_WRITES:
            self.reading.sets[raw.words[5] & 0xFFFF] += 1
        self.emit(pos, pcpu, raw)
        if raw.known:
            self.move(pcpu, raw)

    def move(self, pcpu: int, raw: Raw) -> None:
        """Note who runs on a pCPU from here on."""
        old, new = RUNSTATE_CHANGES.get(raw.event, (None, None))
        if new == RUNNING or raw.event == CONTINUE_RUNNING:
            self.place[pcpu] = raw.words[0] >> 16 | (raw.words[0] & 0xFFFF) << 16
        elif old == RUNNING:
            self.place.pop(pcpu, None)

    def emit(self, pos: int, pcpu: int, raw: Raw) -> None:
        self.reading.records.append(
            Record(pos, pcpu, self.tsc.get(pcpu), raw.tsc is not None, raw.event, self.place.get(pcpu), raw.words)
        )
        self.reading.events[raw.event] += 1
        self.reading.decoded += raw.end - pos

    def skip(self, pos: int, behind: int, pcpu: int, reason: str) -> None:
        """Account for skipped bytes, and forget who runs where they may have said so."""
        self.reading.damage.append(Damage(pos, behind - pos, pcpu, reason, self.word(pos) or 0))
        self.reading.skipped += behind - pos
        if pcpu < 0:
            self.place.clear()
        else:
            self.place.pop(pcpu, None)

    def doubt_end(self, window: OpenWindow) -> None:
        """Note that a window's byte count is wrong: it goes on up to the next CPU_CHANGE."""
        self.reading.damage.append(Damage(window.offset, 0, window.pcpu, "window-size", window.bytes))
        window.end = NO_END
