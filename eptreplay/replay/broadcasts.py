"""``on_selected_cpus()``: asking for the call lock, sending, waiting for acknowledgements; flushes go the same way."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, fill_except, insert
from eptreplay.machine.locks import CALL_LOCK, distance, hand_on, take_or_queue
from eptreplay.machine.sending import shares_message, writes_of
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, charge, mode_of, settle
from eptreplay.replay.invalidation import invept


@part
def intend(h: Host, c: int, n: int, cause: int, hold: int, then: int) -> None:
    """Enter what pCPU ``c`` is going to broadcast, about p2m ``n``, and what it does after that."""
    cpu = h.cpu
    cpu[c, f.B_P2M] = n
    cpu[c, f.B_DOM] = h.p2m[n, f.P_DOMAIN]
    cpu[c, f.B_CAUSE] = cause
    cpu[c, f.B_HOLD] = hold
    cpu[c, f.B_THEN] = then
    cpu[c, f.B_KIND] = h.how[f.IPI_KIND]


@part
def intend_other(h: Host, c: int, kind: int) -> None:
    """Enter that pCPU ``c`` is going to interrupt those in its ``target`` for something that is not about a p2m."""
    cpu = h.cpu
    cpu[c, f.B_P2M] = f.NONE
    cpu[c, f.B_DOM] = f.NONE
    cpu[c, f.B_HOLD] = f.NONE
    cpu[c, f.B_THEN] = f.END_ROW
    cpu[c, f.B_KIND] = kind
    cpu[c, f.PHASE] = f.REQUEST


@part
def aim(h: Host, c: int, target: int) -> None:
    """Make one pCPU, or all but the sender, those that it has in mind."""
    for word in range(h.target.shape[1]):
        h.target[c, word] = 0
    for other in range(h.cpu.shape[0]) if target == f.NONE else range(target, target + 1):
        if other != c:
            insert(h.target[c], other)


@part
def lock_of(h: Host, c: int) -> int:
    """Return the lock that a sender needs."""
    return h.lock.shape[0] - 1 if h.cpu[c, f.B_KIND] == f.IPI_FLUSH else CALL_LOCK


@part
def _is_alone(h: Host, c: int) -> bool:
    """Tell whether a sender shares nothing with others, and so has nothing to lock."""
    return bool(h.how[f.LOCKLESS]) and bool(h.cpu[c, f.B_KIND] != f.IPI_FLUSH)


@part
def request(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Ask for the call lock. With INVEPT in the handler the dirty mask is read now, else when it is acquired."""
    cpu = h.cpu
    cpu[c, f.B_ASKED] = now
    n = cpu[c, f.B_P2M]
    if n >= 0:
        _register(h, t, c, n, now)
    elif cpu[c, f.B_KIND] == f.IPI_CALL:
        t.total[y.OTHER_CALLS] += 1
    else:
        t.total[y.ALLOC_FLUSHES] += 1
    if _is_alone(h, c):
        locked(h, t, w, c, now)
    else:
        take_or_queue(cpu, h.lock, h.cost, lock_of(h, c), c, now)


@part
def _register(h: Host, t: y.Tally, c: int, n: int, now: int) -> None:
    """Count a broadcast about a p2m, and see whom it is for if its handlers invalidate."""
    cpu = h.cpu
    hold, cause, dom = cpu[c, f.B_HOLD], cpu[c, f.B_CAUSE], cpu[c, f.B_DOM]
    # Where another hold follows, the lock has been released but not forgotten.
    under = 1 if cpu[c, f.DEPTH] > 0 and cpu[c, f.B_THEN] != f.NEXT_HOLD else 0
    cpu[c, f.B_UNDER] = under
    charge(t, dom, cause, y.BROADCASTS, 1)
    t.total[y.UNDER_LOCK] += under
    t.hold[hold, y.H_BROADCASTS] += 1
    number = t.total[y.BROADCAST_ROWS]
    t.total[y.BROADCAST_ROWS] += 1
    cpu[c, f.B_NUMBER] = number
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


@part
def locked(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Start to send, now that the call lock is acquired, or be done if there is nothing to do."""
    cpu = h.cpu
    cpu[c, f.B_LOCKED] = now
    cpu[c, f.B_SENT] = now
    cpu[c, f.B_SLOWEST] = f.NONE
    cpu[c, f.B_ACKED] = now
    cpu[c, f.B_LINE] = now
    cpu[c, f.B_LINE_BY] = c
    if not _is_alone(h, c):
        h.lock[lock_of(h, c), f.SINCE_WHEN] = now
    targets, messaged = _enqueue(h, c)
    cpu[c, f.B_LEFT] = targets
    cpu[c, f.B_TARGETS] = targets
    if cpu[c, f.B_KIND] == f.IPI_CALL:
        t.total[y.OTHER_IPIS] += targets
    elif cpu[c, f.B_P2M] >= 0:
        charge(t, cpu[c, f.B_DOM], cpu[c, f.B_CAUSE], y.IPIS, targets)
        _check_mask(h, t, c)
    if targets == 0 and not _invalidates_itself(h, c):
        finish(h, t, w, c, now)
        return
    cpu[c, f.PHASE] = f.SEND
    enqueued = targets * h.cost[f.C_ENQUEUE] if _is_alone(h, c) else 0
    cpu[c, f.DUE] = _send(h, t, w, c, messaged, now, now + h.cost[f.C_SETUP] + enqueued)


@part
def _enqueue(h: Host, c: int) -> tuple[int, int]:
    """Put a sender's call into the queue of each target; returns how many those are.

    Also how many of them have to be sent a message, as their queue was empty. ``sent`` lists these.
    """
    cpu = h.cpu
    kind = cpu[c, f.B_KIND]
    targets, messaged = 0, 0
    if kind == f.IPI_NONE:
        return 0, 0
    mask = h.dirty[cpu[c, f.B_DOM]] if kind == f.IPI_KICK or kind == f.IPI_PLAIN else h.target[c]
    for word in range(mask.size):
        if mask[word] == 0:
            continue
        for target in range(64 * word, min(64 * word + 64, cpu.shape[0])):
            if target == c or not contains(mask, target):
                continue
            if kind == f.IPI_KICK and h.how[f.RUNNING_ONLY] and mode_of(h, target) != f.GUEST:
                continue
            targets += 1
            if kind == f.IPI_FLUSH:
                cpu[target, f.FLUSHER] = c
            elif cpu[target, f.CALLS] == f.NONE:
                cpu[target, f.CALLS] = c
                cpu[target, f.LAST_CALL] = c
            else:
                h.behind[target, cpu[target, f.LAST_CALL]] = c
                cpu[target, f.LAST_CALL] = c
                continue
            h.sent[messaged] = target
            messaged += 1
    return targets, messaged


@part
def _send(h: Host, t: y.Tally, w: p.Program, c: int, messaged: int, now: int, sent: int) -> int:
    """Write the messages, the first from the time ``sent`` on; returns when the last has been written."""
    cpu, cost = h.cpu, h.cost
    flushes = cpu[c, f.B_KIND] == f.IPI_FLUSH
    writes = writes_of(cost, messaged)
    before = f.NONE
    for k in range(messaged):
        target = h.sent[k]
        if before == f.NONE or not shares_message(h.place, cost, before, target, messaged):
            if before != f.NONE:
                sent += cost[f.C_BUSY]
            sent += writes * cost[f.C_ICR]
            t.total[y.ICR_WRITES] += writes
        before = target
        arrives = sent + cost[f.C_DELIVER + distance(h.place, c, target)]
        if flushes:
            cpu[target, f.FLUSH_ARRIVES] = arrives
        else:
            cpu[target, f.ARRIVES] = arrives
        settle(h, t, w, target, now)
    return sent


@part
def _check_mask(h: Host, t: y.Tally, c: int) -> None:
    """See to it that a domain is never dirty on more pCPUs than it has vCPUs."""
    dom = h.cpu[c, f.B_DOM]
    if h.dom[dom, f.DIRTY] > h.dom[dom, f.VCPUS]:
        t.total[y.STATUS] = y.BAD_MASK
        t.total[y.STATUS_ROW] = h.cpu[c, f.PC] - 1


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
        wait_for_acks(h, c, now)
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
def wait_for_acks(h: Host, c: int, now: int) -> None:
    """Wait until everybody has acknowledged."""
    h.cpu[c, f.PHASE] = f.ACKS
    h.cpu[c, f.DUE] = now


@part
def finish(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Hand the call lock on. What comes next is for the program: see ``B_THEN``."""
    cpu = h.cpu
    cpu[c, f.PHASE] = f.ANSWERED
    if cpu[c, f.B_P2M] >= 0:
        _register_end(h, t, c, now)
    if cpu[c, f.B_KIND] != f.IPI_FLUSH:
        t.total[y.CALL_WAIT] += cpu[c, f.B_LOCKED] - cpu[c, f.B_ASKED]
    if not _is_alone(h, c):
        heir = hand_on(cpu, h.lock, h.cost, h.place, lock_of(h, c), c, now)
        if heir >= 0:
            settle(h, t, w, heir, now)


@part
def _register_end(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Count what a broadcast about a p2m took."""
    cpu = h.cpu
    number, hold = cpu[c, f.B_NUMBER], cpu[c, f.B_HOLD]
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
