"""``on_selected_cpus()``: asking for the call lock, sending, waiting for acknowledgements."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, fill_except
from eptreplay.machine.locks import CALL_LOCK, distance, hand_on, take_or_queue
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, begin_gap, mode_of, settle
from eptreplay.replay.invalidation import invept


@part
def request(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Ask for the call lock. With INVEPT in the handler the dirty mask is read now, else when it is acquired."""
    cpu = h.cpu
    n, hold, cause = cpu[c, f.B_P2M], cpu[c, f.B_HOLD], cpu[c, f.B_CAUSE]
    dom = h.p2m[n, f.P_DOMAIN]
    t.measure[dom, cause, y.BROADCASTS] += 1
    t.total[y.UNDER_LOCK] += cpu[c, f.B_UNDER]
    t.hold[hold, y.H_BROADCASTS] += 1
    number = t.total[y.BROADCAST_ROWS]
    t.total[y.BROADCAST_ROWS] += 1
    cpu[c, f.B_NUMBER] = number
    cpu[c, f.B_ASKED] = now
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_HOLD] = hold
        t.broadcast[number, y.B_PCPU] = c
        t.broadcast[number, y.B_DOM] = dom
        t.broadcast[number, y.B_CAUSE] = cause
        t.broadcast[number, y.B_UNDER] = cpu[c, f.B_UNDER]
        t.broadcast[number, y.B_REQUEST] = now
    if h.how[f.IPI_KIND] == f.IPI_INVEPT:
        fill_except(h.mark[n], h.dirty[dom])
        h.p2m[n, f.MARK_CAUSE] = cause
        for word in range(h.dirty.shape[1]):
            h.target[c, word] = h.dirty[dom, word]
    take_or_queue(cpu, h.lock, h.cost, CALL_LOCK, c, now, f.CALL_ACQUIRE)


@part
def locked(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Start to send, now that the call lock is acquired, or be done if there is nothing to do."""
    cpu, cost = h.cpu, h.cost
    dom = h.p2m[cpu[c, f.B_P2M], f.P_DOMAIN]
    kind = h.how[f.IPI_KIND]
    cpu[c, f.B_LOCKED] = now
    cpu[c, f.B_SENT] = now
    cpu[c, f.B_SLOWEST] = f.NONE
    cpu[c, f.B_ACKED] = now
    targets = 0
    sent = now + cost[f.C_SETUP]
    if kind != f.IPI_NONE:
        for target in range(cpu.shape[0]):
            if target == c or not contains(h.target[c] if kind == f.IPI_INVEPT else h.dirty[dom], target):
                continue
            if kind == f.IPI_KICK and h.how[f.RUNNING_ONLY] and mode_of(h, target) != f.GUEST:
                continue
            targets += 1
            sent += cost[f.C_ICR]
            cpu[target, f.SIGNAL] = c
            cpu[target, f.ARRIVES] = sent + cost[f.C_DELIVER + distance(cost, h.topology[c], h.topology[target])]
            settle(h, t, w, target, now)
    cpu[c, f.B_LEFT] = targets
    cpu[c, f.B_TARGETS] = targets
    t.measure[dom, cpu[c, f.B_CAUSE], y.IPIS] += targets
    if targets == 0 and not _is_target_itself(h, c):
        finish(h, t, w, c, now)
        return
    cpu[c, f.PHASE] = f.SEND
    cpu[c, f.DUE] = sent


@part
def _is_target_itself(h: Host, c: int) -> bool:
    return h.how[f.IPI_KIND] == f.IPI_INVEPT and contains(h.target[c], c)


@part
def sent_all(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Run the handler's INVEPT, now that all is sent, if the sender is in its own mask."""
    cpu = h.cpu
    cpu[c, f.B_SENT] = now
    if not _is_target_itself(h, c):
        cpu[c, f.PHASE] = f.ACKS
        return
    invept(h, t, c, cpu[c, f.B_P2M], now, y.BY_SENDER, cpu[c, f.B_CAUSE])
    cpu[c, f.PHASE] = f.OWN_INVEPT
    cpu[c, f.DUE] = now + h.cost[f.C_INVEPT]


@part
def finish(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Hand the call lock on, and end the row."""
    cpu = h.cpu
    number, hold = cpu[c, f.B_NUMBER], cpu[c, f.B_HOLD]
    t.total[y.CALL_WAIT] += cpu[c, f.B_LOCKED] - cpu[c, f.B_ASKED]
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_LOCKED] = cpu[c, f.B_LOCKED]
        t.broadcast[number, y.B_SENT] = cpu[c, f.B_SENT]
        t.broadcast[number, y.B_DONE] = now
        t.broadcast[number, y.B_TARGETS] = cpu[c, f.B_TARGETS]
        t.broadcast[number, y.B_SLOWEST] = cpu[c, f.B_SLOWEST]
    if not cpu[c, f.B_UNDER]:
        t.hold[hold, y.H_END] = now
        t.total[y.POST_UNLOCK] += now - t.hold[hold, y.H_RELEASE]
    cpu[c, f.B_HOLD] = f.NONE
    heir = hand_on(cpu, h.lock, h.cost, h.topology, CALL_LOCK, c, now)
    if heir >= 0:
        settle(h, t, w, heir, now)
    begin_gap(h, w, c, now)
