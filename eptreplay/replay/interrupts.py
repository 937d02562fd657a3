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
    if cpu[c, f.FLUSHER] >= 0 and cpu[c, f.FLUSH_ARRIVES] <= now:
        sender = cpu[c, f.FLUSHER]
        cpu[c, f.FLUSHER] = f.NONE
        cpu[c, f.REST] = f.NONE
    else:
        sender = cpu[c, f.CALLS]
        cpu[c, f.CALLS] = f.NONE
        cpu[c, f.TAKEN] = cpu[c, f.LAST_CALL]
        cpu[c, f.REST] = h.behind[c, sender] if cpu[c, f.TAKEN] != sender else f.NONE
    mode = mode_of(h, c)
    cpu[c, f.MET] = mode
    cpu[c, f.DELIVERED] = now
    cpu[c, f.HANDLING] = sender
    free = now + cost[f.C_HANDLER] + _function_time(h, sender)
    if mode == f.GUEST:
        free += cost[f.C_EXIT]
        if cpu[sender, f.B_DOM] >= 0:
            cpu[c, f.STRUCK] = now
            cpu[c, f.I_DOMAIN] = cpu[sender, f.B_DOM]
            cpu[c, f.I_CAUSE] = cpu[sender, f.B_CAUSE]
    elif mode == f.IDLE:
        free += cost[f.C_WAKE_DEEP] if now - cpu[c, f.SINCE] >= cost[f.C_DEEP_AFTER] else cost[f.C_WAKE]
    cpu[c, f.FREE] = free


@part
def _function_time(h: Host, sender: int) -> int:
    """Return how long what a sender has called for takes."""
    if h.cpu[sender, f.B_KIND] == f.IPI_INVEPT:
        return int(h.cost[f.C_INVEPT])
    return int(h.cost[f.C_FLUSH]) if h.cpu[sender, f.B_KIND] == f.IPI_FLUSH else 0


@part
def acknowledge(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Acknowledge a call, now that it is over; go on with the next, or back into the guest that was interrupted."""
    cpu = h.cpu
    sender = cpu[c, f.HANDLING]
    if not cpu[c, f.ACKING]:
        _get_line(h, t, c, sender, now)
        return
    cpu[c, f.ACKING] = 0
    _answer(h, t, c, sender, now)
    following = cpu[c, f.REST]
    cpu[c, f.HANDLING] = following
    if following >= 0:
        cpu[c, f.REST] = h.behind[c, following] if cpu[c, f.TAKEN] != following else f.NONE
        cpu[c, f.FREE] = now + h.cost[f.C_CALL] + _function_time(h, following)
    elif mode_without_interrupt(h, c) == f.GUEST:
        if cpu[c, f.ENTERED] >= 0 and h.dom[cpu[c, f.ENTERED], f.PAUSED] > 0:
            if cpu[c, f.STRUCK] != f.NONE:
                charge(t, cpu[c, f.I_DOMAIN], cpu[c, f.I_CAUSE], y.STOLEN, now - cpu[c, f.STRUCK])
            cpu[c, f.STRUCK] = f.NONE
        else:
            start_entry(h, t, c, now)
    if cpu[sender, f.B_LEFT] == 0:
        settle(h, t, w, sender, now)


@part
def _get_line(h: Host, t: y.Tally, c: int, sender: int, now: int) -> None:
    """End a call, and ask for the cache line in which it is acknowledged."""
    cpu = h.cpu
    if cpu[sender, f.B_KIND] == f.IPI_INVEPT:
        invept(h, t, c, cpu[sender, f.B_P2M], now - h.cost[f.C_INVEPT], y.IN_HANDLER, cpu[sender, f.B_CAUSE])
    elif cpu[sender, f.B_KIND] == f.IPI_FLUSH:
        flush(h, c)
    before = cpu[sender, f.B_LINE_BY]
    comes = max(now, cpu[sender, f.B_LINE])
    comes += h.cost[f.C_LINE + distance(h.place, c, before)]
    cpu[sender, f.B_LINE] = comes
    cpu[sender, f.B_LINE_BY] = c
    cpu[c, f.ACKING] = 1
    cpu[c, f.FREE] = comes


@part
def _answer(h: Host, t: y.Tally, c: int, sender: int, now: int) -> None:
    """Send a sender its acknowledgement."""
    cpu = h.cpu
    arrives = now + h.cost[f.C_ACK + distance(h.place, c, sender)]
    slowest = cpu[sender, f.B_SLOWEST]
    if slowest == f.NONE or arrives > t.slowest[sender] or (arrives == t.slowest[sender] and c < slowest):
        cpu[sender, f.B_SLOWEST] = c
        t.slowest[sender] = arrives
    cpu[sender, f.B_ACKED] = max(cpu[sender, f.B_ACKED], arrives)
    cpu[sender, f.B_LEFT] -= 1
    if cpu[sender, f.B_P2M] == f.NONE:
        return
    t.cpu[c, y.C_IPIS] += 1
    number = t.total[y.ACK_ROWS]
    t.total[y.ACK_ROWS] += 1
    if number < t.ack.shape[0]:
        t.ack[number, 0] = cpu[sender, f.B_NUMBER]
        t.ack[number, 1] = c
        t.ack[number, 2] = cpu[c, f.MET]
        t.ack[number, 3] = cpu[c, f.DELIVERED]
        t.ack[number, 4] = arrives


@part
def pause(h: Host, t: y.Tally, w: p.Program, dom: int, now: int) -> None:
    """Stop a domain: its guests at once, or once they have finished with an interrupt."""
    h.dom[dom, f.PAUSED] += 1
    for c in range(h.cpu.shape[0]):
        # Those that are stopped may just have been about to go on.
        if h.cpu[c, f.ENTERED] == dom and (h.cpu[c, f.SHOWN] == f.GUEST or h.cpu[c, f.STOPPED]):
            settle(h, t, w, c, now)


@part
def unpause(h: Host, t: y.Tally, w: p.Program, dom: int, now: int) -> None:
    """Let a domain run again, if nobody else has paused it."""
    cpu = h.cpu
    if h.dom[dom, f.PAUSED] > 0:
        h.dom[dom, f.PAUSED] -= 1
    if h.dom[dom, f.PAUSED] > 0:
        return
    for c in range(cpu.shape[0]):
        waits = cpu[c, f.WAITS] == f.GATE and cpu[c, f.NEXT] == dom
        if waits:
            cpu[c, f.WAITS] = f.NOTHING
        if waits or (cpu[c, f.STOPPED] and cpu[c, f.ENTERED] == dom):
            settle(h, t, w, c, now)
