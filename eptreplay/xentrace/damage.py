"""Words for damage: what was expected where something else stood."""

from __future__ import annotations

from eptreplay.xentrace import state as st

REASONS = {
    st.LOST: ("lost", "Xen's trace buffer was full"),
    st.NO_WINDOW: ("no-window", "expected a CPU_CHANGE record (03 f0 01 20) to start a window"),
    st.BAD_WINDOW: ("bad-window", "expected a CPU_CHANGE with a pCPU below 16384"),
    st.BAD_RECORD: ("bad-record", "expected the header of a record of a known class with records behind it"),
    st.OVERRUN: ("overrun", "expected a record that ends within its window"),
    st.BAD_TSC: ("bad-tsc", "expected a TSC below 2^63"),
    st.WINDOW_SIZE: ("window-size", "expected the window's byte count to lead to the next CPU_CHANGE"),
    st.FILE_END: ("file-end", "expected more bytes: the file ends inside a window"),
    st.STREAM: ("stream", "expected more compressed data"),
}
"""By reason code of the decoder: the name in ``damage.parquet``, and what was expected at that byte."""

NAMES = [name for name, _ in REASONS.values()]


def describe(offset: int, reason: int, word: int) -> str:
    """Return one line for a damaged spot: byte offset, what was expected, what was found."""
    _, expected = REASONS[reason]
    if reason in (st.FILE_END, st.STREAM):
        return f"byte {offset}: {expected}"
    return f"byte {offset}: {expected}, found {word.to_bytes(4, 'little').hex(' ')}"
