"""The encoder: records to the bytes of a valid xentrace file.

``encode`` works on columns and is what makes a recording again from a dataset; ``Trace`` builds small files record by
record, by the names of events and fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import i64, kernel
from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.catalogue.layout import MAX_WORDS
from eptreplay.xentrace.record import CPU_CHANGE, CPU_CHANGE_HEADER, EVENT_MASK, MAX_PCPUS, header
from eptreplay.xentrace.release import ASSUMED_RELEASE

CPU_CHANGE_WORDS = 2


@kernel
def encode(
    event: NDArray[np.uint32],
    timed: NDArray[np.bool_],
    tsc: NDArray[np.int64],
    n: NDArray[np.uint8],
    words: NDArray[np.uint32],
    out: NDArray[np.uint32],
) -> int:
    """Write records given as columns (``words``: [word, row]) behind each other; returns the words written."""
    i = 0
    for row in range(event.size):
        length = i64(n[row])
        out[i] = i64(event[row]) | length << 28 | i64(timed[row]) << 31
        i += 1
        if timed[row]:
            out[i] = tsc[row] & 0xFFFFFFFF
            out[i + 1] = tsc[row] >> 32
            i += 2
        for word in range(length):
            out[i] = words[word, row]
            i += 1
    return i


@dataclass
class Trace:
    """A xentrace file in the making: windows of records, each of one pCPU, in the layouts of release ``xen``.

    ::

        trace = Trace()
        trace.window(3)
        trace.add("HVM_VMENTRY", tsc=1_000)
        trace.add("MEM_SET_P2M_ENTRY", gfn=0x1000, mfn=0x8000, p2mt=0, domid=7)
        Path("small.xentrace").write_bytes(trace.bytes())
    """

    xen: str = ASSUMED_RELEASE
    _windows: list[tuple[int, bytearray]] = field(default_factory=list)

    def window(self, pcpu: int) -> None:
        """Begin a window: records added from now on are of this pCPU. Raises ValueError if there is no such pCPU."""
        if not 0 <= pcpu < MAX_PCPUS:
            raise ValueError(f"pCPU {pcpu}: expected 0 to {MAX_PCPUS - 1}")
        self._windows.append((pcpu, bytearray()))

    def add(self, name: str, *, tsc: int | None = None, **values: int) -> None:
        """Add an event by its catalogue name with the named fields; ``tsc`` in ticks if the record is to be timed.

        Raises UsageError for a name that the catalogue lacks, ValueError for a value that does not fit.
        """
        event = by_name(name)
        layouts = event.layouts_in(self.xen)
        known = next((x for x in layouts if values.keys() <= {f.name for f in x.fields}), layouts[0])
        self.add_raw(event.id, known.pack(values), tsc=tsc)

    def add_raw(self, event: int, words: Sequence[int] = (), *, tsc: int | None = None) -> None:
        """Add a record by event id and payload words.

        Raises ValueError if no window was begun, and for what no record can hold.
        """
        if not self._windows:
            raise ValueError("no window was begun: call window(pcpu) first")
        if not 0 <= event <= EVENT_MASK:
            raise ValueError(f"event {event:#x}: expected an id of 28 bits")
        if len(words) > MAX_WORDS or not all(0 <= word < 1 << 32 for word in words):
            raise ValueError(f"payload {list(words)}: expected at most {MAX_WORDS} words of 32 bits")
        if tsc is not None and not 0 <= tsc < 1 << 63:
            raise ValueError(f"TSC {tsc}: expected 0 to 2^63-1")
        time = () if tsc is None else (tsc & 0xFFFFFFFF, tsc >> 32)
        data = np.array([header(event, len(words), tsc is not None), *time, *words], "<u4")
        self._windows[-1][1].extend(data.tobytes())

    def bytes(self) -> bytes:
        """Return the whole file."""
        parts = []
        for pcpu, records in self._windows:
            parts += [np.array([CPU_CHANGE_HEADER, pcpu, len(records)], "<u4").tobytes(), bytes(records)]
        return b"".join(parts)


def window_starts(event: NDArray[np.uint32], timed: NDArray[np.bool_], n: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the rows that start a window: records of CPU_CHANGE's id that look otherwise do not."""
    return np.flatnonzero((event == CPU_CHANGE) & ~timed & (n == CPU_CHANGE_WORDS))


def window_sizes(starts: NDArray[np.intp], size: NDArray[np.int64], open_bytes: int) -> tuple[list[int], int]:
    """Return the byte counts of the windows that end before one of these rows, and of the one left open.

    ``starts``: rows that start a window. ``size``: bytes of each record. ``open_bytes``: bytes so far of the window
    that the first row continues.
    """
    total = np.concatenate([[0], np.cumsum(size)])
    marks = [*starts.tolist(), size.size]
    sums = [int(total[b] - total[a]) for a, b in zip([0, *(starts + 1).tolist()], marks, strict=True)]
    sums[0] += open_bytes
    return sums[:-1], sums[-1]
