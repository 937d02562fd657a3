"""Lowering recordings that the encoder has made, and what holds for every workload whatever the recording."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from eptreplay.machine.profile import load_profile
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import Outcome, simulate
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload import schema as s
from eptreplay.workload.acts import PML_ENTRIES
from eptreplay.workload.lower import lower
from eptreplay.workload.old_state import LEVELS
from eptreplay.workload.rules import CAUSE_NUMBERS
from eptreplay.workload.schema import workload_schema
from eptreplay.workload.workload import Workload, workload_table
from eptreplay.xentrace.encode import Trace
from tests.trace.made_recordings import dataset

Row = dict[str, Any]
PML = CAUSE_NUMBERS["pml"]
GHZ = 1_000_000_000
"""With as many ticks per second a TSC is a number of nanoseconds."""
COSTS = {name: load_profile(name).costs() for name in ("zero", "two-socket")}


def lowered(folder: Path, *recordings: Trace | bytes, tsc_hz: int = GHZ) -> Workload:
    """Return the workload of recordings; their TSCs count nanoseconds unless something else is said."""
    return lower(dataset(folder, *recordings, events="ept", tsc_hz=tsc_hz))


def table(workload: Workload) -> list[Row]:
    """Return the rows of a workload as ``workload.parquet`` has them, None for null."""
    rows: list[Row] = workload_table(workload).to_pylist()
    return rows


def rows_of(workload: Workload, *ops: str, pcpu: int | None = None) -> list[Row]:
    """Return the rows of some operations, on one pCPU or all."""
    return [row for row in table(workload) if row["op"] in ops and pcpu in (None, row["pcpu"])]


def columns(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    """Return some columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]


def holds_of(workload: Workload) -> list[tuple[Any, ...]]:
    """Return each hold: pCPU, domain, view, cause, begin and end in ns, and the writes that lie in it alone.

    A write is (gfn, order, old type, new type, cause, origin).
    """
    holds: dict[int, list[Any]] = {}
    for row, t in zip(table(workload), workload.t_ns.tolist(), strict=True):
        if row["op"] == "HOLD_BEGIN":
            holds[row["hold"]] = [row["pcpu"], row["p2m_dom"], row["p2m_view"], row["cause"], t, None]
        elif row["op"] == "HOLD_END":
            holds[row["hold"]][5] = t
        elif row["op"] == "SET":
            holds[row["hold"]].append(
                tuple(row[name] for name in ("gfn", "order", "old_type", "new_type", "cause", "origin"))
            )
    return [tuple(hold) for hold in holds.values()]


def shares(workload: Workload) -> dict[str, tuple[int, int]]:
    """Return how many operations each rule made, of how many records."""
    found: dict[str, tuple[int, int]] = {}
    for share in workload.shares:
        assert share.rule not in found
        found[share.rule] = share.operations, share.records
    return found


def outcome(
    workload: Workload,
    strategy: str = "deferred",
    profile: str = "zero",
    reading: Reading = Reading(),  # noqa: B008 (a tuple)
) -> Outcome:
    """Return what a replay of a workload counts."""
    return simulate(workload, *number_workload(workload, reading), STRATEGIES[strategy], COSTS[profile])


def check(workload: Workload) -> None:
    """Assert what holds for every workload."""
    begin, size = workload.begin, workload.rows
    assert begin[0] == 0
    assert begin[-1] == size
    assert (np.diff(begin) > 0).all()
    assert (np.diff(workload.pcpus) > 0).all()
    assert (workload.gap_ns >= 0).all()
    for first, end in pairwise(begin.tolist()):
        times = workload.gap_ns[first:end] + workload.cut_ns[first:end]
        assert (np.cumsum(times) == workload.t_ns[first:end]).all()
        _check_holds(workload, first, end)
        _check_pauses(workload, first, end)
    _check_hold_numbers(workload)
    _check_writes(workload)
    _check_other_acts(workload)
    _check_edges(workload)
    _check_pages(workload)
    _check_calls(workload)
    bounded = workload.not_after_ns >= 0
    assert (bounded == (workload.not_before_ns >= 0)).all()
    assert (workload.not_before_ns <= workload.not_after_ns).all()
    assert (workload.origin[bounded] == s.INFERRED).all()
    _check_table(workload)


def _check_holds(workload: Workload, first: int, end: int) -> None:
    """Assert that holds of a pCPU nest, and that whatever is done to a p2m lies in a hold of that p2m.

    A kernel relies on it: what belongs to no hold would count for the last one, as its number is -1.
    """
    stack: list[tuple[int, tuple[int, int]]] = []
    chosen = np.isin(workload.op[first:end], (s.HOLD_BEGIN, *s.ACTS, s.HOLD_END))
    assert (workload.hold[first:end][~chosen] < 0).all()
    for row in (np.flatnonzero(chosen) + first).tolist():
        p2m = int(workload.p2m_dom[row]), int(workload.p2m_view[row])
        if workload.op[row] == s.HOLD_BEGIN:
            stack.append((int(workload.hold[row]), p2m))
            continue
        assert stack, f"row {row}: not in a hold"
        assert int(workload.hold[row]) == stack[-1][0], f"row {row}: not the innermost hold"
        if workload.op[row] == s.HOLD_END:
            assert stack.pop()[1] == p2m
        else:
            assert p2m in {held for _, held in stack}, f"row {row}: the lock of {p2m} is not held"
    assert not stack


def _check_pauses(workload: Workload, first: int, end: int) -> None:
    """Assert that each pause of a domain ends on the pCPU where it began."""
    paused: Counter[int] = Counter()
    for row in (np.flatnonzero(np.isin(workload.op[first:end], (s.PAUSE, s.UNPAUSE))) + first).tolist():
        dom = int(workload.run_dom[row])
        paused[dom] += 1 if workload.op[row] == s.PAUSE else -1
        assert paused[dom] >= 0, f"row {row}: d{dom} is not paused"
    assert not +paused


def _check_hold_numbers(workload: Workload) -> None:
    """Assert that no hold has a number of another, nor one of those that a drain takes when it is cut into its writes.

    Also that what may be left out of a replay, as it is NPT's own, is all that its hold is for.
    """
    begins = workload.op == s.HOLD_BEGIN
    sets = (workload.op == s.SET) & (workload.hold >= 0)
    entries = np.bincount(workload.hold[sets], workload.count[sets], minlength=int(workload.hold.max(initial=0)) + 1)
    number = np.sort(workload.hold[begins])
    drains = np.isin(number, workload.hold[begins & (workload.cause == PML)])
    taken = np.where(drains, np.maximum(entries[number], 1), 1)
    assert (number[:-1] + taken[:-1] <= number[1:]).all()
    left_out = (workload.op == s.MISCONFIG) & ((workload.count == 0) | (workload.old_known == s.ASSUMED))
    acts = np.bincount(workload.hold[np.isin(workload.op, s.ACTS)], minlength=1)
    assert (acts[workload.hold[left_out]] == 1).all()


def _check_writes(workload: Workload) -> None:
    """Assert that each SET is of one entry, or of so many at unknown frames, and says what it knows of it."""
    sets = workload.op == s.SET
    gfn, order = workload.gfn[sets], workload.order[sets]
    somewhere = gfn != s.NO_GFN
    # An order that no Xen writes is unknown: -1.
    assert np.isin(order[somewhere], (*LEVELS, -1)).all()
    size = np.uint64(1) << np.maximum(order[somewhere], 0).astype(np.uint64)
    assert (gfn[somewhere] % size == 0).all()
    assert (workload.count[sets][somewhere] == 1).all()
    known = workload.old_known[sets]
    assert (known >= 0).all()
    assert ((workload.old_present[sets] < 0) == (known == s.ASSUMED)).all()
    assert (workload.old_type[sets][known == s.ASSUMED] < 0).all()
    for unseen in ("present", "absent"):
        present = workload.present(unseen)
        assert not present[~sets].any()
        assert (present[sets][known == s.ASSUMED] == (unseen == "present")).all()


def _check_other_acts(workload: Workload) -> None:
    """Assert that rows say how many they stand for, and that a range has both ends or none."""
    op, count = workload.op, workload.count
    of_npt = (op == s.MISCONFIG) & (workload.gfn != s.NO_GFN)
    assert (count[(op != s.LOST) & ~of_npt] >= 1).all()  # of lost records it is what Xen says, whatever that is
    assert np.isin(count[of_npt], (0, 1)).all()
    assert (count[np.isin(op, s.ACTS) & (op != s.SET) & ~of_npt] == 1).all()
    assert (count[op == s.PML_DRAIN] <= PML_ENTRIES).all()
    changes = op == s.GLOBAL_CHANGE
    assert ((workload.gfn[changes] == s.NO_GFN) == (workload.last_gfn[changes] == s.NO_GFN)).all()
    assert (workload.last_gfn[~changes] == s.NO_GFN).all()


def _check_edges(workload: Workload) -> None:
    """Assert that edges come from other pCPUs, lead on in time and end outside holds; and nothing waits for itself."""
    size = workload.rows
    owner = np.repeat(np.arange(workload.pcpus.size), np.diff(workload.begin))
    target = np.flatnonzero(workload.edge >= 0)
    source = workload.edge[target]
    assert (source < size).all()
    assert (owner[source] != owner[target]).all()
    if workload.facts.has_times:
        assert (workload.t_ns[source] <= workload.t_ns[target]).all()
    depth = np.cumsum((workload.op == s.HOLD_BEGIN).astype(np.int64) - (workload.op == s.HOLD_END))
    assert (depth[target] - (workload.op[target] == s.HOLD_BEGIN) == 0).all()
    edge, ends, at = workload.edge.tolist(), workload.begin[1:].tolist(), workload.begin[:-1].tolist()
    owners, reached = owner.tolist(), list(at)
    moved = True
    while moved:
        moved = False
        for c, end in enumerate(ends):
            while reached[c] < end and (edge[reached[c]] < 0 or edge[reached[c]] < reached[owners[edge[reached[c]]]]):
                reached[c] += 1
                moved = True
    assert reached == ends, "rows wait for each other"


def _check_pages(workload: Workload) -> None:
    """Assert that whoever allocates pages names a row that freed one of them before, as far as times tell."""
    allocs = np.flatnonzero(workload.freed_by >= 0)
    frees = workload.freed_by[allocs]
    assert (workload.op[allocs] == s.PAGE_ALLOC).all()
    assert (workload.op[frees] == s.PAGE_FREE).all()
    unit = np.maximum(workload.order[allocs], workload.order[frees]).astype(np.uint64)
    assert (workload.mfn[allocs] >> unit == workload.mfn[frees] >> unit).all()
    if workload.facts.has_times:
        assert (workload.t_ns[frees] <= workload.t_ns[allocs]).all()


def _check_calls(workload: Workload) -> None:
    """Assert that calls stand at once behind a row of the same pCPU, none within a hold, and lead to other pCPUs."""
    calls = np.flatnonzero(workload.op == s.CALL)
    told = calls[workload.origin[calls] == s.INFERRED]
    targets, owner = workload.target, np.repeat(workload.pcpus, np.diff(workload.begin))
    assert not told.size or (workload.facts.has_sched and workload.facts.has_times)
    assert (workload.gap_ns[told] == 0).all()
    assert (owner[told] == owner[told - 1]).all()
    assert (workload.hold[calls] < 0).all()
    assert (workload.p2m_dom[calls] < 0).all()
    assert (targets[calls] != owner[calls]).all()
    assert (targets[workload.op != s.CALL] < 0).all()


def _check_table(workload: Workload) -> None:
    found = workload_table(workload)
    assert found.schema == workload_schema()
    found.validate(full=True)
    for field in found.schema:
        assert field.nullable or not found[field.name].null_count, field.name
