"""Workloads of one p2m lock: pCPUs that compute or idle, hold the lock, write an entry in it, or do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Domain, Facts, Workload

Times = NDArray[np.int64]

GUEST = 1


def contended(gap: Times, held: Times, rest: Times | None = None) -> Workload:
    """Return the workload in which each pCPU takes its turns at the lock of one p2m, [pCPU, turn] in ns.

    A turn: ``gap`` until the request, and a hold of ``held``. With ``rest`` there is a write of a present entry behind
    ``held``, and ``rest`` is from the end of the write to the release. At the start each pCPU loads a vCPU of the
    domain and is in guest mode at no time, so that every pCPU is a target of all broadcasts of others.
    """
    if rest is None:
        return _turns(s.SWITCH_IN, (s.HOLD_BEGIN, s.HOLD_END), (gap, held))
    return _turns(s.SWITCH_IN, (s.HOLD_BEGIN, s.SET, s.HOLD_END), (gap, held, rest))


def arriving(at: Times, held: Times) -> Workload:
    """Return the workload in which each pCPU idles until the times ``at``, [pCPU, turn] in ns, and holds the lock then.

    Idling ends at the recorded time, however long a hold has taken; so these are arrivals at a queue from outside, as
    long as no pCPU's next one comes before its turn is over. A turn takes ``held`` and the wait for the lock. Raises
    ValueError if they overlap without any wait.
    """
    ended = np.concatenate([np.zeros((at.shape[0], 1), np.int64), (at + held)[:, :-1]], axis=1)
    if (at < ended).any():
        raise ValueError("a pCPU's turns overlap")
    none = np.zeros_like(at)
    ops = (s.WAKE, s.HOLD_BEGIN, s.HOLD_END, s.IDLE)
    return _turns(s.IDLE, ops, (at - ended, none, held, none))


def _turns(first: int, ops: tuple[int, ...], gaps: tuple[Times, ...]) -> Workload:
    """Return the workload of pCPUs that carry out a first row, and then these ops behind these gaps in each turn."""
    pcpus, turns = gaps[0].shape
    per_pcpu = 1 + len(ops) * turns
    size = pcpus * per_pcpu

    def column(kind: type, value: int, of_turn: NDArray[Any] | int | None = None) -> NDArray[Any]:
        whole: NDArray[Any] = np.full((pcpus, per_pcpu), value, kind)
        if of_turn is not None:
            whole[:, 1:].reshape(pcpus, turns, len(ops))[:] = of_turn
        return whole.ravel()

    gap_ns = column(np.int64, 0, np.stack(gaps, axis=2))
    op = column(np.uint8, first, np.array(ops, np.uint8))
    is_set, is_held = op == s.SET, np.isin(op, (s.HOLD_BEGIN, s.SET, s.HOLD_END))
    holds = column(np.int64, -1, np.arange(pcpus * turns).reshape(pcpus, turns, 1))

    def of(rows: NDArray[np.bool_], kind: type, value: NDArray[Any] | int, other: int) -> NDArray[Any]:
        values: NDArray[Any] = np.where(rows, value, other).astype(kind)
        return values

    frame = np.where(is_set, np.uint64(7), np.uint64(s.NO_GFN))
    columns: dict[str, Any] = {
        "pcpus": np.arange(pcpus),
        "begin": np.arange(pcpus + 1) * per_pcpu,
        "t_ns": np.cumsum(gap_ns.reshape(pcpus, per_pcpu), axis=1).ravel(),
        "gap_ns": gap_ns,
        "op": op,
        "run_dom": column(np.int32, GUEST),
        "run_vcpu": np.repeat(np.arange(pcpus, dtype=np.int32), per_pcpu),
        "p2m_dom": of(is_held, np.int32, GUEST, -1),
        "p2m_view": of(is_held, np.int32, 0, -1),
        "hold": of(is_held, np.int64, holds, -1),
        "gfn": frame,
        "order": of(is_set, np.int32, 0, -1),
        "mfn": frame,
        "old_type": of(is_set, np.int16, RAM_LOGDIRTY, -1),
        "old_known": of(is_set, np.int8, s.RECORDED, -1),
        "new_type": of(is_set, np.int16, RAM_RW, -1),
        "cause": of(is_held, np.int8, CAUSES.index("logdirty_fault"), -1),
        "origin": np.full(size, s.SYNTHETIC, np.int8),
        "time_origin": np.full(size, s.TIMED, np.int8),
        "count": np.ones(size, np.int64),
        "edge": np.full(size, -1),
        "last_gfn": np.full(size, s.NO_GFN, np.uint64),
        "access": np.full(size, -1, np.int8),
        "old_present": of(is_set, np.int8, 1, -1),
        "preemptible": np.full(size, -1, np.int8),
        "not_before_ns": np.full(size, -1),
        "not_after_ns": np.full(size, -1),
        "target": np.full(size, -1, np.int32),
        "freed_by": np.full(size, -1),
        "cut_ns": np.zeros(size, np.int64),
    }
    domains = (Domain(GUEST, True, False, False),)  # noqa: FBT003 (a table of facts)
    return Workload(**columns, domains=domains, facts=Facts(True, True, True), shares=())  # noqa: FBT003
