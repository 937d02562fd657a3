"""INVEPT, the marks that call for it, VM entries, and what cold translations cost; flushes of the TLB."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, remove
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, add_cost, charge, is_at_work


@part
def invept(h: Host, t: y.Tally, c: int, n: int, start: int, where: int, cause: int) -> None:
    """Execute INVEPT for p2m ``n`` on pCPU ``c``: its translations are cold from now on."""
    dom = h.p2m[n].domain
    h.cpu[c].cold_cause = cause
    h.cpu[c].cold_domain = dom
    h.cached[c, n] = start + h.cost[f.C_INVEPT]
    charge(t, dom, cause, y.INVEPTS, 1)
    t.cpu[c, y.C_INVEPTS] += 1
    number = t.total[y.INVEPT_ROWS]
    t.total[y.INVEPT_ROWS] += 1
    if where == y.AT_ENTRY:
        t.total[y.VMENTER_INVEPTS] += 1
    if number < t.invept.shape[0]:
        t.invept[number, 0] = c
        t.invept[number, 1] = start
        t.invept[number, 2] = dom
        t.invept[number, 3] = where


@part
def invalidate(h: Host, t: y.Tally, c: int, dom: int, now: int, where: int) -> bool:
    """Clear the marks of a pCPU for a domain and execute INVEPT, if there are any; tells whether.

    Of a domain with several p2ms an entry looks at the marks of all, a switch at those of its own p2m.
    """
    if dom < 0:
        return False
    own = h.dom[dom].host_p2m
    marked = f.NONE
    if where == y.AT_SWITCH:
        if own != f.NONE and contains(h.mark[own], c):
            remove(h.mark[own], c)
            marked = own
    else:
        for n in range(h.dom[dom].first_p2m, h.dom[dom].behind_p2m):
            if contains(h.mark[n], c):
                remove(h.mark[n], c)
                h.cached[c, n] = now + h.cost[f.C_INVEPT]
                if marked == f.NONE:
                    marked = n
    if marked == f.NONE:
        return False
    cause = h.p2m[marked].mark_cause
    invept(h, t, c, marked, now, where, cause)
    if h.cpu[c].struck == f.NONE:
        charge(t, dom, cause, y.STOLEN, h.cost[f.C_INVEPT])
    return True


@part
def start_entry(h: Host, t: y.Tally, c: int, now: int) -> None:
    """Begin to re-enter the guest, after an interrupt or a pause; the mark is looked at just before (8eb2235599)."""
    free = now + h.cost[f.C_ENTRY]
    if h.how[f.AT_ENTRY] and invalidate(h, t, c, h.cpu[c].entered, now, y.AT_ENTRY):
        free += h.cost[f.C_INVEPT]
    h.cpu[c].stopped = 0
    h.cpu[c].entering = 1
    h.cpu[c].free = free


@part
def be_in_guest(h: Host, t: y.Tally, w: p.Program, c: int, now: int, counts: int) -> None:
    """Be in guest: cold translations are refilled, once; what an interrupt took from the guest is charged."""
    cpu = h.cpu
    cpu[c].mode = f.GUEST
    t.total[y.VMENTERS] += counts
    refill = 0
    if cpu[c].cold_cause >= 0:
        refill = h.cost[f.C_REFILL]
        if h.how[f.AS_RECORDED] and cpu[c].phase == f.GAP:
            if is_at_work(h, w, c) and cpu[c].waited == f.NONE:
                add_cost(h, t, c, refill)
        elif cpu[c].left < f.NEVER:
            cpu[c].left += refill
        else:
            cpu[c].due += refill
        if cpu[c].struck == f.NONE:
            charge(t, cpu[c].cold_domain, cpu[c].cold_cause, y.STOLEN, refill)
        cpu[c].cold_cause = f.NONE
    if cpu[c].struck != f.NONE:
        charge(t, cpu[c].struck_domain, cpu[c].struck_cause, y.STOLEN, now - cpu[c].struck + refill)
        cpu[c].struck = f.NONE


@part
def flush(h: Host, c: int) -> None:
    """Flush the TLB of a pCPU: the clock of flushes advances, and is its stamp (``pre_flush()``)."""
    h.freed[0] += 1
    h.cpu[c].stamp = h.freed[0]
