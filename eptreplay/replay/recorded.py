"""What the recorded host's own invalidations cost: it is in the gaps of a recording, and is taken from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.errors import UsageError
from eptreplay.machine.profile import Profile
from eptreplay.replay import tally as y
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import Manner, simulate
from eptreplay.strategies.strategy import Strategy
from eptreplay.workload.workload import Workload

MOST_CLAMPED = 0.05
"""Share of shortened gaps that may have been too short for what was to be taken from them, unless the user insists."""


class RecordedHost(NamedTuple):
    """What ran while recording: a strategy, its p2m lock, on which machine; ``label``: its name, or its preset's."""

    strategy: Strategy
    lock: str
    profile: Profile
    label: str


class Taken(NamedTuple):
    """What was taken out of the gaps of a workload.

    ``rows``: how many gaps are shorter; ``ns``: by how much in all; ``clamped``: how many were too short for what was
    to be taken from them; ``clamped_ns``: by how much.
    """

    rows: int
    ns: int
    clamped: int
    clamped_ns: int


def without_own_costs(workload: Workload, host: RecordedHost, seed: int) -> tuple[Workload, Taken]:
    """Replay a workload as it was recorded, and shorten its gaps by what that cost.

    Raises what ``simulate`` raises.
    """
    program, numbers = number_workload(workload, Reading(tables=host.strategy.tables))
    manner = Manner(host.lock, seed, as_recorded=True)
    outcome = simulate(workload, program, numbers, host.strategy, host.profile.costs(), manner)
    cost = _passed_on(workload, outcome.tally.row[:, y.R_COST])
    cut = np.minimum(cost, workload.gap_ns)
    taken = Taken(
        rows=int((cost > 0).sum()),
        ns=int(cut.sum()),
        clamped=int((cost > workload.gap_ns).sum()),
        clamped_ns=int((cost - cut).sum()),
    )
    return workload._replace(gap_ns=workload.gap_ns - cut, cut_ns=workload.cut_ns + cut), taken


def _passed_on(workload: Workload, cost: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what is to be taken from each gap. Rows of one record are at one instant: what they cost lies behind it.

    So a gap of 0 ns passes it on to the next one of its pCPU; behind the last record there is none.
    """
    gaps = np.flatnonzero(workload.gap_ns > 0)
    row = np.arange(workload.rows)
    end = np.repeat(workload.begin[1:], np.diff(workload.begin))
    following = np.append(gaps, workload.rows)[np.searchsorted(gaps, row)]
    has_one = following < end
    taken = np.zeros(workload.rows, np.int64)
    np.add.at(taken, following[has_one], cost[has_one])
    return taken


def check_clamped(taken: Taken, host: RecordedHost, *, force: bool) -> None:
    """Raise UsageError if so many gaps were too short that the recording cannot have been made like that."""
    if force or taken.clamped <= MOST_CLAMPED * taken.rows:
        return
    raise UsageError(
        f"--recorded-as {host.label} --recorded-on {host.profile.name}: {taken.clamped} of {taken.rows} gaps are"
        f" shorter than what was to be taken from them, by {taken.clamped_ns} ns in all; something else ran there, or"
        " on another machine; --force replays all the same"
    )
