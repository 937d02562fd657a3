"""A workload as the engine wants it: dense numbers instead of domains and p2ms, one array per thing it looks at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine.ept import plan_nodes
from eptreplay.p2m_types import is_upgrade
from eptreplay.workload.schema import (
    HOLD_BEGIN,
    HOLD_END,
    IDLE,
    LOST,
    PAUSE,
    SET,
    SWITCH_IN,
    SWITCH_OUT,
    UNPAUSE,
    VMENTER,
    VMEXIT,
    WAKE,
)
from eptreplay.workload.workload import Workload

__all__ = [
    "HOLD_BEGIN", "HOLD_END", "IDLE", "LOST", "PAUSE", "SET", "SWITCH_IN", "SWITCH_OUT", "UNPAUSE", "VMENTER",
    "VMEXIT", "WAKE", "Numbers", "Program", "number_workload",
]  # fmt: skip

NONE = -1

OP, WAITS_FOR, WAITED_FOR = 0x3F, 0x40, 0x80
"""In ``Program.op``: the operation; the row has an edge; another row has one that leads from here."""

S_CAUSE, S_PRESENT, S_UPGRADE, S_OLD, S_NEW, S_ORDER, S_GFN, S_MFN, SET_FIELDS = range(9)

Int64s = NDArray[np.int64]


@part
def stores_of(order: int) -> int:
    """Return how many live entries a write of so many pages stores."""
    return 1 if order % 9 == 0 and order <= 18 else 1 << (order % 9)


class Program(NamedTuple):
    """Rows of all pCPUs, one pCPU after the other.

    ``arg``: the domain of VMENTER, SWITCH_IN, PAUSE and UNPAUSE, the p2m of hold rows and SET. ``item``: the vCPU of
    SWITCH_IN, the hold of hold rows, the write of SET. ``edge``, and the pCPU of that row. ``sets``: [write, field];
    ``path``: [write, level], see ``machine.ept``. ``first``: the first row of each pCPU.
    """

    op: NDArray[np.uint8]
    gap: Int64s
    arg: NDArray[np.int32]
    item: NDArray[np.int32]
    edge: Int64s
    edge_owner: NDArray[np.int32]
    sets: Int64s
    path: Int64s
    first: Int64s


class Numbers(NamedTuple):
    """What the dense numbers of a program stand for.

    ``begin``: first row of each pCPU, and the number of rows. ``p2ms``: (domain, view). ``holds``: the workload's
    numbers; ``hold_cause``, ``hold_p2m``, ``hold_pcpu`` and ``hold_dom`` (who ran, or -1) of each; ``nodes``: of all
    EPT tables together.
    """

    pcpus: Int64s
    begin: Int64s
    domains: tuple[int, ...]
    p2ms: tuple[tuple[int, int], ...]
    vcpus: tuple[tuple[int, int], ...]
    holds: Int64s
    hold_cause: Int64s
    hold_p2m: Int64s
    hold_pcpu: Int64s
    hold_dom: Int64s
    nodes: int
    deepest: int


def number_workload(workload: Workload, unseen: str) -> tuple[Program, Numbers]:
    """Return a workload in dense numbers; ``unseen``: what entries were of which nothing is known."""
    op = workload.op
    on_p2m = np.isin(op, _ON_P2M)
    guests = np.array([domain.number for domain in workload.domains if domain.has_guest_mode], np.int64)
    domains = np.unique(np.concatenate([workload.run_dom[workload.run_dom >= 0], workload.p2m_dom[on_p2m], guests]))
    p2m_key = (workload.p2m_dom.astype(np.int64) + 1) << 32 | np.maximum(workload.p2m_view, 0)
    # A guest has a p2m of its own, whether anything is written to it or not.
    p2m_keys = np.unique(np.concatenate([p2m_key[on_p2m], (guests + 1) << 32]))
    vcpu_key = workload.run_dom.astype(np.int64) << 32 | (workload.run_vcpu.astype(np.int64) + 1)
    vcpu_keys = np.unique(vcpu_key[(op == SWITCH_IN) & (workload.run_vcpu >= 0)])
    sets = np.flatnonzero(op == SET)
    begins = np.flatnonzero(op == HOLD_BEGIN)
    holds = np.sort(workload.hold[begins])

    about_domain = np.isin(op, (VMENTER, SWITCH_IN, PAUSE, UNPAUSE))
    arg = np.full(op.size, NONE, np.int32)
    arg[about_domain] = _position(domains, workload.run_dom[about_domain])
    arg[on_p2m] = _position(p2m_keys, p2m_key[on_p2m])
    item = np.full(op.size, NONE, np.int32)
    item[op == SWITCH_IN] = _position(vcpu_keys, vcpu_key[op == SWITCH_IN])
    on_hold = np.isin(op, (HOLD_BEGIN, HOLD_END))
    item[on_hold] = _position(holds, workload.hold[on_hold])
    item[sets] = np.arange(sets.size)

    size = np.diff(workload.begin)
    owner = np.repeat(np.arange(workload.pcpus.size), size)
    has_edge = workload.edge >= 0
    flags = np.where(has_edge, WAITS_FOR, 0)
    flags[workload.edge[has_edge]] |= WAITED_FOR
    path, nodes = plan_nodes(
        len(p2m_keys), arg[sets].astype(np.int64), workload.gfn[sets].astype(np.int64) & ((1 << 52) - 1)
    )
    by_hold = begins[np.argsort(workload.hold[begins], kind="stable")]
    depth = np.cumsum((op == HOLD_BEGIN).astype(np.int64) - (op == HOLD_END))
    program = Program(
        op=(op | flags).astype(np.uint8),
        gap=workload.gap_ns,
        arg=arg,
        item=item,
        edge=workload.edge,
        edge_owner=np.where(has_edge, owner[np.maximum(workload.edge, 0)], NONE).astype(np.int32),
        sets=_sets(workload, sets, unseen),
        path=path,
        first=workload.begin[:-1],
    )
    numbers = Numbers(
        pcpus=workload.pcpus,
        begin=workload.begin,
        domains=tuple(domains.tolist()),
        p2ms=tuple(((key >> 32) - 1, key & 0xFFFFFFFF) for key in p2m_keys.tolist()),
        vcpus=tuple((key >> 32, (key & 0xFFFFFFFF) - 1) for key in vcpu_keys.tolist()),
        holds=workload.hold[by_hold],
        hold_cause=workload.cause[by_hold].astype(np.int64),
        hold_p2m=arg[by_hold].astype(np.int64),
        hold_pcpu=owner[by_hold],
        hold_dom=workload.run_dom[by_hold].astype(np.int64),
        nodes=nodes,
        deepest=int(depth.max(initial=0)),
    )
    return program, numbers


_ON_P2M = (HOLD_BEGIN, SET, HOLD_END)
_TYPES = 16
_UPGRADES = np.array([[is_upgrade(old, new) for new in range(_TYPES)] for old in range(_TYPES)])


def _position(keys: NDArray[np.generic], values: NDArray[np.generic]) -> NDArray[np.int32]:
    """Return where values stand among sorted ``keys``, or -1."""
    if not keys.size:
        return np.full(values.size, NONE, np.int32)
    at = np.minimum(np.searchsorted(keys, values), keys.size - 1)
    return np.where(keys[at] == values, at, NONE).astype(np.int32)


def _sets(workload: Workload, rows: NDArray[np.int64], unseen: str) -> Int64s:
    old, new = workload.old_type[rows].astype(np.int64), workload.new_type[rows].astype(np.int64)
    known = (old >= 0) & (old < _TYPES) & (new >= 0) & (new < _TYPES)
    upgrade = known & _UPGRADES[np.where(known, old, 0), np.where(known, new, 0)] & (workload.order[rows] == 0)
    fields = {
        S_CAUSE: workload.cause[rows],
        S_PRESENT: workload.present(unseen)[rows],
        S_UPGRADE: upgrade,
        S_OLD: old,
        S_NEW: new,
        S_ORDER: np.maximum(workload.order[rows], 0),
        S_GFN: workload.gfn[rows].view(np.int64) if rows.size else 0,
        S_MFN: workload.mfn[rows].view(np.int64) if rows.size else 0,
    }
    table = np.empty((rows.size, SET_FIELDS), np.int64)
    for field, values in fields.items():
        table[:, field] = values
    return table
