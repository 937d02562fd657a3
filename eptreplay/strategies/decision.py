"""The seam for strategies that no switch describes: a function that decides about each sync by itself.

``Strategy.decide`` is called with a ``Request`` whenever a strategy of Xen's kind would have to invalidate, and returns
one of the decisions below. It is compiled by numba: integers, comparisons, arithmetic and branches. It has no memory of
its own: whatever it decides by is in the request. To each ``what`` that it has no opinion on it should return
``request.default``, since later releases may ask about more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

NOTHING = 0
"""Let the old translation live on."""
MARK = 1
"""Every pCPU is to invalidate before it next enters the guest; those that are in it are left alone."""
DEFER = 2
"""Mark, and interrupt the pCPUs that run the domain once the p2m lock is released."""
NOW = 3
"""Mark, and interrupt them at once, under the p2m lock."""

DECISIONS = ("NOTHING", "MARK", "DEFER", "NOW")

SET = 0
"""``Request.what``: a write needs a sync; mostly because an entry that was present has been changed."""
MISCONFIG = 1
"""An exit for EPT_MISCONFIG has been handled, and marks have been resolved (``ept_handle_misconfig()``)."""
GLOBAL_CHANGE = 2
"""Entries have been marked for recalculation (``ept_change_entry_type_global()`` and its like), or nothing was written
at all (``ept_sync_domain()`` by itself)."""
FREE_TABLE = 3
"""A sync point, as are all that follow: a page of the p2m is to be freed (``p2m_free_ptp()``). They are asked about
while a broadcast is owed, and then NOW pays for it; all else leaves it owed."""
POD_SUPERPAGE = 4
"""Populate-on-demand is to look into a superpage that it has unmapped (``p2m_pod_zero_check_superpage()``)."""
POD_SWEEP = 5
"""The same for pages of 4 KiB (``p2m_pod_zero_check()``)."""
POD_DECREASE = 6
"""Pages that the guest gives back are to go to the cache of populate-on-demand
(``p2m_pod_decrease_reservation()``)."""


class Request(NamedTuple):
    """What a strategy may decide by; all numbers are integers, and what is unknown is -1."""

    what: int
    """Why a decision is needed: SET, MISCONFIG, GLOBAL_CHANGE, or a sync point (3 to 6)."""
    default: int
    """What the strategy's switches would decide."""
    cause: int
    """Why something is changed: position in ``eptreplay.causes.CAUSES``."""
    old_type: int
    """Xen's number of the p2m type that the entry had; -1 for all but SET."""
    new_type: int
    """Xen's number of the p2m type that it has now, or that a GLOBAL_CHANGE is about."""
    order: int
    """The entry maps 2^order pages of 4 KiB, or so many go to the cache; -1 for MISCONFIG and GLOBAL_CHANGE."""
    upgrade: int
    """SET: 1 if rights were only added, for the same frame, else 0."""
    pending: int
    """Syncs in this hold so far that decided DEFER and wait for a broadcast."""
    sets: int
    """Writes of this hold so far, this one included."""
    dirty: int
    """Other pCPUs on which the state of one of the domain's vCPUs is loaded: whom a broadcast would interrupt."""
    now_ns: int
    """Virtual time since the start of the recording."""
    held_ns: int
    """Virtual time since the p2m lock was acquired."""
    gfn: int
    """First guest frame that the entry maps, the frame of a MISCONFIG, or the first of the range that is changed."""
    mfn: int
    """Machine frame that the entry maps now; -1 for all but SET."""


Decide = Callable[[Request], int]
