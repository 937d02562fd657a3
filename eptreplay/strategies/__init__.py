"""Invalidation strategies: what Xen did, does, or might do when an EPT entry changes. Values, not code."""

from eptreplay.strategies.decision import DEFER, MARK, NOTHING, NOW, SET, Request
from eptreplay.strategies.strategy import Strategy

__all__ = ["DEFER", "MARK", "NOTHING", "NOW", "SET", "Request", "Strategy"]
