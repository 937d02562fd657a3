"""The small changes that all that happens on the host is made of. Each is a pure function of the host."""

from __future__ import annotations

from collections.abc import Collection

from eptreplay.model.facts import VMENTER, Executed
from eptreplay.model.host import GUEST, Blame, Host, Owed, Phase, mode_of, put
from eptreplay.model.rows import FIRST_NESTED_VIEW, HOST_VIEW
from eptreplay.model.setting import Setting
from eptreplay.strategies import DEFER, MARK, NOW

# What a pCPU is at.


def in_phase(host: Host, c: int, phase: Phase) -> Host:
    """Let the program of a pCPU be in another phase."""
    return host.with_pcpu(c, host.pcpus[c]._replace(phase=phase))


def in_mode(host: Host, c: int, mode: str) -> Host:
    """Let a pCPU be in another mode."""
    return host.with_pcpu(c, host.pcpus[c]._replace(mode=mode))


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


# Marks of pCPUs, and what is owed (``ept_sync_domain()``, 8eb2235599, 09fc40ed30).

MARKING = {MARK: {"invept", "kick", "none"}, DEFER: {"invept", "kick"}, NOW: {"kick"}}
"""Under which ``ipi`` a decision marks at once. With INVEPT in the handler, whoever is interrupted needs no mark, and
NOW leaves marking to the request. Hardware that broadcasts reaches everybody."""


def mark_for_sync(setting: Setting, host: Host, p: int, decision: int, cause: str) -> Host:
    """Mark as decided. Where VM entries look at marks, those of a nested p2m are its host p2m's (6b792e28bc)."""
    if setting.strategy.ipi not in MARKING[decision]:
        return host
    dom, view = setting.p2ms[p]
    if view >= FIRST_NESTED_VIEW and setting.strategy.invalidates_at_entry:
        p = setting.position[dom, HOST_VIEW]
    return mark_all(host, p, cause)


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


def chill(host: Host, c: int, blame: Blame) -> Host:
    """Let INVEPT take effect on a pCPU: translations are cold from now on."""
    return host.with_pcpu(c, host.pcpus[c]._replace(cold=blame))


def invalidate(setting: Setting, host: Host, c: int, dom: int, where: str) -> tuple[Host, tuple[Executed, ...]]:
    """Clear the marks of a pCPU for a domain and execute INVEPT, once, if there are any.

    VM entries look at the host p2m and all alternate ones (69f7643df6), switches at the host p2m alone.
    """
    views = [p for p, (owner, view) in enumerate(setting.p2ms) if owner == dom and view < FIRST_NESTED_VIEW]
    causes = []
    for p in views if where == VMENTER else [setting.position[dom, HOST_VIEW]]:
        host, cause = take_mark(host, c, p)
        causes += [cause] if cause is not None else []
    if not causes:
        return host, ()
    return chill(host, c, (dom, causes[0])), (Executed(where, (dom, causes[0])),)


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
