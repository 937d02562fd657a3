"""Stalls, during which a pCPU runs no softirqs, and the watchdog that notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from eptreplay.model.facts import HoldEnded, HoldRequested, LookupEnded, LookupRequested, RowCarriedOut, RowEnded
from eptreplay.model.log import Run
from eptreplay.model.rows import Row

STALLS = frozenset({"LOOKUP", "CALL", "PAGE_ALLOC"})
"""Rows that are a stall where they lie in no hold."""

ABOUT = (RowCarriedOut, RowEnded, HoldRequested, HoldEnded, LookupRequested, LookupEnded)


class Stall(NamedTuple):
    """A stall: on which pCPU, by its number, from when to when, and the row with which it began."""

    pcpu: int
    row: int
    begin_ns: int
    end_ns: int | None
    """None: not before the end of the replay."""


def stalls(run: Run) -> Iterator[Stall]:
    """Yield all stalls. What begins within one is part of it."""
    setting = run.setting
    begun: dict[int, tuple[int, int]] = {}
    holds: Counter[int] = Counter()
    for t, c, fact, number in run.log:
        if not isinstance(fact, ABOUT):
            continue
        first, rows = setting.recording.programs[setting.pcpus[c]]
        holds[c] += isinstance(fact, HoldRequested) - isinstance(fact, HoldEnded)
        if holds[c] == 0 and c in begun and _ends(fact, rows[number - first]):
            begin, row = begun.pop(c)
            yield Stall(setting.pcpus[c], row, begin, t)
        elif c not in begun and _begins(fact, rows[number - first]):
            begun[c] = t, number
    for c, (begin, row) in begun.items():
        yield Stall(setting.pcpus[c], row, begin, None)


def _begins(fact: object, row: Row) -> bool:
    """Tell whether a stall begins, if the pCPU is in none."""
    if isinstance(fact, RowCarriedOut):
        return row.op in STALLS
    return isinstance(fact, HoldRequested | LookupRequested)


def _ends(fact: object, row: Row) -> bool:
    """Tell whether a stall ends, if the pCPU is in no hold any more."""
    if isinstance(fact, LookupEnded):
        return row.preemptible
    return isinstance(fact, HoldEnded) or (isinstance(fact, RowEnded) and row.op in STALLS)


def longest(run: Run) -> int:
    """Return the length of the longest stall that has ended."""
    return max((stall.end_ns - stall.begin_ns for stall in stalls(run) if stall.end_ns is not None), default=0)


def watchdog(run: Run) -> tuple[int, int, int] | None:
    """Return when the watchdog fires first, on which pCPU, and the row with which the stall began."""
    timeout_ns = run.setting.costs.timeout_ns
    if timeout_ns == 0:
        return None
    fires = [
        (stall.begin_ns + timeout_ns, stall.pcpu, stall.row)
        for stall in stalls(run)
        if (run.now_ns if stall.end_ns is None else stall.end_ns) - stall.begin_ns >= timeout_ns
    ]
    return min(fires, default=None)
