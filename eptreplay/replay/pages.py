"""Pages that the allocator gives out: whoever may still have translations to them flushes its TLB first."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import insert
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.broadcasts import intend_other
from eptreplay.replay.host import Host, begin_gap, begin_stall
from eptreplay.replay.invalidation import flush


@part
def allocate(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Carry out PAGE_ALLOC: find those whose last flush was before the pages were freed."""
    cpu = h.cpu
    note = h.freed[w.rows[row].which] if w.rows[row].which != f.NONE else f.NONE
    others, own = 0, False
    for word in range(h.target.shape[1]):
        h.target[c, word] = 0
    if note != f.NONE:
        for other in range(len(cpu)):
            if cpu[other].stamp <= note:
                if other == c:
                    own = True
                else:
                    insert(h.target[c], other)
                    others += 1
    begin_stall(h, c, row, now)
    cpu[c].repeats = others
    if own:
        cpu[c].phase = f.FLUSH
        cpu[c].due = now + h.cost[f.C_FLUSH]
    else:
        _flush_others(h, t, w, c, now)


@part
def has_flushed(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Go on with the others, now that the pCPU itself has flushed."""
    flush(h, c)
    _flush_others(h, t, w, c, now)


@part
def _flush_others(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    if h.cpu[c].repeats > 0:
        h.cpu[c].repeats = 0
        intend_other(h, c, f.IPI_FLUSH)
    else:
        begin_gap(h, t, w, c, now)
