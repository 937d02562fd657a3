"""Why a p2m write lock is held and entries are changed: the names that results and extension events use."""

from __future__ import annotations

CAUSES = (
    "logdirty_fault",
    "pod_fault",
    "spurious",
    "misconfig",
    "populate",
    "decrease",
    "physmap",
    "grant",
    "foreign",
    "logdirty_global",
    "pml",
    "pod_reclaim",
    "mem_access",
    "other",
)
"""A number stands for the position in this list, as in P2M_HOLD_BEGIN; so it is only ever extended."""
