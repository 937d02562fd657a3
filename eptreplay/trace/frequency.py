"""How fast the TSC ticks. A xentrace file does not say, but the scheduler traces runtimes in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eptreplay.errors import UsageError

ASSUMED_HZ = 2_400_000_000
"""What ``xenalyze`` assumes as well."""
MIN_SAMPLES = 8
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Frequency:
    """``value`` in Hz; ``how``: given, estimated or assumed; ``spread``: interquartile range in Hz if estimated."""

    value: int
    how: str
    spread: int | None

    def to_ns(self, ticks: int) -> int:
        """Return a span of TSC ticks in nanoseconds, rounded down."""
        return ticks * NS_PER_S // self.value


def given_frequency(hz: int) -> Frequency:
    """Return the frequency that a user names, in Hz; raises UsageError outside 1 MHz to 100 GHz."""
    if not 1_000_000 <= hz <= 100_000_000_000:
        raise UsageError(f"--tsc-hz {hz}: expected ticks per second between 1 MHz and 100 GHz, such as 2596121000")
    return Frequency(hz, "given", None)


def estimate_frequency(samples: NDArray[np.int64]) -> Frequency:
    """Return the frequency from pairs of ticks and nanoseconds, ``samples`` [2, n]; assumed where there are too few.

    Each pair spans one vCPU's runtime. Long runtimes say more than short ones, hence a median weighted with them; and
    with the shorter of both measures, so that a pair of which one does not belong to the other weighs little.
    """
    ticks, ns = samples[0].astype(np.float64), samples[1].astype(np.float64)
    if ticks.size < MIN_SAMPLES:
        return Frequency(ASSUMED_HZ, "assumed", None)
    order = np.argsort(ticks / ns, kind="stable")
    rate, weight = (ticks / ns)[order], np.cumsum(np.minimum(ticks, ns)[order])
    low, middle, high = (rate[np.searchsorted(weight, share * weight[-1])] for share in (0.25, 0.5, 0.75))
    return Frequency(round(middle * NS_PER_S), "estimated", round((high - low) * NS_PER_S))
