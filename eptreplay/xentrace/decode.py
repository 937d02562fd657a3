"""The decoder: a state machine of kernels that turns bytes into rows and survives anything.

``decode`` runs until it needs more input, until a buffer is full, or until the end. All state is in its arguments, so
it goes on where it stopped. Four modes, one kernel each:

``AT_WINDOW``    a CPU_CHANGE record is due ``IN_WINDOW``    a record is due ``SEEK_RECORD``  damage inside a window:
look for the next chain of known records, for the window's end, or for a CPU_CHANGE ``SEEK_WINDOW``  no window where
one was due: look for a CPU_CHANGE with records behind it

What counts as damage is written down in ``docs/background/damage.md``.
"""

from __future__ import annotations

from eptreplay.jit import i64, kernel
from eptreplay.xentrace import state as st
from eptreplay.xentrace.actions import carry_out, place_after, place_now
from eptreplay.xentrace.align import catch_up, put_in_step
from eptreplay.xentrace.chain import (
    LOOKAHEAD,
    NO_CHAIN,
    Words,
    goes_on,
    has_known_class,
    is_window_header,
    is_window_start,
    known_chain,
    load,
    names_class,
    record_bytes,
)
from eptreplay.xentrace.record import CPU_CHANGE, CPU_CHANGE_HEADER, WINDOW_HEADER_BYTES
from eptreplay.xentrace.skip import Cursor, begin_skip, end_skip, mark_wrong_size, seek_record, seek_window
from eptreplay.xentrace.state import Damages, Pcpus, Rows, Tally, Windows
from eptreplay.xentrace.table import ACTION_SHIFT, KEEP, MEMORY, ON_LOST, ON_RUNSTATE, Table, slot_of

KEEP_NONE, KEEP_EPT, KEEP_ALL = 0, KEEP, 1 << 31
"""Which records become rows: none (totals only), those of ``--events ept``, all."""

LEGAL, WRONG_END, SEEK, CUT = range(4)
"""Verdicts on a record: believe it, doubt the window's end, look for the next good one, the file ends inside it."""


@kernel
def decode(
    words: Words,
    final: bool,
    cursor: Cursor,
    pcpus: Pcpus,
    table: Table,
    keep: int,
    rows: Rows,
    windows: Windows,
    damages: Damages,
    tally: Tally,
) -> int:
    """Decode the bytes in ``words`` from POS to AVAIL; ``final`` says that none will follow.

    ``words`` must be longer by LOOKAHEAD bytes. Returns NEED_INPUT (keep the bytes from POS on and append more), FLUSH
    (empty the buffers of windows and damage), or END.
    """
    while True:
        mode, avail, lag = cursor[st.MODE], cursor[st.AVAIL], cursor[st.LAG]
        last = final and lag == 0
        if cursor[st.WINDOWS] >= windows.offset.size or cursor[st.DAMAGES] + 4 > damages.offset.size:
            return st.FLUSH
        if mode == st.AT_WINDOW:
            status = _enter_window(words, avail, last, cursor, pcpus, table, keep, rows, windows, damages, tally)
        elif mode == st.IN_WINDOW:
            status = _read_records(words, avail, last, cursor, pcpus, table, keep, rows, damages, tally)
        elif mode == st.SEEK_RECORD:
            status = seek_record(words, avail, last, cursor, pcpus, table, damages, tally)
        else:
            status = seek_window(words, avail, last, cursor, pcpus, table, damages, tally)
        if status == st.REALIGN:
            put_in_step(words, cursor, rows)
        elif status == st.NEED_INPUT and lag > 0:
            catch_up(words, cursor)
        elif status != st.GO_ON:
            return status


@kernel
def _enter_window(
    words: Words,
    avail: int,
    final: bool,
    cursor: Cursor,
    pcpus: Pcpus,
    table: Table,
    keep: int,
    rows: Rows,
    windows: Windows,
    damages: Damages,
    tally: Tally,
) -> int:
    pos = cursor[st.POS]
    if final and pos == avail:
        if cursor[st.WINDOW] != st.NONE_OPEN and st.OPEN_END > cursor[st.WINDOW_END] > cursor[st.BASE] + pos:
            begin_skip(words, avail, cursor, pos, st.AT_WINDOW, st.FILE_END)
            end_skip(cursor, pcpus, damages, tally, pos, st.AT_WINDOW)
        _close_window(cursor, windows)
        return st.END
    if not final and pos >= avail - LOOKAHEAD:
        return st.NEED_INPUT
    if pos & 3:
        return st.REALIGN
    if not is_window_start(words, avail, pos):
        if cursor[st.WINDOW] != st.NONE_OPEN and known_chain(words, avail, pos, st.OPEN_END, table, 0) != NO_CHAIN:
            mark_wrong_size(cursor, damages)
            return st.GO_ON
        _close_window(cursor, windows)
        begin_skip(words, avail, cursor, pos, st.SEEK_WINDOW, _no_window_reason(words, avail, pos))
        return st.GO_ON
    _close_window(cursor, windows)
    pcpu, size = i64(words[(pos >> 2) + 1]), i64(words[(pos >> 2) + 2])
    cursor[st.PCPU] = pcpu
    cursor[st.WINDOW] = cursor[st.BASE] + pos
    cursor[st.WINDOW_BYTES] = size
    cursor[st.WINDOW_END] = cursor[st.BASE] + pos + WINDOW_HEADER_BYTES + size
    cursor[st.WINDOW_RECORDS] = 0
    cursor[st.WINDOW_TIMED] = 0
    place = place_now(cursor, pcpus)
    cursor[st.WINDOW_TSC_IN] = pcpus.tsc[pcpu]
    cursor[st.WINDOW_TIMED_IN] = pcpus.timed[pcpu]
    cursor[st.WINDOW_PLACE_IN] = place
    tally.totals[st.DECODED] += WINDOW_HEADER_BYTES
    tally.events[slot_of(table.classes, CPU_CHANGE)] += 1
    if keep == KEEP_ALL:
        row = cursor[st.ROWS]
        rows.pos[row] = pos
        rows.pcpu[row] = pcpu
        rows.tsc[row] = pcpus.tsc[pcpu]
        rows.place[row] = place & 0xFFFFFFFF
        rows.flags[row] = (pcpus.timed[pcpu] > 0) | (place >= 0) << 1
        cursor[st.ROWS] = row + 1
    cursor[st.POS] = pos + WINDOW_HEADER_BYTES
    cursor[st.MODE] = st.IN_WINDOW
    if size & 3:
        mark_wrong_size(cursor, damages)
    return st.GO_ON


@kernel
def _no_window_reason(words: Words, avail: int, pos: int) -> int:
    """Say what is wrong with what stands where a window is due."""
    if pos + 4 > avail:
        return st.FILE_END
    if load(words, pos) != CPU_CHANGE_HEADER:
        return st.NO_WINDOW
    return st.BAD_WINDOW if pos + WINDOW_HEADER_BYTES <= avail else st.FILE_END


@kernel
def _close_window(cursor: Cursor, windows: Windows) -> None:
    if cursor[st.WINDOW] == st.NONE_OPEN:
        return
    i = cursor[st.WINDOWS]
    windows.offset[i] = cursor[st.WINDOW]
    windows.pcpu[i] = cursor[st.PCPU]
    windows.bytes[i] = cursor[st.WINDOW_BYTES]
    windows.records[i] = cursor[st.WINDOW_RECORDS]
    windows.timed[i] = cursor[st.WINDOW_TIMED]
    windows.first[i] = cursor[st.WINDOW_FIRST]
    windows.last[i] = cursor[st.WINDOW_LAST]
    windows.low[i] = cursor[st.WINDOW_LOW]
    windows.high[i] = cursor[st.WINDOW_HIGH]
    windows.tsc_in[i] = cursor[st.WINDOW_TSC_IN]
    windows.timed_in[i] = cursor[st.WINDOW_TIMED_IN]
    windows.place_in[i] = cursor[st.WINDOW_PLACE_IN]
    cursor[st.WINDOWS] = i + 1
    cursor[st.WINDOW] = st.NONE_OPEN


@kernel
def _judge(words: Words, avail: int, pos: int, end: int, table: Table) -> int:
    """Return the verdict on a record that is not a known one with a legal shape."""
    behind = pos + (record_bytes(load(words, pos)) if pos + 4 <= avail else 4)
    if behind > avail and end > avail:
        return CUT
    if pos + 4 <= avail and load(words, pos) == CPU_CHANGE_HEADER:
        return WRONG_END
    if behind > end:
        ends_well = end == avail or is_window_header(words, avail, end)
        return SEEK if ends_well or known_chain(words, avail, pos, st.OPEN_END, table, 0) == NO_CHAIN else WRONG_END
    return LEGAL if has_known_class(words, avail, pos, table) and goes_on(words, avail, behind, end, table) else SEEK


@kernel
def _read_records(  # noqa: C901, PLR0915 (calls within the loop would cost more than the work that they do)
    words: Words,
    avail: int,
    final: bool,
    cursor: Cursor,
    pcpus: Pcpus,
    table: Table,
    keep: int,
    rows: Rows,
    damages: Damages,
    tally: Tally,
) -> int:
    """Read records up to the window's end; per-pCPU state lives in locals meanwhile."""
    start = pos = cursor[st.POS]
    if pos & 3:
        return st.REALIGN
    base = cursor[st.BASE]
    end = cursor[st.WINDOW_END] - base
    stop = min(end, avail if final else avail - LOOKAHEAD)
    limit = min(end, avail)
    pcpu = cursor[st.PCPU]
    place = place_now(cursor, pcpus)
    tsc, timed = pcpus.tsc[pcpu], pcpus.timed[pcpu]
    low, high = cursor[st.WINDOW_LOW], cursor[st.WINDOW_HIGH]
    # Arrays are taken out of their tuples once: inside the loop every such access would count references.
    classes, attributes, events, totals = table.classes, table.attributes, tally.events, tally.totals
    pos_out, tsc_out, place_out = rows.pos, rows.tsc, rows.place
    pcpu_out, flags_out, memory_out = rows.pcpu, rows.flags, rows.memory
    action_pos = rows.action_pos
    row, memory_rows, lost_room = cursor[st.ROWS], cursor[st.MEMORY_ROWS], damages.offset.size - cursor[st.DAMAGES]
    first_tsc, first_in_window = pcpus.first, timed - cursor[st.WINDOW_TIMED] + 1
    count = actions = 0
    verdict = LEGAL
    while pos < stop and lost_room:
        i, out = (pos >> 2) & st.NOT_NEGATIVE, row & st.NOT_NEGATIVE
        head = i64(words[i])
        has_tsc = head >> 31
        length = (head >> 28) & 7
        behind = pos + 4 + 4 * length + 8 * has_tsc
        slot = (i64(classes[(head >> 16) & 0xFFF]) << 16) | (head & 0xFFFF)
        attribute = i64(attributes[slot])
        time_high = i64(words[i + 2])
        # One branch for all doubts, since each of them is rare.
        illegal = (attribute >> (head >> 28)) & 1 ^ 1
        if illegal | (behind > limit) | (has_tsc & (time_high >> 31)) | (head == CPU_CHANGE_HEADER):
            verdict = _judge(words, avail, pos, end, table)
            if verdict != LEGAL:
                break
            # A record of another shape than we know carries no fields that we could act upon.
            attribute &= KEEP
        action = attribute >> ACTION_SHIFT
        now = i64(words[i + 1]) | (time_high & 0x7FFFFFFF) << 32
        before = tsc
        # Chosen by arithmetic: whether a record is timed is as good as random, and a wrong guess costs more than this.
        tsc = (now & -has_tsc) | (tsc & (has_tsc - 1))
        timed += has_tsc
        if tsc < before:
            totals[st.TSC_STEPS_BACK] += 1
            totals[st.TSC_STEP_BACK_MAX] = max(totals[st.TSC_STEP_BACK_MAX], before - tsc)
            low, high = min(low, tsc), max(high, before)
        if has_tsc & (timed == first_in_window):
            low = high = cursor[st.WINDOW_FIRST] = tsc
            if timed == 1:
                first_tsc[pcpu] = tsc
        first = i + 1 + 2 * has_tsc
        if action == ON_LOST:
            place = i64(words[first + 1])
            lost_room -= 1
        pos_out[out] = pos
        tsc_out[out] = tsc
        place_out[out] = place & 0xFFFFFFFF
        pcpu_out[out] = pcpu
        flags_out[out] = (timed > 0) | (place >= 0) << 1
        memory_out[memory_rows & st.NOT_NEGATIVE] = row
        kept = ((attribute | KEEP_ALL) & keep) != 0
        memory_rows += kept & (attribute & MEMORY != 0)
        row += kept
        action_pos[actions & st.NOT_NEGATIVE] = pos
        actions += action > ON_RUNSTATE
        place = place_after(action == ON_RUNSTATE, head, i64(words[first]), place)
        events[slot] += 1
        count += 1
        pos = behind
    carry_out(actions, words, cursor, pcpus, table, rows, damages, tally)
    totals[st.DECODED] += pos - start
    pcpus.records[pcpu] += count
    pcpus.tsc[pcpu], pcpus.timed[pcpu] = tsc, timed
    pcpus.place[pcpu], pcpus.epoch[pcpu] = place, cursor[st.EPOCH]
    cursor[st.POS] = pos
    cursor[st.ROWS], cursor[st.MEMORY_ROWS] = row, memory_rows
    cursor[st.WINDOW_RECORDS] += count
    if timed >= first_in_window:
        high = max(high, tsc)
        cursor[st.WINDOW_TIMED] = timed - first_in_window + 1
        cursor[st.WINDOW_LAST], cursor[st.WINDOW_LOW], cursor[st.WINDOW_HIGH] = tsc, low, high
        totals[st.TSC_LOW] = min(totals[st.TSC_LOW], low)
        totals[st.TSC_HIGH] = max(totals[st.TSC_HIGH], high)
    if verdict != LEGAL:
        _leave_records(words, avail, cursor, pcpus, table, damages, tally, verdict)
        return st.GO_ON
    if pos < stop:
        return st.FLUSH
    if pos < end and not final:
        return st.NEED_INPUT
    cursor[st.MODE] = st.AT_WINDOW
    return st.GO_ON


@kernel
def _leave_records(
    words: Words, avail: int, cursor: Cursor, pcpus: Pcpus, table: Table, damages: Damages, tally: Tally, verdict: int
) -> None:
    """Act on a verdict other than LEGAL about the record at POS."""
    pos = cursor[st.POS]
    if verdict == WRONG_END:
        is_change = load(words, pos) == CPU_CHANGE_HEADER
        if not is_change or cursor[st.WINDOW_END] != st.OPEN_END:
            mark_wrong_size(cursor, damages)
        if is_change:
            cursor[st.MODE] = st.AT_WINDOW
    elif verdict == CUT:
        begin_skip(words, avail, cursor, pos, st.AT_WINDOW, st.FILE_END)
        end_skip(cursor, pcpus, damages, tally, avail, st.AT_WINDOW)
        cursor[st.WINDOW_END] = st.OPEN_END
    else:
        begin_skip(words, avail, cursor, pos, st.SEEK_RECORD, _reason(words, avail, cursor, table))


@kernel
def _reason(words: Words, avail: int, cursor: Cursor, table: Table) -> int:
    """Say what is wrong with the record at POS."""
    pos = cursor[st.POS]
    if pos + 4 > avail:
        return st.OVERRUN
    head = load(words, pos)
    if not names_class(head, table):
        return st.BAD_RECORD
    if pos + record_bytes(head) > cursor[st.WINDOW_END] - cursor[st.BASE]:
        return st.OVERRUN
    return st.BAD_TSC if head >> 31 and load(words, pos + 8) >> 31 else st.BAD_RECORD
