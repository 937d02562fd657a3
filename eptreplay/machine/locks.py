"""The call lock and the p2m locks under the policy ``queue``: first come, first served.

Real ones: the p2m lock is a ticket-queued rwlock since 55d8424e4e; ``call_lock`` a ticket lock since e10784ac42.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine.fields import (
    ACQUIRE,
    BUSY,
    CORES,
    DUE,
    HANDOFF,
    HEAD,
    NEVER,
    NEXT,
    NONE,
    NOTHING,
    OWNER,
    PHASE,
    QUEUE,
    TAIL,
    THREADS,
    WAITS,
)

Int64s = NDArray[np.int64]

CALL_LOCK = 0


@part
def distance(cost: Int64s, a: int, b: int) -> int:
    """Return 0 for pCPUs of the same core, 1 for the same socket, else 2."""
    core_a, core_b = a // cost[THREADS], b // cost[THREADS]
    if core_a == core_b:
        return 0
    return 1 if core_a // cost[CORES] == core_b // cost[CORES] else 2


@part
def request(cpu: Int64s, lock: Int64s, cost: Int64s, number: int, c: int, now: int, phase: int) -> None:
    """Let pCPU ``c`` take a lock, or queue for it; it goes on with ``phase`` once it has acquired it."""
    cpu[c, PHASE] = phase
    if lock[number, OWNER] == NONE:
        lock[number, OWNER] = c
        cpu[c, DUE] = now + cost[ACQUIRE]
        return
    cpu[c, DUE] = NEVER
    cpu[c, WAITS] = QUEUE
    cpu[c, NEXT] = NONE
    if lock[number, HEAD] == NONE:
        lock[number, HEAD] = c
    else:
        cpu[lock[number, TAIL], NEXT] = c
    lock[number, TAIL] = c


@part
def release(cpu: Int64s, lock: Int64s, cost: Int64s, topology: Int64s, number: int, c: int, now: int) -> int:
    """Hand a lock on to the first in its queue; returns that pCPU, or -1."""
    heir = lock[number, HEAD]
    lock[number, OWNER] = heir
    if heir == NONE:
        return NONE
    lock[number, HEAD] = cpu[heir, NEXT]
    cpu[heir, WAITS] = NOTHING
    acquired = now + cost[HANDOFF + distance(cost, topology[c], topology[heir])]
    cpu[heir, DUE] = max(acquired, cpu[heir, BUSY])
    return int(heir)
