"""NPT recalculations as misconfigurations of EPT: which frame each was about, and which of them EPT would have had.

After log-dirty was cleaned NPT recalculates leaf by leaf, each at a fault of its own that records no frame. EPT
resolves 512 entries at one exit. A recording of an SVM host tells how many exits there would have been as far as it
tells the frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft
from eptreplay.workload.fold import Folding

REGION_ORDER = 9
"""One exit for EPT_MISCONFIG mends all entries of 2^9 pages."""


def recalculated_frames(folding: Folding) -> NDArray[np.uint64]:
    """Return for each letter the frame that a recalculation there was about, NO_GFN where nothing tells.

    The instruction runs again after the recalculation. If it was a write, it faults once more on the same page, now
    for log-dirty. So the frame is that of the next fault of that vCPU, provided that it is at the same instruction and
    made the page ordinary memory.
    """
    letters = folding.text.letters
    frames = np.full(letters.size, s.NO_GFN, np.uint64)
    exits = np.flatnonzero((letters | 0x20) == ord("x"))
    if exits.size < 2:
        return frames
    faults = folding.of_rules([x.cause == "logdirty_fault" for x in folding.rules])
    written = np.full(folding.matches.start.size, s.NO_GFN, np.uint64)
    writes = np.flatnonzero(folding.has("W") & faults)[::-1]
    written[folding.match[writes]] = folding.records.gfn[folding.row[writes]]
    stay = _stays(folding.records)[folding.text.at[exits]]
    now, following = exits[:-1], exits[1:]
    again = stay[:-1] == stay[1:]
    frames[now] = np.where(again, written[folding.match[following]], np.uint64(s.NO_GFN))
    return frames


def _stays(records: r.Records) -> NDArray[np.int64]:
    """Return a number for each VM exit: that of the one before it on the pCPU, if it is of the same instruction."""
    stay = np.full(records.what.size, -1, np.int64)
    exits = np.flatnonzero(records.what == r.VMEXIT)
    new = np.ones(exits.size, np.bool_)
    before, now = exits[:-1], exits[1:]
    moved = records.pcpu[before] != records.pcpu[now]
    for column in (records.dom, records.vcpu, records.w[1], records.w[2]):
        moved |= column[before] != column[now]
    new[1:] = moved
    stay[exits] = np.cumsum(new)
    return stay


def leave_to_npt(rows: Draft, when: NDArray[np.int64]) -> None:
    """Give count 0 to those recalculations that EPT would not have had: their 2 MiB were mended since the last change.

    ``when`` orders the rows of different pCPUs.
    """
    mended = np.flatnonzero((rows["op"] == s.MISCONFIG) & (rows["gfn"] != s.NO_GFN))
    changes = np.flatnonzero((rows["op"] == s.GLOBAL_CHANGE) & (rows["last_gfn"] == s.NO_GFN))
    for dom in np.unique(rows["p2m_dom"][mended]).tolist():
        own = mended[rows["p2m_dom"][mended] == dom]
        epochs = np.sort(when[changes[rows["p2m_dom"][changes] == dom]])
        epoch = np.searchsorted(epochs, when[own], side="right")
        region = rows["gfn"][own] >> np.uint64(REGION_ORDER)
        order = np.lexsort((own, when[own], region, epoch))
        own, epoch, region = own[order], epoch[order], region[order]
        again = np.zeros(own.size, np.bool_)
        again[1:] = (epoch[1:] == epoch[:-1]) & (region[1:] == region[:-1])
        rows["count"][own[again]] = 0
