"""The discrete-event engine: the rules of docs/background/machine.md over plain arrays, for one strategy.

It allocates nothing. ``run`` takes the pCPU whose time comes next, lets it take one step, and so on until nobody has
anything to do. A step is everything that a pCPU does between two costs or gaps.
"""

from __future__ import annotations

from eptreplay.jit import kernel, part, piece
from eptreplay.machine import fields as f
from eptreplay.machine.clock import end_of_time, next_turn
from eptreplay.machine.prefetch import prefetch
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.broadcasts import aim, finish, intend_other, locked, request, sent_all, wait_for_acks
from eptreplay.replay.decisions import DecideType
from eptreplay.replay.holds import ask_again, begin_hold, cut, end_hold, has_acquired, is_at_lock, is_cut
from eptreplay.replay.host import Host, begin_gap, begin_stall, count_mode, interrupt_time, program_time, settle, watch
from eptreplay.replay.interrupts import acknowledge, deliver, pause, unpause
from eptreplay.replay.invalidation import be_in_guest, invalidate, start_entry
from eptreplay.replay.loading import load, unload
from eptreplay.replay.lookups import begin_lookups, has_read, is_at_lock_to_read
from eptreplay.replay.pages import allocate, has_flushed
from eptreplay.replay.writes import call, change, pass_sync_point

AHEAD = f.LINE // p.ROW.itemsize + 2
"""How many rows ahead a pCPU's program is fetched: those in the next line of the cache."""


@part
def _is_vm_entry(h: Host, op: int, dom: int) -> bool:
    """Tell whether a row is a VM entry: a switch to a guest counts where entries were not recorded."""
    if op == p.SWITCH_IN:
        return not h.how[f.ENTRIES_RECORDED] and dom >= 0 and h.dom[dom].has_guest_mode != 0
    return op == p.VMENTER


@part
def _has_to_wait(h: Host, w: p.Program, c: int, now: int) -> bool:
    """Tell whether something must come before the row that is due; enters what."""
    cpu = h.cpu
    row = cpu[c].pc
    op, dom = w.rows[row].op, w.rows[row].arg
    if op & p.WAITS_FOR and w.edge[row] >= cpu[w.edge_owner[row]].pc:
        cpu[c].waits = f.EDGE
        cpu[c].next = w.edge[row]
        cpu[c].waited = now
        cpu[c].behind = cpu[w.edge_owner[row]].waiters
        cpu[w.edge_owner[row]].waiters = c
        return True
    if _is_vm_entry(h, op & p.OP, dom) and dom >= 0 and h.dom[dom].paused > 0:
        cpu[c].waits = f.GATE
        cpu[c].waited = now
        cpu[c].next = dom
        return True
    return False


@part
def _wake_waiting(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Let programs go on that waited for a row of pCPU ``c``."""
    cpu = h.cpu
    before = f.NONE
    one = cpu[c].waiters
    while one != f.NONE:
        following = cpu[one].behind
        if cpu[one].next != row:
            before = one
        else:
            if before == f.NONE:
                cpu[c].waiters = following
            else:
                cpu[before].behind = following
            cpu[one].waits = f.NOTHING
            t.cpu[one, y.C_EDGES] += 1 if now > cpu[one].waited else 0
            t.cpu[one, y.C_EDGE_NS] += now - cpu[one].waited
            settle(h, t, w, one, now)
        one = following


@part
def _enter(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End VMENTER or SWITCH_IN, once its INVEPT is over."""
    row = h.cpu[c].pc - 1
    op, dom = w.rows[row].op & p.OP, w.rows[row].arg
    begin_gap(h, t, w, c, now)
    if _is_vm_entry(h, op, dom):
        h.cpu[c].entered = dom
        be_in_guest(h, t, w, c, now, 1 if op == p.VMENTER else 0)
    else:
        h.cpu[c].mode = f.XEN


@part
def _invalidate_and_enter(h: Host, t: y.Tally, w: p.Program, c: int, looks: bool, where: int, now: int) -> None:
    """Look at the mark of the row's domain, if anybody does, and end the row, at once or after an INVEPT."""
    if looks and invalidate(h, t, c, w.rows[h.cpu[c].pc - 1].arg, now, where):
        h.cpu[c].phase = f.ENTRY_INVEPT
        h.cpu[c].due = now + h.cost[f.C_INVEPT]
    else:
        _enter(h, t, w, c, now)


@part
def _switch_in(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Load a vCPU's state. Strategies that invalidate at VM entry look at the mark where this stands for one."""
    dom = w.rows[row].arg
    if dom < 0:
        unload(h, c)
        h.cpu[c].mode = f.XEN
        begin_gap(h, t, w, c, now)
        return
    load(h, c, w.rows[row].which, dom)
    if h.how[f.AT_ENTRY]:
        _invalidate_and_enter(h, t, w, c, _is_vm_entry(h, p.SWITCH_IN, dom), y.AT_ENTRY, now)
    else:
        _invalidate_and_enter(h, t, w, c, h.dom[dom].has_guest_mode != 0, y.AT_SWITCH, now)


@part
def _acquired(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """End HOLD_BEGIN, or go on with the writes of a drain that is cut into several holds."""
    if not is_at_lock(h, c, now):
        return
    has_acquired(h, t, c, now)
    if h.cpu[c].repeats > 0:
        h.cpu[c].phase = f.CHANGE
    else:
        begin_gap(h, t, w, c, now)


@part
def _written(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Go on behind a write and what it had to broadcast."""
    if is_cut(h, t, w, c):
        cut(h, t, w, c, now)
    elif h.cpu[c].repeats > 0:
        h.cpu[c].phase = f.CHANGE
    else:
        begin_gap(h, t, w, c, now)


@part
def _answered(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Go on with what a broadcast was a part of."""
    then = h.cpu[c].b_then
    if then == f.END_WRITE:
        h.cpu[c].phase = f.WRITTEN
    elif then == f.NEXT_HOLD:
        ask_again(h, t, c, now)
    else:
        begin_gap(h, t, w, c, now)


@part
def _call(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Carry out CALL: about a p2m, or of one pCPU or all others for a reason that has nothing to do with p2ms."""
    if w.rows[row].arg != f.NONE:
        call(h, t, w, c, row, now)
        return
    begin_stall(h, c, row, now)
    aim(h, c, w.rows[row].which)
    intend_other(h, c, f.IPI_CALL)


@part
def _change_mode(h: Host, t: y.Tally, w: p.Program, c: int, op: int, now: int) -> None:
    """Carry out a row that says that nobody runs in guest mode any more; interrupts stay off behind a VM exit."""
    h.cpu[c].mode = f.IDLE if op == p.IDLE else f.XEN
    if op == p.VMEXIT:
        count_mode(h, t, c, now)
        h.cpu[c].off_until = now + h.cost[f.C_IRQOFF]
    begin_gap(h, t, w, c, now)


@part
def _carry_out_rare(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, row: int, op: int, now: int) -> None:
    """Carry out a row of which there are few."""
    if op == p.FREE_TABLE or op == p.POD_RECLAIM:
        pass_sync_point(h, t, w, decide, c, row, now)
    elif op == p.LOOKUP:
        begin_lookups(h, t, w, c, row, now)
    elif op == p.CALL:
        _call(h, t, w, c, row, now)
    elif op == p.PAGE_ALLOC:
        allocate(h, t, w, c, row, now)
    else:
        _change_at_once(h, t, w, c, op, row, now)


@part
def _change_at_once(h: Host, t: y.Tally, w: p.Program, c: int, op: int, row: int, now: int) -> None:
    """Carry out a row that takes no time: lost records, pauses, and pages that are freed; others do nothing."""
    dom = w.rows[row].arg
    if op == p.LOST:
        unload(h, c)
        h.cpu[c].mode = f.UNKNOWN
    elif op == p.PAUSE and dom >= 0:
        pause(h, t, w, dom, now)
    elif op == p.UNPAUSE and dom >= 0:
        unpause(h, t, w, dom, now)
    elif op == p.PAGE_FREE:
        h.freed[w.rows[row].which] = h.freed[0]
    begin_gap(h, t, w, c, now)


@part
def _carry_out(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, now: int) -> None:
    """Carry out the row that is due, unless it has to wait."""
    if _has_to_wait(h, w, c, now):
        return
    row = h.cpu[c].pc
    h.cpu[c].pc = row + 1
    prefetch(w.rows, row + AHEAD)
    h.cpu[c].carried = now
    h.cpu[c].waited = f.NONE
    h.cpu[c].off_until = min(h.cpu[c].off_until, now)
    if t.row.shape[0] > 0:
        t.row[row, y.R_CARRIED] = now
    op = w.rows[row].op & p.OP
    if op == p.VMENTER:
        _invalidate_and_enter(h, t, w, c, h.how[f.AT_ENTRY] != 0, y.AT_ENTRY, now)
    elif op == p.SWITCH_IN:
        _switch_in(h, t, w, c, row, now)
    elif op == p.HOLD_BEGIN:
        begin_hold(h, t, w, c, row, now)
    elif op == p.SET or op == p.MISCONFIG or op == p.GLOBAL_CHANGE:
        h.cpu[c].repeats = w.acts[w.rows[row].which].count
        h.cpu[c].phase = f.CHANGE
    elif op == p.HOLD_END:
        end_hold(h, t, w, c, now)
    elif op == p.VMEXIT or op == p.SWITCH_OUT or op == p.IDLE or op == p.WAKE:
        _change_mode(h, t, w, c, op, now)
    else:
        _carry_out_rare(h, t, w, decide, c, row, op, now)
    if w.rows[row].op & p.WAITED_FOR:
        _wake_waiting(h, t, w, c, row, now)


@part
def _end_phase(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, now: int) -> None:
    """End what the program of pCPU ``c`` is at."""
    phase = h.cpu[c].phase
    if h.cpu[c].stopped:
        start_entry(h, t, c, now)
    elif phase == f.GAP:
        _carry_out(h, t, w, decide, c, now)
    elif phase == f.STORE:
        h.cpu[c].phase = f.WRITTEN if h.cpu[c].b_hold == f.NONE else f.REQUEST
    elif phase == f.ENTRY_INVEPT:
        _enter(h, t, w, c, now)
    elif phase == f.ACQUIRE or phase == f.HANDOFF or phase == f.POLL:
        if h.cpu[c].reads:
            is_at_lock_to_read(h, t, w, c, now)
        else:
            _acquired(h, t, w, c, now)
    elif phase == f.READ:
        has_read(h, t, w, c, now)
    elif phase == f.FLUSH:
        has_flushed(h, t, w, c, now)
    else:
        _end_broadcast_phase(h, t, w, c, phase, now)


@part
def _end_broadcast_phase(h: Host, t: y.Tally, w: p.Program, c: int, phase: int, now: int) -> None:
    """End what a sender is at."""
    if phase == f.SEND:
        sent_all(h, t, c, now)
    elif phase == f.OWN_INVEPT:
        wait_for_acks(h, c, now)
    elif phase == f.ACKS and h.cpu[c].b_targets > 0 and h.cpu[c].b_p2m >= 0:
        h.cpu[c].phase = f.UNEXPLAINED
        h.cpu[c].due = now + h.cost[f.C_UNEXPLAINED]
    elif phase == f.ACKS or phase == f.UNEXPLAINED:
        finish(h, t, w, c, now)
    else:
        locked(h, t, w, c, now)


@part
def _follow_up(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, now: int) -> None:
    """Go through the phases that take no time, in the order in which one may lead to the other."""
    cpu = h.cpu
    while cpu[c].phase >= f.ANSWERED:
        if cpu[c].phase == f.ANSWERED:
            _answered(h, t, w, c, now)
        if cpu[c].phase == f.WRITTEN:
            _written(h, t, w, c, now)
        if cpu[c].phase == f.CHANGE:
            cpu[c].repeats -= 1
            change(h, t, w, decide, c, cpu[c].pc - 1, now)
        if cpu[c].phase == f.REQUEST:
            request(h, t, w, c, now)


@piece
def turn_to(t: y.Tally, now: int) -> None:
    """Turn to the bucket of a time; if that lies behind the last one, each becomes twice as wide."""
    while now >= y.BUCKETS * t.total[y.BUCKET_WIDTH]:
        for i in range(y.BUCKETS):
            for measure in range(y.MEASURES):
                in_two = 0
                if 2 * i < y.BUCKETS:
                    in_two = t.bucket[2 * i, measure] + t.bucket[2 * i + 1, measure]
                t.bucket[i, measure] = in_two
        t.total[y.BUCKET_WIDTH] *= 2
    t.total[y.BUCKET] = now // t.total[y.BUCKET_WIDTH]
    t.total[y.BUCKET_END] = (t.total[y.BUCKET] + 1) * t.total[y.BUCKET_WIDTH]


@part
def _end_program(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Count what a pCPU was at when the replay ended, and see whether it has carried out all its rows."""
    cpu = h.cpu
    count_mode(h, t, c, now)
    if cpu[c].stalled != f.NONE:
        watch(h, t, c, now)
    t.cpu[c, y.C_DRIFT] = cpu[c].ended - cpu[c].recorded
    if t.total[y.STATUS] == y.TOO_LATE:
        return
    if cpu[c].handling >= 0 or cpu[c].entering or min(program_time(h, c), interrupt_time(h, c)) < f.NEVER:
        t.total[y.STATUS] = y.TOO_LATE
        t.total[y.STATUS_ROW] = min(cpu[c].pc, cpu[c].last - 1)
    elif cpu[c].pc < cpu[c].last or cpu[c].phase != f.GAP:
        t.total[y.STATUS] = y.STUCK
        t.total[y.STATUS_ROW] = min(cpu[c].pc, cpu[c].last - 1)


@kernel
def run(h: Host, t: y.Tally, w: p.Program, decide: DecideType) -> None:
    """Replay a workload to its end."""
    cpu = h.cpu
    for c in range(len(cpu)):
        settle(h, t, w, c, 0)
    now, end = 0, end_of_time(h.clock)
    while True:
        time, c = next_turn(h.clock)
        if time >= end:
            break
        now = time
        if now >= t.total[y.BUCKET_END]:
            turn_to(t, now)
        if cpu[c].handling >= 0:
            acknowledge(h, t, w, c, now)
        elif cpu[c].entering:
            cpu[c].entering = 0
            be_in_guest(h, t, w, c, now, 1)
        elif cpu[c].event == f.INTERRUPT:
            deliver(h, c, now)
        else:
            _end_phase(h, t, w, decide, c, now)
            _follow_up(h, t, w, decide, c, now)
        settle(h, t, w, c, now)
    t.total[y.SIMULATED] = now
    for c in range(len(cpu)):
        _end_program(h, t, c, now)
