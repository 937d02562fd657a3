"""How far the mean of independent replications may lie from what theory says, and how often chance takes it further."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

REPLICATIONS = 100
THRESHOLD = 6.5
"""A score of ``REPLICATIONS`` replications whose theory is right exceeds this less often than once in 10^8 runs."""


def score(deviations: NDArray[np.float64]) -> float:
    """Return Student's t of independent deviations from a theory by which their mean is 0."""
    return float(deviations.mean() / (deviations.std(ddof=1) / math.sqrt(deviations.size)))


def tail(threshold: float, replications: int) -> float:
    """Return how likely it is that a score of normal deviations lies further from 0 than a threshold."""
    freedom = replications - 1
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    # The substitution x = threshold / u maps the tail to the interval from 0 to 1; midpoints.
    u = (np.arange(100_000) + 0.5) / 100_000
    density = np.exp(constant - (freedom + 1) / 2 * np.log1p((threshold / u) ** 2 / freedom))
    return float(2 * (density * threshold / u**2).mean())
