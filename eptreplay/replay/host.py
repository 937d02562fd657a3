"""The modelled host as one value; the modes of its pCPUs; when each has something to do next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import Words
from eptreplay.machine.clock import set_time
from eptreplay.replay import program as p
from eptreplay.replay import tally as y

Int64s = NDArray[np.int64]


class Host(NamedTuple):
    """The modelled host; see ``machine.fields``.

    ``stack``: [pCPU, depth, p2m and hold]; ``vcpu``: where its state is; ``mark``: [p2m, word]; ``dirty``: [domain,
    word]; ``target``: the dirty mask at a sender's request, [pCPU, word]; ``cached``: [pCPU, p2m], since when
    translations may be cached; ``topology``: the number of each pCPU in Xen; ``node``, ``rest``, ``linked``: see
    ``machine.ept``; ``ranges``: where log-dirty is on, [p2m, range, first and last frame].
    """

    cpu: Int64s
    lock: Int64s
    p2m: Int64s
    dom: Int64s
    cost: Int64s
    how: Int64s
    times: Int64s
    tree: Int64s
    stack: Int64s
    vcpu: Int64s
    mark: Words
    dirty: Words
    target: Words
    cached: Int64s
    topology: Int64s
    node: Int64s
    rest: Int64s
    linked: Int64s
    ranges: Int64s


@part
def charge(t: y.Tally, dom: int, cause: int, measure: int, amount: int) -> None:
    """Count something for a domain and a cause, if the domain is known."""
    if dom >= 0:
        t.measure[dom, cause, measure] += amount


@part
def mode_without_interrupt(h: Host, c: int) -> int:
    """Return the mode that an interrupt meets, or met."""
    phase = h.cpu[c, f.PHASE]
    if phase != f.GAP and phase != f.STORE and phase != f.ENTRY_INVEPT:
        return f.SPIN
    return f.XEN if h.cpu[c, f.STOPPED] else int(h.cpu[c, f.MODE])


@part
def mode_of(h: Host, c: int) -> int:
    """Return the mode that a pCPU counts as being in."""
    if h.cpu[c, f.HANDLING] >= 0 or h.cpu[c, f.ENTERING]:
        return f.XEN
    return mode_without_interrupt(h, c)


@part
def settle(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Let what has just changed about a pCPU take effect: pauses, its mode, its work, and when it is next due."""
    cpu = h.cpu
    mode = mode_of(h, c)
    if mode == f.GUEST and cpu[c, f.ENTERED] >= 0 and h.dom[cpu[c, f.ENTERED], f.PAUSED] > 0:
        cpu[c, f.STOPPED] = 1
        mode = f.XEN
    if mode != cpu[c, f.SHOWN]:
        t.mode[c, cpu[c, f.SHOWN]] += now - cpu[c, f.SINCE]
        cpu[c, f.SHOWN] = mode
        cpu[c, f.SINCE] = now
    busy = cpu[c, f.HANDLING] >= 0 or cpu[c, f.ENTERING] == 1
    if busy or cpu[c, f.STOPPED]:
        if cpu[c, f.LEFT] == f.NEVER and _is_at_work(h, w, c):
            cpu[c, f.LEFT] = max(0, cpu[c, f.DUE] - now)
    elif cpu[c, f.LEFT] < f.NEVER:
        cpu[c, f.DUE] = now + cpu[c, f.LEFT]
        cpu[c, f.LEFT] = f.NEVER
    if busy:
        time = cpu[c, f.FREE]
    else:
        time = program_time(h, c)
        if cpu[c, f.SIGNAL] >= 0 and cpu[c, f.PHASE] != f.ENTRY_INVEPT:
            time = min(time, cpu[c, f.ARRIVES])
    set_time(h.times, h.tree, c, max(now, time))


@part
def program_time(h: Host, c: int) -> int:
    """Return when a program can go on, but for interrupts; NEVER while it waits for another pCPU."""
    cpu = h.cpu
    phase = cpu[c, f.PHASE]
    time = cpu[c, f.DUE]
    waits = False
    if cpu[c, f.STOPPED]:
        time, waits = cpu[c, f.FREE], h.dom[cpu[c, f.ENTERED], f.PAUSED] > 0
    elif phase == f.GAP:
        waits = cpu[c, f.PC] == cpu[c, f.LAST] or cpu[c, f.WAITS] != f.NOTHING
    elif phase == f.ACKS:
        time, waits = cpu[c, f.B_ACKED], cpu[c, f.B_LEFT] > 0
    else:
        waits = phase == f.QUEUE or phase == f.CALL_QUEUE
    return int(f.NEVER if waits else time)


@part
def is_elastic(h: Host, w: p.Program, c: int) -> bool:
    """Tell whether the gap that a pCPU is in ends at the recorded time."""
    row = h.cpu[c, f.PC]
    if w.first[c] == row or h.cpu[c, f.LAST] == row:
        return False
    op = w.op[row - 1] & p.OP
    return bool(op == p.IDLE or op == p.LOST)


@part
def _is_at_work(h: Host, w: p.Program, c: int) -> bool:
    """Tell whether the program of a pCPU takes so much longer as it is kept from it."""
    phase = h.cpu[c, f.PHASE]
    if phase == f.GAP:
        return bool(h.cpu[c, f.MODE] != f.IDLE) and not is_elastic(h, w, c)
    waits = phase == f.QUEUE or phase == f.HANDOFF or phase == f.CALL_QUEUE or phase == f.CALL_HANDOFF
    return not waits and bool(phase != f.ACKS)


@part
def begin_gap(h: Host, w: p.Program, c: int, now: int) -> None:
    """End a row: the next one is due after its gap, or, after idling and lost records, when it was recorded."""
    cpu = h.cpu
    cpu[c, f.PHASE] = f.GAP
    cpu[c, f.ENDED] = now
    row = cpu[c, f.PC]
    if row == cpu[c, f.LAST]:
        cpu[c, f.DUE] = now
        return
    cpu[c, f.RECORDED] += w.gap[row]
    cpu[c, f.DUE] = cpu[c, f.RECORDED] if is_elastic(h, w, c) else now + w.gap[row]
