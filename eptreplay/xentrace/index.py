"""The two-level index of a plain xentrace file.

Level one, ``window_offsets``, reads nothing but the CPU_CHANGE records: where each window stands and whose it is.
Level two, ``summarise_windows``, also walks the records: first and last TSC, and the state that each window starts
from. With both, any window can be decoded by itself.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace import state as st
from eptreplay.xentrace.reader import Reader
from eptreplay.xentrace.record import CPU_CHANGE_HEADER, MAX_PCPUS, WINDOW_HEADER_BYTES

_HEADER = Struct("<III")


@dataclass(frozen=True)
class Offsets:
    """Windows in file order: byte of the CPU_CHANGE, pCPU, bytes behind the CPU_CHANGE."""

    offset: NDArray[np.int64]
    pcpu: NDArray[np.int64]
    bytes: NDArray[np.int64]


def window_offsets(path: str | os.PathLike[str]) -> Offsets | None:
    """Return level one of a plain file, or None if its windows do not form one chain from first to last byte."""
    found: list[tuple[int, int, int]] = []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        end, at = os.fstat(descriptor).st_size, 0
        read, unpack, append = os.pread, _HEADER.unpack, found.append
        while at + WINDOW_HEADER_BYTES <= end:
            head, pcpu, size = unpack(read(descriptor, WINDOW_HEADER_BYTES, at))
            if head != CPU_CHANGE_HEADER or pcpu >= MAX_PCPUS or size & 3:
                return None
            append((at, pcpu, size))
            at += WINDOW_HEADER_BYTES + size
    finally:
        os.close(descriptor)
    if at != end:
        return None
    columns = np.array(found, np.int64).reshape(-1, 3)
    return Offsets(columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy())


class WindowSource:
    """The bytes of chosen windows of a plain file, one behind the other, as if they were a file of their own."""

    def __init__(self, path: str | os.PathLike[str], chosen: Offsets) -> None:
        self.path = os.fspath(path)
        self.name = Path(self.path).name
        self.bytes = 0
        self.fault: str | None = None
        self.fraction: float | None = None
        self.sha256: str | None = None
        lengths = chosen.bytes + WINDOW_HEADER_BYTES
        self._starts: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self._offsets = chosen.offset
        self._runs = _runs(chosen.offset, lengths)
        self._file = io.FileIO(self.path)

    def file_offset(self, offset: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where bytes of this source stand in the file."""
        window = np.searchsorted(self._starts, offset, side="right") - 1
        return offset - self._starts[window] + self._offsets[window]

    def readinto(self, target: memoryview) -> int:
        """Fill ``target`` and return how many bytes it got: fewer only at the end."""
        done = 0
        while done < len(target) and self._runs:
            at, left = self._runs[-1]
            count = os.preadv(self._file.fileno(), [target[done : done + left]], at)
            if count in (0, left):
                self._runs.pop()
            else:
                self._runs[-1] = (at + count, left - count)
            done += count
        self.bytes += done
        return done

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _runs(offset: NDArray[np.int64], length: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (offset, bytes) of windows that follow each other in the file, joined, last run first."""
    runs: list[tuple[int, int]] = []
    for at, size in zip(offset.tolist(), length.tolist(), strict=True):
        if runs and runs[-1][0] + runs[-1][1] == at:
            runs[-1] = (runs[-1][0], runs[-1][1] + size)
        else:
            runs.append((at, size))
    return runs[::-1]


def summarise_windows(path: str | os.PathLike[str], chosen: Offsets) -> tuple[st.Windows, st.Pcpus] | None:
    """Return level two of the chosen windows, which must be all of their pCPUs, and what is known of those at the end.

    None if the windows hold damage, so that nothing is certain.
    """
    reader = Reader([WindowSource(path, chosen)], digest=False)
    parts: list[st.Windows] = []
    damaged = False
    for batch in reader:
        parts.append(batch.windows)
        damaged = damaged or bool((batch.damages.reason != st.LOST).any())
        reader.recycle(batch)
    windows = st.Windows._make(map(np.concatenate, zip(*parts, strict=True)))
    if damaged or windows.offset.size != chosen.offset.size:
        return None
    return windows, reader.pcpus


def stretches(pcpu: NDArray[np.uint16], selected: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Yield the selected windows in order, cut wherever a pCPU's windows are resumed after one that is not selected."""
    stretch: list[int] = []
    skipped: set[int] = set()
    seen: set[int] = set()
    for i, (of, wanted) in enumerate(zip(pcpu.tolist(), selected.tolist(), strict=True)):
        if not wanted:
            if of in seen:
                skipped.add(of)
            continue
        if of in skipped:
            yield np.array(stretch)
            stretch, skipped, seen = [], set(), set()
        stretch.append(i)
        seen.add(of)
    if stretch:
        yield np.array(stretch)


def read_stretch(
    path: str | os.PathLike[str], chosen: Offsets, windows: st.Windows, stretch: NDArray[np.intp], keep: int
) -> tuple[Reader, WindowSource]:
    """Return a reader of the windows ``stretch`` out of ``chosen``, each pCPU in the state of its first one.

    Rows of its batches stand at offsets of the WindowSource; ``file_offset`` says where that is in the file.
    """
    source = WindowSource(path, Offsets(chosen.offset[stretch], chosen.pcpu[stretch], chosen.bytes[stretch]))
    pcpus = st.new_pcpus()
    pcpu, first = np.unique(windows.pcpu[stretch], return_index=True)
    start = stretch[first]
    pcpus.tsc[pcpu] = windows.tsc_in[start]
    pcpus.timed[pcpu] = windows.timed_in[start]
    pcpus.place[pcpu] = windows.place_in[start]
    pcpus.epoch[pcpu] = st.new_cursor()[st.EPOCH] + 1
    return Reader([source], keep=keep, digest=False, pcpus=pcpus), source
