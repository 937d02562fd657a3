"""Rows about who runs: VM entries and exits, switches, idling, lost records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.workload import records as r
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Drafts
from eptreplay.workload.episodes import Episodes

HALT_LEAVES, HALT_RETURNS = 1, -1
"""Places among the rows of their record: IDLE behind the VMEXIT of a HLT, WAKE before the VMENTER after it."""


def add_scheduling(drafts: Drafts, records: r.Records, episodes: Episodes, only_dom: int) -> None:
    """Add a row for each record that says who runs; ``only_dom`` stands in where nobody knows who does, or is -1."""
    what, word = records.what, records.w[0]
    dom, vcpu = (word >> 16).astype(np.int32), (word & 0xFFFF).astype(np.int32)
    idle = dom == s.IDLE_DOMAIN
    for kind, op in ((r.VMENTER, s.VMENTER), (r.VMEXIT, s.VMEXIT)):
        at = np.flatnonzero(what == kind)
        runs = records.dom[at]
        drafts.add(at, op=op, run_dom=np.where(runs >= 0, runs, only_dom), run_vcpu=records.vcpu[at])
    begins = (what == r.SWITCH_IN) | ((what == r.CONTINUE) & (records.dom == r.UNKNOWN))
    ends = what == r.SWITCH_OUT
    for chosen, op, named in (
        (begins & ~idle, s.SWITCH_IN, True),
        (begins & idle, s.IDLE, False),
        (ends & ~idle, s.SWITCH_OUT, True),
        (ends & idle, s.WAKE, False),
    ):
        at = np.flatnonzero(chosen)
        unknown = np.full(at.size, r.UNKNOWN)
        drafts.add(at, op=op, run_dom=dom[at] if named else unknown, run_vcpu=vcpu[at] if named else unknown)
    _add_lost(drafts, records)
    if not (begins | ends).any():
        _add_halts(drafts, records, episodes)


def _add_lost(drafts: Drafts, records: r.Records) -> None:
    """Between the first record that Xen dropped and the one that says so nobody knows who ran."""
    at = np.flatnonzero(records.what == r.LOST)
    first = records.w[2][at].astype(np.int64) | records.w[3][at].astype(np.int64) << 32
    drafts.add(at, op=s.LOST, count=records.w[0][at], tsc=first)
    dom, vcpu = records.w[1][at] & 0xFFFF, records.w[1][at] >> 16
    idle = dom == s.IDLE_DOMAIN
    drafts.add(
        at,
        sub=1,
        op=np.where(idle, s.IDLE, s.SWITCH_IN),
        run_dom=np.where(idle, r.UNKNOWN, dom.astype(np.int64)),
        run_vcpu=np.where(idle, r.UNKNOWN, vcpu.astype(np.int64)),
    )


def _add_halts(drafts: Drafts, records: r.Records, episodes: Episodes) -> None:
    """Without runstates a HLT exit is all that tells of idling: it lasts until the next VM entry of the pCPU."""
    halts = np.unique(episodes.start[(records.what == r.HALT) & (episodes.start >= 0)])
    entries = np.flatnonzero(records.what == r.VMENTER)
    following = np.searchsorted(entries, halts)
    there = following < entries.size
    halts, back = halts[there], entries[following[there]]
    same: NDArray[np.bool_] = episodes.complete[halts] & (records.pcpu[halts] == records.pcpu[back])
    drafts.add(halts[same], sub=HALT_LEAVES, op=s.IDLE)
    drafts.add(back[same], sub=HALT_RETURNS, op=s.WAKE)
