"""How large the entries are that Xen writes: one row for each, whatever the records say."""

from __future__ import annotations

from typing import get_args

import numpy as np

from eptreplay.errors import InputError
from eptreplay.p2m_types import INVALID
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft, take
from eptreplay.workload.old_state import LEVELS
from eptreplay.workload.paths.act import Era

PATHS: tuple[str, ...] = get_args(Era)
"""Releases whose paths replay can follow, the last one by default."""
REMOVALS_IN_PAGES = PATHS[0]
"""The release that removes page by page, whatever the order (before ``efa9596e9d``)."""
MOST_ROWS = 1 << 22
"""Rows that may come from writes of several entries: 16 GiB in pages."""


def cut_into_entries(rows: Draft, paths: str) -> Draft:
    """Return rows in which each SET is of one entry: 4 KiB, 2 MiB or 1 GiB, where its frame number is a multiple.

    Of a SET that is cut, the first row is the recorded one; the others are inferred. Raises InputError for writes of
    absurd sizes.
    """
    is_set = (rows["op"] == s.SET) & (rows["gfn"] != s.NO_GFN)
    order = np.where(is_set, np.maximum(rows["order"], 0), 0)
    size = np.array(LEVELS)[np.searchsorted(LEVELS, order, side="right") - 1]
    if paths == REMOVALS_IN_PAGES:
        size = np.where(rows["new_type"] == INVALID, 0, size)
    unit = np.uint64(1) << size.astype(np.uint64)
    rows = {**rows, "gfn": np.where(is_set, rows["gfn"] & ~(unit - np.uint64(1)), rows["gfn"])}
    pieces = np.left_shift(1, order - size)
    if (pieces == 1).all():
        return rows
    if pieces.sum() - pieces.size > MOST_ROWS:
        raise InputError(
            f"writes of {pieces.sum() - (pieces == 1).sum()} entries by {(pieces > 1).sum()} calls: expected at most"
            f" {MOST_ROWS} more than calls"
        )
    which = np.repeat(np.arange(pieces.size), pieces)
    ahead = (np.arange(which.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)).astype(np.uint64)
    cut = take(rows, which)
    cut["gfn"] = cut["gfn"] + ahead * unit[which]
    has_frame = cut["mfn"] != s.NO_GFN
    cut["mfn"] = np.where(has_frame, cut["mfn"] + ahead * unit[which], cut["mfn"])
    several = pieces[which] > 1
    cut["order"] = np.where(several, size[which], cut["order"]).astype(rows["order"].dtype)
    cut["origin"] = np.where(ahead > 0, np.int8(s.INFERRED), cut["origin"])
    return cut
