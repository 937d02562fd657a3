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
    word]; ``target``: the pCPUs that a sender has in mind, [pCPU, word], and ``sent``, those that it is sending
    to; ``behind``: [target, sender], whose call comes behind that sender's, if senders share no lock; ``cached``:
    [pCPU, p2m], since when translations may be cached; ``clock``: see ``machine.clock``; ``node``, ``rest``,
    ``linked``: see ``machine.ept``; ``ranges``: where log-dirty is on, [p2m, range, first and last frame];
    ``freed``: the clock of TLB flushes, and behind it what it was at each PAGE_FREE, or -1.
    """

    cpu: f.Records
    lock: f.Records
    p2m: f.Records
    dom: f.Records
    cost: Int64s
    how: Int64s
    clock: Int64s
    stack: Int64s
    vcpu: Int64s
    mark: Words
    dirty: Words
    target: Words
    sent: Int64s
    behind: NDArray[np.int32]
    cached: Int64s
    place: f.Records
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
    phase = h.cpu[c].phase
    if phase > f.OWN_INVEPT:
        return f.SPIN
    if phase > f.FLUSH:
        return f.IRQOFF
    return f.XEN if h.cpu[c].stopped else int(h.cpu[c].mode)


@part
def mode_of(h: Host, c: int) -> int:
    """Return the mode that a pCPU counts as being in, but for the first moments behind a VM exit."""
    if h.cpu[c].handling >= 0 or h.cpu[c].entering:
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
    since, shown = cpu[c].since, cpu[c].shown
    if shown == f.XEN and cpu[c].off_until > since:
        on = min(now, cpu[c].off_until)
        _span(t, c, f.IRQOFF, since, on)
        since = on
    _span(t, c, shown, since, now)
    cpu[c].since = now


@part
def interrupt_time(h: Host, c: int) -> int:
    """Return when the next interrupt can take effect, as far as that hangs on time; NEVER if there is none."""
    cpu = h.cpu
    if f.FLUSH < cpu[c].phase <= f.OWN_INVEPT:
        return int(f.NEVER)
    time = f.NEVER
    if cpu[c].calls >= 0:
        time = cpu[c].arrives
    if cpu[c].flusher >= 0:
        time = min(time, cpu[c].flush_arrives)
    return int(time if time == f.NEVER else max(time, cpu[c].off_until))


@part
def settle(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Let what has just changed about a pCPU take effect: pauses, its mode, its work, and when it is next due."""
    cpu = h.cpu
    mode = mode_of(h, c)
    if mode == f.GUEST and cpu[c].entered >= 0 and h.dom[cpu[c].entered].paused > 0:
        cpu[c].stopped = 1
        mode = f.XEN
    if mode != cpu[c].shown:
        count_mode(h, t, c, now)
        cpu[c].shown = mode
    busy = cpu[c].handling >= 0 or cpu[c].entering == 1
    if busy or cpu[c].stopped:
        _stop_work(h, w, c, now)
    else:
        _go_on_with_work(h, t, c, now)
    cpu[c].event = f.OWN_EVENT
    if busy:
        time = cpu[c].free
    else:
        time = max(now, program_time(h, c))
        interrupt = max(now, interrupt_time(h, c))
        if interrupt <= time and interrupt < f.NEVER:
            time = interrupt
            cpu[c].event = f.INTERRUPT
    set_time(h.clock, c, max(now, time))


@part
def _stop_work(h: Host, w: p.Program, c: int, now: int) -> None:
    """Keep a pCPU from its work, which ends so much later; as recorded, gaps end when they did, and that is noted."""
    cpu = h.cpu
    if cpu[c].left < f.NEVER or cpu[c].kept != f.NONE or not is_at_work(h, w, c):
        return
    if not h.how[f.AS_RECORDED] or cpu[c].phase != f.GAP:
        cpu[c].left = max(0, cpu[c].due - now)
    elif cpu[c].waited == f.NONE:
        cpu[c].kept = now


@part
def _go_on_with_work(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Let a pCPU go on with the work that it was kept from, if it was."""
    cpu = h.cpu
    if cpu[c].left < f.NEVER:
        cpu[c].due = now + cpu[c].left
        cpu[c].left = f.NEVER
    elif cpu[c].kept != f.NONE:
        add_cost(h, t, c, now - cpu[c].kept)
        cpu[c].kept = f.NONE


@part
def add_cost(h: Host, t: y.Tally, c: int, amount: int) -> None:
    """Replaying as recorded: count what has to be taken from the gap that a pCPU is in."""
    if h.cpu[c].pc < h.cpu[c].last:
        t.row[h.cpu[c].pc, y.R_COST] += amount


@part
def program_time(h: Host, c: int) -> int:
    """Return when a program can go on, but for interrupts; NEVER while it waits for another pCPU."""
    cpu = h.cpu
    phase = cpu[c].phase
    time = cpu[c].due
    waits = False
    if cpu[c].stopped:
        time, waits = cpu[c].free, h.dom[cpu[c].entered].paused > 0
    elif phase == f.GAP:
        waits = cpu[c].pc == cpu[c].last or cpu[c].waits != f.NOTHING
    elif phase == f.ACKS:
        time, waits = max(time, cpu[c].b_acked), cpu[c].b_left > 0
    else:
        waits = phase == f.QUEUE or phase == f.DRAIN or phase == f.CALL_QUEUE
    return int(f.NEVER if waits else time)


@part
def is_elastic(h: Host, w: p.Program, c: int) -> bool:
    """Tell whether the gap that a pCPU is in ends at the recorded time."""
    row = h.cpu[c].pc
    if w.first[c] == row or h.cpu[c].last == row:
        return False
    op = w.rows[row - 1].op & p.OP
    return bool(op == p.IDLE or op == p.LOST)


@part
def is_at_work(h: Host, w: p.Program, c: int) -> bool:
    """Tell whether the program of a pCPU takes so much longer as it is kept from it."""
    phase = h.cpu[c].phase
    if phase == f.GAP:
        return bool(h.cpu[c].mode != f.IDLE) and not is_elastic(h, w, c)
    waits = phase == f.QUEUE or phase == f.HANDOFF or phase == f.DRAIN
    waits = waits or phase == f.CALL_QUEUE or phase == f.CALL_HANDOFF
    return not waits and bool(phase != f.ACKS)


@part
def begin_gap(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End a row: the next one is due after its gap, or, after idling and lost records, when it was recorded."""
    cpu = h.cpu
    cpu[c].phase = f.GAP
    cpu[c].ended = now
    if cpu[c].stalled != f.NONE and cpu[c].depth == 0:
        end_stall(h, t, c, now)
    row = cpu[c].pc
    if row == cpu[c].last:
        cpu[c].due = now
        return
    cpu[c].recorded += w.rows[row].gap
    if w.cut.shape[0] > 0:
        cpu[c].recorded += w.cut[row]
    if h.how[f.AS_RECORDED]:
        add_cost(h, t, c, now - cpu[c].carried)
        cpu[c].due = cpu[c].recorded
    else:
        cpu[c].due = cpu[c].recorded if is_elastic(h, w, c) else now + w.rows[row].gap


@part
def begin_stall(h: Host, c: int, row: int, now: int) -> None:
    """Begin something that lets no softirq run, with that row, unless that has begun before, as in a hold."""
    if h.cpu[c].stalled == f.NONE:
        h.cpu[c].stalled = now
        h.cpu[c].stall_row = row


@part
def end_stall(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Let softirqs run, and see for how long they could not."""
    t.total[y.STALL] = max(t.total[y.STALL], now - h.cpu[c].stalled)
    watch(h, t, c, now)
    h.cpu[c].stalled = f.NONE


@part
def watch(h: Host, t: y.Tally, c: int, now: int) -> None:
    """See whether the watchdog has fired, as softirqs could not run since ``stalled``."""
    fires = h.cpu[c].stalled + h.cost[f.C_TIMEOUT]
    if now < fires or h.cost[f.C_TIMEOUT] == 0:
        return
    pcpu, first = h.place[c].number, t.total[y.FIRED_AT]
    if first == f.NONE or fires < first or (fires == first and pcpu < t.total[y.FIRED_ON]):
        t.total[y.FIRED_AT] = fires
        t.total[y.FIRED_ON] = pcpu
        t.total[y.FIRED_ROW] = h.cpu[c].stall_row
