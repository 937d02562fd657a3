"""Records behind damage may stand at any byte; kernels that move bytes so that they start at words again.

Only a piece of the buffer is moved at once, and the rest follows piece by piece as the decoder gets there. So the costs
stay in proportion to the file however often this happens.
"""

from __future__ import annotations

import numpy as np

from eptreplay.jit import kernel
from eptreplay.xentrace import state as st
from eptreplay.xentrace.chain import Words
from eptreplay.xentrace.skip import Cursor
from eptreplay.xentrace.state import Rows

PIECE_BYTES = 1 << 12


@kernel
def put_in_step(words: Words, cursor: Cursor, rows: Rows) -> None:
    """Move the bytes from POS on to the start of its word. What they overwrite has been skipped."""
    pos, avail = cursor[st.POS], cursor[st.AVAIL]
    if cursor[st.LAG] == 0:
        cursor[st.FAR] = avail
        avail = min(avail, pos + PIECE_BYTES)
    step = pos & 3
    _move(words, pos, pos - step, avail - pos)
    cursor[st.POS] = pos - step
    cursor[st.BASE] += step
    cursor[st.LAG] += step
    _end_piece(cursor, avail - step)
    rows.shift_row[cursor[st.SHIFTS]] = cursor[st.ROWS]
    rows.shift_base[cursor[st.SHIFTS]] = cursor[st.BASE]
    cursor[st.SHIFTS] += 1


@kernel
def catch_up(words: Words, cursor: Cursor) -> None:
    """Bring the next piece up to AVAIL."""
    avail = cursor[st.AVAIL]
    count = min(PIECE_BYTES, cursor[st.FAR] - avail - cursor[st.LAG])
    _move(words, avail + cursor[st.LAG], avail, count)
    _end_piece(cursor, avail + count)


@kernel
def _end_piece(cursor: Cursor, avail: int) -> None:
    cursor[st.AVAIL] = avail
    if avail + cursor[st.LAG] == cursor[st.FAR]:
        cursor[st.LAG] = 0


@kernel
def _move(words: Words, source: int, target: int, count: int) -> None:
    octets = words.view(np.uint8)
    for k in range(count):
        octets[target + k] = octets[source + k]
