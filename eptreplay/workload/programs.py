"""Programs of pCPUs that no recording has: made row by row of a period, and set among those that were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import schema as s
from eptreplay.workload.workload import NONE, Workload

Columns = dict[str, NDArray[Any]]
Row = Mapping[str, int | NDArray[np.int64]]
"""A row that each period has: columns, one value for all periods or one for each. What is not said is unknown."""

_NOT_BY_ROW = {"pcpus", "begin", "domains", "facts", "shares", "kicks_removed", "skew"}
BY_ROW = tuple(name for name in Workload._fields if name not in _NOT_BY_ROW)
"""Fields of a workload that have an element for each row."""
REFERENCES = ("edge", "freed_by")
"""Those that hold numbers of rows."""
_UNSAID = {
    "op": s.WAIT,
    "gap_ns": 0,
    "cut_ns": 0,
    "gfn": s.NO_GFN,
    "mfn": s.NO_GFN,
    "last_gfn": s.NO_GFN,
    "origin": s.SYNTHETIC,
    "time_origin": s.TIMED,
    "count": 1,
}
"""What stands where a row does not say; elsewhere it is unknown, -1."""


def periodic_program(workload: Workload, work: Sequence[Row], *, start_ns: int, every_ns: int, periods: int) -> Columns:
    """Return the program of a pCPU that wakes up in each period, does its work and is idle until the next one.

    The gap behind IDLE is elastic, so a period begins late if the work of the one before took longer. A pCPU that
    starts late is idle until then.
    """
    rows: list[Row] = [{"op": s.WAKE}, *work, {"op": s.IDLE}]
    columns: Columns = {}
    for name in BY_ROW:
        made = np.full((periods, len(rows)), _UNSAID.get(name, NONE), getattr(workload, name).dtype)
        for place, row in enumerate(rows):
            if name in row:
                made[:, place] = row[name]
        columns[name] = made
    columns["t_ns"][:] = (start_ns + every_ns * np.arange(periods))[:, np.newaxis]
    columns["gap_ns"][1:, 0] = every_ns
    columns["gap_ns"][:1, 0] = start_ns
    columns = {name: made.ravel() for name, made in columns.items()}
    if start_ns:
        columns = {name: np.concatenate([made[-1:], made]) for name, made in columns.items()}  # IDLE
        columns["t_ns"][0] = 0
    return columns


def with_programs(workload: Workload, programs: Mapping[int, Columns]) -> Workload:
    """Return a workload with programs of further pCPUs, each where its number belongs; references follow."""
    begin = workload.begin
    pieces: dict[int, Columns] = dict(programs)
    for pcpu, first, end in zip(workload.pcpus.tolist(), begin[:-1].tolist(), begin[1:].tolist(), strict=True):
        pieces[pcpu] = {name: getattr(workload, name)[first:end] for name in BY_ROW}
    pcpus = np.array(sorted(pieces), np.int64)
    ordered = [pieces[pcpu] for pcpu in pcpus.tolist()]
    now = np.append(0, np.cumsum([piece["op"].size for piece in ordered]))
    shift = now[np.searchsorted(pcpus, workload.pcpus)] - begin[:-1]
    columns = {name: np.concatenate([piece[name] for piece in ordered]) for name in BY_ROW}
    for name in REFERENCES:
        known = np.flatnonzero(columns[name] >= 0)
        row = columns[name][known]
        columns[name][known] = row + shift[np.searchsorted(begin, row, side="right") - 1]
    return Workload(**{**workload._asdict(), **columns, "pcpus": pcpus, "begin": now})
