"""on_selected_cpus(): asking for the call lock, and sending."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, fill_except
from eptreplay.machine.clock import schedule
from eptreplay.machine.locks import CALL_LOCK, distance, request
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, charge, set_mode
from eptreplay.replay.invalidation import invept


@part
def request_broadcast(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Ask for the call lock. Where handlers invalidate, the targets are fixed now."""
    cpu = h.cpu
    n, hold = cpu[c, f.B_P2M], cpu[c, f.B_HOLD]
    dom = h.p2m[n, f.P_DOMAIN]
    under = 1 if h.p2m[n, f.HOLD] == hold else 0
    t.measure[dom, cpu[c, f.B_CAUSE], y.BROADCASTS] += 1
    t.total[y.UNDER_LOCK] += under
    t.hold[hold, y.H_BROADCASTS] += 1
    number = t.total[y.BROADCAST_ROWS]
    t.total[y.BROADCAST_ROWS] += 1
    cpu[c, f.B_NUMBER] = number
    cpu[c, f.B_ASKED] = now
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_HOLD] = hold
        t.broadcast[number, y.B_PCPU] = c
        t.broadcast[number, y.B_DOM] = dom
        t.broadcast[number, y.B_CAUSE] = cpu[c, f.B_CAUSE]
        t.broadcast[number, y.B_UNDER] = under
        t.broadcast[number, y.B_REQUEST] = now
    if h.how[f.IPI_KIND] == f.IPI_INVEPT:
        fill_except(h.mark[n], h.dirty[dom])
        h.p2m[n, f.MARK_CAUSE] = cpu[c, f.B_CAUSE]
        for word in range(h.dirty.shape[1]):
            t.target[c, word] = h.dirty[dom, word]
    t.mode_before[c] = cpu[c, f.MODE]
    set_mode(h, t, c, f.SPIN, now)
    request(cpu, h.lock, h.cost, CALL_LOCK, c, now, f.LOCKED)


@part
def send(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Send the interrupts of a broadcast, one after the other; then wait for all acknowledgements."""
    cpu, cost = h.cpu, h.cost
    dom = h.p2m[cpu[c, f.B_P2M], f.P_DOMAIN]
    kind = h.how[f.IPI_KIND]
    cpu[c, f.B_LOCKED] = now
    cpu[c, f.B_SLOWEST] = f.NONE
    cpu[c, f.B_LEFT] = 0
    sent = now + cost[f.SETUP]
    own = kind == f.IPI_INVEPT and contains(t.target[c], c)
    if kind != f.IPI_NONE:
        for target in range(cpu.shape[0]):
            if target == c or not contains(t.target[c] if kind == f.IPI_INVEPT else h.dirty[dom], target):
                continue
            if h.how[f.RUNNING_ONLY] and cpu[target, f.MODE] != f.GUEST and kind == f.IPI_KICK:
                continue
            sent += cost[f.ICR]
            cpu[target, f.IPI] = sent + cost[f.DELIVER + distance(cost, h.topology[c], h.topology[target])]
            cpu[target, f.SENDER] = c
            cpu[c, f.B_LEFT] += 1
            schedule(cpu, h.times, h.tree, target)
    targets = cpu[c, f.B_LEFT]
    if targets == 0 and not own:
        sent = now
    last = sent
    if own:
        invept(h, t, c, cpu[c, f.B_P2M], sent, y.BY_SENDER, cpu[c, f.B_CAUSE])
        last = sent + cost[f.INVEPT]
    cpu[c, f.B_SENT] = sent
    cpu[c, f.B_LAST] = last
    cpu[c, f.B_TARGETS] = targets
    charge(t, dom, cpu[c, f.B_CAUSE], y.IPIS, targets)
    if targets:
        cpu[c, f.WAITS] = f.ACKS
        cpu[c, f.DUE] = f.NEVER
    else:
        cpu[c, f.PHASE] = f.DONE
        cpu[c, f.DUE] = last
