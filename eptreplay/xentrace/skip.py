"""Kernels that step over damage and account for it: every byte is either decoded or skipped, never neither."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import kernel
from eptreplay.xentrace import state as st
from eptreplay.xentrace.chain import LOOKAHEAD, NO_CHAIN, STRUCTURE_AND_TIME, Words, known_chain, load, starts_window
from eptreplay.xentrace.state import Damages, Pcpus, Tally
from eptreplay.xentrace.table import Table

SEEK_MARGIN = 256
"""A chain whose TSCs step back is taken only if none that fits in time starts within so many bytes behind it."""

Cursor = NDArray[np.int64]


@kernel
def append_damage(
    cursor: Cursor,
    damages: Damages,
    offset: int,
    size: int,
    pcpu: int,
    reason: int,
    word: int,
    lost: int,
    since: int,
    to: int,
) -> None:
    """Add a damage row; the caller has made sure that there is room."""
    i = cursor[st.DAMAGES]
    damages.offset[i] = offset
    damages.bytes[i] = size
    damages.pcpu[i] = pcpu
    damages.reason[i] = reason
    damages.word[i] = word
    damages.lost[i] = lost
    damages.tsc_from[i] = since
    damages.tsc_to[i] = to
    cursor[st.DAMAGES] = i + 1


@kernel
def void_pcpu(pcpus: Pcpus, pcpu: int) -> None:
    """Forget who runs on a pCPU, and the start of what runs there: records are missing."""
    pcpus.place[pcpu] = st.UNKNOWN
    pcpus.prev_tsc[pcpu] = st.UNKNOWN
    pcpus.next_key[pcpu] = st.UNKNOWN


@kernel
def begin_skip(words: Words, avail: int, cursor: Cursor, pos: int, mode: int, reason: int) -> None:
    """Start skipping at ``pos`` in one of the seek modes."""
    cursor[st.SKIP] = cursor[st.BASE] + pos
    cursor[st.SKIP_REASON] = reason
    cursor[st.SKIP_WORD] = load(words, pos) if pos + 4 <= avail else 0
    cursor[st.POS] = pos
    cursor[st.MODE] = mode


@kernel
def end_skip(cursor: Cursor, pcpus: Pcpus, damages: Damages, tally: Tally, pos: int, mode: int) -> None:
    """Stop skipping at ``pos``. Who ran meanwhile is unknown, on all pCPUs if the window's is."""
    size = cursor[st.BASE] + pos - cursor[st.SKIP]
    pcpu = st.UNKNOWN
    if cursor[st.WINDOW] == st.NONE_OPEN:
        cursor[st.EPOCH] += 1
    else:
        pcpu = cursor[st.PCPU]
        void_pcpu(pcpus, pcpu)
    append_damage(cursor, damages, cursor[st.SKIP], size, pcpu, cursor[st.SKIP_REASON], cursor[st.SKIP_WORD], 0, 0, 0)
    tally.totals[st.SKIPPED] += size
    cursor[st.POS] = pos
    cursor[st.MODE] = mode


@kernel
def mark_wrong_size(cursor: Cursor, damages: Damages) -> None:
    """Note that the current window does not end where its CPU_CHANGE says; it goes on up to the next CPU_CHANGE."""
    size = cursor[st.WINDOW_BYTES]
    append_damage(cursor, damages, cursor[st.WINDOW], 0, cursor[st.PCPU], st.WINDOW_SIZE, size, 0, 0, 0)
    cursor[st.WINDOW_END] = st.OPEN_END
    cursor[st.MODE] = st.IN_WINDOW


@kernel
def seek_record(
    words: Words,
    avail: int,
    final: bool,
    cursor: Cursor,
    pcpus: Pcpus,
    table: Table,
    damages: Damages,
    tally: Tally,
) -> int:
    """Skip to the next chain of known records in the window, to its end, or to a CPU_CHANGE that starts a window."""
    end = cursor[st.WINDOW_END] - cursor[st.BASE]
    stop = avail if final else avail - LOOKAHEAD
    tsc = pcpus.tsc[cursor[st.PCPU]]
    pos = cursor[st.POS]
    while pos < stop and pos < end:
        if starts_window(words, avail, pos, table):
            end_skip(cursor, pcpus, damages, tally, pos, st.AT_WINDOW)
            return st.GO_ON
        chain = known_chain(words, avail, pos, end, table, tsc)
        if chain != NO_CHAIN:
            best = pos
            if chain != STRUCTURE_AND_TIME:
                for later in range(pos + 1, min(pos + SEEK_MARGIN, end)):
                    if known_chain(words, avail, later, end, table, tsc) == STRUCTURE_AND_TIME:
                        best = later
                        break
            end_skip(cursor, pcpus, damages, tally, best, st.IN_WINDOW)
            return st.GO_ON
        pos += 1
    if pos >= end or final:
        end_skip(cursor, pcpus, damages, tally, pos, st.AT_WINDOW)
        return st.GO_ON
    cursor[st.POS] = pos
    return st.NEED_INPUT


@kernel
def seek_window(
    words: Words,
    avail: int,
    final: bool,
    cursor: Cursor,
    pcpus: Pcpus,
    table: Table,
    damages: Damages,
    tally: Tally,
) -> int:
    """Skip to the next CPU_CHANGE that starts a window. Records before it belong to nobody knows which pCPU."""
    stop = avail if final else avail - LOOKAHEAD
    pos = cursor[st.POS]
    while pos < stop:
        if starts_window(words, avail, pos, table):
            end_skip(cursor, pcpus, damages, tally, pos, st.AT_WINDOW)
            return st.GO_ON
        pos += 1
    if final:
        end_skip(cursor, pcpus, damages, tally, pos, st.AT_WINDOW)
        return st.GO_ON
    cursor[st.POS] = pos
    return st.NEED_INPUT
