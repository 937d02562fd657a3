"""What the decoder remembers and what it fills: plain arrays, so that kernels allocate nothing and can stop anywhere.

Positions are bytes. A position within the buffer is relative to its first byte; an offset is absolute in the
decompressed source; the cursor's BASE converts one into the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.xentrace.record import MAX_PCPUS
from eptreplay.xentrace.table import SLOTS

UNKNOWN = -1
"""In ``place``: nobody known to run. In damage rows: no pCPU known."""
NONE_OPEN = -1
"""Offset of the current window where there is none."""
OPEN_END = 1 << 62
"""Offset of the end of a window whose byte count turned out to be wrong."""

NOT_NEGATIVE = (1 << 48) - 1
"""Masked with it, an index visibly is not negative, and the compiler drops the code that counts from the end."""

# What to read next.
AT_WINDOW, IN_WINDOW, SEEK_RECORD, SEEK_WINDOW = range(4)

# Why a kernel returned.
GO_ON, NEED_INPUT, FLUSH, REALIGN, END = range(5)

# Flags of a row.
TSC_KNOWN, PLACE_KNOWN = 1, 2

# Fields of the cursor.
(
    BASE,  # offset of the buffer's first byte
    POS,  # position of the next byte to look at
    AVAIL,  # end of the bytes that can be looked at
    LAG,  # so many bytes further on stand the bytes behind AVAIL, or 0 if there are none
    FAR,  # end of those
    MODE,
    PCPU,
    WINDOW,  # offset of the CPU_CHANGE of the window being read, or NONE_OPEN
    WINDOW_BYTES,  # the value in it
    WINDOW_END,  # offset behind its last byte, or OPEN_END
    WINDOW_RECORDS,
    WINDOW_FIRST,  # TSC of its first timed record
    WINDOW_LAST,
    WINDOW_LOW,  # lowest and highest TSC of its timed records
    WINDOW_HIGH,
    WINDOW_TIMED,  # number of its timed records
    WINDOW_TSC_IN,  # its pCPU's TSC, number of timed records and placement before it
    WINDOW_TIMED_IN,
    WINDOW_PLACE_IN,
    SKIP,  # offset where skipping began
    SKIP_REASON,
    SKIP_WORD,  # the word found there
    EPOCH,  # counts losses that could belong to any pCPU; a placement from before is void
    ROWS,  # rows filled
    SHIFTS,
    MEMORY_ROWS,
    WINDOWS,
    DAMAGES,
    SAMPLES,
    CURSOR_FIELDS,
) = range(30)

# Damage reasons; texts in damage.py.
LOST, NO_WINDOW, BAD_WINDOW, BAD_RECORD, OVERRUN, BAD_TSC, WINDOW_SIZE, FILE_END, STREAM = range(9)


class Pcpus(NamedTuple):
    """Per pCPU: what carries over from window to window."""

    tsc: NDArray[np.int64]  # last TSC
    first: NDArray[np.int64]  # first TSC
    timed: NDArray[np.int64]  # timed records so far
    records: NDArray[np.int64]  # CPU_CHANGE excluded
    place: NDArray[np.int64]  # running domain | vCPU << 16, or UNKNOWN
    epoch: NDArray[np.int64]  # cursor's EPOCH when ``place`` was set
    prev_tsc: NDArray[np.int64]  # TSC of the last SWITCH_INFPREV, or UNKNOWN
    next_key: NDArray[np.int64]  # domain << 32 | vCPU that the last SWITCH_INFNEXT switched to, or UNKNOWN
    next_tsc: NDArray[np.int64]  # TSC at which that vCPU's runtime began


class Rows(NamedTuple):
    """Decoded records: where each one stands in the input buffer, and what its bytes alone do not tell."""

    pos: NDArray[np.int32]
    tsc: NDArray[np.int64]
    place: NDArray[np.uint32]
    pcpu: NDArray[np.uint16]
    flags: NDArray[np.uint8]
    memory: NDArray[np.int32]  # rows that belong into p2m.parquet
    action_pos: NDArray[np.int32]  # records of one window that the decoder itself acts upon
    shift_row: NDArray[np.int32]  # from this row on, the buffer's first byte is the one at offset ``shift_base``
    shift_base: NDArray[np.int64]


class Windows(NamedTuple):
    """Closed windows. ``first``, ``last``, ``low``, ``high`` count only if ``timed`` > 0."""

    offset: NDArray[np.int64]
    pcpu: NDArray[np.uint16]
    bytes: NDArray[np.int64]
    records: NDArray[np.int64]
    timed: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    tsc_in: NDArray[np.int64]  # the pCPU's state before the window, from which it can be decoded by itself
    timed_in: NDArray[np.int64]
    place_in: NDArray[np.int64]


class Damages(NamedTuple):
    """Skipped bytes, wrong window sizes, and lost records (reason LOST, with the TSC range that is missing)."""

    offset: NDArray[np.int64]
    bytes: NDArray[np.int64]
    pcpu: NDArray[np.int32]
    reason: NDArray[np.uint8]
    word: NDArray[np.uint32]
    lost: NDArray[np.int64]
    tsc_from: NDArray[np.int64]
    tsc_to: NDArray[np.int64]


# Fields of the tally.
(
    DECODED,  # bytes
    SKIPPED,
    LOST_COUNT,
    TSC_STEPS_BACK,
    TSC_STEP_BACK_MAX,  # ticks
    TSC_LOW,
    TSC_HIGH,
    INFPREV_SHORT,  # evidence of the Xen layout, see release.py
    INFPREV_LONG,
    INFCONT,
    PACKED_ORDER,
    SEPARATE_ORDER,
    UNCLEAR_ORDER,
    SVM_EXIT_IDS,
    SVM_REASONS,  # exit reasons that only SVM has
    INTR_VECTORS,  # HVM_INTR with and without a vector
    INTR_BARE,
    NPF_QUALIFIED,
    TALLY_FIELDS,
) = range(19)


class Tally(NamedTuple):
    """Totals over all sources. ``totals``: fields above. ``events``: by slot. ``sets``: SET records by p2m domain.

    ``samples``: [0: TSC ticks, 1: nanoseconds; sample], of the same stretch of time each.
    """

    totals: NDArray[np.int64]
    events: NDArray[np.int64]
    sets: NDArray[np.int64]
    samples: NDArray[np.int64]


def new_cursor() -> NDArray[np.int64]:
    """Return the cursor for the beginning of the first source."""
    cursor = np.zeros(CURSOR_FIELDS, np.int64)
    cursor[WINDOW] = NONE_OPEN
    return cursor


def new_pcpus() -> Pcpus:
    """Return the state before the first window."""
    pcpus = Pcpus._make(np.zeros(MAX_PCPUS, np.int64) for _ in Pcpus._fields)
    for column in (pcpus.place, pcpus.prev_tsc, pcpus.next_key):
        column.fill(UNKNOWN)
    return pcpus


def new_rows(capacity: int) -> Rows:
    """Return a buffer of ``capacity`` rows; the system provides its memory as it is filled."""
    types = (np.int32, np.int64, np.uint32, np.uint16, np.uint8, np.int32, np.int32, np.int32, np.int64)
    return Rows._make(np.empty(capacity, dtype) for dtype in types)


def new_windows(capacity: int) -> Windows:
    """Return an empty buffer of ``capacity`` windows."""
    columns = [np.zeros(capacity, np.uint16 if name == "pcpu" else np.int64) for name in Windows._fields]
    return Windows._make(columns)


def new_damages(capacity: int) -> Damages:
    """Return an empty buffer of ``capacity`` damage rows."""
    types = {"pcpu": np.int32, "reason": np.uint8, "word": np.uint32}
    return Damages._make(np.zeros(capacity, types.get(name, np.int64)) for name in Damages._fields)


def new_tally(samples: int) -> Tally:
    """Return zero totals with room for ``samples`` pairs of ticks and nanoseconds."""
    totals = np.zeros(TALLY_FIELDS, np.int64)
    totals[TSC_LOW] = np.iinfo(np.int64).max
    totals[TSC_HIGH] = -1
    return Tally(totals, np.zeros(SLOTS, np.int64), np.zeros(65536, np.int64), np.zeros((2, samples), np.int64))
