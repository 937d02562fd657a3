"""What the decoder does on events that carry more than themselves: who runs, what was lost, what it proves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import i64, kernel
from eptreplay.xentrace import state as st
from eptreplay.xentrace import table as tb
from eptreplay.xentrace.chain import Words
from eptreplay.xentrace.skip import Cursor, append_damage
from eptreplay.xentrace.state import Damages, Pcpus, Rows, Tally

Totals = NDArray[np.int64]

RUNNING = 0
"""Runstate number; the others are runnable, blocked, offline."""
MAX_ORDER = 30
"""Larger page orders do not exist, so a larger value is not an order."""
FIRST_SVM_REASON = 0x60
"""VMX basic exit reasons end below it; SVM's codes for instructions, interrupts and nested faults start here."""
SAMPLE_MIN_NS = 100_000
"""Shorter runtimes say more about the distance between two trace points than about the TSC's frequency."""
SAMPLE_MAX_TICKS = 1 << 32
"""The traced runtime is 32 bits of nanoseconds; no TSC in use ticks below 1 GHz, so a shorter stretch did not wrap."""


@kernel
def place_now(cursor: Cursor, pcpus: Pcpus) -> int:
    """Return who runs on the window's pCPU as far as is known; what was known before a loss on any pCPU is void."""
    pcpu = cursor[st.PCPU]
    return pcpus.place[pcpu] if pcpus.epoch[pcpu] == cursor[st.EPOCH] else st.UNKNOWN


@kernel
def place_after(is_change: bool, head: int, word: int, place: int) -> int:
    """Return who runs on the pCPU behind a record: a runstate change puts a vCPU on it or takes it off.

    By arithmetic instead of branches, because the decoder asks it for every record.
    """
    starts = i64(is_change & ((head >> 4) & 3 == RUNNING))
    stops = i64(is_change & ((head >> 8) & 3 == RUNNING)) & ~starts
    started = (word >> 16) | ((word & 0xFFFF) << 16)
    return (started & -starts) | (place & (starts - 1)) | -stops


@kernel
def carry_out(  # noqa: C901, PLR0912 (one branch per event)
    count: int, words: Words, cursor: Cursor, pcpus: Pcpus, table: tb.Table, rows: Rows, damages: Damages, tally: Tally
) -> None:
    """Act on the first ``count`` noted records, in file order, all of the window's pCPU.

    They are noted first and acted upon here, because a loop of their own keeps the decoder's fast.

    Runtimes, from which the TSC's frequency is estimated: a vCPU's runtime counts from the scheduler's run that
    switched to it, whose first record is the INFPREV of the vCPU before it. From that record to the vCPU's own
    INFPREV or INFCONT equal work lies between the clock that Xen read and the trace point, so it cancels. Up to Xen
    4.7 these records name the domain only, since 4.8 the vCPU as well.
    """
    classes, attributes, totals, sets = table.classes, table.attributes, tally.totals, tally.sets
    action_pos, samples = rows.action_pos, tally.samples
    pcpu = cursor[st.PCPU]
    prev_tsc, next_key, next_tsc = pcpus.prev_tsc[pcpu], pcpus.next_key[pcpu], pcpus.next_tsc[pcpu]
    if pcpus.epoch[pcpu] != cursor[st.EPOCH]:
        prev_tsc = next_key = st.UNKNOWN  # records that nobody can attribute were skipped, or another source began
    sample, sample_limit = cursor[st.SAMPLES], samples.shape[1]
    for k in range(count):
        i = (i64(action_pos[k]) >> 2) & st.NOT_NEGATIVE
        head = i64(words[i])
        slot = (i64(classes[(head >> 16) & 0xFFF]) << 16) | (head & 0xFFFF)
        action = i64(attributes[slot]) >> tb.ACTION_SHIFT
        length = (head >> 28) & 7
        first = i + 1 + 2 * (head >> 31)
        # Only of the scheduler's records and of LOST_RECORDS, which all carry one.
        tsc = i64(words[i + 1]) | (i64(words[i + 2]) & 0x7FFFFFFF) << 32
        if action == tb.ON_EXIT:
            totals[st.SVM_REASONS] += (i64(words[first]) & 0x7FFFFFFF) >= FIRST_SVM_REASON
        elif action == tb.ON_SET:
            sets[i64(words[first + 5]) & 0xFFFF] += 1
        elif action == tb.ON_INFNEXT:
            key = i64(words[first]) << 32 | (i64(words[first + 1]) if length > 3 else 0)
            next_key = key if prev_tsc != st.UNKNOWN else st.UNKNOWN
            next_tsc = prev_tsc
        elif action == tb.ON_INFPREV or action == tb.ON_INFCONT:
            key = i64(words[first]) << 32 | (i64(words[first + 1]) if length > 2 else 0)
            runtime, ticks = i64(words[first + (2 if length > 2 else 1)]), tsc - next_tsc
            if next_key == key and runtime >= SAMPLE_MIN_NS and 0 < ticks < SAMPLE_MAX_TICKS and sample < sample_limit:
                samples[0, sample] = ticks
                samples[1, sample] = runtime
                sample += 1
            if action == tb.ON_INFCONT:
                totals[st.INFCONT] += 1
            else:
                totals[st.INFPREV_LONG if length > 2 else st.INFPREV_SHORT] += 1
                prev_tsc, next_key = tsc, st.UNKNOWN
        elif action == tb.ON_INTR:
            totals[st.INTR_VECTORS if length else st.INTR_BARE] += 1
        elif action == tb.ON_NPF:
            totals[st.NPF_QUALIFIED] += words[first + 4] != 0
        elif action == tb.ON_DECREASE or action == tb.ON_SPLINTER:
            _note_order(totals, i64(words[first + 2]), i64(words[first + 3]))
        elif action == tb.ON_POD:
            _note_order(totals, i64(words[first + 4]), i64(words[first + 5]))
        elif action == tb.ON_SVM_EXIT:
            totals[st.SVM_EXIT_IDS] += 1
        elif action == tb.ON_LOST:
            _note_lost(words, first, cursor[st.BASE] + 4 * i, tsc, cursor, damages, totals)
            prev_tsc = next_key = st.UNKNOWN
    pcpus.prev_tsc[pcpu], pcpus.next_key[pcpu], pcpus.next_tsc[pcpu] = prev_tsc, next_key, next_tsc
    cursor[st.SAMPLES] = sample


@kernel
def _note_lost(
    words: Words, first: int, offset: int, tsc: int, cursor: Cursor, damages: Damages, totals: Totals
) -> None:
    """Enter a LOST_RECORDS whose payload starts at word ``first``."""
    lost = i64(words[first])
    since = i64(words[first + 2]) | (i64(words[first + 3]) & 0x7FFFFFFF) << 32
    append_damage(cursor, damages, offset, 0, cursor[st.PCPU], st.LOST, 0, lost, since, tsc)
    totals[st.LOST_COUNT] += lost


@kernel
def _note_order(totals: Totals, packed: int, separate: int) -> None:
    """Weigh a memory record for the layout of its order: above the domain id in one word, or, since 4.18, in its own.

    In the old layout the last word holds whatever was on the stack.
    """
    if packed >> 16 or separate > MAX_ORDER:
        totals[st.PACKED_ORDER] += 1
    elif separate > 0:
        totals[st.SEPARATE_ORDER] += 1
    else:
        totals[st.UNCLEAR_ORDER] += 1
