"""How often Xen broadcasts, as far as a path tells: the rules R2 and R3.

A path does not know of splits and marks, nor whether a change of many entries finds any; here it is taken to. What
replay counts comes from the modelled tables.
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.workload.paths.act import Acts

SYNC_POINTS = frozenset({"FREE_TABLE", "POD_RECLAIM"})


class Deferred(NamedTuple):
    """Broadcasts at explicit sync points, with the lock held, and behind releases."""

    under_lock: int
    after: int


def eager_broadcasts(acts: Acts) -> int:
    """Count broadcasts where each is sent at once: one for each change of something present (rule R2)."""
    return sum(act.present * act.count if act.op == "SET" else act.op in {"GLOBAL_CHANGE", "MISCONFIG"} for act in acts)


def deferred_broadcasts(acts: Acts) -> Deferred:
    """Count broadcasts where they wait for the outermost release, or for a sync point before it (rule R3)."""
    depth: dict[tuple[int, int], int] = {}
    owed: set[tuple[int, int]] = set()
    under_lock = after = 0
    for act in acts:
        p2m = act.dom, act.view
        if act.op == "HOLD_BEGIN":
            depth[p2m] = depth.get(p2m, 0) + 1
        elif act.present or act.op == "GLOBAL_CHANGE":
            owed.add(p2m)
        elif act.op in SYNC_POINTS and p2m in owed:
            under_lock += 1
            owed.remove(p2m)
        elif act.op == "HOLD_END":
            depth[p2m] -= 1
            if depth[p2m] == 0 and p2m in owed:
                after += 1
                owed.remove(p2m)
    return Deferred(under_lock, after)
