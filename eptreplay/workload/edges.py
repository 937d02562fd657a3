"""What replay must keep when times shift: which row has to wait for which.

Every edge leads from a row to one that was recorded later, so that replay can always go on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft
from eptreplay.workload.old_state import LEVELS


class Edges(NamedTuple):
    """``target`` waits for ``source``; row numbers."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]


def find_edges(rows: Draft, t_ns: NDArray[np.int64], woken: Edges) -> Edges:
    """Return all edges between rows of different pCPUs, at most one for each target and source pCPU.

    ``woken``: for each wake-up the row of the waking pCPU that it happened with or after, and the SWITCH_IN of the
    vCPU. Where that ends an idle time, it is the WAKE before it that waits.
    """
    others = (_switches(rows, t_ns), _writes(rows, t_ns), _pauses(rows, t_ns), woken)
    source = np.concatenate([edges.source for edges in others])
    target = np.concatenate([edges.target for edges in others])
    after_idle = np.zeros(t_ns.size, np.bool_)
    after_idle[1:] = (rows["op"][:-1] == s.WAKE) & (rows["pcpu"][:-1] == rows["pcpu"][1:])
    wakes = np.arange(target.size) >= target.size - woken.target.size
    target = np.where(wakes & after_idle[target], target - 1, target)
    pcpu = rows["pcpu"]
    keep = pcpu[source] != pcpu[target]
    # Program order: time, then the number of the row. A hold that is recorded around the target would be kept waiting.
    keep &= (t_ns[source] < t_ns[target]) | ((t_ns[source] == t_ns[target]) & (source < target))
    keep &= rows["depth"][target] == 0
    source, target = source[keep], target[keep]
    last = np.lexsort((source, pcpu[source], target))
    source, target = source[last], target[last]
    newest = np.append((np.diff(target) != 0) | (np.diff(pcpu[source].astype(np.int64)) != 0), True)[: source.size]
    return Edges(source[newest], target[newest])


def _switches(rows: Draft, t_ns: NDArray[np.int64]) -> Edges:
    """Return edges between switches: a vCPU has to leave a pCPU before it can run on another."""
    at = np.flatnonzero((rows["op"] == s.SWITCH_IN) | (rows["op"] == s.SWITCH_OUT))
    order = at[np.lexsort((at, t_ns[at], rows["run_vcpu"][at], rows["run_dom"][at]))]
    before, now = order[:-1], order[1:]
    same = (rows["run_dom"][before] == rows["run_dom"][now]) & (rows["run_vcpu"][before] == rows["run_vcpu"][now])
    moves = same & (rows["op"][before] == s.SWITCH_OUT) & (rows["op"][now] == s.SWITCH_IN)
    return Edges(before[moves], now[moves])


def _writes(rows: Draft, t_ns: NDArray[np.int64]) -> Edges:
    """Return edges between holds that write one entry: the later begins after the earlier has ended."""
    at = np.flatnonzero((rows["op"] == s.SET) & (rows["gfn"] != s.NO_GFN))
    hold = rows["outer"][at]
    begins, ends = rows["outer_begin"][at], rows["outer_end"][at]
    key = _entry_keys(rows, at)
    order = np.lexsort((begins, t_ns[begins], key[1], key[0], rows["p2m_view"][at], rows["p2m_dom"][at]))
    before, now = order[:-1], order[1:]
    same = hold[before] != hold[now]
    for column in (*key, rows["p2m_view"][at], rows["p2m_dom"][at]):
        same &= column[before] == column[now]
    return Edges(ends[before[same]], begins[now[same]])


def _pauses(rows: Draft, t_ns: NDArray[np.int64]) -> Edges:
    """Return edges to pauses: whatever vCPUs of the domain did before is done, as the pause waited for them."""
    pauses = np.flatnonzero((rows["op"] == s.PAUSE) & (rows["depth"] == 0))
    source, target = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for dom in np.unique(rows["run_dom"][pauses]).tolist():
        own = pauses[rows["run_dom"][pauses] == dom]
        runs = np.flatnonzero(rows["run_dom"] == dom)
        for block in np.split(runs, np.flatnonzero(np.diff(rows["pcpu"][runs].astype(np.int64))) + 1):
            last = np.searchsorted(t_ns[block], t_ns[own]) - 1
            # What the pause before on that pCPU has waited for is done.
            waits = last >= 0
            waits[1:] &= (last[1:] != last[:-1]) | (rows["pcpu"][own][1:] != rows["pcpu"][own][:-1])
            source.append(block[last[waits]])
            target.append(own[waits])
    return Edges(np.concatenate(source), np.concatenate(target))


def _entry_keys(rows: Draft, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return level and frame for each write such that entries that overlap have the same."""
    gfn = rows["gfn"][at]
    written = np.searchsorted(LEVELS, rows["order"][at], side="right") - 1
    level = np.zeros(at.size, np.int64)
    for number in range(len(LEVELS) - 1, 0, -1):
        shift = np.uint64(LEVELS[number])
        large = np.unique(gfn[written >= number] >> shift)
        level[(level == 0) & np.isin(gfn >> shift, large)] = number
    return level, gfn >> np.array(LEVELS, np.uint64)[level]
