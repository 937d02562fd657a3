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
    cpu[c].b_p2m = n
    cpu[c].b_dom = h.p2m[n].domain
    cpu[c].b_cause = cause
    cpu[c].b_hold = hold
    cpu[c].b_then = then
    cpu[c].b_kind = h.how[f.IPI_KIND]


@part
def intend_other(h: Host, c: int, kind: int) -> None:
    """Enter that pCPU ``c`` is going to interrupt those in its ``target`` for something that is not about a p2m."""
    cpu = h.cpu
    cpu[c].b_p2m = f.NONE
    cpu[c].b_dom = f.NONE
    cpu[c].b_hold = f.NONE
    cpu[c].b_then = f.END_ROW
    cpu[c].b_kind = kind
    cpu[c].phase = f.REQUEST


@part
def aim(h: Host, c: int, target: int) -> None:
    """Make one pCPU, or all but the sender, those that it has in mind."""
    for word in range(h.target.shape[1]):
        h.target[c, word] = 0
    for other in range(len(h.cpu)) if target == f.NONE else range(target, target + 1):
        if other != c:
            insert(h.target[c], other)


@part
def lock_of(h: Host, c: int) -> int:
    """Return the lock that a sender needs."""
    return len(h.lock) - 1 if h.cpu[c].b_kind == f.IPI_FLUSH else CALL_LOCK


@part
def _is_alone(h: Host, c: int) -> bool:
    """Tell whether a sender shares nothing with others, and so has nothing to lock."""
    return bool(h.how[f.LOCKLESS]) and bool(h.cpu[c].b_kind != f.IPI_FLUSH)


@part
def request(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Ask for the call lock. With INVEPT in the handler the dirty mask is read now, else when it is acquired."""
    cpu = h.cpu
    cpu[c].b_asked = now
    n = cpu[c].b_p2m
    if n >= 0:
        _register(h, t, c, n, now)
    elif cpu[c].b_kind == f.IPI_CALL:
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
    hold, cause, dom = cpu[c].b_hold, cpu[c].b_cause, cpu[c].b_dom
    # Where another hold follows, the lock has been released but not forgotten.
    under = 1 if cpu[c].depth > 0 and cpu[c].b_then != f.NEXT_HOLD else 0
    charge(t, dom, cause, y.BROADCASTS, 1)
    t.total[y.UNDER_LOCK] += under
    t.hold[hold, y.H_BROADCASTS] += 1
    number = t.total[y.BROADCAST_ROWS]
    t.total[y.BROADCAST_ROWS] += 1
    cpu[c].b_number = number
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_HOLD] = hold
        t.broadcast[number, y.B_PCPU] = c
        t.broadcast[number, y.B_DOM] = dom
        t.broadcast[number, y.B_CAUSE] = cause
        t.broadcast[number, y.B_UNDER] = under
        t.broadcast[number, y.B_REQUEST] = now
    if cpu[c].b_kind == f.IPI_INVEPT:
        fill_except(h.mark[n], h.dirty[dom])
        h.p2m[n].mark_cause = cause
        for word in range(h.dirty.shape[1]):
            h.target[c, word] = h.dirty[dom, word]


@part
def locked(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Start to send, now that the call lock is acquired, or be done if there is nothing to do."""
    cpu = h.cpu
    cpu[c].b_locked = now
    cpu[c].b_sent = now
    cpu[c].b_slowest = f.NONE
    cpu[c].b_acked = now
    cpu[c].b_line = now
    cpu[c].b_line_by = c
    if not _is_alone(h, c):
        h.lock[lock_of(h, c)].since = now
    targets = _call(h, c)
    cpu[c].b_left = targets
    cpu[c].b_targets = targets
    if cpu[c].b_kind == f.IPI_CALL:
        t.total[y.OTHER_IPIS] += targets
    elif cpu[c].b_p2m >= 0:
        charge(t, cpu[c].b_dom, cpu[c].b_cause, y.IPIS, targets)
        _check_mask(h, t, c)
    if targets == 0 and not _invalidates_itself(h, c):
        finish(h, t, w, c, now)
        return
    cpu[c].phase = f.SEND
    announced = h.cost[f.C_ANNOUNCE] if targets > 0 and _is_alone(h, c) else 0
    cpu[c].due = _send(h, t, w, c, targets, now, now + h.cost[f.C_SETUP] + announced)


@part
def _call(h: Host, c: int) -> int:
    """Let each target find a sender's call when it is interrupted; returns how many those are. ``sent`` lists them."""
    cpu = h.cpu
    kind = cpu[c].b_kind
    targets = 0
    if kind == f.IPI_NONE:
        return 0
    mask = h.dirty[cpu[c].b_dom] if kind == f.IPI_KICK or kind == f.IPI_PLAIN else h.target[c]
    for word in range(mask.size):
        if mask[word] == 0:
            continue
        for target in range(64 * word, min(64 * word + 64, len(cpu))):
            if target == c or not contains(mask, target):
                continue
            if kind == f.IPI_KICK and h.how[f.RUNNING_ONLY] and mode_of(h, target) != f.GUEST:
                continue
            h.sent[targets] = target
            targets += 1
            if kind == f.IPI_FLUSH:
                cpu[target].flusher = c
            elif cpu[target].calls == f.NONE:
                cpu[target].calls = c
                cpu[target].last_call = c
            else:
                h.behind[target, cpu[target].last_call] = c
                cpu[target].last_call = c
    return targets


@part
def _send(h: Host, t: y.Tally, w: p.Program, c: int, targets: int, now: int, sent: int) -> int:
    """Write the messages, the first from the time ``sent`` on; returns when the last has been written."""
    cpu, cost = h.cpu, h.cost
    flushes = cpu[c].b_kind == f.IPI_FLUSH
    writes = writes_of(cost, targets)
    before = f.NONE
    for k in range(targets):
        target = h.sent[k]
        if before == f.NONE or not shares_message(h.place, cost, before, target, targets):
            if before != f.NONE:
                sent += cost[f.C_BUSY]
            sent += writes * cost[f.C_ICR]
            t.total[y.ICR_WRITES] += writes
        before = target
        arrives = sent + cost[f.C_DELIVER + distance(h.place, c, target)]
        if flushes:
            cpu[target].flush_arrives = arrives
        elif cpu[target].calls == c:
            cpu[target].arrives = arrives
        else:  # a message is under way already, and the first of them takes effect for all
            cpu[target].arrives = min(cpu[target].arrives, arrives)
        settle(h, t, w, target, now)
    return sent


@part
def _check_mask(h: Host, t: y.Tally, c: int) -> None:
    """See to it that a domain is never dirty on more pCPUs than it has vCPUs."""
    dom = h.cpu[c].b_dom
    if h.dom[dom].dirty > h.dom[dom].vcpus:
        t.total[y.STATUS] = y.BAD_MASK
        t.total[y.STATUS_ROW] = h.cpu[c].pc - 1


@part
def _invalidates_itself(h: Host, c: int) -> bool:
    """Tell whether the sender executes INVEPT: it is in its own mask, or does so for all the others."""
    kind = h.cpu[c].b_kind
    return bool(kind == f.IPI_NONE) or (bool(kind == f.IPI_INVEPT) and contains(h.target[c], c))


@part
def sent_all(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Run the handler's INVEPT, now that all is sent, if the sender is in its own mask, or hardware spreads it."""
    cpu = h.cpu
    cpu[c].b_sent = now
    if not _invalidates_itself(h, c):
        wait_for_acks(h, c, now)
        return
    n, cause = cpu[c].b_p2m, cpu[c].b_cause
    if cpu[c].b_kind == f.IPI_NONE:
        dom = h.p2m[n].domain
        for other in range(len(cpu)):
            if contains(h.dirty[dom], other):
                cpu[other].cold_cause = cause
                cpu[other].cold_domain = dom
                h.cached[other, n] = now + h.cost[f.C_INVEPT]
    invept(h, t, c, n, now, y.BY_SENDER, cause)
    cpu[c].phase = f.OWN_INVEPT
    cpu[c].due = now + h.cost[f.C_INVEPT]


@part
def wait_for_acks(h: Host, c: int, now: int) -> None:
    """Wait until everybody has acknowledged."""
    h.cpu[c].phase = f.ACKS
    h.cpu[c].due = now


@part
def finish(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Hand the call lock on. What comes next is for the program: see ``b_then``."""
    cpu = h.cpu
    cpu[c].phase = f.ANSWERED
    if cpu[c].b_p2m >= 0:
        _register_end(h, t, c, now)
    if cpu[c].b_kind != f.IPI_FLUSH:
        t.total[y.CALL_WAIT] += cpu[c].b_locked - cpu[c].b_asked
    if not _is_alone(h, c):
        heir = hand_on(cpu, h.lock, h.cost, h.place, lock_of(h, c), c, now)
        if heir >= 0:
            settle(h, t, w, heir, now)


@part
def _register_end(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Count what a broadcast about a p2m took."""
    cpu = h.cpu
    number, hold = cpu[c].b_number, cpu[c].b_hold
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_LOCKED] = cpu[c].b_locked
        t.broadcast[number, y.B_SENT] = cpu[c].b_sent
        t.broadcast[number, y.B_DONE] = now
        t.broadcast[number, y.B_TARGETS] = cpu[c].b_targets
        t.broadcast[number, y.B_SLOWEST] = cpu[c].b_slowest
    if cpu[c].b_then == f.END_HOLD or cpu[c].b_then == f.NEXT_HOLD:
        t.hold[hold, y.H_END] = now
        t.total[y.POST_UNLOCK] += now - t.hold[hold, y.H_RELEASE]
    cpu[c].b_hold = f.NONE
