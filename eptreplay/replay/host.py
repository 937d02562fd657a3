"""The modelled host as one value, and the time that its pCPUs spend in each mode."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import part
from eptreplay.machine import fields as f
from eptreplay.machine.bits import Words
from eptreplay.replay import tally as y

Int64s = NDArray[np.int64]


class Host(NamedTuple):
    """The modelled host; see ``machine.fields``.

    ``stack``: [pCPU, depth, p2m and hold]; ``vcpu``: where its state is;
    ``mark``: [p2m, word]; ``dirty``: [domain, word]; ``cached``: [pCPU, p2m], since when translations may be cached;
    ``topology``: the number of each pCPU in Xen; ``node``, ``linked``: see ``machine.ept``.
    """

    cpu: Int64s
    lock: Int64s
    p2m: Int64s
    dom: Int64s
    cost: Int64s
    how: Int64s
    times: Int64s
    tree: Int64s
    stack: Int64s
    vcpu: Int64s
    mark: Words
    dirty: Words
    cached: Int64s
    topology: Int64s
    node: Int64s
    linked: Int64s


@part
def charge(t: y.Tally, dom: int, cause: int, measure: int, amount: int) -> None:
    """Count something for a domain and a cause, if the domain is known."""
    if dom >= 0:
        t.measure[dom, cause, measure] += amount


@part
def set_mode(h: Host, t: y.Tally, c: int, mode: int, now: int) -> None:
    """Change the mode of a pCPU. What lies ahead of ``now`` has been accounted for already."""
    if now > h.cpu[c, f.SINCE]:
        t.mode[c, h.cpu[c, f.MODE]] += now - h.cpu[c, f.SINCE]
        h.cpu[c, f.SINCE] = now
    h.cpu[c, f.MODE] = mode


@part
def in_xen(h: Host, t: y.Tally, c: int, start: int, end: int) -> None:
    """Account for time in the hypervisor that leaves the mode as it is."""
    start = max(start, h.cpu[c, f.SINCE])
    if end > start:
        t.mode[c, h.cpu[c, f.MODE]] += start - h.cpu[c, f.SINCE]
        t.mode[c, f.XEN] += end - start
        h.cpu[c, f.SINCE] = end


@part
def in_xen_ahead(h: Host, t: y.Tally, c: int, end: int) -> None:
    """Account for time in the hypervisor between now, when a mode has just been set, and ``end``."""
    start = h.cpu[c, f.SINCE]
    if end > start:
        t.mode[c, f.XEN] += end - start
        h.cpu[c, f.SINCE] = end


@part
def happened(t: y.Tally, time: int) -> None:
    """Remember when the last thing happened."""
    t.total[y.SIMULATED] = max(t.total[y.SIMULATED], time)
