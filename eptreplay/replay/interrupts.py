"""What an interrupt does to the pCPU that it meets, and pauses, which stop guests as interrupts do."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.clock import schedule
from eptreplay.machine.locks import distance
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, charge, happened, in_xen, set_mode
from eptreplay.replay.invalidation import invept, reenter


@part
def interrupt(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Deliver an interrupt."""
    cpu, cost = h.cpu, h.cost
    sender = cpu[c, f.SENDER]
    cpu[c, f.IPI] = f.NEVER
    t.cpu[c, y.C_IPIS] += 1
    mode = cpu[c, f.MODE]
    end = now
    if mode == f.GUEST:
        end += cost[f.EXIT]
    elif mode == f.IDLE:
        end += cost[f.WAKE]
    end += cost[f.HANDLER]
    if h.how[f.IPI_KIND] == f.IPI_INVEPT:
        invept(h, t, c, cpu[sender, f.B_P2M], end, y.IN_HANDLER, cpu[sender, f.B_CAUSE])
        end += cost[f.INVEPT]
    _acknowledge(h, t, c, sender, now, end)
    cpu[c, f.BUSY] = end
    in_xen(h, t, c, now, end)
    happened(t, end)
    if mode == f.GUEST:
        cpu[c, f.STRUCK] = now
        cpu[c, f.I_DOMAIN] = h.p2m[cpu[sender, f.B_P2M], f.P_DOMAIN]
        cpu[c, f.I_CAUSE] = cpu[sender, f.B_CAUSE]
        cpu[c, f.LEFT] = cpu[c, f.DUE] - now if cpu[c, f.DUE] < f.NEVER else f.NEVER
        cpu[c, f.DUE] = f.NEVER
        cpu[c, f.BACK] = end
    elif cpu[c, f.DUE] < f.NEVER:
        cpu[c, f.DUE] = max(cpu[c, f.DUE], end) if mode == f.IDLE else cpu[c, f.DUE] + end - now


@part
def _acknowledge(h: Host, t: y.Tally, c: int, sender: int, delivered: int, end: int) -> None:
    cpu = h.cpu
    arrives = end + h.cost[f.ACK + distance(h.cost, h.topology[c], h.topology[sender])]
    number = t.total[y.ACK_ROWS]
    t.total[y.ACK_ROWS] += 1
    if number < t.ack.shape[0]:
        t.ack[number, 0] = cpu[sender, f.B_NUMBER]
        t.ack[number, 1] = c
        t.ack[number, 2] = cpu[c, f.MODE]
        t.ack[number, 3] = delivered
        t.ack[number, 4] = arrives
    slowest = cpu[sender, f.B_SLOWEST]
    last = t.slowest[sender]
    if slowest == f.NONE or arrives > last or (arrives == last and c < slowest):
        cpu[sender, f.B_SLOWEST] = c
        t.slowest[sender] = arrives
    cpu[sender, f.B_LAST] = max(cpu[sender, f.B_LAST], arrives)
    cpu[sender, f.B_LEFT] -= 1
    if cpu[sender, f.B_LEFT] == 0:
        cpu[sender, f.WAITS] = f.NOTHING
        cpu[sender, f.PHASE] = f.DONE
        cpu[sender, f.DUE] = cpu[sender, f.B_LAST]
        schedule(cpu, h.times, h.tree, sender)


@part
def handler_ended(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Go back to the guest after an interrupt, or after a pause; or stop, if its domain is paused."""
    cpu = h.cpu
    cpu[c, f.BACK] = f.NEVER
    stopped = cpu[c, f.WAITS] == f.STOPPED
    dom = cpu[c, f.DOMAIN]
    if not stopped:
        charge(t, cpu[c, f.I_DOMAIN], cpu[c, f.I_CAUSE], y.STOLEN, now - cpu[c, f.STRUCK])
    if dom >= 0 and h.dom[dom, f.PAUSED] > 0:
        if not stopped:
            _stop(h, t, c, now)
        return
    cause, of = cpu[c, f.I_CAUSE], cpu[c, f.I_DOMAIN]
    if stopped:
        # Going on after a pause: only an invalidation is charged, and to the marks.
        set_mode(h, t, c, f.GUEST, now)
        cpu[c, f.WAITS] = f.EDGE if cpu[c, f.NEXT] >= 0 else f.NOTHING
        n = h.dom[dom, f.HOST_P2M] if dom >= 0 else f.NONE
        of, cause = dom, h.p2m[n, f.MARK_CAUSE] if n >= 0 else 0
        if n == f.NONE:
            of = f.NONE
    spent, end, lost = reenter(h, t, c, now)
    charge(t, of, cause, y.STOLEN, spent + lost if stopped else end - now + lost)


@part
def _stop(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Stop a guest: what it had left to do waits."""
    cpu = h.cpu
    if cpu[c, f.WAITS] != f.EDGE:
        cpu[c, f.NEXT] = f.NONE
    cpu[c, f.WAITS] = f.STOPPED
    cpu[c, f.DUE] = f.NEVER
    set_mode(h, t, c, f.XEN, now)


@part
def pause(h: Host, t: y.Tally, dom: int, now: int) -> None:
    """Stop a domain: its guests at once, or once they have finished with an interrupt."""
    cpu = h.cpu
    h.dom[dom, f.PAUSED] += 1
    for c in range(cpu.shape[0]):
        if cpu[c, f.MODE] == f.GUEST and cpu[c, f.DOMAIN] == dom and cpu[c, f.BACK] == f.NEVER:
            left = cpu[c, f.DUE] - max(now, cpu[c, f.BUSY]) if cpu[c, f.DUE] < f.NEVER else f.NEVER
            _stop(h, t, c, now)
            cpu[c, f.LEFT] = left
            schedule(cpu, h.times, h.tree, c)


@part
def unpause(h: Host, dom: int, now: int) -> None:
    """Let a domain run again, if nobody else has paused it."""
    cpu = h.cpu
    if h.dom[dom, f.PAUSED] > 0:
        h.dom[dom, f.PAUSED] -= 1
    if h.dom[dom, f.PAUSED] > 0:
        return
    for c in range(cpu.shape[0]):
        if cpu[c, f.WAITS] == f.STOPPED and cpu[c, f.DOMAIN] == dom:
            cpu[c, f.BACK] = max(now, cpu[c, f.BUSY])
        elif cpu[c, f.WAITS] == f.GATE and cpu[c, f.NEXT] == dom:
            cpu[c, f.WAITS] = f.NOTHING
            cpu[c, f.DUE] = max(now, cpu[c, f.BUSY])
        else:
            continue
        schedule(cpu, h.times, h.tree, c)
