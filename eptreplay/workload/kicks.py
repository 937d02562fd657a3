"""Interrupts with which the recorded host invalidated itself: what they left in a recording, so that it can go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Draft, refer_to, take
from eptreplay.workload.episodes import BASIC_REASON, EXTERNAL_INTERRUPT, Episodes

CALL_FUNCTION_VECTOR = 0xFB
"""``CALL_FUNCTION_VECTOR``, the same from Xen 4.6 to today: how ``on_selected_cpus()`` interrupts its targets."""
LONGEST_NS = 50_000
"""An exit that comes later after an operation is not taken for the answer to its broadcast."""


def without_recorded_kicks(
    records: r.Records, episodes: Episodes, rows: Draft, t_ns: NDArray[np.int64]
) -> tuple[Draft, NDArray[np.int64], int]:
    """Take out the VM exits, with their entries, that broadcasts of p2m operations elsewhere made; also says how many.

    Such an exit is one because of an external interrupt (VMX, reason 1) with the vector above. It is taken for the
    answer to a hold of another pCPU in which the p2m of its domain was changed, in any view, and which had begun by
    then, and ended 50 us before at most. Only a pair with nothing between is taken out: a vCPU that went on to do
    something else had left its guest for that, too. All other rows keep their times.
    """
    exits = _kicked(records, episodes)[rows["at"]] & (rows["op"] == s.VMEXIT) & (rows["depth"] == 0)
    entered = np.append((rows["op"][1:] == s.VMENTER) & (rows["pcpu"][1:] == rows["pcpu"][:-1]), False)[: exits.size]
    pairs = np.flatnonzero(exits & entered)
    pairs = pairs[_answers(rows, t_ns, pairs)]
    if not pairs.size:
        return rows, t_ns, 0
    keep = np.ones(t_ns.size, np.bool_)
    keep[pairs] = keep[pairs + 1] = False
    kept = take(rows, np.flatnonzero(keep))
    refer_to(kept, np.cumsum(keep) - 1)
    return kept, t_ns[keep], int(pairs.size)


def _kicked(records: r.Records, episodes: Episodes) -> NDArray[np.bool_]:
    """Return which records are VM exits of VMX for an interrupt to call a function."""
    kicked = np.zeros(records.what.size, np.bool_)
    calls = np.flatnonzero((records.what == r.INTERRUPT) & (records.w[0] == CALL_FUNCTION_VECTOR))
    start = episodes.start[calls]
    start = start[start >= 0]
    kicked[start] = records.w[0][start] & BASIC_REASON == EXTERNAL_INTERRUPT
    return kicked


def _answers(rows: Draft, t_ns: NDArray[np.int64], exits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which exits may answer a hold of another pCPU that changed the p2m of the domain that ran.

    By domain, holds are in the order of their beginning. What any pCPU had ended last by then tells, unless that was
    the pCPU of the exit: then it is what the others had ended last.
    """
    answers = np.zeros(exits.size, np.bool_)
    changes = _holds_with_changes(rows)
    for one in np.unique(rows["run_dom"][exits]).tolist():
        begins, ends = changes[1:, changes[0] == one]
        if one < 0 or not begins.size:
            continue
        order = np.argsort(t_ns[begins], kind="stable")
        begins, ends = begins[order], ends[order]
        own = np.flatnonzero(rows["run_dom"][exits] == one)
        latest = _latest_ends(rows["pcpu"][begins].astype(np.int64), t_ns[ends])
        begun = np.searchsorted(t_ns[begins], t_ns[exits[own]], side="right") - 1
        here = rows["pcpu"][exits[own]]
        pcpu, end, other_end = (column[begun] for column in latest)
        ended = np.where(pcpu != here, end, other_end)
        answers[own] = (begun >= 0) & (ended >= 0) & (t_ns[exits[own]] - ended <= LONGEST_NS)
    return answers


def _holds_with_changes(rows: Draft) -> NDArray[np.int64]:
    """Return a column for each outermost hold and domain whose p2m is changed in it: the domain, first and last row."""
    begins, ends = rows["op"] == s.HOLD_BEGIN, rows["op"] == s.HOLD_END
    depth = np.cumsum(begins.astype(np.int64) - ends)
    outermost = begins & (depth == 1)
    first, last = np.flatnonzero(outermost), np.flatnonzero(ends & (depth == 0))
    acts = np.flatnonzero(np.isin(rows["op"], s.ACTS) & (depth > 0))
    hold = (np.cumsum(outermost) - 1)[acts]
    changes: NDArray[np.int64] = np.unique(
        np.stack([rows["p2m_dom"][acts].astype(np.int64), first[hold], last[hold]]), axis=1
    )
    return changes


def _latest_ends(
    pcpu: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for the holds up to each one: whose ended last, when that was, and the last end of all other pCPUs."""
    best, best_end, other_end = -1, -1, -1
    found = np.empty((pcpu.size, 3), np.int64)
    for number, (now, ended) in enumerate(zip(pcpu.tolist(), end.tolist(), strict=True)):
        if now == best:
            best_end = max(best_end, ended)
        elif ended > best_end:
            best, best_end, other_end = now, ended, best_end
        else:
            other_end = max(other_end, ended)
        found[number] = best, best_end, other_end
    return found[:, 0], found[:, 1], found[:, 2]
