"""Locks: who comes in, who waits, who inherits. The rules are those of docs/background/timing.md.

Real ones: a word with a flag and a count up to 4.6; a ticket-queued rwlock since 55d8424e4e, behind slots of the pCPUs
since 66ea5ed478; ``call_lock`` and ``flush_lock``, which nobody reads, are ticket locks (e10784ac42).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part, piece
from eptreplay.machine import fields as f
from eptreplay.machine.chance import draw

Int64s = NDArray[np.int64]

CALL_LOCK = 0


@part
def distance(place: Int64s, a: int, b: int) -> int:
    """Return 0 for pCPUs of the same core, 1 for the same socket, else 2."""
    if place[a, f.CORE] == place[b, f.CORE]:
        return 0
    return 1 if place[a, f.SOCKET] == place[b, f.SOCKET] else 2


@part
def _wait(cpu: Int64s, lock: Int64s, number: int, c: int) -> None:
    """Let pCPU ``c`` wait behind all others who do."""
    cpu[c, f.BEHIND] = f.NONE
    if lock[number, f.HEAD] == f.NONE:
        lock[number, f.HEAD] = c
    else:
        cpu[lock[number, f.TAIL], f.BEHIND] = c
    lock[number, f.TAIL] = c


@part
def take_or_queue(cpu: Int64s, lock: Int64s, cost: Int64s, number: int, c: int, now: int) -> None:
    """Let pCPU ``c`` take the call lock or the flush lock, or queue for it."""
    if lock[number, f.OWNER] == f.NONE:
        lock[number, f.OWNER] = c
        cpu[c, f.PHASE] = f.CALL_ACQUIRE
        cpu[c, f.DUE] = now + cost[f.C_ACQUIRE]
        return
    cpu[c, f.PHASE] = f.CALL_QUEUE
    _wait(cpu, lock, number, c)


@part
def hand_on(cpu: Int64s, lock: Int64s, cost: Int64s, place: Int64s, number: int, c: int, now: int) -> int:
    """Hand the call lock or the flush lock on to the first in its queue; returns that pCPU, or -1."""
    lock[number, f.HELD] += now - lock[number, f.SINCE_WHEN]
    heir = lock[number, f.HEAD]
    lock[number, f.OWNER] = heir
    if heir == f.NONE:
        return f.NONE
    lock[number, f.HEAD] = cpu[heir, f.BEHIND]
    cpu[heir, f.PHASE] = f.CALL_HANDOFF
    cpu[heir, f.DUE] = now + cost[f.C_HANDOFF + distance(place, c, heir)]
    return int(heir)


@part
def request_write(cpu: Int64s, lock: Int64s, cost: Int64s, how: Int64s, number: int, c: int, now: int) -> None:
    """Ask for the write side of a p2m lock."""
    cpu[c, f.LOCK] = number
    cpu[c, f.READS] = 0
    policy = how[f.POLICY]
    if lock[number, f.OWNER] != f.NONE or (policy != f.UNFAIR and lock[number, f.HEAD] != f.NONE):
        cpu[c, f.PHASE] = f.QUEUE
        _wait(cpu, lock, number, c)
        return
    lock[number, f.OWNER] = c
    cpu[c, f.PHASE] = f.DRAIN if policy != f.PERCPU and lock[number, f.READERS] > 0 else f.ACQUIRE
    cpu[c, f.DUE] = now + cost[f.C_ACQUIRE]


@part
def request_read(cpu: Int64s, lock: Int64s, cost: Int64s, how: Int64s, number: int, c: int, now: int) -> None:
    """Ask for the read side of a p2m lock."""
    cpu[c, f.LOCK] = number
    cpu[c, f.READS] = 1
    policy = how[f.POLICY]
    if policy == f.PERCPU:
        comes_in = lock[number, f.ACTIVE] == 0
    else:
        comes_in = lock[number, f.OWNER] == f.NONE and (policy == f.UNFAIR or lock[number, f.HEAD] == f.NONE)
    if not comes_in:
        cpu[c, f.PHASE] = f.QUEUE
        _wait(cpu, lock, number, c)
        return
    lock[number, f.READERS] += 1
    cpu[c, f.PHASE] = f.ACQUIRE
    cpu[c, f.DUE] = now + (cost[f.C_READ] if policy == f.PERCPU else cost[f.C_ACQUIRE])


@part
def pass_on(cpu: Int64s, lock: Int64s, cost: Int64s, how: Int64s, place: Int64s, number: int, c: int, now: int) -> int:
    """Let pCPU ``c`` pass a p2m lock on, if there is no writer and somebody waits; returns the heir, or -1."""
    if lock[number, f.OWNER] != f.NONE or lock[number, f.HEAD] == f.NONE:
        return f.NONE
    before = f.NONE
    if how[f.POLICY] == f.UNFAIR and lock[number, f.HEAD] != lock[number, f.TAIL]:
        before = _draw_heir(cpu, lock, cost, how, place, number, c)
    heir = lock[number, f.HEAD] if before == f.NONE else cpu[before, f.BEHIND]
    if before == f.NONE:
        lock[number, f.HEAD] = cpu[heir, f.BEHIND]
    else:
        cpu[before, f.BEHIND] = cpu[heir, f.BEHIND]
        if lock[number, f.TAIL] == heir:
            lock[number, f.TAIL] = before
    cpu[heir, f.PHASE] = f.HANDOFF
    cpu[heir, f.DUE] = now + cost[f.C_HANDOFF + distance(place, c, heir)]
    if cpu[heir, f.READS]:
        lock[number, f.READERS] += 1
    else:
        lock[number, f.OWNER] = heir
        if how[f.POLICY] != f.PERCPU and lock[number, f.READERS] > 0:
            cpu[heir, f.PHASE] = f.DRAIN
    return int(heir)


@piece
def _draw_heir(cpu: Int64s, lock: Int64s, cost: Int64s, how: Int64s, place: Int64s, number: int, c: int) -> int:
    """Draw among those who wait; returns whoever waits before the heir, or -1."""
    total = 0
    one = lock[number, f.HEAD]
    while one != f.NONE:
        total += cost[f.C_WEIGHT + distance(place, c, one)]
        one = cpu[one, f.BEHIND]
    drawn = draw(how[f.SEED], place[c, f.NUMBER], cpu[c, f.DRAWS], total)
    cpu[c, f.DRAWS] += 1
    before = f.NONE
    one = lock[number, f.HEAD]
    weight = cost[f.C_WEIGHT + distance(place, c, one)]
    while drawn >= weight:
        before, one = one, cpu[one, f.BEHIND]
        weight += cost[f.C_WEIGHT + distance(place, c, one)]
    return int(before)


@part
def release_read(cpu: Int64s, lock: Int64s, cost: Int64s, place: Int64s, number: int, c: int, now: int) -> int:
    """Let a reader go; returns the writer that is at the lock after that, or -1."""
    lock[number, f.READERS] -= 1
    writer = lock[number, f.OWNER]
    if lock[number, f.READERS] > 0 or writer == f.NONE or cpu[writer, f.PHASE] != f.DRAIN:
        return f.NONE
    cpu[writer, f.PHASE] = f.HANDOFF
    cpu[writer, f.DUE] = now + cost[f.C_HANDOFF + distance(place, c, writer)]
    return int(writer)


@part
def release_write(lock: Int64s, number: int, now: int) -> None:
    """Let the writer go; somebody has to pass the lock on after that."""
    lock[number, f.HELD] += now - lock[number, f.SINCE_WHEN]
    lock[number, f.OWNER] = f.NONE
    lock[number, f.ACTIVE] = 0
