"""When each operation happened, in nanoseconds since the start: from TSCs, or interpolated where there are none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r
from eptreplay.workload.schema import INHERITED, INTERPOLATED, TIMED

NANOSECONDS = 1_000_000_000
LONGEST_NS = 1 << 60
"""36 years, for all pCPUs together: a TSC beyond that is damage."""


def longest_ns(pcpus: int) -> int:
    """Return how long a workload of so many pCPUs may last: 83 days for 160 of them.

    The clock of a replay has room for the numbers of pCPUs beside a time twice as long, for what the replay adds.
    """
    return LONGEST_NS // max(1, pcpus)


def to_ns(ticks: NDArray[np.int64], hz: int, longest: int = LONGEST_NS) -> NDArray[np.int64]:
    """Return ticks as nanoseconds, rounded down, for any span without overflow; ``longest`` at most."""
    seconds, rest = np.divmod(ticks, hz)
    ns = np.minimum(seconds, LONGEST_NS // NANOSECONDS + 1)
    for _ in range(3):  # three digits at a time: the product with all nine would not fit
        digits, rest = np.divmod(rest * 1000, hz)
        ns = ns * 1000 + digits
    return np.minimum(ns, longest)


def slot_times(records: r.Records, slots: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return the TSC of each operation, and how it is known.

    ``slots``: for each operation, in order, the position of the record that stands for it. An operation whose record
    has no TSC of its own lies somewhere between the timed records around it; several of them are spread evenly.
    Without a timed record behind it, it takes the time of the one before; -1 if its pCPU has no TSC at all.
    """
    size = records.what.size
    own = records.timed[slots]
    position = np.arange(size)
    behind = np.minimum.accumulate(np.where(records.timed, position, size)[::-1])[::-1]
    following = behind[slots]
    ends = following < size
    ends[ends] = records.pcpu[following[ends]] == records.pcpu[slots[ends]]
    before = records.tsc[slots]
    after = np.where(ends, records.tsc[np.minimum(following, size - 1)], before)
    spread = ~own & ends & (after > before) & (before >= 0)
    rank, count = _rank_among(np.where(spread, following, -1))
    share = (after - before) // (count + 1) * rank + (after - before) % (count + 1) * rank // (count + 1)
    tsc = np.where(spread, before + share, before)
    how = np.where(own, TIMED, np.where(spread, INTERPOLATED, INHERITED)).astype(np.int8)
    return tsc, how


def _rank_among(group: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rank of each element among those with the same number, from 1, and how many there are.

    Elements of a group are neighbours.
    """
    new = np.flatnonzero(np.diff(group, prepend=group[:1] - 1))
    count = np.diff(np.append(new, group.size))
    return np.arange(group.size) - np.repeat(new, count) + 1, np.repeat(count, count)
