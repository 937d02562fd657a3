"""What an interrupt does to the pCPU that it meets, and pauses, which stop guests as interrupts do."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.locks import distance
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, charge, mode_of, mode_without_interrupt, settle
from eptreplay.replay.invalidation import flush, invept, start_entry


@part
def deliver(h: Host, c: int, now: int) -> None:
    """Let an interrupt take effect: out of the guest or the C-state, and into the handler of the first call."""
    cpu, cost = h.cpu, h.cost
    if cpu[c].flusher >= 0 and cpu[c].flush_arrives <= now:
        sender = cpu[c].flusher
        cpu[c].flusher = f.NONE
        cpu[c].rest = f.NONE
    else:
        sender = cpu[c].calls
        cpu[c].calls = f.NONE
        cpu[c].taken = cpu[c].last_call
        cpu[c].rest = h.behind[c, sender] if cpu[c].taken != sender else f.NONE
    mode = mode_of(h, c)
    cpu[c].met = mode
    cpu[c].delivered = now
    cpu[c].handling = sender
    free = now + cost[f.C_HANDLER] + _function_time(h, sender)
    if mode == f.GUEST:
        free += cost[f.C_EXIT]
        if cpu[sender].b_dom >= 0:
            cpu[c].struck = now
            cpu[c].struck_domain = cpu[sender].b_dom
            cpu[c].struck_cause = cpu[sender].b_cause
    elif mode == f.IDLE:
        free += cost[f.C_WAKE_DEEP] if now - cpu[c].since >= cost[f.C_DEEP_AFTER] else cost[f.C_WAKE]
    cpu[c].free = free


@part
def _function_time(h: Host, sender: int) -> int:
    """Return how long what a sender has called for takes."""
    if h.cpu[sender].b_kind == f.IPI_INVEPT:
        return int(h.cost[f.C_INVEPT])
    return int(h.cost[f.C_FLUSH]) if h.cpu[sender].b_kind == f.IPI_FLUSH else 0


@part
def acknowledge(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Acknowledge a call, now that it is over; go on with the next, or back into the guest that was interrupted."""
    cpu = h.cpu
    sender = cpu[c].handling
    if not cpu[c].acking:
        _get_line(h, t, c, sender, now)
        return
    cpu[c].acking = 0
    _answer(h, t, c, sender, now)
    following = cpu[c].rest
    cpu[c].handling = following
    if following >= 0:
        cpu[c].rest = h.behind[c, following] if cpu[c].taken != following else f.NONE
        cpu[c].free = now + h.cost[f.C_CALL] + _function_time(h, following)
    elif mode_without_interrupt(h, c) == f.GUEST:
        if cpu[c].entered >= 0 and h.dom[cpu[c].entered].paused > 0:
            if cpu[c].struck != f.NONE:
                charge(t, cpu[c].struck_domain, cpu[c].struck_cause, y.STOLEN, now - cpu[c].struck)
            cpu[c].struck = f.NONE
        else:
            start_entry(h, t, c, now)
    if cpu[sender].b_left == 0:
        settle(h, t, w, sender, now)


@part
def _get_line(h: Host, t: y.Tally, c: int, sender: int, now: int) -> None:
    """End a call, and ask for the cache line in which it is acknowledged."""
    cpu = h.cpu
    if cpu[sender].b_kind == f.IPI_INVEPT:
        invept(h, t, c, cpu[sender].b_p2m, now - h.cost[f.C_INVEPT], y.IN_HANDLER, cpu[sender].b_cause)
    elif cpu[sender].b_kind == f.IPI_FLUSH:
        flush(h, c)
    before = cpu[sender].b_line_by
    comes = max(now, cpu[sender].b_line)
    comes += h.cost[f.C_LINE + distance(h.place, c, before)]
    cpu[sender].b_line = comes
    cpu[sender].b_line_by = c
    cpu[c].acking = 1
    cpu[c].free = comes


@part
def _answer(h: Host, t: y.Tally, c: int, sender: int, now: int) -> None:
    """Send a sender its acknowledgement."""
    cpu = h.cpu
    arrives = now + h.cost[f.C_ACK + distance(h.place, c, sender)]
    slowest = cpu[sender].b_slowest
    if slowest == f.NONE or arrives > t.slowest[sender] or (arrives == t.slowest[sender] and c < slowest):
        cpu[sender].b_slowest = c
        t.slowest[sender] = arrives
    cpu[sender].b_acked = max(cpu[sender].b_acked, arrives)
    cpu[sender].b_left -= 1
    if cpu[sender].b_p2m == f.NONE:
        return
    t.cpu[c, y.C_IPIS] += 1
    number = t.total[y.ACK_ROWS]
    t.total[y.ACK_ROWS] += 1
    if number < t.ack.shape[0]:
        t.ack[number, 0] = cpu[sender].b_number
        t.ack[number, 1] = c
        t.ack[number, 2] = cpu[c].met
        t.ack[number, 3] = cpu[c].delivered
        t.ack[number, 4] = arrives


@part
def pause(h: Host, t: y.Tally, w: p.Program, dom: int, now: int) -> None:
    """Stop a domain: its guests at once, or once they have finished with an interrupt."""
    h.dom[dom].paused += 1
    for c in range(len(h.cpu)):
        # Those that are stopped may just have been about to go on.
        if h.cpu[c].entered == dom and (h.cpu[c].shown == f.GUEST or h.cpu[c].stopped):
            settle(h, t, w, c, now)


@part
def unpause(h: Host, t: y.Tally, w: p.Program, dom: int, now: int) -> None:
    """Let a domain run again, if nobody else has paused it."""
    cpu = h.cpu
    if h.dom[dom].paused > 0:
        h.dom[dom].paused -= 1
    if h.dom[dom].paused > 0:
        return
    for c in range(len(cpu)):
        waits = cpu[c].waits == f.GATE and cpu[c].next == dom
        if waits:
            cpu[c].waits = f.NOTHING
        if waits or (cpu[c].stopped and cpu[c].entered == dom):
            settle(h, t, w, c, now)
