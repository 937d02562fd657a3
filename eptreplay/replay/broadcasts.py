"""``on_selected_cpus()``: asking for the call lock, sending, waiting for acknowledgements."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, fill_except
from eptreplay.machine.locks import CALL_LOCK, distance, hand_on, take_or_queue
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, mode_of, settle
from eptreplay.replay.invalidation import invept


@part
def intend(h: Host, c: int, n: int, cause: int, hold: int, then: int) -> None:
    """Enter what pCPU ``c`` is going to broadcast, about p2m ``n``, and what it does after that."""
    cpu = h.cpu
    cpu[c, f.B_P2M] = n
    cpu[c, f.B_CAUSE] = cause
    cpu[c, f.B_HOLD] = hold
    cpu[c, f.B_THEN] = then
    cpu[c, f.B_KIND] = h.how[f.IPI_KIND]


@part
def request(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Ask for the call lock. With INVEPT in the handler the dirty mask is read now, else when it is acquired."""
    cpu = h.cpu
    n, hold, cause = cpu[c, f.B_P2M], cpu[c, f.B_HOLD], cpu[c, f.B_CAUSE]
    dom = h.p2m[n, f.P_DOMAIN]
    # Where another hold follows, the lock has been released but not forgotten.
    under = 1 if cpu[c, f.DEPTH] > 0 and cpu[c, f.B_THEN] != f.NEXT_HOLD else 0
    cpu[c, f.B_UNDER] = under
    t.measure[dom, cause, y.BROADCASTS] += 1
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
        t.broadcast[number, y.B_CAUSE] = cause
        t.broadcast[number, y.B_UNDER] = under
        t.broadcast[number, y.B_REQUEST] = now
    if cpu[c, f.B_KIND] == f.IPI_INVEPT:
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
    kind = cpu[c, f.B_KIND]
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
    if targets == 0 and not _invalidates_itself(h, c):
        finish(h, t, w, c, now)
        return
    cpu[c, f.PHASE] = f.SEND
    cpu[c, f.DUE] = sent


@part
def _invalidates_itself(h: Host, c: int) -> bool:
    """Tell whether the sender executes INVEPT: it is in its own mask, or does so for all the others."""
    kind = h.cpu[c, f.B_KIND]
    return bool(kind == f.IPI_NONE) or (bool(kind == f.IPI_INVEPT) and contains(h.target[c], c))


@part
def sent_all(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Run the handler's INVEPT, now that all is sent, if the sender is in its own mask, or hardware spreads it."""
    cpu = h.cpu
    cpu[c, f.B_SENT] = now
    if not _invalidates_itself(h, c):
        cpu[c, f.PHASE] = f.ACKS
        return
    n, cause = cpu[c, f.B_P2M], cpu[c, f.B_CAUSE]
    if cpu[c, f.B_KIND] == f.IPI_NONE:
        dom = h.p2m[n, f.P_DOMAIN]
        for other in range(cpu.shape[0]):
            if contains(h.dirty[dom], other):
                cpu[other, f.COLD_CAUSE] = cause
                cpu[other, f.COLD_DOMAIN] = dom
                h.cached[other, n] = now + h.cost[f.C_INVEPT]
    invept(h, t, c, n, now, y.BY_SENDER, cause)
    cpu[c, f.PHASE] = f.OWN_INVEPT
    cpu[c, f.DUE] = now + h.cost[f.C_INVEPT]


@part
def finish(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Hand the call lock on. What comes next is for the program: see ``B_THEN``."""
    cpu = h.cpu
    cpu[c, f.PHASE] = f.ANSWERED
    number, hold = cpu[c, f.B_NUMBER], cpu[c, f.B_HOLD]
    t.total[y.CALL_WAIT] += cpu[c, f.B_LOCKED] - cpu[c, f.B_ASKED]
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_LOCKED] = cpu[c, f.B_LOCKED]
        t.broadcast[number, y.B_SENT] = cpu[c, f.B_SENT]
        t.broadcast[number, y.B_DONE] = now
        t.broadcast[number, y.B_TARGETS] = cpu[c, f.B_TARGETS]
        t.broadcast[number, y.B_SLOWEST] = cpu[c, f.B_SLOWEST]
    if cpu[c, f.B_THEN] == f.END_HOLD or cpu[c, f.B_THEN] == f.NEXT_HOLD:
        t.hold[hold, y.H_END] = now
        t.total[y.POST_UNLOCK] += now - t.hold[hold, y.H_RELEASE]
    cpu[c, f.B_HOLD] = f.NONE
    heir = hand_on(cpu, h.lock, h.cost, h.topology, CALL_LOCK, c, now)
    if heir >= 0:
        settle(h, t, w, heir, now)
