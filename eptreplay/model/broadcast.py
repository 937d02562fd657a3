"""The sender of a broadcast, ``on_selected_cpus()``, from the request until it is done.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.facts import (
    SELF,
    BroadcastDone,
    BroadcastRequested,
    BroadcastSent,
    Executed,
    HoldEnded,
    Outcome,
)
from eptreplay.model.host import GUEST, NO_CALL, NOBODY, Blame, Call, Host, Phase, dirty, locks_of, mode_of
from eptreplay.model.setting import Setting
from eptreplay.model.steps import chill, hand_on, in_phase, mark_outside, queue_for


def request(setting: Setting, host: Host, c: int, call: Call) -> Outcome:
    """Ask for the call lock. With INVEPT in the handler the dirty mask is read now, else when it is acquired."""
    p2m = setting.p2ms[call.p]
    if setting.strategy.ipi == "invept" and not call.only_kicks:
        call = call._replace(mask=dirty(host, p2m[0]))
        host = mark_outside(host, call.p, call.mask, call.cause)
    lock = queue_for(host.call_lock, c)
    phase = Phase.CALL_ACQUIRE if lock.owner == c else Phase.CALL_QUEUE
    host = host.with_pcpu(c, host.pcpus[c]._replace(phase=phase, call=call))._replace(call_lock=lock)
    return Outcome(host, (BroadcastRequested(call.hold, p2m, call.cause, under_lock=bool(locks_of(host, c))),))


def locked_targets(setting: Setting, host: Host, c: int) -> tuple[int, ...]:
    """Return the pCPUs that a sender with the call lock interrupts, in ascending order; never itself."""
    strategy, call = setting.strategy, host.pcpus[c].call
    mask = dirty(host, setting.p2ms[call.p][0])
    if not call.only_kicks:
        mask = {"invept": call.mask, "kick": mask, "none": ()}[strategy.ipi]
        if strategy.ipi == "kick" and strategy.kick == "running":
            mask = tuple(other for other in mask if mode_of(host.pcpus[other]) == GUEST)
    return tuple(other for other in mask if other != c)


def invalidates_itself(setting: Setting, host: Host, c: int) -> bool:
    """Tell whether a sender executes INVEPT: because it is in its own mask, or because the hardware broadcasts."""
    call = host.pcpus[c].call
    return not call.only_kicks and (setting.strategy.ipi == "none" or c in call.mask)


def handler_invalidates(setting: Setting, host: Host, sender: int) -> bool:
    """Tell whether the handler of a sender's interrupt executes INVEPT."""
    return setting.strategy.ipi == "invept" and not host.pcpus[sender].call.only_kicks


def sent(setting: Setting, host: Host, c: int) -> Outcome:
    """Run the handler's INVEPT, now that all is sent, if the sender is in its own mask (``on_selected_cpus()``).

    If the hardware broadcasts, this INVEPT is all, and reaches whoever is dirty.
    """
    if not invalidates_itself(setting, host, c):
        return Outcome(in_phase(host, c, Phase.ACKS), (BroadcastSent(),))
    blame = blame_of(setting, host, c)
    reached = dirty(host, setting.p2ms[host.pcpus[c].call.p][0]) if setting.strategy.ipi == "none" else ()
    for other in {c, *reached}:
        host = chill(host, other, blame)
    return Outcome(in_phase(host, c, Phase.OWN_INVEPT), (BroadcastSent(), Executed(SELF, blame)))


def invalidated(_setting: Setting, host: Host, c: int) -> Outcome:
    """Wait for the targets, now that the sender's own INVEPT is over."""
    return Outcome(in_phase(host, c, Phase.ACKS))


def is_answered(host: Host, sender: int) -> bool:
    """Tell whether every target of a sender's broadcast has acknowledged it."""
    return not any(sender in {pcpu.signal, pcpu.handling} for pcpu in host.pcpus)


def blame_of(setting: Setting, host: Host, sender: int) -> Blame:
    """Return what a sender's broadcast is charged to."""
    call = host.pcpus[sender].call
    return setting.p2ms[call.p][0], call.cause


def finish(host: Host, c: int) -> Outcome:
    """Hand the call lock on. What the row does next is for ``eptreplay.model.ends``."""
    call, lock = host.pcpus[c].call, hand_on(host.call_lock)
    host = host.with_pcpu(c, host.pcpus[c]._replace(call=NO_CALL))._replace(call_lock=lock)
    if lock.owner != NOBODY:
        host = in_phase(host, lock.owner, Phase.CALL_HANDOFF)
    return Outcome(host, (BroadcastDone(), HoldEnded(call.hold)) if call.released else (BroadcastDone(),))
