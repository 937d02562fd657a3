"""Whether the TSCs of pCPUs are one clock, as far as the switches of vCPUs tell."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eptreplay
from eptreplay.journey import report
from eptreplay.report.assumed import assumption_lines
from eptreplay.workload.lower import lower
from eptreplay.workload.skew import Skew, skew_line
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.conftest import Unpack
from tests.trace.made_recordings import GHZ, dataset, write
from tests.workload.test_edges import Host

many = settings(max_examples=60 if COMPILED else 20, suppress_health_check=[HealthCheck.function_scoped_fixture])

PCPUS = (0, 3, 300)
VCPUS = ((0, 0), (0, 1), (3, 0), (4, 0))


def skew_of(folder: Path, trace: Trace) -> Skew | None:
    """Return what a recording tells, after having seen that `info` says the same of it and of its dataset."""
    source = dataset(folder, trace, tsc_hz=GHZ)
    skew = lower(source).skew
    told = skew and skew.document()
    assert eptreplay.info(source)["tsc_skew"] == told
    assert eptreplay.info(write(folder, trace), tsc_hz=GHZ)["tsc_skew"] == told
    return skew


def moved(out: int, into: int) -> Host:
    """Return a host on which d3v0 leaves pCPU 3 at one TSC and runs on pCPU 0 from another."""
    host = Host()
    host.runs(3, 1000, 3, 0)
    host.stops(3, out, 3, 0)
    host.runs(0, into, 3, 0)
    host.stops(0, into + 5000, 3, 0)
    return host


@pytest.mark.parametrize(
    ("out", "into", "skew"),
    [
        (2000, 3000, Skew(1, 0, 0, None)),
        (2000, 2000, Skew(1, 0, 0, None)),
        (2000, 1999, Skew(1, 1, 1, (0, 3))),
        (2000, 1200, Skew(1, 1, 800, (0, 3))),
        # Had it run on pCPU 0 first, the clocks would differ by less.
        (9000, 900, Skew(1, 1, 4900, (0, 3))),
    ],
)
def test_a_vcpu_that_runs_here_before_it_has_left_there_tells_of_two_clocks(
    tmp_path: Path, out: int, into: int, skew: Skew
) -> None:
    assert skew_of(tmp_path, moved(out, into).trace) == skew


def test_no_switches_tell_nothing(tmp_path: Path) -> None:
    host = Host()
    host.writes(0, 1000, 1)
    assert skew_of(tmp_path, host.trace) is None


def test_what_stays_tells_nothing(tmp_path: Path) -> None:
    host = Host()
    for start in (1000, 3000):
        host.runs(0, start, 3, 0)
        host.stops(0, start + 1000, 3, 0)
    assert skew_of(tmp_path, host.trace) == Skew(0, 0, 0, None)


def test_a_stay_within_another_is_seen_whatever_lies_between(tmp_path: Path) -> None:
    """The one that it contradicts is not the one that began last."""
    host = Host()
    host.runs(0, 1000, 3, 0)
    host.stops(0, 100_000, 3, 0)
    for start in (20_000, 50_000):
        host.runs(3, start, 3, 0)
        host.stops(3, start + 10, 3, 0)
    assert skew_of(tmp_path, host.trace) == Skew(2, 2, 49_010, (0, 3))


def test_where_records_were_lost_nothing_is_concluded(tmp_path: Path) -> None:
    """The records of its leaving and coming back may be among them."""
    host = Host()
    host.runs(3, 1000, 3, 0)
    host.on(3, 6000, "LOST_RECORDS", count=9, domid=3, vcpu=0, first_tsc=2000)
    host.stops(3, 7000, 3, 0)
    host.runs(0, 3000, 3, 0)
    host.stops(0, 4000, 3, 0)
    assert skew_of(tmp_path, host.trace) == Skew(0, 0, 0, None)


@pytest.mark.parametrize(("spoilt", "moves"), [(1 << 40, 0), (100, 7)])
def test_a_tsc_that_its_own_pcpu_contradicts_tells_nothing_of_others(tmp_path: Path, spoilt: int, moves: int) -> None:
    """One end of a stay is. What its pCPU has recorded behind one that is too high, or before one too low, is out."""
    host = Host()
    host.runs(0, 500, 4, 0)
    host.stops(0, 600, 4, 0)
    first, last = (1000, spoilt) if spoilt > 1000 else (spoilt, 1500)
    host.runs(0, first, 3, 0)
    host.stops(0, last, 3, 0)
    for start in range(2000, 10_000, 1000):
        pcpu = 3 if start % 2000 == 0 else 0
        host.runs(pcpu, start, 3, 0)
        host.stops(pcpu, start + 500, 3, 0)
    skew = skew_of(tmp_path, host.trace)
    assert skew is not None
    assert (skew.contradictions, skew.moves) == (0, moves)


def test_the_idle_vcpus_of_pcpus_are_not_one(tmp_path: Path) -> None:
    host = Host()
    for pcpu in (0, 3):
        host.runs(pcpu, 1000, 32767, pcpu)
        host.stops(pcpu, 5000, 32767, pcpu)
    assert skew_of(tmp_path, host.trace) == Skew(0, 0, 0, None)


def test_a_report_says_so(tmp_path: Path) -> None:
    source = dataset(tmp_path, moved(2000, 1200).trace, tsc_hz=GHZ)
    skew = {"moves": 1, "contradictions": 1, "max_ticks": 800, "pcpus": [0, 3]}
    document = report(source)
    assert document["assumptions"]["tsc_skew"] == skew
    line = skew_line(skew, GHZ)
    assert line is not None
    assert line.startswith("those of pCPUs 0 and 3 differ by 800 ticks (0.800 us) at least: 1 of 1 moves")
    assert f"TSC skew: {line}" in assumption_lines(document["assumptions"])


# Any schedule, any clocks


def switched(rng: Random, ahead: dict[int, int]) -> Trace:
    """Return a recording in which vCPUs run here and there, by TSCs that are so far ahead of the true time."""
    host, now = Host(), 10_000
    running: dict[int, tuple[int, int] | None] = dict.fromkeys(PCPUS)
    for _ in range(rng.randrange(80)):
        now += rng.choice((0, 1, 10, 1000))
        pcpu = rng.choice(PCPUS)
        vcpu = running[pcpu]
        free = [other for other in VCPUS if other not in running.values()]
        if vcpu:
            host.stops(pcpu, now + ahead[pcpu], *vcpu)
            running[pcpu] = None
        elif free:
            running[pcpu] = rng.choice(free)
            host.runs(pcpu, now + ahead[pcpu], *(running[pcpu] or (0, 0)))
    host.on(0, now + ahead[0], "HVM_VMENTRY")
    return host.trace


@many
@given(
    rng=st.randoms(use_true_random=False),
    ahead=st.fixed_dictionaries({pcpu: st.integers(-5000, 5000) for pcpu in PCPUS}),
)
def test_what_is_told_is_never_more_than_what_is_true(tmp_path: Path, rng: Random, ahead: dict[int, int]) -> None:
    skew = lower(dataset(tmp_path, switched(rng, ahead))).skew
    if skew and skew.contradictions:
        assert 0 < skew.max_ticks <= max(ahead.values()) - min(ahead.values())
        assert skew.contradictions <= skew.moves


@many
@given(st.randoms(use_true_random=False), st.integers(-5000, 5000))
def test_one_clock_never_contradicts_itself(tmp_path: Path, rng: Random, ahead: int) -> None:
    skew = lower(dataset(tmp_path, switched(rng, dict.fromkeys(PCPUS, ahead)))).skew
    assert skew is None or (skew.contradictions, skew.max_ticks) == (0, 0)


def test_the_recorded_host_has_one_clock(unpacked: Unpack, tmp_path: Path) -> None:
    """It is emulated: r12's vCPUs move thousands of times, and no move contradicts another."""
    eptreplay.ingest([unpacked("r12")], tmp_path / "ds")
    skew = lower(tmp_path / "ds").skew
    assert skew is not None
    assert skew.moves > 3000
    assert skew.contradictions == 0
