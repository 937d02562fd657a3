"""Holds of p2m locks: asking for one, having it, releasing it; and the holds that a PML drain is cut into."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.locks import pass_on, release_write, request_write
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.broadcasts import intend
from eptreplay.replay.host import Host, begin_gap, begin_stall, charge, end_stall, settle


@part
def begin_hold(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Ask for a p2m lock, unless it is held already."""
    cpu = h.cpu
    n, hold = w.rows[row].arg, w.rows[row].which
    depth = cpu[c].depth
    recursive = h.lock[1 + n].owner == c
    h.stack[c, depth, 0] = n
    h.stack[c, depth, 1] = f.NONE if recursive else hold
    cpu[c].depth = depth + 1
    if recursive:
        begin_gap(h, t, w, c, now)
        return
    begin_stall(h, c, row, now)
    t.hold[hold, y.H_REQUEST] = now
    request_write(cpu, h.lock, h.cost, h.how, 1 + n, c, now)


@part
def is_at_lock(h: Host, c: int, now: int) -> bool:
    """Tell whether a writer that is at a lock has acquired it, or else let it see to the readers first.

    Those of a per-CPU lock have to be looked for, pCPU by pCPU (66ea5ed478).
    """
    cpu, lock = h.cpu, h.cpu[c].lock
    if h.how[f.POLICY] != f.PERCPU:
        return True
    if h.lock[lock].active == 0:
        h.lock[lock].active = 1
        cpu[c].phase = f.POLL
        cpu[c].due = now + h.cost[f.C_POLL] * h.cost[f.C_ONLINE]
        return False
    if h.lock[lock].readers > 0:
        cpu[c].phase = f.DRAIN
        return False
    return True


@part
def has_acquired(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Begin the hold that was asked for last, with nothing owed and nothing done."""
    depth = h.cpu[c].depth - 1
    n, hold = h.stack[c, depth, 0], h.stack[c, depth, 1]
    h.p2m[n].hold = hold
    h.p2m[n].synced = 0
    h.lock[1 + n].since = now
    t.hold[hold, y.H_ACQUIRE] = now


@part
def end_hold(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Release a p2m lock; a broadcast that is owed comes after that (09fc40ed30)."""
    cpu = h.cpu
    cpu[c].depth -= 1
    depth = cpu[c].depth
    n, hold = h.stack[c, depth, 0], h.stack[c, depth, 1]
    if hold == f.NONE:
        begin_gap(h, t, w, c, now)
    elif _release(h, t, w, c, n, hold, now):
        intend(h, c, n, h.p2m[n].owed_cause, hold, f.END_HOLD)
        cpu[c].phase = f.REQUEST
    else:
        begin_gap(h, t, w, c, now)


@part
def _release(h: Host, t: y.Tally, w: p.Program, c: int, n: int, hold: int, now: int) -> bool:
    """Release a lock and end its hold, unless a broadcast is still owed; tells whether it is."""
    dom, cause = h.p2m[n].domain, t.hold[hold, y.H_CAUSE]
    t.hold[hold, y.H_RELEASE] = now
    t.hold[hold, y.H_END] = now
    t.hold[hold, y.H_DONE] = 1
    charge(t, dom, cause, y.HOLDS, 1)
    charge(t, dom, cause, y.HOLD_NS, now - t.hold[hold, y.H_ACQUIRE])
    owed = bool(h.p2m[n].owed)
    h.p2m[n].owed = 0
    h.p2m[n].pending = 0
    h.p2m[n].hold = f.NONE
    release_write(h.lock, 1 + n, now)
    let_in(h, t, w, c, 1 + n, now)
    return owed


@part
def let_in(h: Host, t: y.Tally, w: p.Program, c: int, lock: int, now: int) -> None:
    """Pass a p2m lock on, if somebody waits for it and can have it."""
    heir = pass_on(h.cpu, h.lock, h.cost, h.how, h.place, lock, c, now)
    if heir >= 0:
        settle(h, t, w, heir, now)


@part
def is_cut(h: Host, t: y.Tally, w: p.Program, c: int) -> bool:
    """Tell whether the write that has ended is a hold of its own, and another one follows: a PML drain (060e9ab6e4).

    Only the outermost hold of a pCPU is cut.
    """
    cpu = h.cpu
    if not h.how[f.HOLD_PER_WRITE] or cpu[c].depth != 1:
        return False
    n, hold, row = h.stack[c, 0, 0], h.stack[c, 0, 1], cpu[c].pc
    if t.hold[hold, y.H_CAUSE] != p.PML or w.rows[row - 1].op & p.OP != p.SET:
        return False
    if cpu[c].repeats > 0:
        return True
    return bool(row < cpu[c].last) and w.rows[row].op & p.OP == p.SET and bool(w.rows[row].arg == n)


@part
def cut(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Release the lock between two writes, have broadcast what is owed, and ask for the lock again."""
    n, hold = h.stack[c, 0, 0], h.stack[c, 0, 1]
    if _release(h, t, w, c, n, hold, now):
        intend(h, c, n, h.p2m[n].owed_cause, hold, f.NEXT_HOLD)
        h.cpu[c].phase = f.REQUEST
    else:
        ask_again(h, t, c, now)


@part
def ask_again(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Ask for the lock of the next hold that a drain is cut into; it has the next number."""
    n = h.stack[c, 0, 0]
    h.stack[c, 0, 1] += 1
    end_stall(h, t, c, now)
    begin_stall(h, c, h.cpu[c].pc - 1, now)
    t.hold[h.stack[c, 0, 1], y.H_REQUEST] = now
    request_write(h.cpu, h.lock, h.cost, h.how, 1 + n, c, now)
