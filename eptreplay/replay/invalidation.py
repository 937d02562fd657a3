"""INVEPT, the marks that call for it, and what cold translations cost."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import contains, remove
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host, charge, happened, in_xen


@part
def invept(h: Host, t: y.Tally, c: int, n: int, start: int, where: int, cause: int) -> None:
    """Execute INVEPT for p2m ``n`` on pCPU ``c``."""
    h.cpu[c, f.COLD] = 1
    h.cached[c, n] = start + h.cost[f.INVEPT]
    dom = h.p2m[n, f.P_DOMAIN]
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
def consume_mark(h: Host, t: y.Tally, c: int, now: int, where: int) -> tuple[int, int]:
    """Look at the mark of the loaded domain's p2m before a VM entry or at a switch.

    Returns how long an INVEPT takes, and its p2m, or -1.
    """
    n = h.dom[h.cpu[c, f.DOMAIN], f.HOST_P2M] if h.cpu[c, f.DOMAIN] >= 0 else f.NONE
    if n == f.NONE or not contains(h.mark[n], c):
        return 0, n
    remove(h.mark[n], c)
    invept(h, t, c, n, now, where, h.p2m[n, f.MARK_CAUSE])
    return h.cost[f.INVEPT], n


@part
def refill(h: Host, c: int) -> int:
    """Return what the guest that pCPU ``c`` enters loses to cold translations."""
    cold = h.cpu[c, f.COLD]
    h.cpu[c, f.COLD] = 0
    return h.cost[f.REFILL] if cold else 0


@part
def reenter(h: Host, t: y.Tally, c: int, now: int) -> tuple[int, int, int]:
    """Let the guest on pCPU ``c`` go on after an interrupt or a pause; returns INVEPT time, end and refill."""
    spent = 0
    if h.how[f.AT_ENTRY]:
        spent, _ = consume_mark(h, t, c, now, y.AT_ENTRY)
    end = now + spent + h.cost[f.ENTRY]
    t.total[y.VMENTERS] += 1
    in_xen(h, t, c, now, end)
    h.cpu[c, f.BUSY] = end
    lost = refill(h, c)
    left = h.cpu[c, f.LEFT]
    h.cpu[c, f.DUE] = end + lost + left if left < f.NEVER else f.NEVER
    h.cpu[c, f.LEFT] = f.NEVER
    happened(t, end)
    return spent, end, lost
