"""NPT recalculations as misconfigurations of EPT: which frame each was about, and which of them EPT would have had.

After log-dirty was cleaned NPT recalculates leaf by leaf, each at a fault of its own that records no frame. EPT
resolves 512 entries at one exit. A recording of an SVM host tells how many exits there would have been as far as it
tells the frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.workload import records as r
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft
from eptreplay.workload.fold import Folding

LOGDIRTY_FAULT = CAUSES.index("logdirty_fault")

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


def sort_out(rows: Draft, when: NDArray[np.int64]) -> None:
    """Tell the recalculations that EPT would have had as exits from those that only NPT has, which get count 0.

    EPT has one exit for each 2 MiB that the guest touches after a change. The first that is known of it is a
    recalculation, or a log-dirty fault: then an earlier recalculation whose frame is unknown must have been that exit,
    and the latest one of the pCPU, or else of any, is taken for it. ``when`` orders the rows of different pCPUs.
    """
    mended, faults = _of_frames(rows, rows["op"] == s.MISCONFIG), _of_frames(rows, _are_logdirty_faults(rows))
    changes = np.flatnonzero((rows["op"] == s.GLOBAL_CHANGE) & (rows["last_gfn"] == s.NO_GFN))
    unknown = np.flatnonzero((rows["op"] == s.MISCONFIG) & (rows["old_known"] == s.ASSUMED))
    for dom in np.unique(rows["p2m_dom"][np.concatenate([mended, unknown])]).tolist():
        own, hit, doubtful, since = (at[rows["p2m_dom"][at] == dom] for at in (mended, faults, unknown, changes))
        known = np.concatenate([own, hit])
        epochs = np.sort(when[since])
        epoch = np.searchsorted(epochs, when[known], side="right")
        region = rows["gfn"][known] >> np.uint64(REGION_ORDER)
        order = np.lexsort((known, when[known], region, epoch))
        known, epoch, region = known[order], epoch[order], region[order]
        first = np.ones(known.size, np.bool_)
        first[1:] = (epoch[1:] != epoch[:-1]) | (region[1:] != region[:-1])
        is_exit = rows["op"][known] == s.MISCONFIG
        rows["count"][known[~first & is_exit]] = 0
        lacking = known[first & ~is_exit]
        epoch_of = np.searchsorted(epochs, when[doubtful], side="right")
        for exit_, fault in _exits_before(rows, when, epochs, lacking, doubtful, epoch_of):
            rows["gfn"][exit_], rows["old_known"][exit_] = rows["gfn"][fault], s.BY_CAUSE


def _of_frames(rows: Draft, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.flatnonzero(chosen & (rows["gfn"] != s.NO_GFN))


def _are_logdirty_faults(rows: Draft) -> NDArray[np.bool_]:
    chosen: NDArray[np.bool_] = (rows["op"] == s.SET) & (rows["cause"] == LOGDIRTY_FAULT)
    return chosen


def _exits_before(
    rows: Draft, when: NDArray[np.int64], epochs: NDArray[np.int64], faults: NDArray[np.int64],
    doubtful: NDArray[np.int64], epoch_of: NDArray[np.int64],
) -> list[tuple[int, int]]:  # fmt: skip
    """Return pairs of a recalculation and the fault that it must have preceded, each of both at most once."""
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for whose in (rows["pcpu"], np.zeros_like(rows["pcpu"])):
        stacks: dict[tuple[int, int], list[int]] = {}
        done = {fault for _, fault in pairs}
        events = [(int(when[at]), int(at), int(epoch)) for at, epoch in zip(doubtful, epoch_of, strict=True)]
        events += [(int(when[at]), int(at), -1) for at in faults]
        for time, at, epoch in sorted(events):
            if epoch >= 0:
                if at not in taken:
                    stacks.setdefault((int(whose[at]), epoch), []).append(at)
            elif at not in done:
                now = int(np.searchsorted(epochs, time, side="right"))
                if stack := stacks.get((int(whose[at]), now)):
                    pairs.append((stack.pop(), at))
                    taken.add(pairs[-1][0])
    return pairs
