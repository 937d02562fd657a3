"""Waits and utilisation of a p2m lock, as the engine replays them, are those of queueing theory.

N pCPUs compute for an exponential time, hold one p2m lock for an exponential or a constant one, and so on; nothing else
takes time. Over independent replications, each without its beginning, the means are compared with exact results. The
deviations tested have mean 0 whatever the length of a window: the sum of waits less that of as many exact mean waits
(of those who come in the window), and the share of time that the lock is held less the exact utilisation. Their score
may not exceed a ``THRESHOLD`` that chance passes less often than once in 10^8; there are fewer than 50 such scores, so
that all of them together exceed it by chance in fewer than one of 10^6 runs. A theory that is nearly right has to be
rejected by the same threshold.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from eptreplay.machine.profile import load_profile
from eptreplay.replay import tally as y
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import simulate
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload.workload import Workload
from tests.oracles.confidence import REPLICATIONS, THRESHOLD, score
from tests.oracles.queueing import (
    Queue,
    machine_repair,
    machine_repair_constant,
    open_queue,
    open_queue_constant,
)
from tests.replay.contended import Times, arriving, contended

SERVICE_NS = 1_000_000
"""Mean hold; so rounding to whole nanoseconds does not matter."""
WARM_UP, SPARE_TURNS = 10, 3.0
"""Mean times between two turns of a pCPU before a window begins; how many more turns there are than fit on average."""

EXPONENTIAL, CONSTANT = "exponential", "constant"
CLOSED = {EXPONENTIAL: machine_repair, CONSTANT: machine_repair_constant}
OPEN = {EXPONENTIAL: open_queue, CONSTANT: open_queue_constant}
"""Theories by how long the lock is held."""


class Holds(NamedTuple):
    """The holds of a replay in the order of their numbers, times in ns."""

    request: Times
    acquire: Times
    release: Times


class Sample(NamedTuple):
    """Of one window: who came and how long they waited, in mean holds; which share of it the lock was held."""

    waits: float
    comers: int
    held: float


def replayed(workload: Workload) -> Holds:
    """Replay a workload on a machine on which nothing takes time, its lock being queued for."""
    program, numbers = number_workload(workload, Reading())
    outcome = simulate(workload, program, numbers, STRATEGIES["deferred"], load_profile("zero").costs())
    return Holds(*(outcome.tally.hold[:, field].copy() for field in (y.H_REQUEST, y.H_ACQUIRE, y.H_RELEASE)))


def drawn(draw: np.random.Generator, mean: float, shape: tuple[int, int], service: str = EXPONENTIAL) -> Times:
    """Return times with a mean in ns."""
    times: NDArray[np.float64] = np.full(shape, mean) if service == CONSTANT else draw.exponential(mean, shape)
    return np.rint(times).astype(np.int64)


def window(holds: Holds, begin: float, end: float) -> Sample:
    """Return what is seen from one time to another, in ns."""
    comes = (holds.request >= begin) & (holds.request < end)
    waits = (holds.acquire - holds.request)[comes].sum() / SERVICE_NS
    held = np.minimum(holds.release, end) - np.maximum(holds.acquire, begin)
    return Sample(float(waits), int(comes.sum()), float(np.maximum(held, 0).sum() / (end - begin)))


def closed(pcpus: int, load: float, service: str, comers: int) -> list[Sample]:
    """Return replications of a closed queue, in each a window of about so many comers, and so many a pCPU at least."""
    think = pcpus / load
    exact = CLOSED[service](pcpus, think, 1.0)
    turn = pcpus / exact.throughput
    length = max(comers / exact.throughput, 2 * turn)
    begin, end = (WARM_UP * turn + 50) * SERVICE_NS, (WARM_UP * turn + 50 + length) * SERVICE_NS
    fit = end / SERVICE_NS / turn
    turns = round(fit + SPARE_TURNS * 2 * np.sqrt(fit)) + 10
    samples = []
    for seed in range(REPLICATIONS):
        draw = np.random.Generator(np.random.PCG64((seed, pcpus, round(1000 * load), service == CONSTANT)))
        gap, held = drawn(draw, think * SERVICE_NS, (pcpus, turns)), drawn(draw, SERVICE_NS, (pcpus, turns), service)
        holds = replayed(contended(gap, held))
        assert holds.release.reshape(pcpus, turns)[:, -1].min() > end, "a pCPU has no more turns within the window"
        samples.append(window(holds, begin, end))
    return samples


def opened(pcpus: int, load: float, comers: int) -> list[Sample]:
    """Return replications of an open queue with exponential service, whose customers come to the pCPUs in turn."""
    expected = SERVICE_NS * comers / load
    begin, end = 0.1 * expected, 1.1 * expected
    turns = round(1.2 * comers / pcpus) + 10
    samples = []
    for seed in range(REPLICATIONS):
        draw = np.random.Generator(np.random.PCG64((seed, pcpus, round(1000 * load))))
        between, held = drawn(draw, SERVICE_NS / load, (turns, pcpus)), drawn(draw, SERVICE_NS, (turns, pcpus))
        at = np.cumsum(between).reshape(turns, pcpus)
        assert at[-1, -1] > end, "nobody comes any more within the window"
        holds = replayed(arriving(at.T, held.T))
        assert (holds.request == at.T.ravel()).all(), "a pCPU was still busy when its next customer came"
        samples.append(window(holds, begin, end))
    return samples


def scores(samples: list[Sample], theory: Queue) -> tuple[float, float]:
    """Return how far waits, and utilisation, deviate from a theory."""
    waits, comers, held = np.array(samples).T
    return score(waits - theory.wait * comers), score(held - theory.utilisation)


def check(samples: list[Sample], theory: Queue, *wrong: Queue) -> None:
    """Assert that a theory fits, and that wrong ones would not."""
    by_wait, by_utilisation = scores(samples, theory)
    assert abs(by_wait) < THRESHOLD
    assert abs(by_utilisation) < THRESHOLD
    for other in wrong:
        assert max(map(abs, scores(samples, other))) > THRESHOLD, "this could not have failed"


def check_closed(pcpus: int, load: float, service: str, comers: int) -> None:
    """Assert that the machine-repair model fits; not with a few pCPUs more, nor the other kind of hold, nor open."""
    think = pcpus / load
    other = CONSTANT if service == EXPONENTIAL else EXPONENTIAL
    wrong = [CLOSED[service](pcpus + max(1, pcpus // 16), think, 1.0), CLOSED[other](pcpus, think, 1.0)]
    if load < 1:
        wrong.append(OPEN[service](load, 1.0))
    check(closed(pcpus, load, service, comers), CLOSED[service](pcpus, think, 1.0), *wrong)


@pytest.mark.compiled
@pytest.mark.parametrize("service", [EXPONENTIAL, CONSTANT])
@pytest.mark.parametrize(("pcpus", "load"), [(2, 0.6), (8, 0.9)])
def test_few_pcpus_wait_as_the_machine_repair_model_says(pcpus: int, load: float, service: str) -> None:
    check_closed(pcpus, load, service, 500)


@pytest.mark.slow
@pytest.mark.parametrize("service", [EXPONENTIAL, CONSTANT])
@pytest.mark.parametrize(("pcpus", "load"), [(2, 0.6), (8, 0.9), (32, 0.8), (32, 1.2), (160, 0.7), (160, 1.0)])
def test_pcpus_wait_as_the_machine_repair_model_says(pcpus: int, load: float, service: str) -> None:
    check_closed(pcpus, load, service, 20_000)


@pytest.mark.compiled
def test_customers_from_outside_wait_as_in_an_open_queue() -> None:
    samples = opened(160, 0.5, 1600)
    check(samples, open_queue(0.5, 1.0), open_queue_constant(0.5, 1.0), machine_repair(8, 16.0, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("pcpus", [160, 512])
@pytest.mark.parametrize("load", [0.3, 0.5])
def test_many_customers_from_outside_wait_as_in_an_open_queue(load: float, pcpus: int) -> None:
    samples = opened(pcpus, load, 20_000)
    check(samples, open_queue(load, 1.0), open_queue_constant(load, 1.0), machine_repair(32, 32 / load, 1.0))


def test_each_wait_from_outside_follows_lindleys_recursion() -> None:
    """To the nanosecond: who comes waits for what the one before waited and held, less the time between them."""
    draw = np.random.Generator(np.random.PCG64(3))
    between, held = drawn(draw, SERVICE_NS / 0.5, (10, 60)), drawn(draw, SERVICE_NS, (10, 60))
    at = np.cumsum(between)
    holds = replayed(arriving(at.reshape(10, 60).T, held.T))
    free, acquired = 0, []
    for arrival, service in zip(at.tolist(), held.ravel().tolist(), strict=True):
        acquired.append(max(arrival, free))
        free = acquired[-1] + service
    assert holds.acquire.reshape(60, 10).T.ravel().tolist() == acquired
    assert (holds.acquire > holds.request).any()


def test_each_pcpu_is_served_in_the_order_of_requests() -> None:
    """To the nanosecond, in a queue that is nearly always long."""
    pcpus, turns = 12, 40
    draw = np.random.Generator(np.random.PCG64(4))
    gap, held = drawn(draw, 6 * SERVICE_NS, (pcpus, turns)), drawn(draw, SERVICE_NS, (pcpus, turns))
    holds = replayed(contended(gap, held))
    coming = [(int(gap[pcpu, 0]), pcpu, 0) for pcpu in range(pcpus)]
    coming.sort()
    free, expected = 0, np.zeros((pcpus, turns), np.int64)
    while coming:
        arrival, pcpu, turn = heappop(coming)
        expected[pcpu, turn] = max(arrival, free)
        free = int(expected[pcpu, turn] + held[pcpu, turn])
        if turn + 1 < turns:
            heappush(coming, (free + int(gap[pcpu, turn + 1]), pcpu, turn + 1))
    assert np.array_equal(holds.acquire.reshape(pcpus, turns), expected)
