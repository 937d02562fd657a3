"""Whose state is loaded on which pCPU: the dirty masks of domains."""

from __future__ import annotations

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import insert, remove
from eptreplay.replay.host import Host
from eptreplay.replay.invalidation import flush


@part
def load(h: Host, c: int, vcpu: int, dom: int) -> None:
    """Load a vCPU's state; it lies nowhere else from now on. An unknown vCPU (-1) may be any, and so unloads none."""
    if vcpu < 0 or h.cpu[c].vcpu != vcpu:
        flush(h, c)
    unload(h, c)
    if vcpu >= 0:
        if h.vcpu[vcpu] >= 0:
            unload(h, h.vcpu[vcpu])
        h.vcpu[vcpu] = c
    h.cpu[c].vcpu = vcpu
    h.cpu[c].domain = dom
    insert(h.dirty[dom], c)
    h.dom[dom].dirty += 1


@part
def unload(h: Host, c: int) -> None:
    """Forget whose state is loaded on pCPU ``c``."""
    cpu = h.cpu
    dom, vcpu = cpu[c].domain, cpu[c].vcpu
    if dom == f.NONE:
        return
    remove(h.dirty[dom], c)
    h.dom[dom].dirty -= 1
    if vcpu >= 0:
        h.vcpu[vcpu] = f.NONE
    cpu[c].vcpu = f.NONE
    cpu[c].domain = f.NONE
