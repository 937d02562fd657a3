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
    cpu[c].repeats = w.reads[w.rows[row].which, p.L_COUNT]
    cpu[c].read_wait = 0
    cpu[c].read_longest = 0
    t.lookup[w.rows[row].which, y.L_BEGIN] = now
    _look_up(h, t, w, c, now)


@part
def _look_up(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Begin the next lookup, or end the row. Whoever has the write side asks for nothing."""
    cpu = h.cpu
    row = cpu[c].pc - 1
    if cpu[c].repeats == 0:
        k = w.rows[row].which
        t.lookup[k, y.L_END] = now
        t.lookup[k, y.L_TOTAL] = cpu[c].read_wait
        t.lookup[k, y.L_MAX] = cpu[c].read_longest
        begin_gap(h, t, w, c, now)
        return
    cpu[c].repeats -= 1
    cpu[c].asked = now
    lock = 1 + w.rows[row].arg
    if h.lock[lock].owner == c:
        cpu[c].lock = f.NONE
        _read(h, t, c, now)
    else:
        request_read(cpu, h.lock, h.cost, h.how, lock, c, now)


@part
def _read(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Look up, now that the lock is acquired."""
    cpu = h.cpu
    wait = now - cpu[c].asked
    cpu[c].read_wait += wait
    cpu[c].read_longest = max(cpu[c].read_longest, wait)
    number = t.total[y.READ_ROWS]
    t.total[y.READ_ROWS] += 1
    if number < t.read_wait.shape[0]:
        t.read_wait[number] = wait
    cpu[c].phase = f.READ
    cpu[c].due = now + h.cost[f.C_LOOKUP]


@part
def is_at_lock_to_read(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Look up, now that the lock is acquired; whoever had to wait lets the next in behind it."""
    waited = h.cpu[c].phase == f.HANDOFF
    _read(h, t, c, now)
    if waited:
        let_in(h, t, w, c, h.cpu[c].lock, now)


@part
def has_read(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Let the lock go, and begin the next lookup; if Xen may be preempted in between, softirqs run first."""
    cpu = h.cpu
    if cpu[c].lock != f.NONE:
        writer = release_read(cpu, h.lock, h.cost, h.place, cpu[c].lock, c, now)
        if writer >= 0:
            settle(h, t, w, writer, now)
    row = cpu[c].pc - 1
    if cpu[c].repeats > 0 and cpu[c].depth == 0 and w.reads[w.rows[row].which, p.L_PREEMPTIBLE]:
        end_stall(h, t, c, now)
        begin_stall(h, c, row, now)
    _look_up(h, t, w, c, now)
