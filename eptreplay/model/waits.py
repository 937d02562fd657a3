"""How long readers waited for locks, and rows for other rows."""

from __future__ import annotations

from collections import defaultdict

from eptreplay.model.facts import LookupAcquired, LookupRequested, RowCarriedOut, RowDue, RowEnded
from eptreplay.model.log import Run
from eptreplay.model.tables import Lookups

NO_P2M = (-1, -1)
"""In place of a p2m that a row must have, and has."""


def lookup_waits(run: Run) -> dict[int, list[int]]:
    """Return for each row LOOKUP how long each of its lookups waited, from request to acquisition."""
    since: dict[int, int] = {}
    waits: defaultdict[int, list[int]] = defaultdict(list)
    for t, c, fact, row in run.log:
        if isinstance(fact, LookupRequested):
            since[c] = t
        elif isinstance(fact, LookupAcquired):
            waits[row].append(t - since[c])
    return dict(waits)


def lookup_table(run: Run, waits: dict[int, list[int]]) -> list[Lookups]:
    """Return the rows LOOKUP that have ended."""
    setting = run.setting
    began: dict[int, int] = {}
    table = []
    for t, c, fact, number in run.log:
        if isinstance(fact, RowCarriedOut):
            began[number] = t
        elif isinstance(fact, RowEnded) and number in waits:
            first, rows = setting.recording.programs[setting.pcpus[c]]
            row, waited = rows[number - first], waits[number]
            table.append(
                Lookups(
                    number,
                    setting.pcpus[c],
                    row.p2m or NO_P2M,
                    row.count,
                    t_ns=began[number],
                    wait_ns_total=sum(waited),
                    wait_ns_max=max(waited),
                    elapsed_ns=t - began[number],
                )
            )
    return sorted(table)


def edge_waits(run: Run) -> dict[int, tuple[int, int]]:
    """Return for each pCPU how many rows waited for another row after they were due, and how long in all."""
    carried = {entry.row: entry.t_ns for entry in run.log if isinstance(entry.fact, RowCarriedOut)}
    waits: defaultdict[int, list[int]] = defaultdict(list)
    for t, c, fact, _ in run.log:
        if isinstance(fact, RowDue) and fact.edge is not None and carried[fact.edge] > t:
            waits[c].append(carried[fact.edge] - t)
    return {pcpu: (len(waits[c]), sum(waits[c])) for c, pcpu in enumerate(run.setting.pcpus)}
