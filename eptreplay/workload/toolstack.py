"""Rows that only a patched Xen's records make, outside of holds: pauses, lookups, pages, cleans and drains."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r
from eptreplay.workload import schema as s
from eptreplay.workload.acts import PML_ENTRIES
from eptreplay.workload.draft import Drafts
from eptreplay.workload.episodes import first_of_pcpu
from eptreplay.xentrace.catalogue.extension import CLEAN


def add_toolstack(drafts: Drafts, records: r.Records) -> None:
    """Add a row for each of these records. Those of pauses that others contradict are left out."""
    word = records.w
    for kind, op in ((r.PAGE_FREE, s.PAGE_FREE), (r.PAGE_ALLOC, s.PAGE_ALLOC)):
        at = np.flatnonzero(records.what == kind)
        row = records.memory[at]
        drafts.add(
            at,
            op=op,
            p2m_dom=word[2][at] & 0xFFFF,
            gfn=np.uint64(s.NO_GFN),
            order=records.order[row],
            mfn=records.mfn[row],
            **_who(records, at),
        )
    at = np.flatnonzero((records.what == r.LOOKUP) & (word[2] > 0))
    row = records.memory[at]
    drafts.add(
        at,
        op=s.LOOKUP,
        p2m_dom=records.p2m_dom[row],
        gfn=records.gfn[row],
        mfn=np.uint64(s.NO_GFN),
        count=word[2][at],
        preemptible=word[3][at] >> 16 != 0,
        **_who(records, at),
    )
    at = np.flatnonzero(records.what == r.DRAIN)
    entries = np.clip(word[1][at], 1, PML_ENTRIES)
    drafts.add(at, op=s.PML_DRAIN, p2m_dom=word[0][at] & 0xFFFF, count=entries, **_who(records, at))
    at = np.flatnonzero((records.what == r.CLEAN) & (word[0] >> 16 == CLEAN))
    drafts.add(at, op=s.LOGDIRTY_CLEAN, p2m_dom=word[0][at] & 0xFFFF, **_who(records, at))
    paused, unpaused = _pauses(records)
    for at, op in ((paused, s.PAUSE), (unpaused, s.UNPAUSE)):
        drafts.add(at, op=op, run_dom=word[0][at] & 0xFFFF)


def _who(records: r.Records, at: NDArray[np.int64]) -> dict[str, NDArray[np.int32]]:
    return {"run_dom": records.dom[at], "run_vcpu": records.vcpu[at]}


def _pauses(records: r.Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the records of pauses and of their ends, in pairs.

    A pause counts if the same pCPU ended it, which runs another domain, and no vCPU of the domain, or of an unknown
    one, ran in between: a record of the end may be lost, and nobody may wait for it then.
    """
    marks = np.flatnonzero((records.what == r.PAUSE) | (records.what == r.UNPAUSE))
    if not marks.size:
        return marks, marks
    ran = _Ran(records)
    pairs: list[tuple[int, int]] = []
    stacks: dict[tuple[int, int], list[int]] = {}
    for mark in marks.tolist():
        paused = int(records.w[0][mark] & 0xFFFF)
        stack = stacks.setdefault((int(records.pcpu[mark]), paused), [])
        if records.what[mark] == r.PAUSE:
            stack.append(mark)
        elif stack:
            begin = stack.pop()
            if records.dom[begin] != paused and not ran.between(begin, mark, paused):
                pairs.append((begin, mark))
    both = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


class _Ran:
    """When vCPUs of each domain ran, as records tell: on a pCPU by the place of the record, on all by its time."""

    def __init__(self, records: r.Records) -> None:
        by_place = (r.VMENTER, r.VMEXIT)
        at = np.flatnonzero(np.isin(records.what, (*by_place, r.SWITCH_IN, r.SWITCH_OUT, r.CONTINUE, r.LOST)))
        what, switched, resumed = records.what[at], records.w[0][at] >> 16, records.w[1][at] & 0xFFFF
        dom = np.select([np.isin(what, by_place), what == r.LOST], [records.dom[at], resumed], switched).astype(
            np.int64
        )
        # As in a workload, the clock of a pCPU does not step back.
        first = first_of_pcpu(records.pcpu)
        self.clock = records.tsc.copy()
        for begin, end in pairwise([*first.tolist(), self.clock.size]):
            self.clock[begin:end] = np.maximum.accumulate(self.clock[begin:end])
        self.places = {int(d): at[dom == d] for d in np.unique(dom)}
        self.times = {d: np.sort(self.clock[place]) for d, place in self.places.items()}

    def between(self, begin: int, end: int, dom: int) -> bool:
        """Tell whether a vCPU of a domain, or of an unknown one, ran between two records of a pCPU, on any."""
        for d in (dom, r.UNKNOWN):
            if d not in self.places:
                continue
            here = np.searchsorted(self.places[d], (begin, end))
            there = np.searchsorted(self.times[d], (self.clock[begin] + 1, self.clock[end]))
            if here[1] > here[0] or there[1] > there[0]:
                return True
        return False
