"""What the recorded host paid for its own invalidations is taken out; a recording of the model itself is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import eptreplay
from eptreplay.errors import UsageError
from eptreplay.machine.profile import load_profile
from eptreplay.replay import tally as y
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.recorded import RecordedHost, Taken, check_clamped, without_own_costs
from eptreplay.replay.simulate import Detail, Manner, simulate
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload.lower import lower
from eptreplay.workload.workload import Workload
from tests.conftest import Unpack
from tests.replay.results import Guest
from tests.trace.made_recordings import GHZ, dataset

HOSTS = [
    RecordedHost(STRATEGIES[strategy], lock, load_profile(profile), strategy)
    for strategy, lock, profile in (
        ("eager", "queue", "two-socket"),
        ("deferred", "percpu", "xeon-2015-160"),
        ("vmenter", "unfair", "epyc-512"),
        ("npt-immediate", "queue", "two-socket"),
    )
]


def carried(workload: Workload, host: RecordedHost) -> np.ndarray:
    """Return when each row is carried out on a host."""
    program, numbers = number_workload(workload, Reading(tables=host.strategy.tables))
    costs = host.profile.costs()
    outcome = simulate(workload, program, numbers, host.strategy, costs, Manner(host.lock, 0), Detail(rows=True))
    return outcome.tally.row[:, y.R_CARRIED]


def as_recorded_there(workload: Workload, host: RecordedHost) -> Workload:
    """Return what would have been recorded, had a workload run on a host: its rows at the times that it has there."""
    times = carried(workload, host)
    before = np.concatenate([np.zeros(1, np.int64), times[:-1]])
    before[workload.begin[:-1][np.diff(workload.begin) > 0]] = 0
    return workload._replace(gap_ns=times - before, t_ns=times)


def made(folder: Path) -> Workload:
    """Return a workload in which four vCPUs get in each other's way."""
    guest = Guest(0, 1, 32, 33, step=1_500).busy(0, 1, 32, 33, faults=60)
    return lower(dataset(folder, guest.trace, events="ept", tsc_hz=GHZ))


def real(name: str, folder: Path, unpacked: Unpack) -> Workload:
    """Return the workload of a real recording."""
    eptreplay.ingest([unpacked(name)], folder / "ds")
    return lower(folder / "ds")


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.label)
@pytest.mark.parametrize("name", ["made", pytest.param("r12", marks=pytest.mark.compiled)])
def test_a_recording_of_the_model_has_its_own_times_again(
    tmp_path: Path, unpacked: Unpack, host: RecordedHost, name: str
) -> None:
    workload = made(tmp_path) if name == "made" else real(name, tmp_path, unpacked)
    recording = as_recorded_there(workload, host)
    shortened, taken = without_own_costs(recording, host, 0)
    assert (taken.clamped, taken.clamped_ns) == (0, 0)
    assert taken.ns == (recording.gap_ns - shortened.gap_ns).sum() > 0
    assert np.array_equal(carried(shortened, host), recording.t_ns)


def test_without_costs_nothing_is_taken(tmp_path: Path) -> None:
    host = RecordedHost(STRATEGIES["eager"], "queue", load_profile("zero"), "eager")
    workload = made(tmp_path)
    shortened, taken = without_own_costs(workload, host, 0)
    assert taken == Taken(0, 0, 0, 0)
    assert np.array_equal(shortened.gap_ns, workload.gap_ns)


def test_gaps_that_are_too_short_are_counted_and_more_than_a_few_refused(tmp_path: Path) -> None:
    host = HOSTS[1]
    workload = made(tmp_path)  # such a broadcast takes longer than most of its gaps
    shortened, taken = without_own_costs(workload, host, 0)
    assert (shortened.gap_ns >= 0).all()
    assert np.array_equal(shortened.gap_ns + shortened.cut_ns, workload.gap_ns)
    assert 0 < taken.clamped <= taken.rows
    assert taken.clamped_ns > 0
    with pytest.raises(UsageError, match=rf"{taken.clamped} of {taken.rows} gaps are shorter .* --force replays"):
        check_clamped(taken, host, force=False)
    check_clamped(taken, host, force=True)
    check_clamped(Taken(100, 1, 5, 1), host, force=False)
    with pytest.raises(UsageError):
        check_clamped(Taken(100, 1, 6, 1), host, force=False)


@pytest.mark.compiled
def test_what_rows_of_one_record_cost_lies_behind_that_record(tmp_path: Path, unpacked: Unpack) -> None:
    """A fault of an AMD host is a hold and its write at one instant: nothing can be taken in between."""
    host = HOSTS[0]
    workload = real("r12", tmp_path, unpacked)
    shortened, taken = without_own_costs(workload, host, 0)
    assert taken.rows > 50_000
    assert (shortened.gap_ns <= workload.gap_ns).all()
    at_one_instant = workload.gap_ns == 0
    assert not shortened.cut_ns[at_one_instant].any()
    # So next to no row drifts, but for those of which not even the whole gap suffices.
    late = carried(shortened, host) - workload.t_ns
    assert np.median(late) < 1_000
