"""Who shares a message to the APICs of several pCPUs, and what it costs to write one: ``apic`` for kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine import fields as f

Int64s = NDArray[np.int64]


@part
def shares_message(place: Int64s, cost: Int64s, before: int, c: int, everybody: int) -> bool:
    """Tell whether a pCPU is reached by the message to the target before it; ``everybody``: 1 if that is all."""
    if everybody or cost[f.C_APIC] == f.XAPIC_FLAT:
        return True
    return bool(cost[f.C_APIC] == f.X2APIC_CLUSTER and place[before, f.CLUSTER] == place[c, f.CLUSTER])


@part
def writes_of(cost: Int64s, everybody: int) -> int:
    """Return how many registers are written for one message."""
    return 2 if cost[f.C_APIC] <= f.XAPIC_PHYSICAL and not everybody else 1


@part
def busy_time(cost: Int64s) -> int:
    """Return how long the next message has to wait for this one."""
    return int(cost[f.C_BUSY]) if cost[f.C_APIC] <= f.XAPIC_PHYSICAL else 0
