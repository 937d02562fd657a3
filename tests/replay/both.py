"""One recording through the executable specification and through the engine, as tables that can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay import model
from eptreplay.causes import CAUSES
from eptreplay.machine import ept
from eptreplay.machine.fields import MODES
from eptreplay.model.ept import look_up
from eptreplay.model.tables import MEASURES
from eptreplay.replay import tally as y
from eptreplay.replay.program import Numbers, Reading, number_workload
from eptreplay.replay.simulate import Detail, Manner, Outcome, simulate
from eptreplay.strategies import Strategy
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Domain, Facts, Workload

NONE = -1
RECURSIVE = 1_000_000
"""From this number on holds are none of their own: their lock is held already."""
STEPS = (0, 1, -1, 1 << 9, 1 << 18, -(1 << 9), -(1 << 18))
"""How far frames are from those that rows name, whose entries are compared as well."""
TOTALS = {
    "icr_writes": y.ICR_WRITES,
    "other_calls": y.OTHER_CALLS,
    "other_ipis": y.OTHER_IPIS,
    "alloc_flushes": y.ALLOC_FLUSHES,
    "call_wait_ns": y.CALL_WAIT,
    "stall_ns_max": y.STALL,
}
"""Sums that the specification calls so, and where the engine has them."""
"""Numbers of a result that are charged to nobody."""
Tables = dict[str, Any]
Entries = dict[tuple[tuple[int, int], int, int], tuple[str, int] | tuple[str, int, int, int] | None]
"""By p2m, frame and level."""


def workload_of(recording: model.Recording) -> tuple[Workload, list[model.Row]]:
    """Return the arrays that lowering would have made, and the rows in their order."""
    pcpus = sorted(recording.programs)
    position = positions_of(recording)
    rows: list[model.Row] = []
    begin = [0]
    for pcpu in pcpus:
        _, program = recording.programs[pcpu]
        rows += _numbered(program, RECURSIVE + len(rows))
        begin.append(len(rows))

    def column(kind: type, values: list[int | None]) -> NDArray[Any]:
        return np.array([NONE if value is None else value for value in values], kind)

    size = len(rows)
    zeros = np.zeros(size, np.int64)
    workload = Workload(
        pcpus=np.array(pcpus, np.int64),
        begin=np.array(begin, np.int64),
        t_ns=zeros,
        gap_ns=column(np.int64, [row.gap_ns for row in rows]),
        op=column(np.uint8, [s.OP_NAMES.index(row.op) for row in rows]),
        run_dom=column(np.int32, [row.dom for row in rows]),
        run_vcpu=column(np.int32, [row.vcpu for row in rows]),
        p2m_dom=column(np.int32, [row.p2m[0] if row.p2m else None for row in rows]),
        p2m_view=column(np.int32, [row.p2m[1] if row.p2m else None for row in rows]),
        hold=column(np.int64, [row.hold for row in rows]),
        gfn=np.array([s.NO_GFN if row.gfn is None else row.gfn for row in rows], np.uint64),
        order=column(np.int32, [row.order for row in rows]),
        mfn=np.array([row.mfn for row in rows], np.uint64),
        old_type=column(np.int16, [row.old_type for row in rows]),
        old_known=np.full(size, s.BY_CAUSE, np.int8),
        new_type=column(np.int16, [row.new_type for row in rows]),
        cause=column(np.int8, [CAUSES.index(row.cause) for row in rows]),
        origin=column(np.int8, [s.ORIGINS.index(row.origin) for row in rows]),
        time_origin=np.zeros(size, np.int8),
        count=column(np.int64, [row.count for row in rows]),
        edge=column(np.int64, [None if row.edge is None else position[row.edge] for row in rows]),
        target=column(np.int32, [row.target for row in rows]),
        freed_by=column(np.int64, [None if row.freed_by is None else position[row.freed_by] for row in rows]),
        cut_ns=column(np.int64, [row.cut_ns for row in rows]),
        last_gfn=np.array([s.NO_GFN if row.last_gfn is None else row.last_gfn for row in rows], np.uint64),
        access=column(np.int8, [row.access for row in rows]),
        old_present=column(np.int8, [int(row.present) for row in rows]),
        preemptible=column(np.int8, [int(row.preemptible) if row.op == "LOOKUP" else None for row in rows]),
        not_before_ns=zeros,
        not_after_ns=zeros,
        domains=tuple(
            Domain(d.number, d.has_guest_mode, assumed=False, created=d.created) for d in recording.domains.values()
        ),
        facts=Facts(has_sched=True, has_vm_entries=recording.has_vm_entries, has_times=True),
        shares=(),
    )
    return workload, rows


def positions_of(recording: model.Recording) -> dict[int, int]:
    """Return the positions in the workload of all rows, by their numbers."""
    position: dict[int, int] = {}
    for pcpu in sorted(recording.programs):
        first, program = recording.programs[pcpu]
        position.update({first + i: len(position) + i for i in range(len(program))})
    return position


def profile_of(costs: model.Costs) -> dict[str, Any]:
    """Return costs under the names of a profile."""
    flat: dict[str, Any] = {}
    for name, value in costs._asdict().items():
        if isinstance(value, tuple):
            for distance, number in zip(("core", "socket", "remote"), value, strict=True):
                bare = name.removesuffix("_ns")
                flat[f"{bare}_{distance}{name[len(bare) :]}"] = number
        else:
            flat[name] = value
    return flat


def by_engine(
    recording: model.Recording,
    strategy: Strategy,
    costs: model.Costs,
    manner: Manner = Manner(),  # noqa: B008 (a tuple)
) -> Tables:
    """Return what the engine says."""
    workload, rows = workload_of(recording)
    program, numbers = number_workload(workload, Reading(tables=strategy.tables))
    room = 20 * len(rows) + 100
    detail = Detail(room, room * 8, room, 40 * room, rows=True)
    outcome = simulate(workload, program, numbers, strategy, profile_of(costs), manner, detail)
    return _tables_of(outcome, rows)


def _tables_of(outcome: Outcome, rows: list[model.Row]) -> Tables:
    numbers, t, host = outcome.numbers, outcome.tally, outcome.host
    total = t.total
    pcpus = numbers.pcpus.tolist()
    hold = t.hold[: numbers.holds.size]
    p2ms = [(dom, view) for dom, view in numbers.p2ms]
    broadcast = t.broadcast[: total[y.BROADCAST_ROWS]]
    ack = t.ack[: total[y.ACK_ROWS]]
    invept = t.invept[: total[y.INVEPT_ROWS]]
    measured = {}
    for i, dom in enumerate(numbers.domains):
        for cause, name in enumerate(CAUSES):
            values = dict(zip(MEASURES, t.measure[i, cause].tolist(), strict=False))
            if any(values.values()):
                measured[dom, name] = values
    return {
        "holds": [
            (
                int(numbers.holds[i]), pcpus[numbers.hold_pcpu[i]], p2ms[numbers.hold_p2m[i]],
                CAUSES[numbers.hold_cause[i]], *hold[i, [y.H_REQUEST, y.H_ACQUIRE, y.H_RELEASE, y.H_END]].tolist(),
                *hold[i, [y.H_SETS, y.H_BROADCASTS]].tolist(),
            )
            for i in range(hold.shape[0]) if hold[i, y.H_DONE]
        ],
        "broadcasts": [
            (
                number, int(numbers.holds[b[y.B_HOLD]]), pcpus[b[y.B_PCPU]], b[y.B_DOM], CAUSES[b[y.B_CAUSE]],
                bool(b[y.B_UNDER]), *b[[y.B_REQUEST, y.B_LOCKED, y.B_SENT, y.B_DONE, y.B_TARGETS]].tolist(),
                pcpus[b[y.B_SLOWEST]] if b[y.B_SLOWEST] >= 0 else None,
            )
            for number, b in enumerate(_with_domains(broadcast, numbers.domains))
        ],
        "acks": sorted((int(a[0]), pcpus[a[1]], MODES[a[2]], int(a[3]), int(a[4])) for a in ack),
        "invepts": sorted(
            (int(i[1]), pcpus[i[0]], numbers.domains[i[2]], y.WHERE[i[3]]) for i in invept
        ),
        "modes": {c: dict(zip(MODES, t.mode[i].tolist(), strict=True)) for i, c in enumerate(pcpus)},
        "measures": measured,
        "totals": (
            int(total[y.VMENTERS]), int(total[y.VMENTER_INVEPTS]), int(total[y.UNDER_LOCK]), int(total[y.SIMULATED])
        ),
        "drift": {c: int(t.cpu[i, y.C_DRIFT]) for i, c in enumerate(pcpus)},
        "received": {c: int(t.cpu[i, y.C_IPIS]) for i, c in enumerate(pcpus)},
        "marks": {
            p2m: frozenset(c for i, c in enumerate(pcpus) if _is_in(host.mark[n], i)) for n, p2m in enumerate(p2ms)
        },
        "entries": _entries(outcome, rows),
        "lookups": [
            (
                row, _pcpu_of(numbers, row), rows[row].p2m, rows[row].count, k[y.L_BEGIN], k[y.L_TOTAL], k[y.L_MAX],
                k[y.L_END] - k[y.L_BEGIN],
            )
            for row, k in zip(numbers.reads.tolist(), t.lookup.tolist(), strict=True)
        ],
        "read_waits": sorted(t.read_wait.tolist()),
        "spans": _spans(t.span[: total[y.SPAN_ROWS]], pcpus),
        "timeline": (
            int(total[y.BUCKET_WIDTH]),
            [
                dict(zip(MEASURES, bucket, strict=False))
                for bucket in t.bucket[: int(total[y.SIMULATED]) // int(total[y.BUCKET_WIDTH]) + 1].tolist()
            ],
        ),
        "counts": {name: int(total[at]) for name, at in TOTALS.items()},
        "call_held": int(host.lock[0].held),
        "held": {p2m: int(host.lock[1 + n].held) for n, p2m in enumerate(p2ms)},
        "watchdog": (
            tuple(int(total[at]) for at in (y.FIRED_AT, y.FIRED_ON, y.FIRED_ROW)) if total[y.FIRED_AT] >= 0 else None
        ),
        "edge_waits": {c: (int(t.cpu[i, y.C_EDGES]), int(t.cpu[i, y.C_EDGE_NS])) for i, c in enumerate(pcpus)},
        "row_costs": {row: cost for row, cost in enumerate(t.row[:, y.R_COST].tolist()) if cost},
        "carried": dict(enumerate(t.row[:, y.R_CARRIED].tolist())),
    }  # fmt: skip


def _pcpu_of(numbers: Numbers, row: int) -> int:
    return int(numbers.pcpus[np.searchsorted(numbers.begin, row, side="right") - 1])


def _spans(spans: NDArray[np.int64], pcpus: list[int]) -> list[tuple[int, str, int, int]]:
    """Return stretches of one mode, those that follow each other as one."""
    merged: list[tuple[int, str, int, int]] = []
    for c, mode, start, end in sorted(spans.tolist(), key=lambda span: (span[0], span[2])):
        continues = bool(merged) and merged[-1][:2] == (pcpus[c], MODES[mode]) and merged[-1][3] == start
        merged.append((pcpus[c], MODES[mode], merged.pop()[2] if continues else start, end))
    return merged


def _is_in(words: NDArray[np.uint64], c: int) -> bool:
    """Tell whether a pCPU is in a set of them."""
    return bool(int(words[c // 64]) >> c % 64 & 1)


def _with_domains(broadcast: NDArray[np.int64], domains: tuple[int, ...]) -> NDArray[np.int64]:
    changed = broadcast.copy()
    for row in changed:
        row[y.B_DOM] = domains[row[y.B_DOM]]
    return changed


def _numbered(program: tuple[model.Row, ...], free: int) -> list[model.Row]:
    """Return a program in which holds within a hold of the same p2m have numbers of their own, from ``free`` on."""
    held: list[tuple[tuple[int, int] | None, int | None]] = []
    rows = []
    for number, row in enumerate(program, free):
        changed = row
        if row.op == "HOLD_BEGIN":
            hold = number if row.p2m in [p2m for p2m, _ in held] else row.hold
            held.append((row.p2m, hold))
            changed = row._replace(hold=hold)
        elif row.op == "HOLD_END":
            changed = row._replace(hold=held.pop()[1])
        rows.append(changed)
    return rows


def _places(rows: Iterable[model.Row]) -> dict[tuple[int, int], set[int]]:
    """Return frames of each p2m whose entries are worth a look: those that rows name, and some around them."""
    places: dict[tuple[int, int], set[int]] = {}
    for row in rows:
        if row.p2m is not None:
            around = places.setdefault(row.p2m, {0})
            for gfn in (row.gfn, row.last_gfn):
                around |= {gfn + step & ept.GFN_MASK for step in STEPS} if gfn is not None else set()
    return places


def _entries(outcome: Outcome, rows: list[model.Row]) -> Entries:
    """Return what the engine's tables hold on the paths of those frames: present, type, frame and mark, or None."""
    numbers, node = outcome.numbers, outcome.host.node
    number = {p2m: n for n, p2m in enumerate(numbers.p2ms)}
    found: Entries = {}
    for p2m, frames in _places(rows).items():
        for gfn, level in product(frames, range(ept.LEVELS)):
            entry = ept.look_up(node, number[p2m], gfn, level)
            if entry == ept.ABSENT:
                found[p2m, gfn, level] = None
            elif not entry & ept.LEAF:
                found[p2m, gfn, level] = ("table", (entry & ept.MARK) >> ept.MARK_SHIFT)
            else:
                kind, mfn = entry >> ept.TYPE_SHIFT & ept.TYPE_MASK, entry >> ept.FRAME_SHIFT & ept.FRAME_MASK
                found[p2m, gfn, level] = ("leaf", kind, mfn, (entry & ept.MARK) >> ept.MARK_SHIFT)
    return found


def _entries_of_model(result: model.Result, rows: Iterable[model.Row]) -> Entries:
    found: Entries = {}
    for p2m, frames in _places(rows).items():
        for gfn, level in product(frames, range(ept.LEVELS)):
            entry = look_up(result.tables[p2m], gfn, level)
            if entry is None:
                found[p2m, gfn, level] = None
            elif entry.kind == "table":
                found[p2m, gfn, level] = ("table", entry.mark)
            else:
                found[p2m, gfn, level] = ("leaf", entry.type, entry.mfn & ept.FRAME_MASK, entry.mark)
    return found


def by_model(
    recording: model.Recording,
    strategy: Strategy,
    costs: model.Costs,
    manner: Manner = Manner(),  # noqa: B008 (a tuple)
) -> Tables:
    """Return what the specification says, in the same shape. Rows go by their positions in the workload."""
    result = model.replay(recording, strategy, costs, *manner)
    position = positions_of(recording)
    pcpus = sorted(recording.programs)
    known = {row.p2m for _, rows in recording.programs.values() for row in rows}
    known |= {(domain.number, 0) for domain in recording.domains.values() if domain.has_guest_mode}
    return {
        "holds": [tuple(hold) for hold in result.holds],
        "broadcasts": [(b.broadcast, b.hold, b.pcpu, b.p2m[0], *b[4:]) for b in result.broadcasts],
        "acks": sorted(tuple(ack) for ack in result.acks),
        "invepts": sorted((i.t_ns, i.pcpu, i.dom, i.where) for i in result.invepts),
        "modes": {c: {mode: result.modes[c].get(mode, 0) for mode in MODES} for c in pcpus},
        "measures": result.measures,
        "totals": (
            result.vmenters, result.vmenter_invepts, result.broadcasts_under_lock, result.simulated_ns
        ),
        "drift": result.drift_ns,
        "received": {c: result.ipis_received.get(c, 0) for c in pcpus},
        "marks": {p2m: marks for p2m, marks in result.marks.items() if p2m in known},
        "lookups": sorted((position[x.row], *x[1:]) for x in result.lookups),
        "read_waits": result.read_waits,
        "spans": result.spans,
        "timeline": (result.bucket_ns, result.timeline),
        "counts": {name: getattr(result, name) for name in TOTALS},
        "call_held": result.call_held_ns,
        "held": {p2m: held_ns for p2m, held_ns in result.held_ns.items() if p2m in known},
        "watchdog": result.watchdog and (*result.watchdog[:2], position[result.watchdog[2]]),
        "edge_waits": result.edge_waits,
        "row_costs": {position[row]: cost for row, cost in result.row_costs.items() if cost},
        "carried": {position[row]: t_ns for row, t_ns in result.carried_ns.items()},
        "entries": _entries_of_model(result, [row for _, rows in recording.programs.values() for row in rows]),
    }  # fmt: skip
