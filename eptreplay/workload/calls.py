"""Calls of functions on other pCPUs that have nothing to do with EPT, but take the same lock: those that can be told.

No record shows them. Two kinds follow from others: a vCPU that begins to run elsewhere has its VMCS cleared where it
ran (``vmx_clear_vmcs()``), and once a second all pCPUs meet to calibrate the time (``time_calibration()``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.draft import UNKNOWN, Draft, inferred_rows, insert
from eptreplay.workload.times import NANOSECONDS
from eptreplay.workload.workload import Domain, Workload

OTHER = rule.CAUSE_NUMBERS["other"]
CALIBRATION_NS = NANOSECONDS
"""``EPOCH`` in Xen's ``arch/x86/time.c``."""
CALIBRATES_AT = (s.VMEXIT, s.WAKE, s.SWITCH_IN, s.SWITCH_OUT)
"""Rows at which a pCPU is in Xen, where a timer that has expired is noticed."""


class CallCounts(NamedTuple):
    """How many calls were made up: to clear a VMCS, and to calibrate the time."""

    vmcs_clears: int
    calibrations: int


def count_calls(op: NDArray[np.uint8], origin: NDArray[np.int8], target: NDArray[np.int32]) -> CallCounts:
    """Return how many of the rows are calls that were made up."""
    derived = (op == s.CALL) & (origin == s.INFERRED)
    clears = int((derived & (target >= 0)).sum())
    return CallCounts(clears, int(derived.sum()) - clears)


def calls_document(workload: Workload) -> dict[str, int]:
    """Return the counts as ``info`` and results have them."""
    return count_calls(workload.op, workload.origin, workload.target)._asdict()


def with_calls(rows: Draft, t_ns: NDArray[np.int64], domains: Sequence[Domain]) -> tuple[Draft, NDArray[np.int64]]:
    """Insert the calls, each directly behind the row that tells of it. The rows need runstates, and true times."""
    guests = [domain.number for domain in domains if domain.has_guest_mode]
    moved, left = _moves(rows, t_ns, guests)
    calibrating = _calibrations(rows, t_ns)
    behind = np.concatenate([moved, calibrating])
    target = np.concatenate([left, np.full(calibrating.size, UNKNOWN, np.int64)])
    if not behind.size:
        return rows, t_ns
    order = np.argsort(behind, kind="stable")
    behind, target = behind[order], target[order]
    new = inferred_rows(rows, behind.size)
    for name in ("at", "slot", "pcpu", "run_dom", "run_vcpu", "time_origin"):
        new[name] = rows[name][behind].copy()
    new["op"][:], new["cause"][:], new["target"][:] = s.CALL, OTHER, target
    return insert(rows, t_ns, behind + 1, new, t_ns[behind])


def _moves(rows: Draft, t_ns: NDArray[np.int64], guests: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the switches to vCPUs of guests that were last switched in on another pCPU, and that pCPU."""
    known = (rows["op"] == s.SWITCH_IN) & (rows["run_vcpu"] >= 0) & np.isin(rows["run_dom"], guests)
    at = np.flatnonzero(known & (rows["depth"] == 0))
    at = at[np.lexsort((at, t_ns[at], rows["run_vcpu"][at], rows["run_dom"][at]))]
    before, now = at[:-1], at[1:]
    moves = rows["pcpu"][before] != rows["pcpu"][now]
    for name in ("run_dom", "run_vcpu"):
        moves &= rows[name][before] == rows[name][now]
    return now[moves], rows["pcpu"][before[moves]].astype(np.int64)


def _calibrations(rows: Draft, t_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each full second the first row of the first pCPU, at or after it, at which the time is calibrated."""
    first = rows["pcpu"] == rows["pcpu"][:1]
    at = np.flatnonzero(first & np.isin(rows["op"], CALIBRATES_AT) & (rows["depth"] == 0))
    seconds = t_ns[at] // CALIBRATION_NS
    return at[np.diff(seconds, prepend=0) > 0]
