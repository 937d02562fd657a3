"""Invalidation strategies: what Xen did, does, or might do when an EPT entry changes. Values, not code."""

from eptreplay.strategies.decision import (
    DEFER,
    FREE_TABLE,
    GLOBAL_CHANGE,
    MARK,
    MISCONFIG,
    NOTHING,
    NOW,
    POD_DECREASE,
    POD_SUPERPAGE,
    POD_SWEEP,
    SET,
    Request,
)
from eptreplay.strategies.strategy import Strategy

__all__ = [
    "DEFER",
    "FREE_TABLE",
    "GLOBAL_CHANGE",
    "MARK",
    "MISCONFIG",
    "NOTHING",
    "NOW",
    "POD_DECREASE",
    "POD_SUPERPAGE",
    "POD_SWEEP",
    "SET",
    "Request",
    "Strategy",
]
