"""Messages to the APICs of several pCPUs, for kernels: the numbers are those of ``apic.Addressing``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.apic import CLUSTER, EVERYBODY

Int64s = NDArray[np.int64]


@part
def reaches_all(cost: Int64s, targets: int) -> bool:
    """Tell whether so many targets are all pCPUs but the sender, and one message can be for them (5500d265a2, 4.14)."""
    return bool(cost[f.C_SHORTHAND]) and bool(targets + 1 == cost[f.C_ONLINE])


@part
def shares_message(place: f.Records, cost: Int64s, before: int, c: int, targets: int) -> bool:
    """Tell whether one of so many targets is reached by the message to the one before it."""
    if cost[f.C_SHARING] == EVERYBODY or reaches_all(cost, targets):
        return True
    return bool(cost[f.C_SHARING] == CLUSTER and place[before].cluster == place[c].cluster)


@part
def writes_of(cost: Int64s, targets: int) -> int:
    """Return how many registers are written for a message of a broadcast to so many targets."""
    return 1 if reaches_all(cost, targets) else int(cost[f.C_WRITES])
