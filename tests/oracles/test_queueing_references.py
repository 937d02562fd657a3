"""The references for queues agree with each other, by other means: balance equations, recursion, limits, simulation."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tests.oracles.confidence import REPLICATIONS, THRESHOLD, score, tail
from tests.oracles.queueing import (
    MOST_CUSTOMERS,
    Queue,
    machine_repair,
    machine_repair_constant,
    open_queue,
    open_queue_constant,
)

LOADS = (0.1, 0.5, 0.9, 1.5, 4.0)
"""Of the server if nobody ever waited: customers times service over think."""


def by_phases(customers: int, think: float, service: float, phases: int) -> Queue:
    """Return M/E_k/1//N from its balance equations: service in so many exponential phases (1: M/M/1//N)."""
    states = [(0, 0), *((n, k) for n in range(1, customers + 1) for k in range(phases))]
    place = {state: i for i, state in enumerate(states)}
    rate = np.zeros((len(states), len(states)))
    for (n, k), i in place.items():
        if n < customers:
            rate[i, place[n + 1, k]] += (customers - n) / think
        if n:
            after = (n, k + 1) if k + 1 < phases else (n - 1, 0)
            rate[i, place[after]] += phases / service
    rate -= np.diag(rate.sum(axis=1))
    balance = np.vstack([rate.T, np.ones(len(states))])
    share = np.linalg.lstsq(balance, np.append(np.zeros(len(states)), 1.0), rcond=None)[0]
    in_system = np.array([n for n, _ in states])
    busy, number = float(share[1:].sum()), float(share @ in_system)
    throughput = busy / service
    return Queue(throughput, busy, number / throughput - service, number)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("customers", [1, 2, 3, 7])
def test_exponential_service_solves_the_balance_equations(customers: int, load: float) -> None:
    found = machine_repair(customers, customers / load, 1.0)
    assert found == pytest.approx(by_phases(customers, customers / load, 1.0, 1), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("load", LOADS)
def test_exponential_service_follows_mean_value_analysis(load: float) -> None:
    """Who arrives finds what would be there on average without him (Reiser and Lavenberg 1980)."""
    think, number = 3.0, 0.0
    for customers in range(1, MOST_CUSTOMERS + 1):
        service = load * think / MOST_CUSTOMERS
        response = service * (1 + number)
        throughput = customers / (think + response)
        number = throughput * response
        expected = (throughput, throughput * service, response - service, number)
        assert machine_repair(customers, think, service) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("customers", [2, 5])
def test_constant_service_is_the_limit_of_many_phases(customers: int, load: float) -> None:
    """The more phases, the less service varies; what is missing falls as their number grows."""
    found = machine_repair_constant(customers, customers / load, 1.0)
    few, many = (by_phases(customers, customers / load, 1.0, phases) for phases in (30, 60))
    limit = [2 * m - f for f, m in zip(few, many, strict=True)]
    assert found == pytest.approx(limit, rel=3e-4)
    assert found.wait < many.wait < few.wait


@pytest.mark.parametrize("service", [0.1, 1.0, 3.0])
def test_constant_service_of_two_customers_has_a_closed_form(service: float) -> None:
    """A service leaves nobody behind unless the other customer came, whatever was before."""
    cycle = service + math.exp(-service) / 2
    assert machine_repair_constant(2, 1.0, service).throughput == pytest.approx(1 / cycle, rel=1e-12)


def test_a_single_customer_never_waits() -> None:
    for queue in (machine_repair, machine_repair_constant):
        assert queue(1, 3.0, 1.0) == pytest.approx((1 / 4, 1 / 4, 0.0, 1 / 4), abs=1e-12)


@pytest.mark.parametrize("customers", [2, 8, 32, 160])
@pytest.mark.parametrize("load", LOADS)
def test_means_obey_littles_law(customers: int, load: float) -> None:
    for queue in (machine_repair, machine_repair_constant):
        found = queue(customers, customers / load, 1.0)
        assert found.number == pytest.approx(found.throughput * (found.wait + 1.0), rel=1e-9)
        assert found.number + found.throughput * customers / load == pytest.approx(customers, rel=1e-9)
        assert 0 < found.utilisation < min(1, load) + 1e-9


@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.8])
def test_many_customers_are_an_open_queue(load: float) -> None:
    """With the total rate of arrivals fixed, what is missing falls about as the number of customers grows."""
    for closed, opened in ((machine_repair, open_queue), (machine_repair_constant, open_queue_constant)):
        limit = opened(load, 1.0).wait
        missing = [1 - closed(n, n / load, 1.0).wait / limit for n in (128, 256, 512)]
        assert missing[0] > missing[1] > missing[2] > 0
        assert missing[1] / missing[2] == pytest.approx(2, rel=0.15)


def simulated(customers: int, think: float, *, constant: bool, seed: int) -> tuple[float, int, float]:
    """Return the sum of waits, the comers and the share of busy time of a queue with mean service 1, in a window."""
    draw = random.Random(seed)  # noqa: S311 (nothing is kept secret by it)
    begin, end = 10 * think + 100, 20 * think + 600
    arrivals = sorted(draw.expovariate(1 / think) for _ in range(customers))
    free, waits, services, busy = 0.0, 0.0, 0, 0.0
    while arrivals[0] < end:
        arrival = arrivals.pop(0)
        start = max(arrival, free)
        free = start + (1.0 if constant else draw.expovariate(1.0))
        if arrival >= begin:
            waits += start - arrival
            services += 1
        busy += max(0.0, min(free, end) - max(start, begin))
        again = free + draw.expovariate(1 / think)
        at = next((i for i, other in enumerate(arrivals) if other > again), len(arrivals))
        arrivals.insert(at, again)
    return waits, services, busy / (end - begin)


@pytest.mark.parametrize("constant", [False, True])
def test_a_simulation_agrees(constant: bool) -> None:  # noqa: FBT001
    customers, think = 5, 7.0
    exact = (machine_repair_constant if constant else machine_repair)(customers, think, 1.0)
    waits, services, busy = np.array(
        [simulated(customers, think, constant=constant, seed=seed) for seed in range(REPLICATIONS)]
    ).T
    assert abs(score(waits - exact.wait * services)) < THRESHOLD
    assert abs(score(busy - exact.utilisation)) < THRESHOLD
    other = (machine_repair if constant else machine_repair_constant)(customers, think, 1.0)
    assert abs(score(waits - other.wait * services)) > THRESHOLD


def test_the_threshold_is_not_passed_by_chance() -> None:
    assert tail(THRESHOLD, REPLICATIONS) < 1e-8
    assert tail(1.984217, REPLICATIONS) == pytest.approx(0.05, abs=1e-6)  # the table of any textbook, for 99


@pytest.mark.parametrize(("customers", "think", "service"), [(0, 1, 1), (513, 1, 1), (2, 0, 1), (2, 1, -1)])
def test_queues_without_a_meaning_are_refused(customers: int, think: float, service: float) -> None:
    for queue in (machine_repair, machine_repair_constant):
        with pytest.raises(ValueError, match="expected 1 to 512"):
            queue(customers, think, service)
    for opened in (open_queue, open_queue_constant):
        with pytest.raises(ValueError, match="between 0 and 1"):
            opened(1.0, 1.0)
