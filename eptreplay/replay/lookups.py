"""LOOKUP: a toolstack that looks entries up, each under the read side of the p2m lock (``p2m_get_page_from_gfn()``)."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.locks import release_read, request_read
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.holds import let_in
from eptreplay.replay.host import Host, begin_gap, begin_stall, end_stall, settle


@part
def begin_lookups(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Begin the lookups of a row."""
    cpu = h.cpu
    begin_stall(h, c, row, now)
    cpu[c, f.REPEATS] = w.reads[w.item[row], p.L_COUNT]
    cpu[c, f.L_WAIT] = 0
    cpu[c, f.L_LONGEST] = 0
    t.lookup[w.item[row], y.L_BEGIN] = now
    _look_up(h, t, w, c, now)


@part
def _look_up(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Begin the next lookup, or end the row. Whoever has the write side asks for nothing."""
    cpu = h.cpu
    row = cpu[c, f.PC] - 1
    if cpu[c, f.REPEATS] == 0:
        k = w.item[row]
        t.lookup[k, y.L_END] = now
        t.lookup[k, y.L_TOTAL] = cpu[c, f.L_WAIT]
        t.lookup[k, y.L_MAX] = cpu[c, f.L_LONGEST]
        begin_gap(h, t, w, c, now)
        return
    cpu[c, f.REPEATS] -= 1
    cpu[c, f.ASKED] = now
    lock = 1 + w.arg[row]
    if h.lock[lock, f.OWNER] == c:
        cpu[c, f.LOCK] = f.NONE
        _read(h, t, c, now)
    else:
        request_read(cpu, h.lock, h.cost, h.how, lock, c, now)


@part
def _read(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Look up, now that the lock is acquired."""
    cpu = h.cpu
    wait = now - cpu[c, f.ASKED]
    cpu[c, f.L_WAIT] += wait
    cpu[c, f.L_LONGEST] = max(cpu[c, f.L_LONGEST], wait)
    number = t.total[y.READ_ROWS]
    t.total[y.READ_ROWS] += 1
    if number < t.read_wait.shape[0]:
        t.read_wait[number] = wait
    cpu[c, f.PHASE] = f.READ
    cpu[c, f.DUE] = now + h.cost[f.C_LOOKUP]


@part
def is_at_lock_to_read(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Look up, now that the lock is acquired; whoever had to wait lets the next in behind it."""
    waited = h.cpu[c, f.PHASE] == f.HANDOFF
    _read(h, t, c, now)
    if waited:
        let_in(h, t, w, c, h.cpu[c, f.LOCK], now)


@part
def has_read(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Let the lock go, and begin the next lookup; if Xen may be preempted in between, softirqs run first."""
    cpu = h.cpu
    if cpu[c, f.LOCK] != f.NONE:
        writer = release_read(cpu, h.lock, h.cost, h.place, cpu[c, f.LOCK], c, now)
        if writer >= 0:
            settle(h, t, w, writer, now)
    row = cpu[c, f.PC] - 1
    if cpu[c, f.REPEATS] > 0 and cpu[c, f.DEPTH] == 0 and w.reads[w.item[row], p.L_PREEMPTIBLE]:
        end_stall(h, t, c, now)
        begin_stall(h, c, row, now)
    _look_up(h, t, w, c, now)
