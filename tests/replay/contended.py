"""A workload of one p2m lock: pCPUs that compute, hold the lock, write an entry in it, and broadcast, or do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Domain, Facts, Workload

GUEST = 1


def contended(gap: NDArray[np.int64], held: NDArray[np.int64], rest: NDArray[np.int64] | None = None) -> Workload:
    """Return the workload in which each pCPU takes its turns at the lock of one p2m, [pCPU, turn] in ns.

    A turn: ``gap`` until the request, and a hold of ``held``. With ``rest`` there is a write of a present entry behind
    ``held``, and ``rest`` is from the end of the write to the release. At the start each pCPU loads a vCPU of the
    domain and is in guest mode at no time, so that every pCPU is a target of all broadcasts of others.
    """
    pcpus, turns = gap.shape
    each = 2 if rest is None else 3
    per_pcpu = 1 + each * turns
    size = pcpus * per_pcpu

    def column(kind: type, value: int, of_turn: NDArray[Any] | int | None = None) -> NDArray[Any]:
        whole: NDArray[Any] = np.full((pcpus, per_pcpu), value, kind)
        if of_turn is not None:
            whole[:, 1:].reshape(pcpus, turns, each)[:] = of_turn
        return whole.ravel()

    ops = [s.HOLD_BEGIN, s.HOLD_END] if rest is None else [s.HOLD_BEGIN, s.SET, s.HOLD_END]
    gaps = np.stack([gap, held] if rest is None else [gap, held, rest], axis=2)
    begins = np.arange(pcpus) * per_pcpu
    gap_ns = column(np.int64, 0, gaps)
    recorded = np.cumsum(gap_ns.reshape(pcpus, per_pcpu), axis=1).ravel()
    holds = np.arange(pcpus * turns).reshape(pcpus, turns, 1)
    is_set = column(np.bool_, 0, np.array(ops) == s.SET)

    def of_sets(kind: type, value: int, other: int) -> NDArray[Any]:
        values: NDArray[Any] = np.where(is_set, kind(value), kind(other))
        return values

    run_vcpu = np.repeat(np.arange(pcpus, dtype=np.int32), per_pcpu)
    columns: dict[str, Any] = {
        "pcpus": np.arange(pcpus),
        "begin": np.append(begins, size),
        "t_ns": recorded,
        "gap_ns": gap_ns,
        "op": column(np.uint8, s.SWITCH_IN, np.array(ops, np.uint8)),
        "run_dom": column(np.int32, GUEST),
        "run_vcpu": run_vcpu,
        "p2m_dom": column(np.int32, -1, GUEST),
        "p2m_view": column(np.int32, -1, 0),
        "hold": column(np.int64, -1, holds),
        "gfn": of_sets(np.uint64, 7, s.NO_GFN),
        "order": of_sets(np.int32, 0, -1),
        "mfn": of_sets(np.uint64, 7, s.NO_GFN),
        "old_type": of_sets(np.int16, RAM_LOGDIRTY, -1),
        "old_known": of_sets(np.int8, s.RECORDED, -1),
        "new_type": of_sets(np.int16, RAM_RW, -1),
        "cause": column(np.int8, -1, CAUSES.index("logdirty_fault")),
        "origin": column(np.int8, s.SYNTHETIC),
        "time_origin": column(np.int8, s.TIMED),
        "count": column(np.int64, 1),
        "edge": column(np.int64, -1),
        "last_gfn": column(np.uint64, s.NO_GFN),
        "access": column(np.int8, -1),
        "old_present": of_sets(np.int8, 1, -1),
        "preemptible": column(np.int8, -1),
        "not_before_ns": column(np.int64, -1),
        "not_after_ns": column(np.int64, -1),
    }
    domains = (Domain(GUEST, True, False, False),)  # noqa: FBT003 (a table of facts)
    return Workload(**columns, domains=domains, facts=Facts(True, True, True), shares=())  # noqa: FBT003
