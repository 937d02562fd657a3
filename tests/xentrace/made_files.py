"""Xentrace files that nobody recorded: put together from any events of the catalogue, and from some that it lacks."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import strategies as st

from eptreplay.xentrace.catalogue import CLASSES, EVENTS

CPU_CHANGE, LOST_RECORDS, WRAP_BUFFER = 0x1F003, 0x1F001, 0x1F002
MAX_PCPUS = 16384

SHAPES = [
    (event.id, words, timed)
    for event in EVENTS
    if event.id != CPU_CHANGE
    for words in sorted(event.word_counts)
    for timed in (False, True)
    if event.timed in (None, timed)
]
"""Event, number of payload words, and whether there is a TSC: every record that some Xen writes."""

RUNSTATES = [shape for shape in SHAPES if shape[0] & ~0xFF0 == 0x21001]
SPECIAL = [(LOST_RECORDS, 4, True), (WRAP_BUFFER, 5, False), (0x10F004, 6, False), (0x21002, 1, True)]


def record(event: int, words: Sequence[int] = (), tsc: int | None = None) -> bytes:
    """Return the bytes of a record."""
    header = event | len(words) << 28 | (tsc is not None) << 31
    time = b"" if tsc is None else struct.pack("<Q", tsc)
    return struct.pack("<I", header) + time + struct.pack(f"<{len(words)}I", *words)


def window(pcpu: int, records: bytes, size: int | None = None) -> bytes:
    """Return a window around ``records``, with their true size in front or with another one."""
    return record(CPU_CHANGE, [pcpu, len(records) if size is None else size]) + records


def _unknown_shape() -> st.SearchStrategy[tuple[int, int, bool]]:
    """Return events that only a Xen which we do not know writes: known classes, any subclass, number and length."""
    return st.tuples(
        st.builds(
            lambda bits, subclass, number: bits << 16 | subclass << 12 | number,
            st.sampled_from(sorted(CLASSES.values())),
            st.integers(1, 15),
            st.integers(0, 0xFFF),
        ),
        st.integers(0, 7),
        st.booleans(),
    ).filter(lambda shape: shape[0] != CPU_CHANGE)


# Numbers as small as real ones, any numbers, and numbers that look like headers.
_WORDS = st.one_of(
    st.integers(0, 300),
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([0x2001F003, 0x90021101, 0x6010F004, 0x80081001, 0x8200B, 0x7FFF0003, 0xFFFFFFFF]),
)
_SHAPES = st.one_of(
    st.sampled_from(SHAPES), st.sampled_from(RUNSTATES), st.sampled_from(SPECIAL), st.sampled_from(SHAPES)
)
_STEPS = st.one_of(st.integers(0, 5000), st.sampled_from([0, 0, 1 << 31, -1, -7000, 1 << 40]))
_PCPUS = st.one_of(st.integers(0, 2), st.sampled_from([255, 256, 300, 4095, MAX_PCPUS - 1]))


@st.composite
def _records(draw: st.DrawFn, shapes: st.SearchStrategy[tuple[int, int, bool]], tsc: int) -> tuple[bytes, int]:
    """Return the records of a window, and the last TSC in it."""
    parts = []
    for event, count, timed in draw(st.lists(shapes, max_size=14)):
        words = draw(st.lists(_WORDS, min_size=count, max_size=count))
        if timed:
            tsc = max(0, tsc + draw(_STEPS))
        parts.append(record(event, words, tsc if timed else None))
    return b"".join(parts), tsc


@st.composite
def files(draw: st.DrawFn, *, unknown: bool = True) -> bytes:
    """Return the bytes of a file that is as xentrace would write it, ``unknown`` events of known classes included."""
    shapes = st.one_of(_SHAPES, _SHAPES, _SHAPES, _unknown_shape()) if unknown else _SHAPES
    start = draw(st.sampled_from([0, 10**9, (1 << 62) - 1]))
    parts = []
    tscs: dict[int, int] = {}
    for pcpu in draw(st.lists(_PCPUS, min_size=1, max_size=7)):
        records, tscs[pcpu] = draw(_records(shapes, tscs.get(pcpu, start)))
        parts.append(window(pcpu, records))
    return b"".join(parts)
