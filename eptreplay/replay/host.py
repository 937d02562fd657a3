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
    word]; ``target``: the pCPUs that a sender has in mind, [pCPU, word], and ``sent``, those of them that it is sending
    to; ``behind``: [target, sender], whose call comes behind that sender's, if senders share no lock; ``cached``:
    [pCPU, p2m], since when translations may be cached; ``place``: of each pCPU, [pCPU, field]; ``node``,
    ``rest``, ``linked``: see ``machine.ept``; ``ranges``: where log-dirty is on, [p2m, range, first and last frame];
    ``freed``: the clock of TLB flushes, and behind it what it was at each PAGE_FREE, or -1.
    """

    cpu: Int64s
    lock: Int64s
    p2m: Int64s
    dom: Int64s
    cost: Int64s
    how: Int64s
    key: Int64s
    tree: Int64s
    stack: Int64s
    vcpu: Int64s
    mark: Words
    dirty: Words
    target: Words
    sent: Int64s
    behind: NDArray[np.int32]
    cached: Int64s
    place: Int64s
    node: Int64s
    rest: Int64s
    linked: Int64s
    ranges: Int64s
    freed: Int64s


@part
def charge(t: y.Tally, dom: int, cause: int, measure: int, amount: int) -> None:
    """Count something for a domain and a cause, and for the time that it is, if the domain is known."""
    if dom >= 0:
        t.measure[dom, cause, measure] += amount
        t.bucket[t.total[y.BUCKET], measure] += amount


@part
def mode_without_interrupt(h: Host, c: int) -> int:
    """Return the mode that an interrupt meets, or met."""
    phase = h.cpu[c, f.PHASE]
    if phase > f.OWN_INVEPT:
        return f.SPIN
    if phase > f.FLUSH:
        return f.IRQOFF
    return f.XEN if h.cpu[c, f.STOPPED] else int(h.cpu[c, f.MODE])


@part
def mode_of(h: Host, c: int) -> int:
    """Return the mode that a pCPU counts as being in, but for the first moments behind a VM exit."""
    if h.cpu[c, f.HANDLING] >= 0 or h.cpu[c, f.ENTERING]:
        return f.IRQOFF
    return mode_without_interrupt(h, c)


@part
def _span(t: y.Tally, c: int, mode: int, start: int, end: int) -> None:
    t.mode[c, mode] += end - start
    if end > start:
        number = t.total[y.SPAN_ROWS]
        t.total[y.SPAN_ROWS] += 1
        if number < t.span.shape[0]:
            t.span[number, 0] = c
            t.span[number, 1] = mode
            t.span[number, 2] = start
            t.span[number, 3] = end


@part
def count_mode(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Count the time since the last count for the mode that a pCPU has been in: behind a VM exit, ``irqoff`` first."""
    cpu = h.cpu
    since, shown = cpu[c, f.SINCE], cpu[c, f.SHOWN]
    if shown == f.XEN and cpu[c, f.OFF_UNTIL] > since:
        on = min(now, cpu[c, f.OFF_UNTIL])
        _span(t, c, f.IRQOFF, since, on)
        since = on
    _span(t, c, shown, since, now)
    cpu[c, f.SINCE] = now


@part
def interrupt_time(h: Host, c: int) -> int:
    """Return when the next interrupt can take effect, as far as that hangs on time; NEVER if there is none."""
    cpu = h.cpu
    if f.FLUSH < cpu[c, f.PHASE] <= f.OWN_INVEPT:
        return int(f.NEVER)
    time = f.NEVER
    if cpu[c, f.CALLS] >= 0:
        time = cpu[c, f.ARRIVES]
    if cpu[c, f.FLUSHER] >= 0:
        time = min(time, cpu[c, f.FLUSH_ARRIVES])
    return int(time if time == f.NEVER else max(time, cpu[c, f.OFF_UNTIL]))


@part
def settle(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Let what has just changed about a pCPU take effect: pauses, its mode, its work, and when it is next due."""
    cpu = h.cpu
    mode = mode_of(h, c)
    if mode == f.GUEST and cpu[c, f.ENTERED] >= 0 and h.dom[cpu[c, f.ENTERED], f.PAUSED] > 0:
        cpu[c, f.STOPPED] = 1
        mode = f.XEN
    if mode != cpu[c, f.SHOWN]:
        count_mode(h, t, c, now)
        cpu[c, f.SHOWN] = mode
    busy = cpu[c, f.HANDLING] >= 0 or cpu[c, f.ENTERING] == 1
    if busy or cpu[c, f.STOPPED]:
        _stop_work(h, w, c, now)
    else:
        _go_on_with_work(h, t, c, now)
    cpu[c, f.EVENT] = f.OWN_EVENT
    if busy:
        time = cpu[c, f.FREE]
    else:
        time = max(now, program_time(h, c))
        interrupt = max(now, interrupt_time(h, c))
        if interrupt <= time and interrupt < f.NEVER:
            time = interrupt
            cpu[c, f.EVENT] = f.INTERRUPT
    set_time(h.key, h.tree, c, max(now, time))


@part
def _stop_work(h: Host, w: p.Program, c: int, now: int) -> None:
    """Keep a pCPU from its work, which ends so much later; as recorded, gaps end when they did, and that is noted."""
    cpu = h.cpu
    if cpu[c, f.LEFT] < f.NEVER or cpu[c, f.KEPT] != f.NONE or not is_at_work(h, w, c):
        return
    if not h.how[f.AS_RECORDED] or cpu[c, f.PHASE] != f.GAP:
        cpu[c, f.LEFT] = max(0, cpu[c, f.DUE] - now)
    elif cpu[c, f.WAITED] == f.NONE:
        cpu[c, f.KEPT] = now


@part
def _go_on_with_work(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Let a pCPU go on with the work that it was kept from, if it was."""
    cpu = h.cpu
    if cpu[c, f.LEFT] < f.NEVER:
        cpu[c, f.DUE] = now + cpu[c, f.LEFT]
        cpu[c, f.LEFT] = f.NEVER
    elif cpu[c, f.KEPT] != f.NONE:
        add_cost(h, t, c, now - cpu[c, f.KEPT])
        cpu[c, f.KEPT] = f.NONE


@part
def add_cost(h: Host, t: y.Tally, c: int, amount: int) -> None:
    """Replaying as recorded: count what has to be taken from the gap that a pCPU is in."""
    if h.cpu[c, f.PC] < h.cpu[c, f.LAST]:
        t.row[h.cpu[c, f.PC], y.R_COST] += amount


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
        time, waits = max(time, cpu[c, f.B_ACKED]), cpu[c, f.B_LEFT] > 0
    else:
        waits = phase == f.QUEUE or phase == f.DRAIN or phase == f.CALL_QUEUE
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
def is_at_work(h: Host, w: p.Program, c: int) -> bool:
    """Tell whether the program of a pCPU takes so much longer as it is kept from it."""
    phase = h.cpu[c, f.PHASE]
    if phase == f.GAP:
        return bool(h.cpu[c, f.MODE] != f.IDLE) and not is_elastic(h, w, c)
    waits = phase == f.QUEUE or phase == f.HANDOFF or phase == f.DRAIN
    waits = waits or phase == f.CALL_QUEUE or phase == f.CALL_HANDOFF
    return not waits and bool(phase != f.ACKS)


@part
def begin_gap(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End a row: the next one is due after its gap, or, after idling and lost records, when it was recorded."""
    cpu = h.cpu
    cpu[c, f.PHASE] = f.GAP
    cpu[c, f.ENDED] = now
    if cpu[c, f.STALLED] != f.NONE and cpu[c, f.DEPTH] == 0:
        end_stall(h, t, c, now)
    row = cpu[c, f.PC]
    if row == cpu[c, f.LAST]:
        cpu[c, f.DUE] = now
        return
    cpu[c, f.RECORDED] += w.gap[row]
    if w.cut.shape[0] > 0:
        cpu[c, f.RECORDED] += w.cut[row]
    if h.how[f.AS_RECORDED]:
        add_cost(h, t, c, now - cpu[c, f.CARRIED])
        cpu[c, f.DUE] = cpu[c, f.RECORDED]
    else:
        cpu[c, f.DUE] = cpu[c, f.RECORDED] if is_elastic(h, w, c) else now + w.gap[row]


@part
def begin_stall(h: Host, c: int, row: int, now: int) -> None:
    """Begin something that lets no softirq run, with that row, unless that has begun before, as in a hold."""
    if h.cpu[c, f.STALLED] == f.NONE:
        h.cpu[c, f.STALLED] = now
        h.cpu[c, f.STALL_ROW] = row


@part
def end_stall(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Let softirqs run, and see for how long they could not."""
    t.total[y.STALL] = max(t.total[y.STALL], now - h.cpu[c, f.STALLED])
    watch(h, t, c, now)
    h.cpu[c, f.STALLED] = f.NONE


@part
def watch(h: Host, t: y.Tally, c: int, now: int) -> None:
    """See whether the watchdog has fired, as softirqs could not run since ``STALLED``."""
    fires = h.cpu[c, f.STALLED] + h.cost[f.C_TIMEOUT]
    if now < fires or h.cost[f.C_TIMEOUT] == 0:
        return
    pcpu, first = h.place[c, f.NUMBER], t.total[y.FIRED_AT]
    if first == f.NONE or fires < first or (fires == first and pcpu < t.total[y.FIRED_ON]):
        t.total[y.FIRED_AT] = fires
        t.total[y.FIRED_ON] = pcpu
        t.total[y.FIRED_ROW] = h.cpu[c, f.STALL_ROW]
