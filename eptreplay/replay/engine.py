"""The discrete-event engine: the rules of docs/background/machine.md over plain arrays, for one strategy.

It allocates nothing. ``run`` takes the pCPU whose time comes next, lets it do one thing, and so on until nobody has
anything to do. Everything that happens is one of: an interrupt is delivered; a handler that met a guest has ended; a
program goes on, with a row or with what a row has begun.
"""

from __future__ import annotations

from eptreplay.jit import kernel, part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, fill, remove
from eptreplay.machine.clock import schedule
from eptreplay.machine.ept import store
from eptreplay.machine.locks import CALL_LOCK, release, request
from eptreplay.replay import decisions as d
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.broadcasts import request_broadcast, send
from eptreplay.replay.host import Host, charge, happened, in_xen_ahead, set_mode
from eptreplay.replay.interrupts import handler_ended, interrupt, pause, unpause
from eptreplay.replay.invalidation import consume_mark, invept, refill
from eptreplay.replay.loading import load, unload


@part
def _wake_waiting(h: Host, row: int, now: int) -> None:
    """Let programs go on that waited for a row."""
    cpu = h.cpu
    for c in range(cpu.shape[0]):
        if cpu[c, f.WAITS] == f.EDGE and cpu[c, f.NEXT] == row:
            cpu[c, f.WAITS] = f.NOTHING
            if cpu[c, f.MODE] == f.GUEST and (cpu[c, f.BACK] < f.NEVER):
                cpu[c, f.LEFT] = 0
            else:
                cpu[c, f.DUE] = max(now, cpu[c, f.BUSY])
            schedule(cpu, h.times, h.tree, c)
        elif cpu[c, f.WAITS] == f.STOPPED and cpu[c, f.NEXT] == row:
            cpu[c, f.LEFT] = 0
            cpu[c, f.NEXT] = f.NONE


@part
def _advance(h: Host, t: y.Tally, w: p.Program, c: int, end: int) -> None:
    """End a row, and find out when the next one is due."""
    cpu = h.cpu
    happened(t, end)
    row = cpu[c, f.PC]
    op = w.op[row] & p.OP
    cpu[c, f.PHASE] = f.ROW
    cpu[c, f.PC] = row + 1
    if row + 1 == cpu[c, f.LAST]:
        t.cpu[c, y.C_DRIFT] = end - cpu[c, f.RECORDED]
        cpu[c, f.DUE] = f.NEVER
        return
    gap = w.gap[row + 1]
    cpu[c, f.RECORDED] += gap
    elastic = op == p.IDLE or op == p.LOST
    cpu[c, f.DUE] = max(end, cpu[c, f.RECORDED]) if elastic else end + gap


@part
def _guest_entry(h: Host, t: y.Tally, w: p.Program, c: int, dom: int, now: int) -> None:
    """Enter a guest at the row VMENTER, or SWITCH_IN where there are none: invalidate, refill, go."""
    spent, n = 0, f.NONE
    if h.how[f.AT_ENTRY] and dom >= 0:
        n = h.dom[dom, f.HOST_P2M]
        if n >= 0 and contains(h.mark[n], c):
            remove(h.mark[n], c)
            invept(h, t, c, n, now, y.AT_ENTRY, h.p2m[n, f.MARK_CAUSE])
            spent = h.cost[f.INVEPT]
    set_mode(h, t, c, f.GUEST, now)
    in_xen_ahead(h, t, c, now + spent)
    lost = refill(h, c)
    if spent:
        h.cpu[c, f.BUSY] = now + spent
    if n == f.NONE and dom >= 0:
        n = h.dom[dom, f.HOST_P2M]
    if spent + lost and n >= 0:
        charge(t, dom, h.p2m[n, f.MARK_CAUSE], y.STOLEN, spent + lost)
    _advance(h, t, w, c, now + spent + lost)


@part
def _switch_in(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    cpu = h.cpu
    dom = w.arg[row]
    load(h, c, w.item[row], dom)
    guest = h.dom[dom, f.HAS_GUEST_MODE]
    spent, n = 0, f.NONE
    if guest and not h.how[f.AT_ENTRY]:
        spent, n = consume_mark(h, t, c, now, y.AT_SWITCH)
    if guest and not h.how[f.ENTRIES_RECORDED]:
        if spent:
            set_mode(h, t, c, f.XEN, now)
            charge(t, dom, h.p2m[n, f.MARK_CAUSE], y.STOLEN, spent)
            cpu[c, f.BUSY] = now + spent
        _guest_entry(h, t, w, c, dom, now + spent)
        return
    set_mode(h, t, c, f.XEN, now)
    if spent:
        cpu[c, f.BUSY] = now + spent
        charge(t, dom, h.p2m[n, f.MARK_CAUSE], y.STOLEN, spent)
    _advance(h, t, w, c, now + spent)


@part
def _begin_hold(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    cpu = h.cpu
    n, hold = w.arg[row], w.item[row]
    depth = cpu[c, f.DEPTH]
    recursive = h.lock[1 + n, f.OWNER] == c
    h.stack[c, depth, 0] = n
    h.stack[c, depth, 1] = f.NONE if recursive else hold
    cpu[c, f.DEPTH] = depth + 1
    if recursive:
        _advance(h, t, w, c, now)
        return
    t.hold[hold, y.H_REQUEST] = now
    t.hold[hold, y.H_MODE] = cpu[c, f.MODE]
    set_mode(h, t, c, f.SPIN, now)
    request(cpu, h.lock, h.cost, 1 + n, c, now, f.ACQUIRED)


@part
def _write(h: Host, t: y.Tally, w: p.Program, decide: d.DecideType, c: int, row: int, now: int) -> None:
    """Change an entry, and decide what that calls for."""
    cpu, how = h.cpu, h.how
    n, k = w.arg[row], w.item[row]
    s = w.sets[k]
    hold = h.p2m[n, f.HOLD]
    dom, cause = h.p2m[n, f.P_DOMAIN], s[p.S_CAUSE]
    order = s[p.S_ORDER]
    store(h.node, h.linked, w.path[k], h.p2m[n, f.ROOT], s[p.S_GFN], order, s[p.S_NEW], s[p.S_MFN])
    t.measure[dom, cause, y.SETS] += 1
    t.measure[dom, cause, y.STORES] += 1 if order % 9 == 0 else 1 << (order % 9)
    t.hold[hold, y.H_SETS] += 1
    end = now + h.cost[f.SET_ENTRY]
    decision = d.NOTHING
    if s[p.S_PRESENT]:
        decision = how[f.DEFAULT]
        if how[f.ELIDE] and s[p.S_UPGRADE]:
            decision = d.NOTHING
        if how[f.DECIDES]:
            others = h.dom[dom, f.DIRTY] - (1 if cpu[c, f.DOMAIN] == dom else 0)
            decision = decide(
                d.SET, decision, cause, s[p.S_OLD], s[p.S_NEW], order, s[p.S_UPGRADE], h.p2m[n, f.PENDING],
                t.hold[hold, y.H_SETS], others, now, now - t.hold[hold, y.H_ACQUIRE], s[p.S_GFN], s[p.S_MFN],
            )  # fmt: skip
            if decision < d.NOTHING or decision > d.NOW:
                t.total[y.STATUS] = y.BAD_DECISION
                t.total[y.STATUS_ROW] = row
                decision = d.NOTHING
    if decision == d.NOTHING:
        _advance(h, t, w, c, end)
        return
    t.measure[dom, cause, y.SYNCS] += 1
    if decision != d.NOW or how[f.IPI_KIND] != f.IPI_INVEPT:
        fill(h.mark[n])
        h.p2m[n, f.MARK_CAUSE] = cause
    if decision == d.DEFER:
        if not h.p2m[n, f.OWED]:
            h.p2m[n, f.OWED_CAUSE] = cause
        h.p2m[n, f.OWED] = 1
        h.p2m[n, f.PENDING] += 1
    if decision != d.NOW:
        _advance(h, t, w, c, end)
        return
    h.p2m[n, f.OWED] = 0
    h.p2m[n, f.PENDING] = 0
    cpu[c, f.B_P2M] = n
    cpu[c, f.B_CAUSE] = cause
    cpu[c, f.B_HOLD] = hold
    cpu[c, f.PHASE] = f.REQUEST
    cpu[c, f.DUE] = end


@part
def _end_hold(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Release a p2m lock; a broadcast that is owed comes after that."""
    cpu = h.cpu
    cpu[c, f.DEPTH] -= 1
    depth = cpu[c, f.DEPTH]
    n, hold = h.stack[c, depth, 0], h.stack[c, depth, 1]
    if hold == f.NONE:
        _advance(h, t, w, c, now)
        return
    dom, cause = h.p2m[n, f.P_DOMAIN], t.hold[hold, y.H_CAUSE]
    t.hold[hold, y.H_RELEASE] = now
    t.measure[dom, cause, y.HOLDS] += 1
    t.measure[dom, cause, y.HOLD_NS] += now - t.hold[hold, y.H_ACQUIRE]
    owed = h.p2m[n, f.OWED]
    h.p2m[n, f.OWED] = 0
    h.p2m[n, f.PENDING] = 0
    h.p2m[n, f.HOLD] = f.NONE
    heir = release(cpu, h.lock, h.cost, h.topology, 1 + n, c, now)
    if heir >= 0:
        schedule(cpu, h.times, h.tree, heir)
    if not owed:
        t.hold[hold, y.H_END] = now
        _advance(h, t, w, c, now)
        return
    cpu[c, f.B_P2M] = n
    cpu[c, f.B_CAUSE] = h.p2m[n, f.OWED_CAUSE]
    cpu[c, f.B_HOLD] = hold
    request_broadcast(h, t, c, now)


@part
def _done(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """All have acknowledged: hand the call lock on, and go on with the row."""
    cpu = h.cpu
    number = cpu[c, f.B_NUMBER]
    t.total[y.CALL_WAIT] += cpu[c, f.B_LOCKED] - cpu[c, f.B_ASKED]
    if number < t.broadcast.shape[0]:
        t.broadcast[number, y.B_LOCKED] = cpu[c, f.B_LOCKED]
        t.broadcast[number, y.B_SENT] = cpu[c, f.B_SENT]
        t.broadcast[number, y.B_DONE] = now
        t.broadcast[number, y.B_TARGETS] = cpu[c, f.B_TARGETS]
        t.broadcast[number, y.B_SLOWEST] = cpu[c, f.B_SLOWEST]
    heir = release(cpu, h.lock, h.cost, h.topology, CALL_LOCK, c, now)
    if heir >= 0:
        schedule(cpu, h.times, h.tree, heir)
    set_mode(h, t, c, t.mode_before[c], now)
    if w.op[cpu[c, f.PC]] & p.OP == p.HOLD_END:
        hold = cpu[c, f.B_HOLD]
        t.hold[hold, y.H_END] = now
        t.total[y.POST_UNLOCK] += now - t.hold[hold, y.H_RELEASE]
    _advance(h, t, w, c, now)


@part
def _carry_out(  # noqa: C901, PLR0912 (one branch for each operation)
    h: Host, t: y.Tally, w: p.Program, decide: d.DecideType, c: int, now: int
) -> None:
    """Carry out the row that is due."""
    cpu = h.cpu
    row = cpu[c, f.PC]
    op = w.op[row] & p.OP
    if w.op[row] & p.WAITS_FOR:
        edge = w.edge[row]
        if edge >= cpu[w.edge_owner[row], f.REACHED]:
            cpu[c, f.WAITS] = f.EDGE
            cpu[c, f.NEXT] = edge
            cpu[c, f.DUE] = f.NEVER
            return
    if op == p.VMENTER:
        dom = w.arg[row]
        if dom >= 0 and h.dom[dom, f.PAUSED] > 0:
            cpu[c, f.WAITS] = f.GATE
            cpu[c, f.NEXT] = dom
            cpu[c, f.DUE] = f.NEVER
            return
    cpu[c, f.REACHED] = row + 1
    if op == p.VMENTER:
        t.total[y.VMENTERS] += 1
        _guest_entry(h, t, w, c, w.arg[row], now)
    elif op == p.VMEXIT or op == p.SWITCH_OUT or op == p.WAKE:
        set_mode(h, t, c, f.XEN, now)
        _advance(h, t, w, c, now)
    elif op == p.SWITCH_IN:
        _switch_in(h, t, w, c, row, now)
    elif op == p.HOLD_BEGIN:
        _begin_hold(h, t, w, c, row, now)
    elif op == p.SET:
        _write(h, t, w, decide, c, row, now)
    elif op == p.HOLD_END:
        _end_hold(h, t, w, c, now)
    elif op == p.IDLE:
        set_mode(h, t, c, f.IDLE, now)
        _advance(h, t, w, c, now)
    else:
        if op == p.LOST:
            set_mode(h, t, c, f.UNKNOWN, now)
            unload(h, c)
        elif op == p.PAUSE:
            pause(h, t, w.arg[row], now)
        elif op == p.UNPAUSE:
            unpause(h, w.arg[row], now)
        _advance(h, t, w, c, now)
    if w.op[row] & p.WAITED_FOR:
        _wake_waiting(h, row, now)


@part
def _go_on(h: Host, t: y.Tally, w: p.Program, decide: d.DecideType, c: int, now: int) -> None:
    """Let the program of pCPU ``c`` go on."""
    cpu = h.cpu
    phase = cpu[c, f.PHASE]
    if phase == f.ROW:
        _carry_out(h, t, w, decide, c, now)
    elif phase == f.ACQUIRED:
        n, hold = h.stack[c, cpu[c, f.DEPTH] - 1, 0], h.stack[c, cpu[c, f.DEPTH] - 1, 1]
        h.p2m[n, f.HOLD] = hold
        t.hold[hold, y.H_ACQUIRE] = now
        set_mode(h, t, c, t.hold[hold, y.H_MODE], now)
        _advance(h, t, w, c, now)
    elif phase == f.REQUEST:
        request_broadcast(h, t, c, now)
    elif phase == f.LOCKED:
        send(h, t, c, now)
    else:
        _done(h, t, w, c, now)


@kernel
def run(h: Host, t: y.Tally, w: p.Program, decide: d.DecideType) -> None:
    """Replay a workload to its end."""
    cpu, times, tree = h.cpu, h.times, h.tree
    for c in range(cpu.shape[0]):
        schedule(cpu, times, tree, c)
    while True:
        c = tree[1]
        now = times[c]
        if now >= f.NEVER:
            break
        if cpu[c, f.BACK] < f.NEVER:
            handler_ended(h, t, c, now)
        elif cpu[c, f.IPI] < f.NEVER and max(cpu[c, f.IPI], cpu[c, f.BUSY]) <= cpu[c, f.DUE]:
            interrupt(h, t, c, now)
        else:
            _go_on(h, t, w, decide, c, now)
        schedule(cpu, times, tree, c)
    for c in range(cpu.shape[0]):
        set_mode(h, t, c, cpu[c, f.MODE], t.total[y.SIMULATED])
        if cpu[c, f.PC] < cpu[c, f.LAST]:
            t.total[y.STATUS] = y.STUCK
            t.total[y.STATUS_ROW] = cpu[c, f.PC]
