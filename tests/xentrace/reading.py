"""What the reader makes of a file, said in the terms of the tolerant twin, so that the two can be compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np

from eptreplay.errors import InputError
from eptreplay.xentrace import state as st
from eptreplay.xentrace.damage import NAMES
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.reader import INPUT_BYTES, Batch, Reader
from eptreplay.xentrace.table import slot_events
from tests.oracles.tolerant_reader import Damage, Reading, Record, Window


def read_fast(path: Path, input_bytes: int = INPUT_BYTES, keep: int = KEEP_ALL) -> Reading:
    """Return what ``Reader`` finds in a file; a file without records gives a reading without records."""
    reader = Reader([path], keep=keep, digest=False, input_bytes=input_bytes)
    reading = Reading()
    try:
        for batch in reader:
            reading.records += _records(batch)
            reading.windows += _windows(batch)
            reading.damage += map(_damage, *(column.tolist() for column in batch.damages))
            reader.recycle(batch)
    except InputError:
        assert reader.records == 0
    totals = reader.tally.totals
    reading.decoded, reading.skipped = int(totals[st.DECODED]), int(totals[st.SKIPPED])
    reading.lost = int(totals[st.LOST_COUNT])
    reading.steps_back = int(totals[st.TSC_STEPS_BACK])
    reading.longest_step_back = int(totals[st.TSC_STEP_BACK_MAX])
    found = np.flatnonzero(reader.tally.events)
    events = slot_events()[found].tolist()
    reading.events = Counter(dict(zip(events, reader.tally.events[found].tolist(), strict=True)))
    domains = np.flatnonzero(reader.tally.sets)
    reading.sets = Counter(dict(zip(domains.tolist(), reader.tally.sets[domains].tolist(), strict=True)))
    return reading


def _records(batch: Batch) -> list[Record]:
    if batch.buffer is None:
        return []
    rows, words = batch.buffer.rows, batch.buffer.words
    records = []
    shifts = dict(zip(rows.shift_row[: batch.shifts].tolist(), rows.shift_base[: batch.shifts].tolist(), strict=True))
    base = batch.base
    for row in range(batch.count):
        base = shifts.get(row, base)
        pos, flags = int(rows.pos[row]), int(rows.flags[row])
        head = int(words[pos >> 2])
        first = (pos >> 2) + 1 + 2 * (head >> 31)
        records.append(
            Record(
                base + pos,
                int(rows.pcpu[row]),
                int(rows.tsc[row]) if flags & st.TSC_KNOWN else None,
                bool(head >> 31),
                head & 0x0FFFFFFF,
                int(rows.place[row]) if flags & st.PLACE_KNOWN else None,
                tuple(words[first : first + (head >> 28 & 7)].tolist()),
            )
        )
    return records


def _windows(batch: Batch) -> list[Window]:
    columns = st.Windows(*(column.tolist() for column in batch.windows))
    spans = zip(columns.first, columns.last, columns.low, columns.high, strict=True)
    before = zip(columns.tsc_in, columns.timed_in, columns.place_in, strict=True)
    counts = zip(columns.offset, columns.pcpu, columns.bytes, columns.records, columns.timed, strict=True)
    return [
        Window._make(
            (
                *count,
                *(span if count[-1] else (None,) * 4),
                tsc_in if timed_in else None,
                None if place_in == st.UNKNOWN else place_in,
            )
        )
        for count, span, (tsc_in, timed_in, place_in) in zip(counts, spans, before, strict=True)
    ]


def _damage(offset: int, size: int, pcpu: int, reason: int, word: int, *lost: int) -> Damage:
    return Damage(offset, size, pcpu, NAMES[reason], word, *lost)


def difference(ours: Reading, expected: Reading) -> str:
    """Return the first difference of two readings, in one line; nothing if they are equal."""
    for field in fields(Reading):
        ours_value, expected_value = getattr(ours, field.name), getattr(expected, field.name)
        if ours_value == expected_value:
            continue
        if not isinstance(ours_value, list):
            return f"{field.name}: {ours_value}, expected {expected_value}"
        same = next((i for i, (a, b) in enumerate(zip(ours_value, expected_value, strict=False)) if a != b), None)
        i = min(len(ours_value), len(expected_value)) if same is None else same
        return f"{field.name}[{i}]: {ours_value[i : i + 1]}, expected {expected_value[i : i + 1]}"
    return ""
