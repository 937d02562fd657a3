"""A workload like that of the recording r12, on any number of pCPUs: one guest migrates while another is built.

r12 has four pCPUs, which all guests share. The mix has groups of ``GROUP`` pCPUs. Each group has a guest whose
log-dirty faults are mended (``MIGRATED``), a guest that dom0 populates (``BUILT``), and its part of dom0's vCPUs; the
vCPUs of a group change places within it. Kinds of rows, stints and gaps come as often, and are as long, as in r12 (the
numbers below), drawn from a generator with a fixed seed. There is neither GLOBAL_CHANGE nor MISCONFIG, 0.5 % of r12's
rows; in addition a few entries of 2 MiB are written, which later faults split, and there are calls of no p2m, as when a
vCPU's VMCS is cleared on the pCPU that it has left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.p2m_types import INVALID, RAM_LOGDIRTY, RAM_RW
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Domain, Facts, Workload

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]
Values = NDArray[Any] | int | None

GROUP = 8
SEED = 12

DOM0, MIGRATED, BUILT = range(3)
SHARE_OF_STINTS = (0.70, 0.22, 0.08)
"""Of the stints of vCPUs on pCPUs: 10,645, 3,359 and 1,292 in r12."""
ENTRIES_PER_STINT = 30.7
FAULTS_PER_ENTRY = 0.068
SPLITS_PER_ENTRY = 0.01
POPULATES_PER_STINT = 6.2
SUPERPAGES_PER_POPULATE = 0.01
IDLES_PER_STINT = 0.77
WOKEN_BY_OTHERS = 0.75
MOVES_PER_ROUND = 0.25
CALIBRATION_ROUNDS = 50
"""Every so many stints of the first pCPU, a call to all others."""

GAPS: dict[int, tuple[float, float]] = {
    s.VMENTER: (25_900, 0.7),
    s.VMEXIT: (57_300, 0.7),
    s.SWITCH_IN: (700, 0.5),
    s.SWITCH_OUT: (300_000, 1.2),
    s.IDLE: (760, 0.5),
    s.HOLD_BEGIN: (10_000, 0.4),
}
"""Medians in ns, and standard deviations of the logarithm, of the gaps before rows; others follow at once."""
IDLE_GAP = (500_000, 1.5)

MIGRATED_FRAMES = 1 << 17
SUPERPAGE, FIRST_SUPERPAGE = 1 << 9, 1 << 24
MFN_OFFSET = 1 << 28


class Mix(NamedTuple):
    """A workload; and of each row the pCPU that it calls, -1 where it calls all or is no call."""

    workload: Workload
    target: Int64s


class _Stints(NamedTuple):
    """All stints, [pCPU, round] flattened: whose, the vCPU, and how it begins and ends.

    ``left``: which stint its vCPU was in before, if that was on another pCPU, else -1; ``woken``: the pCPU has idled
    before; ``waker``: the stint whose end wakes it, or -1. ``units``: VM entries, or populated entries.
    """

    kind: Int64s
    vcpu: Int64s
    left: Int64s
    woken: Bools
    idles: Bools
    waker: Int64s
    units: Int64s


def make_mix(pcpus: int, rows: int, seed: int = SEED) -> Mix:
    """Return about so many rows on so many pCPUs, a multiple of ``GROUP``; the same ones for the same arguments."""
    if pcpus % GROUP or pcpus <= 0:
        raise ValueError(f"{pcpus} pCPUs: expected a multiple of {GROUP}")
    draw = np.random.Generator(np.random.PCG64((seed, pcpus, rows)))
    guest_rows = ENTRIES_PER_STINT * (2 + 3 * FAULTS_PER_ENTRY)
    per_stint = (1 - SHARE_OF_STINTS[DOM0]) * guest_rows + SHARE_OF_STINTS[DOM0] * 3 * POPULATES_PER_STINT + 4
    rounds = max(2, round(rows / pcpus / per_stint))
    return _written_out(_draw_stints(draw, pcpus, rounds), pcpus, rounds, draw)


def _draw_stints(draw: np.random.Generator, pcpus: int, rounds: int) -> _Stints:
    """Draw who runs where: in each round every pCPU has one stint, and no two of a group the same vCPU."""
    shape = (rounds, pcpus)
    kind = draw.choice(3, shape, p=SHARE_OF_STINTS)
    turns = (draw.random((rounds, pcpus // GROUP, 3)) < MOVES_PER_ROUND).cumsum(axis=0)
    pcpu = np.arange(pcpus)
    group = pcpu // GROUP
    turn = turns[np.arange(rounds)[:, None], group[None, :], kind]
    vcpu = (pcpu[None, :] + turn) % GROUP
    number = pcpu[None, :] * rounds + np.arange(rounds)[:, None]
    left = np.full(shape, -1)
    last = np.full((pcpus // GROUP, 3, GROUP), -1)
    for r in range(rounds):
        before = last[group, kind[r], vcpu[r]]
        left[r] = np.where(before // rounds != pcpu, before, -1)
        last[group, kind[r], vcpu[r]] = number[r]
    idles = draw.random(shape) < IDLES_PER_STINT
    woken = np.zeros(shape, np.bool_)
    woken[1:] = idles[:-1]
    other = group * GROUP + (pcpu + draw.integers(1, GROUP, shape)) % GROUP
    waker = np.where(
        woken & (draw.random(shape) < WOKEN_BY_OTHERS), other * rounds + np.arange(rounds)[:, None] - 1, -1
    )
    mean = np.where(kind == DOM0, POPULATES_PER_STINT, ENTRIES_PER_STINT)
    units = draw.geometric(1 / mean)
    # From rounds, in which they were drawn, to programs.
    return _Stints(
        kind=kind.T.ravel(),
        vcpu=vcpu.T.ravel(),
        left=left.T.ravel(),
        woken=woken.T.ravel(),
        idles=idles.T.ravel(),
        waker=waker.T.ravel(),
        units=units.T.ravel(),
    )


def _written_out(stints: _Stints, pcpus: int, rounds: int, draw: np.random.Generator) -> Mix:
    """Return the rows of all stints."""
    guest = stints.kind != DOM0
    of_unit = np.repeat(np.arange(stints.kind.size), stints.units)
    writes = ~guest[of_unit]
    chance = np.where(stints.kind[of_unit] == BUILT, SPLITS_PER_ENTRY, FAULTS_PER_ENTRY)
    writes |= draw.random(of_unit.size) < chance
    calls = guest & (stints.left >= 0)
    calls[:rounds:CALIBRATION_ROUNDS] = True
    unit_size = 2 * guest[of_unit] + 3 * writes
    head = 1 + stints.woken + calls
    body = np.bincount(of_unit, unit_size, stints.kind.size).astype(np.int64)
    size = head + body + 1 + stints.idles
    start = np.cumsum(size) - size
    within = np.cumsum(unit_size) - unit_size
    unit = (start + head)[of_unit] + within - (np.cumsum(body) - body)[of_unit]
    out = start + head + body
    total = int(size.sum())
    stint = np.repeat(np.arange(size.size), size)

    op = np.full(total, s.VMENTER, np.uint8)
    op[start[stints.woken]] = s.WAKE
    enters = start + stints.woken
    op[enters] = s.SWITCH_IN
    op[(enters + 1)[calls]] = s.CALL
    op[unit[guest[of_unit]] + 1] = s.VMEXIT
    begin = (unit + 2 * guest[of_unit])[writes]
    op[begin], op[begin + 1], op[begin + 2] = s.HOLD_BEGIN, s.SET, s.HOLD_END
    op[out] = s.SWITCH_OUT
    op[(out + 1)[stints.idles]] = s.IDLE

    edge = np.full(total, -1, np.int64)
    edge[enters] = np.where(stints.left >= 0, out[stints.left], -1)
    edge[start[stints.woken]] = np.where(stints.waker >= 0, out[stints.waker], -1)[stints.woken]
    gap = _gaps(op, draw)
    _idle_until_woken(gap, stints, start, size, rounds)
    target = np.full(total, -1, np.int64)
    target[(enters + 1)[calls]] = np.where(stints.left >= 0, stints.left // rounds, -1)[calls]
    first = np.append(start[::rounds], total)
    recorded = np.cumsum(gap)
    recorded -= np.repeat((recorded - gap)[first[:-1]], np.diff(first))
    written = _writes(stints, of_unit[writes], rounds, draw)
    return Mix(_workload(pcpus, first, op, gap, edge, recorded, stint, stints, begin, written, rounds, target), target)


def _gaps(op: NDArray[np.uint8], draw: np.random.Generator) -> Int64s:
    median, spread = np.zeros(256), np.zeros(256)
    for kind, (middle, deviation) in {**GAPS, s.WAKE: IDLE_GAP}.items():
        median[kind], spread[kind] = middle, deviation
    return np.rint(median[op] * np.exp(spread[op] * draw.standard_normal(op.size))).astype(np.int64)


def _idle_until_woken(gap: Int64s, stints: _Stints, start: Int64s, size: Int64s, rounds: int) -> None:
    """Let pCPUs idle, or wait for a vCPU, until what they wait for has been recorded."""
    busy = np.add.reduceat(gap, start)
    begins = start[:, None] + np.arange(2)
    end = np.zeros(stints.kind.size, np.int64)
    for r in range(rounds):
        now = np.arange(r, stints.kind.size, rounds)
        after = end[now - 1] if r else np.zeros(now.size, np.int64)
        for step, edge in enumerate((np.where(stints.woken, stints.waker, stints.left)[now], stints.left[now])):
            # Where the pCPU has idled, the first row of the stint is WAKE; else SWITCH_IN is the first.
            row = begins[now, step * stints.woken[now]]
            due = after + gap[start[now]] + (gap[row] if step else 0)
            late = np.maximum(np.where(edge >= 0, end[edge] + 1000, 0) - due, 0)
            gap[row] += late
            busy[now] += late
        end[now] = after + busy[now]
    assert (np.add.reduceat(gap, start) == busy).all()
    assert (size > 0).all()


class _Writes(NamedTuple):
    """What is written by each SET, in the order of rows."""

    gfn: Int64s
    order: Int64s
    is_fault: Bools
    p2m_dom: Int64s


def _writes(stints: _Stints, stint: Int64s, rounds: int, draw: np.random.Generator) -> _Writes:
    """Return the writes of stints: faults at frames of the migrated guest or in superpages, new frames in turn."""
    kind, group, when = stints.kind[stint], stint // rounds // GROUP, stint % rounds
    is_fault = kind != DOM0
    is_super = ~is_fault & (draw.random(stint.size) < SUPERPAGES_PER_POPULATE)
    gfn = draw.integers(0, MIGRATED_FRAMES, stint.size)
    order = np.lexsort((stint, when, group))
    for chosen, first, step in ((~is_fault & ~is_super, 0, 1), (is_super, FIRST_SUPERPAGE, SUPERPAGE)):
        rows = order[chosen[order]]
        of = group[rows]
        ahead = np.arange(rows.size) - np.searchsorted(of, of)
        gfn[rows] = first + step * ahead
    # A fault that splits is in one of the superpages that the group's guest had by then, or in its first.
    splits = np.flatnonzero(kind == BUILT)
    supers = order[is_super[order]]
    moment = group * rounds + when
    known = np.searchsorted(moment[supers], moment[splits]) - np.searchsorted(group[supers], group[splits])
    place = np.floor(draw.random(splits.size) * np.maximum(known, 1)).astype(np.int64)
    gfn[splits] = FIRST_SUPERPAGE + SUPERPAGE * place + draw.integers(0, SUPERPAGE, splits.size)
    dom = np.where(kind == MIGRATED, _domain(MIGRATED, group), _domain(BUILT, group))
    return _Writes(gfn, np.where(is_super, 9, 0), is_fault, dom)


def _domain(kind: Int64s | int, group: Int64s) -> Int64s:
    """Return the number of a group's domain."""
    return np.where(np.asarray(kind) == DOM0, 0, 2 * group + kind)


def _workload(
    pcpus: int,
    first: Int64s,
    op: NDArray[np.uint8],
    gap: Int64s,
    edge: Int64s,
    recorded: Int64s,
    stint: Int64s,
    stints: _Stints,
    begin: Int64s,
    writes: _Writes,
    rounds: int,
    target: Int64s,
) -> Workload:
    """Return the columns of a workload."""
    size = op.size
    group = stint // rounds // GROUP
    is_idle = np.isin(op, (s.IDLE, s.WAKE))
    kind = stints.kind[stint]

    def column(number: type, value: int, of_holds: Values = None, of_sets: Values = None) -> NDArray[Any]:
        whole: NDArray[Any] = np.full(size, value, number)
        if of_holds is not None:
            whole[begin] = whole[begin + 1] = whole[begin + 2] = of_holds
        if of_sets is not None:
            whole[begin + 1] = of_sets
        return whole

    cause = np.where(writes.is_fault, CAUSES.index("logdirty_fault"), CAUSES.index("populate"))
    run_dom = np.where(is_idle, -1, _domain(kind, group))
    vcpu = stints.vcpu[stint] + np.where(kind == DOM0, GROUP * group, 0)
    columns: dict[str, Any] = {
        "pcpus": np.arange(pcpus),
        "begin": first,
        "t_ns": recorded,
        "gap_ns": gap,
        "op": op,
        "run_dom": run_dom.astype(np.int32),
        "run_vcpu": np.where(is_idle, -1, vcpu).astype(np.int32),
        "p2m_dom": column(np.int32, -1, writes.p2m_dom),
        "p2m_view": column(np.int32, -1, 0),
        "hold": column(np.int64, -1, np.arange(begin.size)),
        "gfn": column(np.uint64, s.NO_GFN, None, writes.gfn.astype(np.uint64)),
        "order": column(np.int32, -1, None, writes.order),
        "mfn": column(np.uint64, s.NO_GFN, None, (writes.gfn + MFN_OFFSET).astype(np.uint64)),
        "old_type": column(np.int16, -1, None, np.where(writes.is_fault, RAM_LOGDIRTY, INVALID)),
        "old_known": column(np.int8, -1, None, np.where(writes.is_fault, s.BY_CAUSE, s.CREATED)),
        "new_type": column(np.int16, -1, None, RAM_RW),
        "cause": column(np.int8, -1, cause),
        "origin": column(np.int8, s.SYNTHETIC),
        "time_origin": column(np.int8, s.TIMED),
        "count": column(np.int64, 1),
        "edge": edge,
        "last_gfn": column(np.uint64, s.NO_GFN),
        "access": column(np.int8, -1),
        "old_present": column(np.int8, -1, None, writes.is_fault),
        "preemptible": column(np.int8, -1),
        "not_before_ns": column(np.int64, -1),
        "not_after_ns": column(np.int64, -1),
        "target": target.astype(np.int32),
        "freed_by": column(np.int64, -1),
        "cut_ns": column(np.int64, 0),
    }
    # CALL rows have a cause that is a number, as acts have.
    columns["cause"][op == s.CALL] = CAUSES.index("other")
    groups = range(pcpus // GROUP)
    guests = [Domain(2 * g + k, True, False, k == BUILT) for g in groups for k in (MIGRATED, BUILT)]  # noqa: FBT003
    domains = (Domain(0, False, True, False), *guests)  # noqa: FBT003 (a table of facts)
    return Workload(**columns, domains=domains, facts=Facts(True, True, True), shares=())  # noqa: FBT003
