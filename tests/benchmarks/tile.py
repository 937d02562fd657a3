"""Recordings of any size on any number of pCPUs: a small one, repeated in time and copied across pCPUs.

A copy is the recorded host once more, on pCPUs and vCPUs of its own: their numbers are moved up, domain ids stay.
Copies start at different times of the recording, so that a file of any length holds all kinds of its records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace.record import CPU_CHANGE_HEADER
from tests.benchmarks.pattern import Ints, Pattern, read_pattern

WRITE_WORDS = 1 << 20
_MAKERS = (Path(__file__), Path(__file__).with_name("pattern.py"))


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

    Polls are as far apart as the windows of one recorded pCPU are on average; each goes through the pCPUs in ascending
    order.
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
    # The first poll finds one window of every pCPU: xenalyze takes up a late one too late, and stops at the
    # contradictions that it then sees.
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
                yield _Piece._make((*piece, is_end))
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
    """Return for each pCPU word and time of the first record from ``since`` on that it may begin with, or the ends."""
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
    """Return a file made as ``write_tiled`` says, kept in ``folder`` until the recording or this code changes."""
    key = hashlib.sha256(b"".join(path.read_bytes() for path in (*_MAKERS, recording))).hexdigest()[:12]
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
