"""What queueing theory says of one lock: mean wait and utilisation, exactly, for N pCPUs that compute, wait, hold it.

The machine-repair model: each of N customers thinks for an exponential time, queues, first come, first served, for the
one server, is served, and thinks again. M/M/1//N has exponential service, M/D/1//N constant; with infinitely many
customers, who think infinitely long, they become M/M/1 and M/D/1. Sources: Kleinrock, Queueing Systems I (1975), for
M/M/1//N, and for the embedded Markov chain at ends of services, here with binomial arrivals for M/D/1//N; Pollaczek and
Khinchine's formula for M/D/1. Times and rates are in any one unit of time.
"""

from __future__ import annotations

from math import exp, expm1, lgamma, log, log1p
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_CUSTOMERS = 512
"""Beyond that nothing is checked."""

Floats = NDArray[np.float64]


class Queue(NamedTuple):
    """Means of a stationary queue.

    ``throughput``: services a unit of time; ``utilisation``: share of time that the server is busy; ``wait``: from the
    arrival to the begin of service; ``number``: customers who wait or are served.
    """

    throughput: float
    utilisation: float
    wait: float
    number: float


def machine_repair(customers: int, think: float, service: float) -> Queue:
    """Return M/M/1//N for mean times of thinking and service."""
    _check(customers, think, service)
    # p[n] is proportional to N! / (N - n)! (service / think)^n; their logarithms have no limits.
    ahead = np.arange(customers)
    weight = np.concatenate([[0.0], np.cumsum(np.log(customers - ahead) + log(service / think))])
    share = np.exp(weight - weight.max())
    share /= share.sum()
    number = np.arange(customers + 1)
    busy = float(share[1:].sum())
    waiting = float((share[2:] * (number[2:] - 1)).sum())
    throughput = busy / service
    return Queue(throughput, busy, waiting / throughput, waiting + busy)


def machine_repair_constant(customers: int, think: float, service: float) -> Queue:
    """Return M/D/1//N for the mean time of thinking and the constant one of service."""
    _check(customers, think, service)
    share = _stationary(_left_behind(customers, -expm1(-service / think)))
    # From one end of a service to the next: a service, and before it, if nobody was left, the first of N thoughts.
    cycle = service + float(share[0]) * think / customers
    throughput = 1 / cycle
    return Queue(throughput, service / cycle, customers * cycle - think - service, customers - think / cycle)


def _left_behind(customers: int, ends: float) -> Floats:
    """Return the probabilities [from, to] of how many a service leaves behind; ``ends``: that one comes during it."""
    moves = np.zeros((customers, customers))
    for before in range(customers):
        present = max(before, 1)
        thinking = customers - present
        for came in range(thinking + 1):
            chances = lgamma(thinking + 1) - lgamma(came + 1) - lgamma(thinking - came + 1)
            chances += came * log(ends) + (thinking - came) * log1p(-ends)
            moves[before, present - 1 + came] = exp(chances)
    return moves


def _stationary(moves: Floats) -> Floats:
    """Return the stationary distribution of a Markov chain, without subtractions (Grassmann, Taksar, Heyman 1985)."""
    left = moves.copy()
    size = left.shape[0]
    for state in range(size - 1, 0, -1):
        left[:state, state] /= left[state, :state].sum()
        left[:state, :state] += np.outer(left[:state, state], left[state, :state])
    share = np.zeros(size)
    share[0] = 1.0
    for state in range(1, size):
        share[state] = share[:state] @ left[:state, state]
    share /= share.sum()
    return share


def open_queue(load: float, service: float) -> Queue:
    """Return M/M/1 for a load below 1 and the mean time of service."""
    return _open(load, service, of_exponential=1.0)


def open_queue_constant(load: float, service: float) -> Queue:
    """Return M/D/1 for a load below 1 and the time of service."""
    return _open(load, service, of_exponential=0.5)


def _open(load: float, service: float, of_exponential: float) -> Queue:
    if not 0 < load < 1:
        raise ValueError(f"load {load}: expected a number between 0 and 1")
    wait = of_exponential * load / (1 - load) * service
    return Queue(load / service, load, wait, load / service * (wait + service))


def _check(customers: int, think: float, service: float) -> None:
    if not 1 <= customers <= MOST_CUSTOMERS or think <= 0 or service <= 0:
        raise ValueError(
            f"{customers} customers, think {think}, service {service}: expected 1 to {MOST_CUSTOMERS}, above 0"
        )
