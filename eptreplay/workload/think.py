"""Guests and hypervisor that think faster or slower than they did: ``--think-scale``."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eptreplay.errors import UsageError
from eptreplay.workload import schema as s
from eptreplay.workload.times import LONGEST_NS, longest_ns
from eptreplay.workload.workload import Workload

UNSCALED = 1.0
HIGHEST = 1000


def check_think_scale(scale: float) -> None:
    """Raise UsageError for a scale that makes no sense; NaN is one."""
    if not 0 < scale <= HIGHEST:
        raise UsageError(f"--think-scale {scale:g}: expected a number above 0, {HIGHEST} at most")


def with_think_scale(workload: Workload, scale: float) -> Workload:
    """Multiply the gaps of a workload, but for those behind IDLE and LOST; its recorded times follow.

    Gaps are rounded to whole nanoseconds, halves up, of the product with the number as it is written in decimals.
    Raises UsageError if a pCPU's program became longer than times can be.
    """
    if scale == UNSCALED or not workload.rows:
        return workload
    rests = np.append(False, np.isin(workload.op[:-1], (s.IDLE, s.LOST)))
    rests[workload.begin[:-1]] = False
    gap = np.where(rests, workload.gap_ns, _scaled(workload.gap_ns, Fraction(repr(float(scale)))))
    first, size = workload.begin[:-1], np.diff(workload.begin)
    longest = longest_ns(first.size)
    if (np.add.reduceat(gap.astype(np.float64), first) > longest).any():
        raise UsageError(
            f"--think-scale {scale:g}: the recording would last longer than {longest} ns, the most for {first.size}"
            " pCPUs"
        )
    total = np.cumsum(gap)
    return workload._replace(gap_ns=gap, t_ns=total - np.repeat(total[first] - gap[first], size))


def _scaled(gaps: NDArray[np.int64], scale: Fraction) -> NDArray[np.int64]:
    """Return exact products, rounded halves up; what would be too large for a time is just that."""
    values, which = np.unique(gaps, return_inverse=True)
    half, whole = scale.denominator, 2 * scale.denominator
    scaled = [min((2 * value * scale.numerator + half) // whole, 2 * LONGEST_NS) for value in values.tolist()]
    return np.array(scaled, np.int64)[which]
