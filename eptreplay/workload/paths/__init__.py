"""The write paths of Xen: which p2m entries each operation writes, in which holds, and where it must not wait.

Each path is a Python function that returns acts; ``PATHS`` lists them. Whatever has to know what an operation does
reads it from here: inference of operations that no record shows, made-up recordings, and the documentation. Nothing
here knows of strategies, of costs, or of the machine that the acts are replayed on.
"""

from eptreplay.workload.paths import devices, events, logdirty, physmap, pod, recalculation, views
from eptreplay.workload.paths.act import ERAS, NO_FRAME, TODAY, Act, Acts, Era, chunks, number_holds, removal_chunks
from eptreplay.workload.paths.broadcasts import Deferred, deferred_broadcasts, eager_broadcasts
from eptreplay.workload.paths.path import Path

GROUPS = {
    "Guest memory": physmap.PATHS,
    "Types and marks": recalculation.PATHS,
    "Log-dirty tracking": logdirty.PATHS,
    "Populate-on-demand": pod.PATHS,
    "Grants and devices": devices.PATHS,
    "Memory events": events.PATHS,
    "Several p2ms": views.PATHS,
}
"""Headings, and the paths below them."""

PATHS = tuple(path for paths in GROUPS.values() for path in paths)

__all__ = [
    "ERAS",
    "GROUPS",
    "NO_FRAME",
    "PATHS",
    "TODAY",
    "Act",
    "Acts",
    "Deferred",
    "Era",
    "Path",
    "chunks",
    "deferred_broadcasts",
    "eager_broadcasts",
    "number_holds",
    "removal_chunks",
]
