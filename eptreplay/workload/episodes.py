"""VM exits and what belongs to each: the records of the vCPU that exited, up to its next VM entry."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r

NPT_FAULT = 0x400
"""SVM exit code of a nested page fault."""
EXTERNAL_INTERRUPT, EPT_VIOLATION, EPT_MISCONFIG, PML_FULL = 1, 48, 49, 62
"""VMX exit reasons."""
BASIC_REASON = 0xFFFF
"""The bits of a VMX exit reason that are the reason; those above are flags."""


class Episodes(NamedTuple):
    """What lies between which VM exit and the entry after it.

    For each record: ``start``, position of the last VMEXIT of its pCPU if no VM entry has followed yet, else -1;
    ``own``, whether the vCPU that exited there still ran (or nobody knows who ran); for each VMEXIT: ``complete``,
    whether its VM entry, or another vCPU's, is in the recording, so that what happened in between is too.
    """

    start: NDArray[np.int64]
    own: NDArray[np.bool_]
    complete: NDArray[np.bool_]


def find_episodes(records: r.Records) -> Episodes:
    """Return which records lie between which VM exit and the entry after it."""
    size = records.what.size
    position = np.arange(size)
    ends = (records.what == r.VMENTER) | (records.what == r.LOST)
    boundary = ends | (records.what == r.VMEXIT)
    boundary[first_of_pcpu(records.pcpu)] = True
    last = np.maximum.accumulate(np.where(boundary, position, 0)) if size else position
    start = np.where(records.what[last] == r.VMEXIT, last, -1)
    own = (start >= 0) & (records.dom == records.dom[start]) & (records.vcpu == records.vcpu[start])
    following = np.append(boundary[1:], True)
    upcoming = np.minimum.accumulate(np.where(following, position + 1, size)[::-1])[::-1]
    complete = np.zeros(size, np.bool_)
    inside = upcoming < size
    there = upcoming[inside]
    complete[inside] = (records.pcpu[there] == records.pcpu[inside]) & (records.what[there] != r.LOST)
    return Episodes(start, own, complete)


def first_of_pcpu(pcpu: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return the position of the first record of each pCPU; ``pcpu`` is sorted."""
    return np.flatnonzero(np.diff(pcpu.astype(np.int64), prepend=-1))
