"""The call lock and the p2m locks under the policy ``queue``: first come, first served.

Real ones: the p2m lock is a ticket-queued rwlock since 55d8424e4e; ``call_lock`` a ticket lock since e10784ac42.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine import fields as f

Int64s = NDArray[np.int64]

CALL_LOCK = 0


@part
def distance(cost: Int64s, a: int, b: int) -> int:
    """Return 0 for pCPUs of the same core, 1 for the same socket, else 2."""
    core_a, core_b = a // cost[f.C_THREADS], b // cost[f.C_THREADS]
    if core_a == core_b:
        return 0
    return 1 if core_a // cost[f.C_CORES] == core_b // cost[f.C_CORES] else 2


@part
def take_or_queue(cpu: Int64s, lock: Int64s, cost: Int64s, number: int, c: int, now: int, acquire: int) -> None:
    """Let pCPU ``c`` take a lock, or queue for it.

    ``acquire``: the phase of taking it; those of queueing for it and of having it handed over are the next two.
    """
    if lock[number, f.OWNER] == f.NONE:
        lock[number, f.OWNER] = c
        cpu[c, f.PHASE] = acquire
        cpu[c, f.DUE] = now + cost[f.C_ACQUIRE]
        return
    cpu[c, f.PHASE] = acquire + 1
    cpu[c, f.NEXT] = f.NONE
    if lock[number, f.HEAD] == f.NONE:
        lock[number, f.HEAD] = c
    else:
        cpu[lock[number, f.TAIL], f.NEXT] = c
    lock[number, f.TAIL] = c


@part
def hand_on(cpu: Int64s, lock: Int64s, cost: Int64s, topology: Int64s, number: int, c: int, now: int) -> int:
    """Hand a lock on to the first in its queue; returns that pCPU, or -1."""
    heir = lock[number, f.HEAD]
    lock[number, f.OWNER] = heir
    if heir == f.NONE:
        return f.NONE
    lock[number, f.HEAD] = cpu[heir, f.NEXT]
    cpu[heir, f.PHASE] += 1
    cpu[heir, f.DUE] = now + cost[f.C_HANDOFF + distance(cost, topology[c], topology[heir])]
    return int(heir)
