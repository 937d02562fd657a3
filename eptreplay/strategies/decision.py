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
"""``Request.what``: an entry that was present has been changed."""


class Request(NamedTuple):
    """What a strategy may decide by; all numbers are integers, and what is unknown is -1."""

    what: int
    """Why a decision is needed: SET."""
    default: int
    """What the strategy's switches would decide."""
    cause: int
    """Why the entry is changed: position in ``eptreplay.causes.CAUSES``."""
    old_type: int
    """Xen's number of the p2m type that the entry had."""
    new_type: int
    """Xen's number of the p2m type that it has now."""
    order: int
    """The entry maps 2^order pages of 4 KiB."""
    upgrade: int
    """1 if rights were only added, for the same frame, else 0."""
    pending: int
    """Syncs in this hold so far that decided DEFER and wait for a broadcast."""
    sets: int
    """Entries that this hold has changed so far, this one included."""
    dirty: int
    """Other pCPUs on which the state of one of the domain's vCPUs is loaded: whom a broadcast would interrupt."""
    now_ns: int
    """Virtual time since the start of the recording."""
    held_ns: int
    """Virtual time since the p2m lock was acquired."""
    gfn: int
    """First guest frame that the entry maps."""
    mfn: int
    """Machine frame that it maps now."""


Decide = Callable[[Request], int]
