"""Log-dirty operations that no record shows, inferred from the faults that they cause."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay import p2m_types as t
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft

CONTROL_DOMAIN = 0
LOGDIRTY_FAULT = rule.CAUSE_NUMBERS["logdirty_fault"]


class Unseen(NamedTuple):
    """Operations that must have happened: what, on whose p2m, on which pCPU, when, and between which times."""

    op: NDArray[np.int64]
    p2m_dom: NDArray[np.int64]
    pcpu: NDArray[np.int64]
    t_ns: NDArray[np.int64]
    not_before_ns: NDArray[np.int64]
    not_after_ns: NDArray[np.int64]


def find_unseen(rows: Draft, t_ns: NDArray[np.int64]) -> Unseen:
    """Return the log-dirty operations that the faults of each p2m imply: as few as can explain them.

    Tracking was switched on before the first fault. Between two faults on one page the page was cleaned, and before the
    recalculation that came ahead of the second one. Such an operation is carried out where the control domain last ran
    within its time, else where the fault was.
    """
    fault = np.flatnonzero((rows["op"] == s.SET) & (rows["cause"] == LOGDIRTY_FAULT) & (rows["new_type"] == t.RAM_RW))
    found: list[tuple[int, int, int, int, int, int]] = []
    runs = _runs_of_control_domain(rows, t_ns)
    since = _since_recalculation(rows, t_ns, fault)
    for dom in np.unique(rows["p2m_dom"][fault]).tolist():
        own = np.flatnonzero(rows["p2m_dom"][fault] == dom)
        own = own[np.lexsort((own, t_ns[fault[own]]))]
        begun, own = since[own], fault[own]
        times = t_ns[own]
        if begun[0] > 0:
            found.append((s.GLOBAL_CHANGE, dom, *_place(runs, 0, int(begun[0]), int(rows["pcpu"][own[0]]))))
        by_page = np.lexsort((times, rows["gfn"][own]))
        again = rows["gfn"][own][by_page][1:] == rows["gfn"][own][by_page][:-1]
        left, right = times[by_page[:-1][again]], begun[by_page[1:][again]]
        where = rows["pcpu"][own][by_page[1:][again]]
        for low, high, pcpu in _stab(left, right, where):
            found.append((s.LOGDIRTY_CLEAN, dom, *_place(runs, low, high, pcpu)))
    return Unseen(*np.array(found, np.int64).reshape(-1, 6).T)


def _since_recalculation(rows: Draft, t_ns: NDArray[np.int64], fault: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each fault when its page was recalculated, if it is known that it was; else its own time."""
    since = t_ns[fault]
    mended = np.flatnonzero((rows["op"] == s.MISCONFIG) & (rows["gfn"] != s.NO_GFN))
    following = np.searchsorted(fault, mended)
    mended, following = mended[following < fault.size], following[following < fault.size]
    same = rows["gfn"][mended] == rows["gfn"][fault[following]]
    for column in ("pcpu", "p2m_dom"):
        same &= rows[column][mended] == rows[column][fault[following]]
    np.minimum.at(since, following[same], t_ns[mended[same]])
    return since


def _stab(left: NDArray[np.int64], right: NDArray[np.int64], pcpu: NDArray[np.uint16]) -> list[tuple[int, int, int]]:
    """Return the fewest intervals such that each given one contains one of them; with the pCPU where it ends."""
    order = np.lexsort((left, right))
    chosen: list[tuple[int, int, int]] = []
    last = -1
    for low, high, where in zip(left[order].tolist(), right[order].tolist(), pcpu[order].tolist(), strict=True):
        if low >= last or not chosen:
            chosen.append((low, high, where))
            last = high
        elif low > chosen[-1][0]:
            chosen[-1] = (low, chosen[-1][1], chosen[-1][2])
    return chosen


class _Runs(NamedTuple):
    """Times during which the control domain ran, by their start."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    pcpu: NDArray[np.int64]


def _runs_of_control_domain(rows: Draft, t_ns: NDArray[np.int64]) -> _Runs:
    at = np.flatnonzero(np.isin(rows["op"], (s.SWITCH_IN, s.SWITCH_OUT)) & (rows["run_dom"] == CONTROL_DOMAIN))
    before, now = at[:-1], at[1:]
    pair = (rows["op"][before] == s.SWITCH_IN) & (rows["op"][now] == s.SWITCH_OUT)
    pair &= rows["pcpu"][before] == rows["pcpu"][now]
    start, end, pcpu = t_ns[before[pair]], t_ns[now[pair]], rows["pcpu"][before[pair]].astype(np.int64)
    order = np.lexsort((pcpu, start))
    return _Runs(start[order], end[order], pcpu[order])


def _place(runs: _Runs, low: int, high: int, pcpu: int) -> tuple[int, int, int, int]:
    """Return pCPU and time of an operation between two times, and these."""
    number = int(np.searchsorted(runs.start, high)) - 1
    # Two vCPUs may run at a time, so the run that began last need not be the only one; but it is one.
    if number >= 0 and runs.end[number] > low:
        first, last = max(low, int(runs.start[number])), min(high, int(runs.end[number]))
        return int(runs.pcpu[number]), (first + last) // 2, low, high
    return pcpu, high, low, high
