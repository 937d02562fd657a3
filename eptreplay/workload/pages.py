"""Pages that are freed and come back: which PAGE_FREE row the allocator's flush at a PAGE_ALLOC goes back to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import schema as s
from eptreplay.workload.draft import UNKNOWN, Draft


def last_frees(rows: Draft, when: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each PAGE_ALLOC the number of the last PAGE_FREE before it that freed one of its pages, else -1.

    ``when`` orders the rows of different pCPUs; of rows with the same, the lower number is earlier. A block of 2^order
    pages begins at a multiple of its size, as all do in Xen's allocator, and pages of an order that nobody knows are
    none. Of two such blocks that overlap one contains the other, so that they have the same number in units of the
    larger. There are few orders, so each is looked at by itself: time and memory do not depend on how many pages the
    blocks have.
    """
    freed_by = np.full(rows["op"].size, UNKNOWN, np.int64)
    op, order = rows["op"], rows["order"]
    at = np.flatnonzero(((op == s.PAGE_FREE) | (op == s.PAGE_ALLOC)) & (order >= 0))
    if not (op[at] == s.PAGE_FREE).any() or not (op[at] == s.PAGE_ALLOC).any():
        return freed_by
    at = at[np.lexsort((at, when[at]))]
    is_free, orders, mfn = op[at] == s.PAGE_FREE, order[at].astype(np.int64), rows["mfn"][at]
    # Positions in ``at`` are the order of time.
    last = np.full(at.size, UNKNOWN, np.int64)
    for unit in np.unique(orders).tolist():
        within, equal = orders <= unit, orders == unit
        for frees, allocs in ((within, equal), (equal, orders < unit)):
            chosen = np.flatnonzero((is_free & frees) | (~is_free & allocs))
            found = _last_free(mfn[chosen] >> np.uint64(unit), is_free[chosen])
            known = found >= 0
            last[chosen[known]] = np.maximum(last[chosen[known]], chosen[found[known]])
    allocated = ~is_free & (last >= 0)
    freed_by[at[allocated]] = at[last[allocated]]
    return freed_by


def _last_free(block: NDArray[np.uint64], is_free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each that is no free the position of the last free before it of the same block, else -1."""
    order = np.lexsort((np.arange(block.size), block))
    position = np.arange(block.size)
    latest = np.maximum.accumulate(np.where(is_free[order], position, UNKNOWN)) if block.size else position
    there = (latest >= 0) & ~is_free[order]
    there[there] = block[order][latest[there]] == block[order][there]
    found = np.full(block.size, UNKNOWN, np.int64)
    found[order[there]] = order[latest[there]]
    return found
