"""One record of a xentrace file, and the bounds within which we believe it.

A record is a header word, a TSC of two words if the header says so, and up to seven payload words, all little endian:

======  ===================================================
bits    header word
======  ===================================================
0-27    event id: class (16-27), subclass (12-15), number (0-11)
28-30   number of payload words
31      a TSC follows
======  ===================================================

A file is a chain of windows. A window is a CPU_CHANGE record (pCPU, bytes) and that many bytes of records of the pCPU.
Source: Xen's public trace header; the window is made by ``xentrace`` itself.
"""

from __future__ import annotations

EVENT_MASK = 0x0FFFFFFF
WORDS_SHIFT = 28
TIMED_SHIFT = 31

WRAP_BUFFER = 0x1F002
CPU_CHANGE = 0x1F003
CPU_CHANGE_HEADER = 0x2001F003
"""CPU_CHANGE with its two payload words and no TSC: the only header that ``xentrace`` writes for it."""
WINDOW_HEADER_BYTES = 12

MAX_PCPUS = 16384
"""Xen's own upper limit for NR_CPUS (commit 77b219f915, 2024); a larger number in CPU_CHANGE is damage."""


def header(event: int, words: int, timed: bool) -> int:
    """Return the header word of a record with ``words`` payload words."""
    return event | words << WORDS_SHIFT | timed << TIMED_SHIFT
