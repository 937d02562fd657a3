"""The small changes that all that happens on the host is made of. Each is a pure function of the host."""

from __future__ import annotations

from collections.abc import Collection

from eptreplay.model.facts import VMENTER, Executed
from eptreplay.model.host import GUEST, NOBODY, Blame, Host, Lock, Owed, Phase, Setting, mode_of, put
from eptreplay.model.rows import HOST_VIEW, Row

# What a pCPU is at.


def in_phase(host: Host, c: int, phase: Phase) -> Host:
    """Let the program of a pCPU be in another phase."""
    return host.with_pcpu(c, host.pcpus[c]._replace(phase=phase))


def in_mode(host: Host, c: int, mode: str) -> Host:
    """Let a pCPU be in another mode."""
    return host.with_pcpu(c, host.pcpus[c]._replace(mode=mode))


# Locks: the write side of a p2m lock, and call_lock (``on_selected_cpus()``).


def queue_for(lock: Lock, c: int) -> Lock:
    """Ask for a lock: own it if it is free, else wait behind all others."""
    return Lock(c) if lock.owner == NOBODY else lock._replace(queue=(*lock.queue, c))


def hand_on(lock: Lock) -> Lock:
    """Release a lock: the first in the queue owns it at once."""
    return Lock(lock.queue[0], lock.queue[1:]) if lock.queue else Lock()


# The dirty mask.


def load(host: Host, c: int, dom: int, vcpu: int | None) -> Host:
    """Load the state of a vCPU on a pCPU, in place of another's; wherever else it still lay, it is unloaded.

    An unknown vCPU may be any of its domain, and so unloads none.
    """
    for other, pcpu in enumerate(host.pcpus):
        if vcpu is not None and pcpu.loaded == (dom, vcpu):
            host = unload(host, other)
    return host.with_pcpu(c, host.pcpus[c]._replace(loaded=(dom, vcpu)))


def unload(host: Host, c: int) -> Host:
    """Forget the state that was loaded on a pCPU."""
    return host.with_pcpu(c, host.pcpus[c]._replace(loaded=None))


# Writes and marks (``ept_set_entry()``, 8eb2235599, 09fc40ed30).


def store(host: Host, p: int, row: Row) -> Host:
    """Write an entry."""
    p2m, key = host.p2ms[p], (row.order, row.gfn)
    entries = dict(p2m.entries) | {key: (row.new_type, row.mfn)}
    return host.with_p2m(p, p2m._replace(entries=tuple(entries.items()), sets=p2m.sets + 1))


def mark_all(host: Host, p: int, cause: str) -> Host:
    """Have every pCPU invalidate a p2m before it next enters the guest, or next switches to it."""
    return host.with_p2m(p, host.p2ms[p]._replace(marks=(cause,) * len(host.pcpus)))


def mark_outside(host: Host, p: int, mask: Collection[int], cause: str) -> Host:
    """Mark exactly the pCPUs outside a mask: those in it are about to invalidate, ``synced_mask := mask`` (4.6)."""
    marks = tuple(None if c in mask else cause for c in range(len(host.pcpus)))
    return host.with_p2m(p, host.p2ms[p]._replace(marks=marks))


def take_mark(host: Host, c: int, p: int) -> tuple[Host, str | None]:
    """Test and clear the mark of a pCPU; also returns its cause, None if there was none (8eb2235599)."""
    p2m = host.p2ms[p]
    return host.with_p2m(p, p2m._replace(marks=put(p2m.marks, c, None))), p2m.marks[c]


def owe(host: Host, p: int, cause: str) -> Host:
    """Put a broadcast off to the release; the first cause stays (``need_flush``, 2.3)."""
    owed = host.p2ms[p].owed or Owed(cause, 0)
    return host.with_p2m(p, host.p2ms[p]._replace(owed=owed._replace(syncs=owed.syncs + 1)))


def owe_nothing(host: Host, p: int) -> Host:
    """Clear ``need_flush``."""
    return host.with_p2m(p, host.p2ms[p]._replace(owed=None))


# INVEPT and VM entry (``vmx_ctxt_switch_to()`` of 4.6, 8eb2235599).


def invept(host: Host, c: int, blame: Blame) -> Host:
    """Execute INVEPT: translations are cold from now on."""
    return host.with_pcpu(c, host.pcpus[c]._replace(cold=blame))


def invalidate(setting: Setting, host: Host, c: int, dom: int, where: str) -> tuple[Host, tuple[Executed, ...]]:
    """Clear the mark of a pCPU for the host p2m of a domain and execute INVEPT, if there is a mark."""
    host, cause = take_mark(host, c, setting.position[dom, HOST_VIEW])
    if cause is None:
        return host, ()
    return invept(host, c, (dom, cause)), (Executed(where, (dom, cause)),)


def prepare_entry(setting: Setting, host: Host, c: int, dom: int | None) -> tuple[Host, tuple[Executed, ...]]:
    """Do what comes just before a VM entry: ``vmx_vmenter_helper()`` (8eb2235599). An unknown domain has no marks."""
    if dom is None or not setting.strategy.invalidates_at_entry:
        return host, ()
    return invalidate(setting, host, c, dom, VMENTER)


def in_guest(host: Host, c: int) -> tuple[Host, Blame | None]:
    """Be in guest: cold translations are refilled, once; also returns what had made them cold."""
    pcpu = host.pcpus[c]
    return host.with_pcpu(c, pcpu._replace(mode=GUEST, cold=None)), pcpu.cold


# Pause.


def stop_paused(host: Host) -> Host:
    """Stop every pCPU that is in guest with a vCPU of a paused domain."""
    for c, pcpu in enumerate(host.pcpus if host.paused else ()):
        if mode_of(pcpu) == GUEST and pcpu.entered in host.paused:
            host = host.with_pcpu(c, pcpu._replace(stopped=True))
    return host


def pause(host: Host, dom: int) -> Host:
    """Pause a domain once more."""
    return host._replace(paused=(*host.paused, dom))


def unpause(host: Host, dom: int) -> Host:
    """Take one pause of a domain back, if there is one."""
    at = host.paused.index(dom) if dom in host.paused else len(host.paused)
    return host._replace(paused=host.paused[:at] + host.paused[at + 1 :])
