"""The sender of a broadcast, ``on_selected_cpus()``, from the request until it is done.

Other calls, and the allocator's flush, are sent like broadcasts, with other reasons and other targets. Functions that
take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.facts import (
    SELF,
    BroadcastRequested,
    CallDone,
    CallLocked,
    CallSent,
    Executed,
    FlushRequested,
    HoldEnded,
    OtherCallRequested,
    Outcome,
)
from eptreplay.model.host import (
    BROADCASTS,
    CALL_LOCK,
    FLUSH_LOCK,
    GUEST,
    NO_CALL,
    Ask,
    Blame,
    Call,
    Host,
    Kind,
    Phase,
    dirty,
    locks_of,
    mode_of,
)
from eptreplay.model.locks import release_write, request_lock
from eptreplay.model.setting import Setting
from eptreplay.model.steps import chill, in_phase, mark_outside


def request(setting: Setting, host: Host, c: int, call: Call) -> Outcome:
    """Ask for a broadcast. With INVEPT in the handler the dirty mask is read now, else with the call lock."""
    p2m = setting.p2ms[call.p]
    if setting.strategy.ipi == "invept" and call.kind is Kind.SYNC:
        call = call._replace(mask=dirty(host, p2m[0]))
        host = mark_outside(host, call.p, call.mask, call.cause)
    fact = BroadcastRequested(call.hold, p2m, call.cause, under_lock=bool(locks_of(host, c)))
    return Outcome(begin_call(setting, host, c, call), (fact,))


def request_other(setting: Setting, host: Host, c: int, targets: tuple[int, ...]) -> Outcome:
    """Ask for a call that has nothing to do with EPT."""
    call = Call(Kind.OTHER, mask=targets)
    return Outcome(begin_call(setting, host, c, call), (OtherCallRequested(),))


def request_flush(setting: Setting, host: Host, c: int) -> Outcome:
    """Ask for the flush of other pCPUs that PAGE_ALLOC has decided on: ``flush_area_mask()``."""
    return Outcome(begin_call(setting, host, c, host.pcpus[c].call), (FlushRequested(),))


def begin_call(setting: Setting, host: Host, c: int, call: Call) -> Host:
    """Ask for the lock that a call needs. Without one it can be sent in the same step."""
    host = host.with_pcpu(c, host.pcpus[c]._replace(call=call))
    lock = lock_of(setting, call)
    return in_phase(host, c, Phase.READY) if lock is None else request_lock(setting, host, c, Ask(lock, writes=True))


def lock_of(setting: Setting, call: Call) -> int | None:
    """Return the lock that a call is sent under, None if there is none."""
    if call.kind is Kind.FLUSH:
        return FLUSH_LOCK
    return None if setting.lockless else CALL_LOCK


def targets_of(setting: Setting, host: Host, c: int) -> tuple[int, ...]:
    """Return the pCPUs that a sender interrupts, in ascending order; never itself."""
    strategy, call = setting.strategy, host.pcpus[c].call
    if call.kind not in BROADCASTS:
        return tuple(other for other in call.mask if other != c)
    mask = dirty(host, setting.p2ms[call.p][0])
    if call.kind is Kind.SYNC:
        mask = {"invept": call.mask, "kick": mask, "none": ()}[strategy.ipi]
        if strategy.ipi == "kick" and strategy.kick == "running":
            mask = tuple(other for other in mask if mode_of(host.pcpus[other]) == GUEST)
    refuse_too_many(setting, mask, setting.p2ms[call.p][0])
    return tuple(other for other in mask if other != c)


def refuse_too_many(setting: Setting, mask: tuple[int, ...], dom: int) -> None:
    """Raise AssertionError for a mask of more pCPUs than the domain has vCPUs: each is loaded in one place."""
    vcpus = setting.vcpus(dom)
    if vcpus is not None and len(mask) > vcpus:
        raise AssertionError(f"a broadcast for domain {dom} reaches {len(mask)} pCPUs; it has {vcpus} vCPUs")


def ready(setting: Setting, host: Host, c: int) -> tuple[Host, CallLocked]:
    """Decide on the targets, and let each of them find the call when it is interrupted, whoever interrupts it."""
    call, targets = host.pcpus[c].call, targets_of(setting, host, c)
    for target in targets:
        pcpu = host.pcpus[target]
        asked = pcpu._replace(flusher=c) if call.kind is Kind.FLUSH else pcpu._replace(calls=(*pcpu.calls, c))
        host = host.with_pcpu(target, asked)
    host = host.with_pcpu(c, host.pcpus[c]._replace(call=call._replace(targets=targets)))
    return host, CallLocked(targets)


def invalidates_itself(setting: Setting, host: Host, c: int) -> bool:
    """Tell whether a sender executes INVEPT: because it is in its own mask, or because the hardware broadcasts."""
    call = host.pcpus[c].call
    return call.kind is Kind.SYNC and (setting.strategy.ipi == "none" or c in call.mask)


def handler_invalidates(setting: Setting, host: Host, sender: int) -> bool:
    """Tell whether the handler of a sender's interrupt executes INVEPT."""
    return setting.strategy.ipi == "invept" and host.pcpus[sender].call.kind is Kind.SYNC


def sent(setting: Setting, host: Host, c: int) -> Outcome:
    """Run the handler's INVEPT, now that all is sent, if the sender is in its own mask (``on_selected_cpus()``).

    If the hardware broadcasts, this INVEPT is all, and reaches whoever is dirty.
    """
    if not invalidates_itself(setting, host, c):
        return Outcome(in_phase(host, c, Phase.ACKS), (CallSent(),))
    dom, cause = setting.p2ms[host.pcpus[c].call.p][0], host.pcpus[c].call.cause
    reached = dirty(host, dom) if setting.strategy.ipi == "none" else ()
    for other in {c, *reached}:
        host = chill(host, other, (dom, cause))
    return Outcome(in_phase(host, c, Phase.OWN_INVEPT), (CallSent(), Executed(SELF, (dom, cause))))


def invalidated(_setting: Setting, host: Host, c: int) -> Outcome:
    """Wait for the targets, now that the sender's own INVEPT is over."""
    return Outcome(in_phase(host, c, Phase.ACKS))


def is_answered(host: Host, sender: int) -> bool:
    """Tell whether every target of a sender's call has acknowledged it."""
    return not any(sender in {*pcpu.calls, *pcpu.handling, pcpu.flusher} for pcpu in host.pcpus)


def blame_of(setting: Setting, host: Host, sender: int) -> Blame | None:
    """Return what a sender's call is charged to; None if to nobody."""
    call = host.pcpus[sender].call
    return (setting.p2ms[call.p][0], call.cause) if call.kind in BROADCASTS else None


def finish(setting: Setting, host: Host, c: int) -> Outcome:
    """Pass the lock on. What the row does next is for ``eptreplay.model.ends``."""
    call = host.pcpus[c].call
    lock = lock_of(setting, call)
    host = host.with_pcpu(c, host.pcpus[c]._replace(call=NO_CALL))
    if lock is not None:
        host = release_write(setting, host, c, lock)
    return Outcome(host, (CallDone(), HoldEnded(call.hold)) if call.released else (CallDone(),))
