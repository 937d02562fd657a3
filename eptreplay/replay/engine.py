"""The discrete-event engine: the rules of docs/background/machine.md over plain arrays, for one strategy.

It allocates nothing. ``run`` takes the pCPU whose time comes next, lets it take one step, and so on until nobody has
anything to do. A step is everything that a pCPU does between two costs or gaps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import kernel, part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import fill
from eptreplay.machine.ept import store
from eptreplay.machine.locks import hand_on, take_or_queue
from eptreplay.replay import decisions as d
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.broadcasts import finish, locked, request, sent_all
from eptreplay.replay.host import Host, begin_gap, program_time, settle
from eptreplay.replay.interrupts import acknowledge, deliver, pause, unpause
from eptreplay.replay.invalidation import be_in_guest, invalidate, start_entry
from eptreplay.replay.loading import load, unload

Int64s = NDArray[np.int64]


@part
def _is_vm_entry(h: Host, op: int, dom: int) -> bool:
    """Tell whether a row is a VM entry: a switch to a guest counts where entries were not recorded."""
    if op == p.SWITCH_IN:
        return not h.how[f.ENTRIES_RECORDED] and dom >= 0 and h.dom[dom, f.HAS_GUEST_MODE] != 0
    return op == p.VMENTER


@part
def _has_to_wait(h: Host, w: p.Program, c: int) -> bool:
    """Tell whether something must come before the row that is due; enters what."""
    cpu = h.cpu
    row = cpu[c, f.PC]
    op, dom = w.op[row], w.arg[row]
    if op & p.WAITS_FOR and w.edge[row] >= cpu[w.edge_owner[row], f.PC]:
        cpu[c, f.WAITS] = f.EDGE
        cpu[c, f.NEXT] = w.edge[row]
        return True
    if _is_vm_entry(h, op & p.OP, dom) and dom >= 0 and h.dom[dom, f.PAUSED] > 0:
        cpu[c, f.WAITS] = f.GATE
        cpu[c, f.NEXT] = dom
        return True
    return False


@part
def _wake_waiting(h: Host, t: y.Tally, w: p.Program, row: int, now: int) -> None:
    """Let programs go on that waited for a row."""
    cpu = h.cpu
    for c in range(cpu.shape[0]):
        if cpu[c, f.WAITS] == f.EDGE and cpu[c, f.NEXT] == row:
            cpu[c, f.WAITS] = f.NOTHING
            settle(h, t, w, c, now)


@part
def _enter(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End VMENTER or SWITCH_IN, once its INVEPT is over."""
    row = h.cpu[c, f.PC] - 1
    op, dom = w.op[row] & p.OP, w.arg[row]
    begin_gap(h, w, c, now)
    if _is_vm_entry(h, op, dom):
        h.cpu[c, f.ENTERED] = dom
        be_in_guest(h, t, c, now, 1 if op == p.VMENTER else 0)
    else:
        h.cpu[c, f.MODE] = f.XEN


@part
def _invalidate_and_enter(h: Host, t: y.Tally, w: p.Program, c: int, looks: bool, where: int, now: int) -> None:
    """Look at the mark of the row's domain, if anybody does, and end the row, at once or after an INVEPT."""
    if looks and invalidate(h, t, c, w.arg[h.cpu[c, f.PC] - 1], now, where):
        h.cpu[c, f.PHASE] = f.ENTRY_INVEPT
        h.cpu[c, f.DUE] = now + h.cost[f.C_INVEPT]
    else:
        _enter(h, t, w, c, now)


@part
def _switch_in(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Load a vCPU's state. Strategies that invalidate at VM entry look at the mark where this stands for one."""
    dom = w.arg[row]
    if dom < 0:
        unload(h, c)
        h.cpu[c, f.MODE] = f.XEN
        begin_gap(h, w, c, now)
        return
    load(h, c, w.item[row], dom)
    if h.how[f.AT_ENTRY]:
        _invalidate_and_enter(h, t, w, c, _is_vm_entry(h, p.SWITCH_IN, dom), y.AT_ENTRY, now)
    else:
        _invalidate_and_enter(h, t, w, c, h.dom[dom, f.HAS_GUEST_MODE] != 0, y.AT_SWITCH, now)


@part
def _begin_hold(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Ask for a p2m lock, unless it is held already."""
    cpu = h.cpu
    n, hold = w.arg[row], w.item[row]
    depth = cpu[c, f.DEPTH]
    recursive = h.lock[1 + n, f.OWNER] == c
    h.stack[c, depth, 0] = n
    h.stack[c, depth, 1] = f.NONE if recursive else hold
    cpu[c, f.DEPTH] = depth + 1
    if recursive:
        begin_gap(h, w, c, now)
        return
    t.hold[hold, y.H_REQUEST] = now
    take_or_queue(cpu, h.lock, h.cost, 1 + n, c, now, f.ACQUIRE)


@part
def _acquired(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End HOLD_BEGIN."""
    depth = h.cpu[c, f.DEPTH] - 1
    n, hold = h.stack[c, depth, 0], h.stack[c, depth, 1]
    h.p2m[n, f.HOLD] = hold
    t.hold[hold, y.H_ACQUIRE] = now
    begin_gap(h, w, c, now)


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
    t.measure[dom, cause, y.STORES] += p.stores_of(order)
    t.hold[hold, y.H_SETS] += 1
    cpu[c, f.PHASE] = f.STORE
    cpu[c, f.DUE] = now + h.cost[f.C_SET]
    if not s[p.S_PRESENT]:
        return
    decision = d.NOTHING if how[f.ELIDE] and s[p.S_UPGRADE] else how[f.DEFAULT]
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
        return
    t.measure[dom, cause, y.SYNCS] += 1
    # With INVEPT in the handler, whoever is interrupted needs no mark; NOW leaves marking to the request.
    if decision != d.NOW or how[f.AT_ENTRY]:
        fill(h.mark[n])
        h.p2m[n, f.MARK_CAUSE] = cause
    if decision == d.DEFER:
        if not h.p2m[n, f.OWED]:
            h.p2m[n, f.OWED_CAUSE] = cause
        h.p2m[n, f.OWED] = 1
        h.p2m[n, f.PENDING] += 1
    elif decision == d.NOW:
        h.p2m[n, f.OWED] = 0
        h.p2m[n, f.PENDING] = 0
        cpu[c, f.B_P2M] = n
        cpu[c, f.B_CAUSE] = cause
        cpu[c, f.B_HOLD] = hold
        cpu[c, f.B_UNDER] = 1


@part
def _stored(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End SET, or ask for the call lock first."""
    if h.cpu[c, f.B_HOLD] == f.NONE:
        begin_gap(h, w, c, now)
    else:
        request(h, t, c, now)


@part
def _end_hold(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Release a p2m lock; a broadcast that is owed comes after that (09fc40ed30)."""
    cpu = h.cpu
    cpu[c, f.DEPTH] -= 1
    depth = cpu[c, f.DEPTH]
    n, hold = h.stack[c, depth, 0], h.stack[c, depth, 1]
    if hold == f.NONE:
        begin_gap(h, w, c, now)
        return
    dom, cause = h.p2m[n, f.P_DOMAIN], t.hold[hold, y.H_CAUSE]
    t.hold[hold, y.H_RELEASE] = now
    t.hold[hold, y.H_DONE] = 1
    t.measure[dom, cause, y.HOLDS] += 1
    t.measure[dom, cause, y.HOLD_NS] += now - t.hold[hold, y.H_ACQUIRE]
    owed = h.p2m[n, f.OWED]
    h.p2m[n, f.OWED] = 0
    h.p2m[n, f.PENDING] = 0
    h.p2m[n, f.HOLD] = f.NONE
    heir = hand_on(cpu, h.lock, h.cost, h.topology, 1 + n, c, now)
    if heir >= 0:
        settle(h, t, w, heir, now)
    if not owed:
        t.hold[hold, y.H_END] = now
        begin_gap(h, w, c, now)
        return
    cpu[c, f.B_P2M] = n
    cpu[c, f.B_CAUSE] = h.p2m[n, f.OWED_CAUSE]
    cpu[c, f.B_HOLD] = hold
    cpu[c, f.B_UNDER] = 0
    request(h, t, c, now)


@part
def _change_mode(h: Host, t: y.Tally, w: p.Program, c: int, op: int, dom: int, now: int) -> None:
    """Carry out a row that says who runs, or whether anybody does."""
    if op == p.VMEXIT or op == p.SWITCH_OUT or op == p.WAKE:
        h.cpu[c, f.MODE] = f.XEN
    elif op == p.IDLE:
        h.cpu[c, f.MODE] = f.IDLE
    elif op == p.LOST:
        unload(h, c)
        h.cpu[c, f.MODE] = f.UNKNOWN
    elif op == p.PAUSE and dom >= 0:
        pause(h, t, w, dom, now)
    elif op == p.UNPAUSE and dom >= 0:
        unpause(h, t, w, dom, now)
    begin_gap(h, w, c, now)


@part
def _carry_out(h: Host, t: y.Tally, w: p.Program, decide: d.DecideType, c: int, now: int) -> None:
    """Carry out the row that is due, unless it has to wait."""
    if _has_to_wait(h, w, c):
        return
    row = h.cpu[c, f.PC]
    h.cpu[c, f.PC] = row + 1
    op = w.op[row] & p.OP
    if op == p.VMENTER:
        _invalidate_and_enter(h, t, w, c, h.how[f.AT_ENTRY] != 0, y.AT_ENTRY, now)
    elif op == p.SWITCH_IN:
        _switch_in(h, t, w, c, row, now)
    elif op == p.HOLD_BEGIN:
        _begin_hold(h, t, w, c, row, now)
    elif op == p.SET:
        _write(h, t, w, decide, c, row, now)
    elif op == p.HOLD_END:
        _end_hold(h, t, w, c, now)
    else:
        _change_mode(h, t, w, c, op, w.arg[row], now)
    if w.op[row] & p.WAITED_FOR:
        _wake_waiting(h, t, w, row, now)


@part
def _go_on(h: Host, t: y.Tally, w: p.Program, decide: d.DecideType, c: int, now: int) -> None:
    """Let the program of pCPU ``c`` take its next step."""
    phase = h.cpu[c, f.PHASE]
    if h.cpu[c, f.STOPPED]:
        start_entry(h, t, c, now)
    elif phase == f.GAP:
        _carry_out(h, t, w, decide, c, now)
    elif phase == f.ACQUIRE or phase == f.HANDOFF:
        _acquired(h, t, w, c, now)
    elif phase == f.STORE:
        _stored(h, t, w, c, now)
    elif phase == f.CALL_ACQUIRE or phase == f.CALL_HANDOFF:
        locked(h, t, w, c, now)
    elif phase == f.SEND:
        sent_all(h, t, c, now)
    elif phase == f.OWN_INVEPT:
        h.cpu[c, f.PHASE] = f.ACKS
    elif phase == f.ACKS:
        finish(h, t, w, c, now)
    else:
        _enter(h, t, w, c, now)


@kernel
def run(h: Host, t: y.Tally, w: p.Program, decide: d.DecideType) -> None:
    """Replay a workload to its end."""
    cpu = h.cpu
    for c in range(cpu.shape[0]):
        settle(h, t, w, c, 0)
    now = 0
    while True:
        c = h.tree[1]
        if h.times[c] >= f.NEVER:
            break
        now = h.times[c]
        if cpu[c, f.HANDLING] >= 0:
            acknowledge(h, t, w, c, now)
        elif cpu[c, f.ENTERING]:
            cpu[c, f.ENTERING] = 0
            be_in_guest(h, t, c, now, 1)
        elif (
            cpu[c, f.SIGNAL] >= 0
            and cpu[c, f.PHASE] != f.ENTRY_INVEPT
            and max(now, cpu[c, f.ARRIVES]) <= max(now, program_time(h, c))
        ):
            deliver(h, t, c, now)
        else:
            _go_on(h, t, w, decide, c, now)
        settle(h, t, w, c, now)
    t.total[y.SIMULATED] = now
    for c in range(cpu.shape[0]):
        t.mode[c, cpu[c, f.SHOWN]] += now - cpu[c, f.SINCE]
        t.cpu[c, y.C_DRIFT] = cpu[c, f.ENDED] - cpu[c, f.RECORDED]
        if cpu[c, f.PC] < cpu[c, f.LAST] or cpu[c, f.PHASE] != f.GAP:
            t.total[y.STATUS] = y.STUCK
            t.total[y.STATUS_ROW] = min(cpu[c, f.PC], cpu[c, f.LAST] - 1)
