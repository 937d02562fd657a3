"""Strategies to compare with, which nobody would ship."""

from __future__ import annotations

from eptreplay.strategies.strategy import Strategy

CONTROLS = (
    Strategy(
        name="never",
        broadcast="none",
        ipi="none",
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        summary="no invalidation at all: unsafe, and the lower bound of every cost",
        releases="none",
    ),
)
