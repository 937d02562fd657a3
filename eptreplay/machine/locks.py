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
from eptreplay.machine.fields import Records

Int64s = NDArray[np.int64]

CALL_LOCK = 0


@part
def distance(place: Records, a: int, b: int) -> int:
    """Return 0 for pCPUs of the same core, 1 for the same socket, else 2."""
    if place[a].core == place[b].core:
        return 0
    return 1 if place[a].socket == place[b].socket else 2


@part
def _wait(cpu: Records, lock: Records, number: int, c: int) -> None:
    """Let pCPU ``c`` wait behind all others who do."""
    cpu[c].behind = f.NONE
    if lock[number].head == f.NONE:
        lock[number].head = c
    else:
        cpu[lock[number].tail].behind = c
    lock[number].tail = c


@part
def take_or_queue(cpu: Records, lock: Records, cost: Int64s, number: int, c: int, now: int) -> None:
    """Let pCPU ``c`` take the call lock or the flush lock, or queue for it."""
    if lock[number].owner == f.NONE:
        lock[number].owner = c
        cpu[c].phase = f.CALL_ACQUIRE
        cpu[c].due = now + cost[f.C_ACQUIRE]
        return
    cpu[c].phase = f.CALL_QUEUE
    _wait(cpu, lock, number, c)


@part
def hand_on(cpu: Records, lock: Records, cost: Int64s, place: Records, number: int, c: int, now: int) -> int:
    """Hand the call lock or the flush lock on to the first in its queue; returns that pCPU, or -1."""
    lock[number].held += now - lock[number].since
    heir = lock[number].head
    lock[number].owner = heir
    if heir == f.NONE:
        return f.NONE
    lock[number].head = cpu[heir].behind
    cpu[heir].phase = f.CALL_HANDOFF
    cpu[heir].due = now + cost[f.C_HANDOFF + distance(place, c, heir)]
    return int(heir)


@part
def request_write(cpu: Records, lock: Records, cost: Int64s, how: Int64s, number: int, c: int, now: int) -> None:
    """Ask for the write side of a p2m lock."""
    cpu[c].lock = number
    cpu[c].reads = 0
    policy = how[f.POLICY]
    if lock[number].owner != f.NONE or (policy != f.UNFAIR and lock[number].head != f.NONE):
        cpu[c].phase = f.QUEUE
        _wait(cpu, lock, number, c)
        return
    lock[number].owner = c
    cpu[c].phase = f.DRAIN if policy != f.PERCPU and lock[number].readers > 0 else f.ACQUIRE
    cpu[c].due = now + cost[f.C_ACQUIRE]


@part
def request_read(cpu: Records, lock: Records, cost: Int64s, how: Int64s, number: int, c: int, now: int) -> None:
    """Ask for the read side of a p2m lock."""
    cpu[c].lock = number
    cpu[c].reads = 1
    policy = how[f.POLICY]
    if policy == f.PERCPU:
        comes_in = lock[number].active == 0
    else:
        comes_in = lock[number].owner == f.NONE and (policy == f.UNFAIR or lock[number].head == f.NONE)
    if not comes_in:
        cpu[c].phase = f.QUEUE
        _wait(cpu, lock, number, c)
        return
    lock[number].readers += 1
    cpu[c].phase = f.ACQUIRE
    cpu[c].due = now + (cost[f.C_READ] if policy == f.PERCPU else cost[f.C_ACQUIRE])


@part
def pass_on(
    cpu: Records, lock: Records, cost: Int64s, how: Int64s, place: Records, number: int, c: int, now: int
) -> int:
    """Let pCPU ``c`` pass a p2m lock on, if there is no writer and somebody waits; returns the heir, or -1."""
    if lock[number].owner != f.NONE or lock[number].head == f.NONE:
        return f.NONE
    before = f.NONE
    if how[f.POLICY] == f.UNFAIR and lock[number].head != lock[number].tail:
        before = _draw_heir(cpu, lock, cost, how, place, number, c)
    heir = lock[number].head if before == f.NONE else cpu[before].behind
    if before == f.NONE:
        lock[number].head = cpu[heir].behind
    else:
        cpu[before].behind = cpu[heir].behind
        if lock[number].tail == heir:
            lock[number].tail = before
    cpu[heir].phase = f.HANDOFF
    cpu[heir].due = now + cost[f.C_HANDOFF + distance(place, c, heir)]
    if cpu[heir].reads:
        lock[number].readers += 1
    else:
        lock[number].owner = heir
        if how[f.POLICY] != f.PERCPU and lock[number].readers > 0:
            cpu[heir].phase = f.DRAIN
    return int(heir)


@piece
def _draw_heir(cpu: Records, lock: Records, cost: Int64s, how: Int64s, place: Records, number: int, c: int) -> int:
    """Draw among those who wait; returns whoever waits before the heir, or -1."""
    total = 0
    one = lock[number].head
    while one != f.NONE:
        total += cost[f.C_WEIGHT + distance(place, c, one)]
        one = cpu[one].behind
    drawn = draw(how[f.SEED], place[c].number, cpu[c].draws, total)
    cpu[c].draws += 1
    before = f.NONE
    one = lock[number].head
    weight = cost[f.C_WEIGHT + distance(place, c, one)]
    while drawn >= weight:
        before, one = one, cpu[one].behind
        weight += cost[f.C_WEIGHT + distance(place, c, one)]
    return int(before)


@part
def release_read(cpu: Records, lock: Records, cost: Int64s, place: Records, number: int, c: int, now: int) -> int:
    """Let a reader go; returns the writer that is at the lock after that, or -1."""
    lock[number].readers -= 1
    writer = lock[number].owner
    if lock[number].readers > 0 or writer == f.NONE or cpu[writer].phase != f.DRAIN:
        return f.NONE
    cpu[writer].phase = f.HANDOFF
    cpu[writer].due = now + cost[f.C_HANDOFF + distance(place, c, writer)]
    return int(writer)


@part
def release_write(lock: Records, number: int, now: int) -> None:
    """Let the writer go; somebody has to pass the lock on after that."""
    lock[number].held += now - lock[number].since
    lock[number].owner = f.NONE
    lock[number].active = 0
