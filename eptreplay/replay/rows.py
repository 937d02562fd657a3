"""Rows of the result tables out of what replays counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.machine import fields as f
from eptreplay.machine.fields import MODES
from eptreplay.replay import tally as y
from eptreplay.replay.schema import RESULT_TABLES
from eptreplay.replay.simulate import Outcome
from eptreplay.replay.unknown import is_unknown, unknown_columns
from eptreplay.strategies.strategy import Strategy
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Workload

QUANTILES = {"p50": (1, 2), "p90": (9, 10), "p99": (99, 100), "p999": (999, 1000)}
"""Shares as fractions: a quantile is the smallest value that so many of all do not exceed (nearest rank)."""

Table = dict[str, NDArray[Any] | list[Any]]


class Run(NamedTuple):
    """One row of ``runs``: what was replayed how.

    ``recorded_as``: whose costs were taken from the gaps, and of how many rows they would have taken too much.
    """

    number: int
    strategy: Strategy
    lock: str
    profile: str
    seed: int
    preset: str | None = None
    recorded_as: str | None = None
    clamped_rows: int | None = None


class Replayed(NamedTuple):
    """A run and its outcome; ``other_broadcasts``: how many there were where doubtful rows were read otherwise."""

    run: Run
    outcome: Outcome
    other_broadcasts: tuple[int, ...]


def quantile(ordered: NDArray[np.int64], share: tuple[int, int]) -> int | None:
    """Return the nearest-rank quantile of ascending values, None of none."""
    if not ordered.size:
        return None
    rank = -(-ordered.size * share[0] // share[1])
    return int(ordered[max(rank, 1) - 1])


def run_rows(workload: Workload, replayed: Replayed) -> list[dict[str, Any]]:
    """Return the row of ``runs`` for one replay, with null where the recording cannot tell."""
    run, tally = replayed.run, replayed.outcome.tally
    measure = tally.measure.sum(axis=(0, 1))
    total = tally.total
    hold = tally.hold[: replayed.outcome.numbers.holds.size]
    hold = hold[hold[:, y.H_DONE] != 0]
    broadcasts = int(measure[y.BROADCASTS])
    sets = workload.op == s.SET
    recorded = int((sets & (workload.origin == s.FROM_RECORD)).sum())
    all_sets = int(workload.count[sets].sum())
    row: dict[str, Any] = {
        "run": run.number,
        "preset": run.preset,
        "strategy": run.strategy.name,
        "lock": run.lock,
        "profile": run.profile,
        "seed": run.seed,
        "recorded_as": run.recorded_as,
        "clamped_rows": run.clamped_rows,
        "p2m_sets": all_sets,
        "p2m_sets_recorded": recorded,
        "p2m_sets_inferred": all_sets - recorded,
        "ept_stores": int(measure[y.STORES]),
        "holds": int(measure[y.HOLDS]),
        "syncs": int(measure[y.SYNCS]),
        "broadcasts": broadcasts,
        "broadcasts_min": min((broadcasts, *replayed.other_broadcasts)),
        "broadcasts_max": max((broadcasts, *replayed.other_broadcasts)),
        "broadcasts_under_lock": int(total[y.UNDER_LOCK]),
        "ipis": int(measure[y.IPIS]),
        "invepts": int(measure[y.INVEPTS]),
        "vmenters": int(total[y.VMENTERS]),
        "vmenter_invepts": int(total[y.VMENTER_INVEPTS]),
        **_spread("hold_ns", hold[:, y.H_RELEASE] - hold[:, y.H_ACQUIRE]),
        **_spread("write_wait_ns", hold[:, y.H_ACQUIRE] - hold[:, y.H_REQUEST]),
        **(_spread("read_wait_ns", tally.read_wait) if tally.read_wait.size else {}),
        **_spread("op_latency_ns", hold[:, y.H_END] - hold[:, y.H_REQUEST]),
        "post_unlock_wait_ns_total": int(total[y.POST_UNLOCK]),
        "call_lock_wait_ns_total": int(total[y.CALL_WAIT]),
        **_utilisation(run.strategy, replayed.outcome),
        **{name: int(total[at]) for name, at in _TOTALS.items()},
        **_watchdog(replayed.outcome),
        "guest_stolen_ns": int(measure[y.STOLEN]),
        "assumed_rows": int((sets & (workload.old_known == s.ASSUMED)).sum()),
        "interpolated_rows": int((workload.time_origin == s.INTERPOLATED).sum()),
        "simulated_ns": int(total[y.SIMULATED]),
    }
    unknown = _unknown(workload, replayed)
    return [_known({column.name: row.get(column.name) for column in RESULT_TABLES["runs"]}, unknown)]


_TOTALS = {
    "icr_writes": y.ICR_WRITES,
    "other_calls": y.OTHER_CALLS,
    "other_ipis": y.OTHER_IPIS,
    "alloc_flushes": y.ALLOC_FLUSHES,
    "stall_ns_max": y.STALL,
}


def _utilisation(strategy: Strategy, outcome: Outcome) -> dict[str, float | None]:
    """Return the shares of the time that locks were held."""
    held, simulated = outcome.host.lock.held, int(outcome.tally.total[y.SIMULATED])
    if not simulated:
        return {}
    shares: dict[str, float | None] = {"lock_utilisation": int(held[1:-1].max(initial=0)) / simulated}
    if strategy.call_lock == "serial":
        shares["call_lock_utilisation"] = int(held[0]) / simulated
    return shares


def _watchdog(outcome: Outcome) -> dict[str, Any]:
    """Return when and where the watchdog fired. That it did not can be said only of a workload with lookups."""
    total = outcome.tally.total
    if total[y.FIRED_AT] == f.NONE:
        return {"watchdog_fired": False if outcome.numbers.reads.size else None}
    return {
        "watchdog_fired": True,
        "watchdog_at_ns": int(total[y.FIRED_AT]),
        "watchdog_pcpu": int(total[y.FIRED_ON]),
        "watchdog_row": int(total[y.FIRED_ROW]),
    }


def _unknown(workload: Workload, replayed: Replayed) -> tuple[str, ...]:
    """Return beginnings of the names of columns that the recording cannot tell for a replay."""
    under_lock = bool(replayed.outcome.tally.total[y.UNDER_LOCK])
    return unknown_columns(workload.facts, replayed.run.strategy, under_lock=under_lock)


def _known(values: dict[str, Any], unknown: tuple[str, ...]) -> dict[str, Any]:
    """Return values by column, with null where the recording cannot tell."""
    return {name: None if is_unknown(name, unknown) else value for name, value in values.items()}


def _spread(name: str, values: NDArray[np.int64]) -> dict[str, int | None]:
    ordered = np.sort(values)
    spread: dict[str, int | None] = {f"{name}_{q}": quantile(ordered, share) for q, share in QUANTILES.items()}
    spread[f"{name}_total"] = int(ordered.sum())
    spread[f"{name}_max"] = int(ordered[-1]) if ordered.size else None
    return spread


def cause_rows(workload: Workload, replayed: Replayed) -> list[dict[str, Any]]:
    """Return the rows of ``causes``: each domain and cause with anything to count."""
    numbers, measure = replayed.outcome.numbers, replayed.outcome.tally.measure
    unknown = _unknown(workload, replayed)
    rows = []
    for i, dom in enumerate(numbers.domains):
        for cause, name in enumerate(CAUSES):
            if not measure[i, cause].any():
                continue
            who = {"run": replayed.run.number, "p2m_dom": dom if dom >= 0 else None, "cause": name}
            rows.append({**who, **_known(_measures(measure[i, cause]), unknown)})
    return rows


_MEASURES = {
    "holds": y.HOLDS, "hold_ns_total": y.HOLD_NS, "p2m_sets": y.SETS, "p2m_sets_recorded": y.RECORDED,
    "ept_stores": y.STORES, "syncs": y.SYNCS, "broadcasts": y.BROADCASTS, "ipis": y.IPIS, "invepts": y.INVEPTS,
    "guest_stolen_ns": y.STOLEN,
}  # fmt: skip


def _measures(counted: NDArray[np.int64]) -> dict[str, Any]:
    values = {column: int(counted[at]) for column, at in _MEASURES.items()}
    return {**values, "p2m_sets_inferred": values["p2m_sets"] - values["p2m_sets_recorded"]}


def timeline_rows(workload: Workload, replayed: Replayed) -> list[dict[str, Any]]:
    """Return the rows of ``timeline``; none where the recording has no times."""
    total, bucket = replayed.outcome.tally.total, replayed.outcome.tally.bucket
    if not workload.facts.has_times or not total[y.SIMULATED]:
        return []
    width = int(total[y.BUCKET_WIDTH])
    unknown = _unknown(workload, replayed)
    return [
        {
            "run": replayed.run.number,
            "t0_ns": number * width,
            "t1_ns": (number + 1) * width,
            **_known(_measures(bucket[number]), unknown),
        }
        for number in range(int(total[y.SIMULATED]) // width + 1)
    ]


def lookup_rows(workload: Workload, replayed: Replayed) -> list[dict[str, Any]]:
    """Return the rows of ``lookups``."""
    numbers, table = replayed.outcome.numbers, replayed.outcome.tally.lookup
    owner = np.searchsorted(numbers.begin, numbers.reads, side="right") - 1
    unknown = _unknown(workload, replayed)
    rows = []
    for k, row in enumerate(numbers.reads.tolist()):
        begin, end, total, longest = table[k].tolist()
        who = {
            "run": replayed.run.number,
            "row": row,
            "pcpu": int(numbers.pcpus[owner[k]]),
            "p2m_dom": int(workload.p2m_dom[row]),
            "preemptible": bool(workload.preemptible[row] == 1),
            "count": int(workload.count[row]),
        }
        times = {"t_ns": begin, "wait_ns_total": total, "wait_ns_max": longest, "elapsed_ns": end - begin}
        rows.append({**who, **_known(times, unknown)})
    return rows


def pcpu_rows(workload: Workload, replayed: Replayed) -> list[dict[str, Any]]:
    """Return the rows of ``pcpus``."""
    numbers, tally = replayed.outcome.numbers, replayed.outcome.tally
    unknown = _unknown(workload, replayed)
    rows = []
    for c, pcpu in enumerate(numbers.pcpus.tolist()):
        values = {f"{mode}_ns": int(tally.mode[c, number]) for number, mode in enumerate(MODES)}
        values["ipis_received"] = int(tally.cpu[c, y.C_IPIS])
        values["invepts"] = int(tally.cpu[c, y.C_INVEPTS])
        values["drift_ns"] = int(tally.cpu[c, y.C_DRIFT])
        values["edges_waited"], values["edge_wait_ns"] = int(tally.cpu[c, y.C_EDGES]), int(tally.cpu[c, y.C_EDGE_NS])
        rows.append({"run": replayed.run.number, "pcpu": pcpu, **_known(values, unknown)})
    return rows


def hold_columns(workload: Workload, replayed: Replayed) -> Table:
    """Return the columns of ``holds``, by number of the hold."""
    numbers, tally = replayed.outcome.numbers, replayed.outcome.tally
    hold = tally.hold[: numbers.holds.size]
    done = hold[:, y.H_DONE] != 0
    own = numbers.hold_p2m
    doms = np.array([dom for dom, _ in numbers.p2ms] or [0])[own]
    views = np.array([view for _, view in numbers.p2ms] or [0])[own]
    columns: Table = {
        "hold": numbers.holds,
        "pcpu": numbers.pcpus[numbers.hold_pcpu],
        "run_dom": _nullable(numbers.hold_dom),
        "p2m_dom": _nullable(doms),
        "p2m_view": views,
        "cause": [CAUSES[cause] for cause in numbers.hold_cause.tolist()],
        "t_request_ns": hold[:, y.H_REQUEST],
        "t_acquire_ns": hold[:, y.H_ACQUIRE],
        "t_release_ns": hold[:, y.H_RELEASE],
        "sets": hold[:, y.H_SETS],
        "broadcasts": hold[:, y.H_BROADCASTS],
    }
    return _masked(workload, replayed, {name: _take(values, done) for name, values in columns.items()})


def broadcast_columns(workload: Workload, replayed: Replayed) -> Table:
    """Return the columns of ``broadcasts``, in the order of requests."""
    numbers, table = replayed.outcome.numbers, replayed.outcome.tally.broadcast
    slowest = table[:, y.B_SLOWEST]
    columns: Table = {
        "broadcast": np.arange(table.shape[0]),
        "hold": numbers.holds[table[:, y.B_HOLD]],
        "pcpu": numbers.pcpus[table[:, y.B_PCPU]],
        "p2m_dom": _nullable(np.array(numbers.domains or (0,))[table[:, y.B_DOM]]),
        "cause": [CAUSES[cause] for cause in table[:, y.B_CAUSE].tolist()],
        "under_lock": table[:, y.B_UNDER] != 0,
        "t_request_ns": table[:, y.B_REQUEST],
        "t_locked_ns": table[:, y.B_LOCKED],
        "t_sent_ns": table[:, y.B_SENT],
        "t_done_ns": table[:, y.B_DONE],
        "targets": table[:, y.B_TARGETS],
        "slowest_pcpu": [int(numbers.pcpus[c]) if c >= 0 else None for c in slowest.tolist()],
    }
    return _masked(workload, replayed, columns)


def ack_columns(workload: Workload, replayed: Replayed) -> Table:
    """Return the columns of ``acks``, by broadcast and pCPU; none where nobody knows whom a broadcast meets."""
    numbers, table = replayed.outcome.numbers, replayed.outcome.tally.ack
    if is_unknown("targets", _unknown(workload, replayed)):
        table = table[:0]
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    columns: Table = {
        "broadcast": table[:, 0],
        "pcpu": numbers.pcpus[table[:, 1]],
        "mode": [MODES[mode] for mode in table[:, 2].tolist()],
        "t_deliver_ns": table[:, 3],
        "t_ack_ns": table[:, 4],
    }
    return _masked(workload, replayed, columns)


def mode_columns(workload: Workload, replayed: Replayed) -> Table:
    """Return the columns of ``modes``, by pCPU and time; none where the recording cannot tell."""
    numbers, table = replayed.outcome.numbers, replayed.outcome.tally.span
    if is_unknown("guest_ns", _unknown(workload, replayed)):
        table = table[:0]
    table = table[np.lexsort((table[:, 2], table[:, 0]))]
    # Stretches of one mode are counted whenever something about it might have changed.
    begins = np.ones(table.shape[0], np.bool_)
    begins[1:] = (table[1:, :2] != table[:-1, :2]).any(axis=1)
    first, last = np.flatnonzero(begins), np.flatnonzero(np.append(begins, True)[1:])
    columns: Table = {
        "pcpu": numbers.pcpus[table[first, 0]],
        "mode": [MODES[mode] for mode in table[first, 1].tolist()],
        "t0_ns": table[first, 2],
        "t1_ns": table[last, 3],
    }
    return _masked(workload, replayed, columns)


def invept_columns(workload: Workload, replayed: Replayed) -> Table:
    """Return the columns of ``invepts``, by time and pCPU; none where the recording cannot tell."""
    numbers, table = replayed.outcome.numbers, replayed.outcome.tally.invept
    if is_unknown("invepts", _unknown(workload, replayed)):
        table = table[:0]
    table = table[np.lexsort((table[:, 0], table[:, 1]))]
    columns: Table = {
        "pcpu": numbers.pcpus[table[:, 0]],
        "t_ns": table[:, 1],
        "p2m_dom": _nullable(np.array(numbers.domains or (0,))[table[:, 2]]),
        "where": [y.WHERE[where] for where in table[:, 3].tolist()],
    }
    return _masked(workload, replayed, columns)


def _nullable(values: NDArray[np.int64]) -> list[int | None]:
    return [value if value >= 0 else None for value in values.tolist()]


def _take(values: NDArray[Any] | list[Any], rows: NDArray[np.bool_]) -> NDArray[Any] | list[Any]:
    if isinstance(values, list):
        return [value for value, wanted in zip(values, rows.tolist(), strict=True) if wanted]
    return values[rows]


def _masked(workload: Workload, replayed: Replayed, columns: Table) -> Table:
    """Null the columns that the recording cannot tell, and put the run's number in front."""
    unknown = _unknown(workload, replayed)
    size = len(next(iter(columns.values())))
    known: Table = {name: [None] * size if is_unknown(name, unknown) else value for name, value in columns.items()}
    return {"run": np.full(size, replayed.run.number), **known}


ROWS: dict[str, Callable[[Workload, Replayed], list[dict[str, Any]]]] = {
    "runs": run_rows,
    "causes": cause_rows,
    "timeline": timeline_rows,
    "pcpus": pcpu_rows,
    "lookups": lookup_rows,
}
"""What makes the rows of each table of a result."""

COLUMNS: dict[str, Callable[[Workload, Replayed], Table]] = {
    "holds": hold_columns,
    "broadcasts": broadcast_columns,
    "acks": ack_columns,
    "invepts": invept_columns,
    "modes": mode_columns,
}
"""What makes the columns of each table that lists things one by one."""
