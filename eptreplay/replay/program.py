"""A workload as the engine wants it: dense numbers instead of domains and p2ms, one array per thing it looks at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.machine import ept
from eptreplay.machine.fields import Records, new_records
from eptreplay.p2m_types import ACCESSES, INVALID, RWX, TYPES, is_present, is_upgrade
from eptreplay.strategies import decision as d
from eptreplay.workload.schema import (
    ASSUMED,
    CALL,
    FREE_TABLE,
    FROM_RECORD,
    GLOBAL_CHANGE,
    HOLD_BEGIN,
    HOLD_END,
    IDLE,
    INFERRED,
    LOOKUP,
    LOST,
    MISCONFIG,
    PAGE_ALLOC,
    PAGE_FREE,
    PAUSE,
    POD_RECLAIM,
    SET,
    SWITCH_IN,
    SWITCH_OUT,
    UNPAUSE,
    VMENTER,
    VMEXIT,
    WAIT,
    WAKE,
)
from eptreplay.workload.workload import Workload

__all__ = [
    "CALL", "FREE_TABLE", "GLOBAL_CHANGE", "HOLD_BEGIN", "HOLD_END", "IDLE", "LOOKUP", "LOST", "MISCONFIG",
    "PAGE_ALLOC", "PAGE_FREE", "PAUSE", "PML", "POD_RECLAIM", "SET", "SWITCH_IN", "SWITCH_OUT", "UNPAUSE", "VMENTER",
    "VMEXIT", "WAKE", "Numbers", "Program", "Reading", "number_workload",
]  # fmt: skip

NONE = -1

OP, WAITS_FOR, WAITED_FOR = 0x3F, 0x40, 0x80
"""In ``op`` of a row: the operation; the row has an edge; another row has one that leads from here."""

ROW = np.dtype(
    [
        ("gap", "i8"),    # before it, in nanoseconds
        ("arg", "i4"),    # the domain of VMENTER, SWITCH_IN, PAUSE and UNPAUSE; the p2m of rows about one
        ("which", "i4"),  # the vCPU of SWITCH_IN, the hold of hold rows, the act of what is done within a hold, the
                          # pCPU of a CALL of no p2m (-1: all others), the number of a LOOKUP, and of the PAGE_FREE that
                          # is or that a PAGE_ALLOC looks at, from 1 on (-1: none)
        ("op", "u1"),
    ]
)  # fmt: skip
"""What a pCPU reads of each row, side by side and packed: with many pCPUs, a line of the cache lasts for few rows."""

ACT = np.dtype(
    [
        ("gfn", "i8"),
        ("mfn", "i8"),
        ("entry", "i8"),      # to be written
        ("count", "i8"),      # how many writes it stands for
        ("last", "i8"),       # of a range, the last frame ...
        ("last_path", "i8"),  # ... and where the path to it stands
        ("order", "i4"),
        ("cause", "i1"),
        ("level", "i1"),
        ("present", "i1"),
        ("upgrade", "i1"),
        ("old", "i2"),        # any number that a record says
        ("new", "i2"),
        ("what", "i1"),       # of a sync point, which
        ("recorded", "i1"),   # 1 if a record says so
    ],
    align=True,
)  # fmt: skip
"""What is changed within a hold."""

L_COUNT, L_PREEMPTIBLE, READ_FIELDS = range(3)
"""What is looked up."""

PML = CAUSES.index("pml")
MENDING = CAUSES.index("misconfig")
DECREASE = CAUSES.index("decrease")
POD_SUPERPAGE_ORDER = 9

Int64s = NDArray[np.int64]


class Reading(NamedTuple):
    """How the doubtful rows of a workload are read.

    ``unseen``: ``present`` or ``absent``, what entries were of which nothing is known. ``doubtful``: whether
    misconfigurations happened that may have been mended by an earlier one. ``tables``: ``ept``, or ``npt``, where every
    leaf is recalculated by itself.
    """

    unseen: str = "present"
    doubtful: bool = False
    tables: str = "ept"


class Program(NamedTuple):
    """Rows of all pCPUs, one pCPU after the other: ``ROW``.

    ``edge``: the row that a row waits for, and the pCPU of that. ``acts``: ``ACT``; ``path``: [act, level], see
    ``machine.ept``, and behind those the paths to the last frames of ranges. ``first``: the first row of each pCPU.
    ``reads``: [LOOKUP, field]. ``cut``: what was taken from each gap, or nothing if nothing was.
    """

    rows: Records
    edge: Int64s
    edge_owner: NDArray[np.int32]
    acts: Records
    path: Int64s
    first: Int64s
    reads: Int64s
    cut: Int64s


class Numbers(NamedTuple):
    """What the dense numbers of a program stand for.

    ``begin``: first row of each pCPU, and the number of rows. ``p2ms``: (domain, view). ``holds``: the workload's
    numbers, and those behind the number of a PML drain for the holds that it may be cut into; ``hold_cause``,
    ``hold_p2m``, ``hold_pcpu`` and ``hold_dom`` (who ran, or -1) of each; ``nodes``: of all EPT tables together;
    ``first_tables``: for each p2m the node below its first root entry; ``ranges``: room for log-dirty ranges of a p2m;
    ``frees``: how many PAGE_FREE; ``reads``: the rows LOOKUP.
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
    first_tables: Int64s
    ranges: int
    deepest: int
    frees: int
    reads: Int64s


def number_workload(workload: Workload, reading: Reading) -> tuple[Program, Numbers]:
    """Return a workload in dense numbers."""
    op = np.where(_left_out(workload, reading), np.uint8(WAIT), workload.op)
    on_p2m = np.isin(op, _ON_P2M) & ((op != CALL) | (workload.p2m_dom >= 0))
    owner = np.repeat(np.arange(workload.pcpus.size), np.diff(workload.begin))
    guests = np.array([domain.number for domain in workload.domains if domain.has_guest_mode], np.int64)
    domains = np.unique(np.concatenate([workload.run_dom[workload.run_dom >= 0], workload.p2m_dom[on_p2m], guests]))
    p2m_key = (workload.p2m_dom.astype(np.int64) + 1) << 32 | np.maximum(workload.p2m_view, 0)
    # A guest has a p2m of its own, whether anything is written to it or not.
    p2m_keys = np.unique(np.concatenate([p2m_key[on_p2m], (guests + 1) << 32]))
    vcpu_key = workload.run_dom.astype(np.int64) << 32 | (workload.run_vcpu.astype(np.int64) + 1)
    vcpu_keys = np.unique(vcpu_key[(op == SWITCH_IN) & (workload.run_vcpu >= 0)])
    acts = np.flatnonzero(np.isin(op, _ACTS) & on_p2m)
    begins = np.flatnonzero(op == HOLD_BEGIN)
    by_hold = begins[np.argsort(workload.hold[begins], kind="stable")]
    holds, of_begin = _holds(workload, op, by_hold)

    about_domain = np.isin(op, (VMENTER, SWITCH_IN, PAUSE, UNPAUSE))
    arg = np.full(op.size, NONE, np.int32)
    arg[about_domain] = _position(domains, workload.run_dom[about_domain])
    arg[on_p2m] = _position(p2m_keys, p2m_key[on_p2m])
    which = np.full(op.size, NONE, np.int32)
    which[op == SWITCH_IN] = _position(vcpu_keys, vcpu_key[op == SWITCH_IN])
    on_hold = np.isin(op, (HOLD_BEGIN, HOLD_END))
    which[on_hold] = _position(holds, workload.hold[on_hold])
    which[acts] = np.arange(acts.size)

    calls = np.flatnonzero((op == CALL) & ~on_p2m)
    which[calls] = _position(workload.pcpus, workload.target[calls])
    reads = np.flatnonzero(op == LOOKUP)
    which[reads] = np.arange(reads.size)
    frees = np.flatnonzero(op == PAGE_FREE)
    which[frees] = 1 + np.arange(frees.size)
    allocations = np.flatnonzero((op == PAGE_ALLOC) & (workload.freed_by >= 0))
    which[allocations] = which[workload.freed_by[allocations]]
    has_edge = workload.edge >= 0
    flags = np.where(has_edge, WAITS_FOR, 0)
    flags[workload.edge[has_edge]] |= WAITED_FOR
    table = _acts(workload, op, acts, reading.unseen)
    path, nodes = _plan(table, op[acts], arg[acts].astype(np.int64), len(p2m_keys))
    depth = np.cumsum((op == HOLD_BEGIN).astype(np.int64) - (op == HOLD_END))
    ranged = arg[acts][table.last != NONE]
    program = Program(
        rows=np.rec.fromarrays([workload.gap_ns, arg, which, op | flags], dtype=ROW),
        edge=workload.edge,
        edge_owner=np.where(has_edge, owner[np.maximum(workload.edge, 0)], NONE).astype(np.int32),
        acts=table,
        path=path[: path.shape[0] - len(p2m_keys)],
        first=workload.begin[:-1],
        reads=np.column_stack([workload.count[reads], workload.preemptible[reads] == 1]).astype(np.int64),
        cut=workload.cut_ns if workload.cut_ns.any() else np.zeros(0, np.int64),
    )
    numbers = Numbers(
        pcpus=workload.pcpus,
        begin=workload.begin,
        domains=tuple(domains.tolist()),
        p2ms=tuple(((key >> 32) - 1, key & 0xFFFFFFFF) for key in p2m_keys.tolist()),
        vcpus=tuple((key >> 32, (key & 0xFFFFFFFF) - 1) for key in vcpu_keys.tolist()),
        holds=holds,
        hold_cause=workload.cause[by_hold][of_begin].astype(np.int64),
        hold_p2m=arg[by_hold][of_begin].astype(np.int64),
        hold_pcpu=owner[by_hold][of_begin],
        hold_dom=workload.run_dom[by_hold][of_begin].astype(np.int64),
        nodes=nodes,
        first_tables=path[path.shape[0] - len(p2m_keys) :, ept.LEVELS - 2],
        ranges=2 * (1 + int(np.bincount(ranged).max(initial=0))) if ranged.size else 1,
        deepest=int(depth.max(initial=0)),
        frees=frees.size,
        reads=reads,
    )
    return program, numbers


_ACTS = (SET, MISCONFIG, GLOBAL_CHANGE, FREE_TABLE, POD_RECLAIM, CALL)
_ON_P2M = (HOLD_BEGIN, HOLD_END, LOOKUP, *_ACTS)
_UPGRADES = np.array([[is_upgrade(old, new) for new in range(len(TYPES))] for old in range(len(TYPES))])
_PRESENT = np.array([[is_present(kind, access) for access in range(len(ACCESSES))] for kind in range(len(TYPES))])


def _left_out(workload: Workload, reading: Reading) -> NDArray[np.bool_]:
    """Return the rows that are not replayed.

    For EPT holds around misconfigurations that it does not have, or may not; for NPT what VMX alone has to do.
    """
    left_out = np.zeros(workload.op.size, np.bool_)
    if reading.tables == "npt":  # there is no VMCS to be cleared
        left_out |= (workload.op == CALL) & (workload.target >= 0) & (workload.origin == INFERRED)
        return left_out
    other = (workload.op == MISCONFIG) & (workload.count == 0)
    if not reading.doubtful:
        other |= (workload.op == MISCONFIG) & (workload.old_known == ASSUMED)
    if other.any():
        left_out = (workload.hold >= 0) & np.isin(workload.hold, workload.hold[other])
    return left_out


def _holds(workload: Workload, op: NDArray[np.uint8], by_hold: Int64s) -> tuple[Int64s, Int64s]:
    """Return the numbers of all holds, and for each the HOLD_BEGIN among ``by_hold`` that it is of."""
    numbers = workload.hold[by_hold]
    extra = np.zeros(numbers.size, np.int64)
    drains = workload.cause[by_hold] == PML
    if drains.any():
        writes = np.flatnonzero((op == SET) & (workload.hold >= 0))
        at = _position(numbers, workload.hold[writes])
        np.add.at(extra, at[at >= 0], workload.count[writes[at >= 0]])
        extra = np.where(drains, np.maximum(extra - 1, 0), 0)
    of_begin = np.repeat(np.arange(numbers.size), 1 + extra)
    ahead = np.arange(of_begin.size) - np.repeat(np.cumsum(1 + extra) - (1 + extra), 1 + extra)
    return numbers[of_begin] + ahead, of_begin


def _position(keys: NDArray[np.generic], values: NDArray[np.generic]) -> NDArray[np.int32]:
    """Return where values stand among sorted ``keys``, or -1."""
    if not keys.size:
        return np.full(values.size, NONE, np.int32)
    at = np.minimum(np.searchsorted(keys, values), keys.size - 1)
    return np.where(keys[at] == values, at, NONE).astype(np.int32)


def _acts(workload: Workload, op: NDArray[np.uint8], rows: Int64s, unseen: str) -> Records:
    """Return the acts: one line for each row that changes something within a hold."""
    old, new = workload.old_type[rows].astype(np.int64), workload.new_type[rows].astype(np.int64)
    order, mfn = np.maximum(workload.order[rows], 0).astype(np.int64), _signed(workload.mfn[rows])
    access = np.where(workload.access[rows] < 0, RWX, workload.access[rows]).astype(np.int64)
    is_known = (new >= 0) & (new < len(TYPES)) & (access < len(ACCESSES))
    open_ = is_known & _PRESENT[np.where(is_known, new, 0), np.where(is_known, access, 0)]
    both = (old >= 0) & (old < len(TYPES)) & (new >= 0) & (new < len(TYPES))
    upgrade = both & _UPGRADES[np.where(both, old, 0), np.where(both, new, 0)] & (order == 0) & (access == RWX)
    entry = (
        (mfn & ept.FRAME_MASK) << ept.FRAME_SHIFT
        | (new & ept.TYPE_MASK) << ept.TYPE_SHIFT
        | np.where(open_, ept.PRESENT, 0)
        | ept.LEAF
        | ept.USED
    )
    last = np.where(op[rows] == GLOBAL_CHANGE, _signed(workload.last_gfn[rows]), NONE)
    gfn = _signed(workload.gfn[rows])
    gfn = np.where(((op[rows] == GLOBAL_CHANGE) & (last == NONE)) | (op[rows] == CALL), NONE, gfn)
    decrease = workload.cause[rows] == DECREASE
    superpage = order >= POD_SUPERPAGE_ORDER
    reclaim = np.where(decrease, d.POD_DECREASE, np.where(superpage, d.POD_SUPERPAGE, d.POD_SWEEP))
    fields = {
        "cause": workload.cause[rows],
        "present": workload.present(unseen)[rows],
        "upgrade": upgrade,
        "old": np.where(op[rows] == SET, old, NONE),
        "new": np.where(np.isin(op[rows], (SET, GLOBAL_CHANGE)), new, NONE),
        "order": order,
        "level": np.minimum(order // 9, ept.LEVELS - 2),
        "gfn": gfn,
        "mfn": np.where(gfn == NONE, NONE, mfn),
        "entry": np.where(new == INVALID, ept.ABSENT, entry),
        "count": np.where(op[rows] == SET, workload.count[rows], 1),
        "last": last,
        "last_path": NONE,
        "what": np.where(op[rows] == FREE_TABLE, d.FREE_TABLE, reclaim),
        "recorded": workload.origin[rows] == FROM_RECORD,
    }
    table = new_records(rows.size, ACT)
    for field, values in fields.items():
        table[field] = values
    return table


def _signed(values: NDArray[np.uint64]) -> Int64s:
    """Return frame numbers as the engine has them: an unknown one, NO_GFN, is -1."""
    return values.view(np.int64) if values.size else np.zeros(0, np.int64)


def _plan(table: Records, op: NDArray[np.uint8], p2m: Int64s, p2ms: int) -> tuple[Int64s, int]:
    """Return the path to the frame of each act, to the last frame of each range, and to the first of each p2m.

    Also enters in ``table`` where the paths to last frames stand, and returns the number of nodes.
    """
    ranged = np.flatnonzero(table.last != NONE)
    table.last_path[ranged] = table.shape[0] + np.arange(ranged.size)
    touches = np.isin(op, (SET, MISCONFIG)) & (table.gfn != NONE)
    touches |= table.last != NONE
    lowest = np.where(touches, np.where(op == SET, table.level, 0), ept.LEVELS)
    # A write of a large entry meets tables below its level where larger ones have been split.
    splits = np.isin(p2m, p2m[(op == SET) & (table.level > 1)]) | np.isin(p2m, p2m[ranged])
    lowest[touches & splits] = 0
    first = np.arange(p2ms)
    return ept.plan_nodes(
        p2ms,
        np.concatenate([p2m, p2m[ranged], first]),
        np.concatenate([table.gfn, table.last[ranged], np.zeros(p2ms, np.int64)]),
        np.concatenate([lowest, np.zeros(ranged.size, np.int64), np.full(p2ms, ept.LEVELS - 2)]),
    )
