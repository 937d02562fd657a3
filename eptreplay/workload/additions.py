"""Rows that no record stands for, inserted once it is known when everything was and what entries held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.p2m_types import INVALID, POPULATE_ON_DEMAND, RAM_LOGDIRTY
from eptreplay.workload import records as r
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.cleans import Unseen, find_unseen
from eptreplay.workload.draft import UNKNOWN, Draft, inferred_rows, insert, p2m_keys, take

DECREASE = rule.CAUSE_NUMBERS["decrease"]
LOGDIRTY_GLOBAL = rule.CAUSE_NUMBERS["logdirty_global"]
CHANGE = (s.HOLD_BEGIN, s.GLOBAL_CHANGE, s.HOLD_END)
"""What a change of a whole p2m is."""


def with_additions(
    records: r.Records, rows: Draft, t_ns: NDArray[np.int64], *, has_times: bool
) -> tuple[Draft, NDArray[np.int64]]:
    """Insert log-dirty operations that faults or the toolstack's records imply, and sync points of ballooning.

    Without times (``has_times``) nobody knows between which faults the former were.
    """
    unknown = np.full(rows["op"].size, UNKNOWN, np.int64)
    rows = {**rows, "not_before_ns": unknown, "not_after_ns": unknown.copy()}
    when = t_ns if has_times else records.rank[rows["at"]]
    parts = [_stolen(rows, t_ns, when), _recorded_cleans(rows, t_ns)]
    if has_times:
        parts.append(_unseen(rows, t_ns))
    place, new, new_t = (np.concatenate([part[0] for part in parts]), _joined([part[1] for part in parts]),
                         np.concatenate([part[2] for part in parts]))  # fmt: skip
    if not place.size:
        return rows, t_ns
    # Behind the last row of a pCPU is the same place as before the first row of the next one.
    order = np.lexsort((np.arange(place.size), new_t, new["pcpu"], place))
    new = take(new, order)
    begins = new["op"] == s.HOLD_BEGIN
    number = _first_free_hold(rows) - 1 + np.cumsum(begins)
    new["hold"] = np.where(new["hold"] == _NEW_HOLD, number, new["hold"])
    return insert(rows, t_ns, place[order], new, new_t[order])


def _first_free_hold(rows: Draft) -> int:
    """Return the first number behind those of all holds, and of what the last one may be cut into."""
    last = int(rows["hold"].max(initial=-1))
    writes = (rows["op"] == s.SET) & (rows["hold"] == last)
    return last + max(1, int(rows["count"][writes].sum()))


_NEW_HOLD = -2
Part = tuple[NDArray[np.int64], Draft, NDArray[np.int64]]
"""Before which rows something is inserted; what; and when it is, in ns."""


def _joined(parts: list[Draft]) -> Draft:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _stolen(rows: Draft, t_ns: NDArray[np.int64], when: NDArray[np.int64]) -> Part:
    """Return sync points of ballooning: memory that goes to the cache of populate-on-demand, not to the allocator.

    ``p2m_pod_decrease_reservation()`` keeps what the guest gives back while more entries wait for a page than pages are
    in the cache. That is so until the guest has ballooned down to what it was given; only the entries are recorded.
    Where a patched Xen says what goes to the cache, nothing is to be inferred.
    """
    sets = np.flatnonzero((rows["op"] == s.SET) & (rows["gfn"] != s.NO_GFN))
    sets = sets[np.lexsort((sets, when[sets], p2m_keys(rows, sets)))]
    p2m = p2m_keys(rows, sets)
    old, new = rows["old_type"][sets], rows["new_type"][sets]
    pages = np.left_shift(1, np.maximum(rows["order"][sets], 0)).astype(np.int64)
    change = np.where(new == POPULATE_ON_DEMAND, pages, 0) - np.where(old == POPULATE_ON_DEMAND, pages, 0)
    waiting = np.cumsum(change) - change
    first = np.flatnonzero(np.diff(p2m, prepend=p2m[:1] - 1))
    # Entries that got a page were there before, whether their making was recorded or not: the lowest number is none.
    lowest = np.minimum.reduceat(np.minimum(waiting, waiting + change), first) if first.size else waiting
    waiting -= np.repeat(lowest, np.diff(np.append(first, p2m.size)))
    taken = (rows["cause"][sets] == DECREASE) & (new == INVALID) & (rows["old_present"][sets] != 0) & (waiting > 0)
    told = rows["p2m_dom"][(rows["op"] == s.POD_RECLAIM) & (rows["origin"] == s.FROM_RECORD)]
    taken &= ~np.isin(rows["p2m_dom"][sets], told)
    at = np.sort(sets[taken])
    points = inferred_rows(rows, at.size)
    for name in _OF_THE_WRITE:
        points[name] = rows[name][at].copy()
    points["op"][:] = s.POD_RECLAIM
    return at + 1, points, t_ns[at]


_OF_THE_WRITE = (
    "at", "slot", "pcpu", "run_dom", "run_vcpu", "p2m_dom", "p2m_view", "hold", "gfn", "order", "cause", "time_origin",
    "depth", "outer", "outer_begin", "outer_end",
)  # fmt: skip


def _changes(rows: Draft, size: int) -> Draft:
    """Return the rows of changes of whole p2ms to log-dirty, three for each; whose, where and when is left open."""
    new = inferred_rows(rows, size * len(CHANGE))
    new["op"][:] = np.tile(np.array(CHANGE, np.uint8), size)
    new["hold"][:] = _NEW_HOLD
    new["depth"][:] = np.tile((0, 1, 0), size)
    new["cause"][:], new["p2m_view"][:] = LOGDIRTY_GLOBAL, s.HOST_VIEW
    new["new_type"][new["op"] == s.GLOBAL_CHANGE] = RAM_LOGDIRTY
    return new


def _recorded_cleans(rows: Draft, t_ns: NDArray[np.int64]) -> Part:
    """Return what LOGDIRTY_CLEAN does to the tables of domains whose changes were not recorded themselves."""
    cleans = np.flatnonzero((rows["op"] == s.LOGDIRTY_CLEAN) & (rows["depth"] == 0))
    told = np.unique(rows["p2m_dom"][rows["op"] == s.GLOBAL_CHANGE])
    cleans = cleans[~np.isin(rows["p2m_dom"][cleans], told)]
    new = _changes(rows, cleans.size)
    each = np.repeat(cleans, len(CHANGE))
    for name in ("at", "pcpu", "run_dom", "run_vcpu", "p2m_dom", "time_origin"):
        new[name] = rows[name][each].copy()
    return each + 1, new, t_ns[each]


def _unseen(rows: Draft, t_ns: NDArray[np.int64]) -> Part:
    """Return the log-dirty operations that faults imply, where their pCPU is between holds."""
    told = np.unique(rows["p2m_dom"][np.isin(rows["op"], (s.GLOBAL_CHANGE, s.LOGDIRTY_CLEAN))])
    unseen = find_unseen(rows, t_ns)
    unseen = Unseen(*(column[~np.isin(unseen.p2m_dom, told)] for column in unseen))
    size = t_ns.size
    pcpu = rows["pcpu"].astype(np.int64)
    begin, end = np.searchsorted(pcpu, unseen.pcpu), np.searchsorted(pcpu, unseen.pcpu, side="right")
    place = np.array(
        [b + np.searchsorted(t_ns[b:e], t) for b, e, t in zip(begin, end, unseen.t_ns, strict=True)], np.int64
    )
    # A pCPU that is in its guest then has to leave it first.
    here = np.minimum(place, size - 1)
    exits = (place < end) & (rows["op"][here] == s.VMEXIT) & (t_ns[here] <= unseen.not_after_ns)
    when = np.where(exits, t_ns[here], unseen.t_ns)
    place = place + exits
    here = np.minimum(place, size - 1)
    within = (place < end) & ((rows["depth"][here] > 0) | (rows["op"][here] == s.HOLD_END))
    place = np.where(within, rows["outer_begin"][here], place)
    when = np.where(place < end, np.minimum(when, t_ns[np.minimum(place, size - 1)]), when)
    # A clean is announced by a row of its own; switching log-dirty on is no more than the change.
    lengths = np.where(unseen.op == s.LOGDIRTY_CLEAN, len(CHANGE) + 1, len(CHANGE))
    each = np.repeat(np.arange(lengths.size), lengths)
    step = len(CHANGE) - (np.repeat(np.cumsum(lengths), lengths) - np.arange(each.size))
    new = take(_changes(rows, 1), np.maximum(step, 0))
    announces = step < 0
    new["op"][announces], new["hold"][announces], new["new_type"][announces] = s.LOGDIRTY_CLEAN, UNKNOWN, UNKNOWN
    for name in ("p2m_dom", "pcpu", "not_before_ns", "not_after_ns"):
        new[name][:] = getattr(unseen, name)[each]
    new["time_origin"][:] = s.INTERPOLATED
    _place_between(rows, new, place[each], begin[each], size)
    return place[each], new, when[each]


def _place_between(rows: Draft, new: Draft, place: NDArray[np.int64], begin: NDArray[Any], size: int) -> None:
    """Enter who ran, and the record that new rows belong to: those of the row before, on that pCPU."""
    follows = place > begin
    for name in ("run_dom", "run_vcpu", "at"):
        new[name][:] = np.where(follows, rows[name][np.maximum(place - 1, 0)], UNKNOWN)
    # Where nothing was recorded on the pCPU before, they belong to the record behind them.
    new["at"][~follows] = rows["at"][np.minimum(place[~follows], size - 1)]
