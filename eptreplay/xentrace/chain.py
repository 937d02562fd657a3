"""Does a position look like the start of a record, of a chain of records, of a window? Kernels without side effects.

Every question looks at most ``LOOKAHEAD`` bytes ahead, so that the answer never depends on how the input was cut into
buffers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import i64, kernel
from eptreplay.xentrace.record import CPU_CHANGE_HEADER, MAX_PCPUS, WINDOW_HEADER_BYTES
from eptreplay.xentrace.table import CLASS_COUNT, Table, slot_of

LOOKAHEAD = 1024
CHAIN_RECORDS = 6
"""So many legal records of known events in a row are no accident; one may be, as payload words are not random."""
ACCEPT_RECORDS = 4
"""So many records of any known class behind a record of an unknown event or length, and it is accepted as it is."""

NO_CHAIN, STRUCTURE, STRUCTURE_AND_TIME = range(3)

Words = NDArray[np.uint32]


@kernel
def load(words: Words, pos: int) -> int:
    """Return the 32-bit word at any byte position, aligned or not."""
    i, shift = pos >> 2, (pos & 3) * 8
    if shift == 0:
        return i64(words[i])
    return ((i64(words[i]) >> shift) | (i64(words[i + 1]) << (32 - shift))) & 0xFFFFFFFF


@kernel
def record_bytes(head: int) -> int:
    """Return the length of the record that starts with this header word."""
    return 4 + 4 * ((head >> 28) & 7) + 8 * ((head >> 31) & 1)


@kernel
def is_window_start(words: Words, avail: int, pos: int) -> bool:
    """Tell whether a CPU_CHANGE record with a possible pCPU stands at ``pos``, be its byte count right or wrong."""
    if pos + WINDOW_HEADER_BYTES > avail or load(words, pos) != CPU_CHANGE_HEADER:
        return False
    return load(words, pos + 4) < MAX_PCPUS


@kernel
def is_window_header(words: Words, avail: int, pos: int) -> bool:
    """Tell whether a CPU_CHANGE record with a possible pCPU and a possible byte count stands at ``pos``."""
    return is_window_start(words, avail, pos) and load(words, pos + 8) & 3 == 0


@kernel
def is_known(words: Words, avail: int, pos: int, table: Table) -> bool:
    """Tell whether a whole record of a known event with a legal shape and a believable TSC stands at ``pos``."""
    if pos + 4 > avail:
        return False
    head = load(words, pos)
    if pos + record_bytes(head) > avail:
        return False
    if (i64(table.attributes[slot_of(table.classes, head)]) >> (head >> 28)) & 1 == 0:
        return False
    return head >> 31 == 0 or load(words, pos + 8) >> 31 == 0


@kernel
def names_class(head: int, table: Table) -> bool:
    """Tell whether a header word's event is of one of Xen's classes and of a subclass."""
    return table.classes[(head >> 16) & 0xFFF] < CLASS_COUNT and (head >> 12) & 0xF != 0


@kernel
def has_known_class(words: Words, avail: int, pos: int, table: Table) -> bool:
    """Tell whether a whole record of a known class and a subclass stands at ``pos``: any Xen could have written it."""
    if pos + 4 > avail:
        return False
    head = load(words, pos)
    if pos + record_bytes(head) > avail or head == CPU_CHANGE_HEADER:
        return False
    if head >> 31 and load(words, pos + 8) >> 31:
        return False
    return names_class(head, table)


@kernel
def known_chain(words: Words, avail: int, pos: int, end: int, table: Table, tsc: int) -> int:
    """Tell whether known records follow each other from ``pos``: CHAIN_RECORDS of them, or fewer up to the end exactly.

    The end is ``end``, the end of the input, or a CPU_CHANGE. Returns STRUCTURE_AND_TIME if also no TSC among them is
    lower than the one before it, or than ``tsc`` for the first.
    """
    in_time = True
    for count in range(CHAIN_RECORDS):
        if count > 0 and (pos == end or pos == avail or is_window_header(words, avail, pos)):
            break
        if not is_known(words, avail, pos, table):
            return NO_CHAIN
        head = load(words, pos)
        if head == CPU_CHANGE_HEADER or pos + record_bytes(head) > end:
            return NO_CHAIN
        if head >> 31:
            time = load(words, pos + 4) | load(words, pos + 8) << 32
            in_time = in_time and time >= tsc
            tsc = time
        pos += record_bytes(head)
    return STRUCTURE_AND_TIME if in_time else STRUCTURE


@kernel
def goes_on(words: Words, avail: int, pos: int, end: int, table: Table) -> bool:
    """Tell whether ``pos`` is the end of the window, or ACCEPT_RECORDS of known classes follow, or fewer up to it."""
    for _ in range(ACCEPT_RECORDS):
        if pos == end or pos == avail or is_window_header(words, avail, pos):
            return True
        if not has_known_class(words, avail, pos, table):
            return False
        pos += record_bytes(load(words, pos))
        if pos > end:
            return False
    return True


@kernel
def starts_window(words: Words, avail: int, pos: int, table: Table) -> bool:
    """Tell whether a CPU_CHANGE at ``pos`` is followed by what its byte count promises: records, or the next window."""
    if not is_window_header(words, avail, pos):
        return False
    first = pos + WINDOW_HEADER_BYTES
    end = first + load(words, pos + 8)
    if end == first:
        return first == avail or is_window_header(words, avail, first)
    return known_chain(words, avail, first, end, table, 0) != NO_CHAIN
