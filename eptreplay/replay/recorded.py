"""What the recorded host's own invalidations cost: it is in the gaps of a recording, and is taken from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.machine.profile import Profile
from eptreplay.replay import tally as y
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import Manner, simulate
from eptreplay.strategies.strategy import Strategy
from eptreplay.workload.workload import Workload

MOST_CLAMPED = 0.05
"""Share of shortened gaps that may have been too short for what was to be taken from them, unless the user insists."""


class Original(NamedTuple):
    """What ran while recording, and on what machine. ``label``: what the user called it."""

    label: str
    strategy: Strategy
    lock: str
    profile: Profile


class Shortened(NamedTuple):
    """A workload without the recorded host's own costs.

    ``rows``: how many gaps are shorter; ``ns``: by how much in all; ``clamped``: how many were too short for what was
    to be taken from them; ``clamped_ns``: by how much.
    """

    workload: Workload
    rows: int
    ns: int
    clamped: int
    clamped_ns: int


def without_own_costs(workload: Workload, original: Original, seed: int) -> Shortened:
    """Replay a workload as it was recorded, and shorten its gaps by what that cost.

    Raises what ``simulate`` raises.
    """
    program, numbers = number_workload(workload, Reading(tables=original.strategy.tables))
    manner = Manner(original.lock, seed, as_recorded=True)
    outcome = simulate(workload, program, numbers, original.strategy, original.profile.costs(), manner)
    cost = outcome.tally.row[:, y.R_COST]
    cut = np.minimum(cost, workload.gap_ns)
    clamped = cost > workload.gap_ns
    return Shortened(
        workload._replace(gap_ns=workload.gap_ns - cut, cut_ns=workload.cut_ns + cut),
        rows=int((cost > 0).sum()),
        ns=int(cut.sum()),
        clamped=int(clamped.sum()),
        clamped_ns=int((cost - cut).sum()),
    )


def check_clamped(shortened: Shortened, original: Original, *, force: bool) -> None:
    """Raise UsageError if so many gaps were too short that the recording cannot have been made like that."""
    if force or shortened.clamped <= MOST_CLAMPED * shortened.rows:
        return
    raise UsageError(
        f"--recorded-as {original.label} --recorded-on {original.profile.name}: {shortened.clamped} of"
        f" {shortened.rows} gaps are shorter than what was to be taken from them, by {shortened.clamped_ns} ns in all;"
        " something else ran there, or on another machine; --force replays all the same"
    )
