"""Whether the TSCs of pCPUs are one clock: a vCPU runs on one pCPU at a time, whatever their clocks say."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r
from eptreplay.workload.episodes import first_of_pcpu
from eptreplay.workload.schema import IDLE_DOMAIN


class Skew(NamedTuple):
    """What the switches of vCPUs tell of the difference between TSCs, if all of them are of one boot.

    ``moves``: how often a vCPU went on to run on another pCPU. ``contradictions``: how often it begins to run there
    before it has ended to run where it was, by the TSCs of the two. ``max_ticks``: by so much the TSCs of two ``pcpus``
    differ at least, and no others contradict each other by more; 0 and None if nothing does. Which of the two is ahead
    is not known.
    """

    moves: int
    contradictions: int
    max_ticks: int
    pcpus: tuple[int, int] | None

    def document(self) -> dict[str, Any]:
        """Return it as ``info`` and results have it."""
        return {**self._asdict(), "pcpus": self.pcpus and list(self.pcpus)}


def find_skew(records: r.Records) -> Skew | None:
    """Return what switches of vCPUs tell; None where the recording has none. Nothing is corrected by it."""
    begins, ends = _stays(records)
    if not begins.size and not np.isin(records.what, (r.SWITCH_IN, r.SWITCH_OUT)).any():
        return None
    vcpu, pcpu = records.w[0][begins], records.pcpu[begins]
    begin, end = records.tsc[begins], records.tsc[ends]
    before = _latest_end_before(vcpu, end)
    now = np.flatnonzero(before >= 0)
    before = before[now]
    moved = pcpu[now] != pcpu[before]
    now, before = now[moved], before[moved]
    # Which of the two came first nobody says: the clocks differ by the lesser of what either would take, or more.
    ticks = np.minimum(end[before] - begin[now], end[now] - begin[before])
    contradictions = int((ticks > 0).sum())
    if not contradictions:
        return Skew(int(moved.sum()), 0, 0, None)
    worst = int(np.argmax(ticks))
    low, high = sorted((int(pcpu[before[worst]]), int(pcpu[now[worst]])))
    return Skew(int(moved.sum()), contradictions, int(ticks[worst]), (low, high))


def _stays(records: r.Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last record of each stay of a vCPU on a pCPU, by vCPU, then by first TSC.

    Only of those that are recorded whole: nothing was lost or skipped in between. And of those between a TSC that no
    earlier one of the pCPU exceeds, and one that no later one falls below: a spoilt TSC says nothing of other clocks.
    """
    placing = np.flatnonzero(np.isin(records.what, (r.SWITCH_IN, r.SWITCH_OUT, r.LOST)))
    begins, ends = placing[:-1], placing[1:]
    vcpu = records.w[0]
    runs = records.dom[ends].astype(np.int64) << 16 | records.vcpu[ends]
    whole = (records.what[begins] == r.SWITCH_IN) & (records.what[ends] == r.SWITCH_OUT)
    whole &= records.timed[begins] & records.timed[ends]
    low, high = _clock_limits(records)
    whole &= (records.tsc[begins] >= high[begins]) & (records.tsc[ends] <= low[ends])
    whole &= (records.pcpu[begins] == records.pcpu[ends]) & (vcpu[begins] == vcpu[ends]) & (runs == vcpu[ends])
    whole &= (vcpu[begins] >> 16 != IDLE_DOMAIN) & (records.tsc[begins] <= records.tsc[ends])
    begins, ends = begins[whole], ends[whole]
    order = np.lexsort((records.tsc[ends], records.tsc[begins], vcpu[begins]))
    return begins[order], ends[order]


def _clock_limits(records: r.Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each record the lowest TSC of its pCPU from it on, and the highest one up to it."""
    low, high = records.tsc.copy(), records.tsc.copy()
    first = first_of_pcpu(records.pcpu).tolist()
    for own in map(slice, first, [*first[1:], high.size]):
        high[own] = np.maximum.accumulate(high[own])
        low[own] = np.minimum.accumulate(low[own][::-1])[::-1]
    return low, high


def _latest_end_before(vcpu: NDArray[np.uint32], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each stay that of those before it of the same vCPU which ends last, or -1 for the first of a vCPU."""
    if not vcpu.size:
        return np.zeros(0, np.int64)
    by_end = np.argsort(end, kind="stable")
    rank = np.empty(end.size, np.int64)
    rank[by_end] = np.arange(end.size)
    first = np.append(True, vcpu[1:] != vcpu[:-1])
    block = np.cumsum(first) * end.size  # what a vCPU reaches is more than all that the one before it can
    latest = by_end[np.maximum.accumulate(block + rank) - block]
    return np.where(first, -1, np.roll(latest, 1))


def skew_line(skew: dict[str, Any] | None, tsc_hz: int) -> str | None:
    """Return a skew, as documents have it, in words; None where nothing contradicts itself."""
    if skew is None or not skew["contradictions"]:
        return None
    return (
        f"those of pCPUs {skew['pcpus'][0]} and {skew['pcpus'][1]} differ by {skew['max_ticks']:,} ticks"
        f" ({1e6 * skew['max_ticks'] / tsc_hz:,.3f} us) at least: {skew['contradictions']:,} of {skew['moves']:,} moves"
        " of vCPUs to another pCPU begin before they end; within that, order between pCPUs means nothing"
    )
