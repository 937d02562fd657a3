"""The sender of a broadcast, ``on_selected_cpus()``, from the request until it is done.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.facts import (
    SELF,
    BroadcastDone,
    BroadcastLocked,
    BroadcastRequested,
    BroadcastSent,
    Executed,
    Fact,
    HoldEnded,
    Outcome,
)
from eptreplay.model.host import (
    GUEST,
    NO_CALL,
    NOBODY,
    Blame,
    Call,
    Host,
    Phase,
    Setting,
    dirty,
    mode_of,
)
from eptreplay.model.steps import hand_on, in_phase, invept, mark_outside, queue_for


def request(setting: Setting, host: Host, c: int, call: Call) -> tuple[Host, tuple[Fact, ...]]:
    """Ask for the call lock. With INVEPT in the handler the dirty mask is read now, else when it is acquired."""
    p2m = setting.p2ms[call.p]
    if not setting.strategy.invalidates_at_entry:
        call = call._replace(mask=dirty(host, p2m[0]))
        host = mark_outside(host, call.p, call.mask, call.cause)
    lock = queue_for(host.call_lock, c)
    phase = Phase.CALL_ACQUIRE if lock.owner == c else Phase.CALL_QUEUE
    host = host.with_pcpu(c, host.pcpus[c]._replace(phase=phase, call=call))._replace(call_lock=lock)
    return host, (BroadcastRequested(call.hold, p2m, call.cause, call.under_lock),)


def targets_of(setting: Setting, host: Host, c: int) -> tuple[int, ...]:
    """Return the pCPUs that a sender with the call lock interrupts, in ascending order; never itself."""
    strategy, call = setting.strategy, host.pcpus[c].call
    mask = {
        "invept": call.mask,
        "kick": dirty(host, setting.p2ms[call.p][0]),
        "none": (),
    }[strategy.ipi]
    if strategy.ipi == "kick" and strategy.kick == "running":
        mask = tuple(other for other in mask if mode_of(host.pcpus[other]) == GUEST)
    return tuple(other for other in mask if other != c)


def locked(setting: Setting, host: Host, c: int) -> Outcome:
    """Start to send, now that the call lock is acquired, or be done if there is nothing to do."""
    targets = targets_of(setting, host, c)
    fact = BroadcastLocked(targets)
    if not targets and c not in host.pcpus[c].call.mask:
        host, facts = _finish(host, c)
        return Outcome(host, (fact, *facts))
    for target in targets:
        host = host.with_pcpu(target, host.pcpus[target]._replace(signal=c))
    return Outcome(in_phase(host, c, Phase.SEND), (fact,))


def sent(setting: Setting, host: Host, c: int) -> Outcome:
    """Run the handler's INVEPT, now that all is sent, if the sender is in its own mask (``on_selected_cpus()``)."""
    if c not in host.pcpus[c].call.mask:
        return Outcome(in_phase(host, c, Phase.ACKS), (BroadcastSent(),))
    blame = blame_of(setting, host, c)
    host = in_phase(invept(host, c, blame), c, Phase.OWN_INVEPT)
    return Outcome(host, (BroadcastSent(), Executed(SELF, blame)))


def invalidated(_setting: Setting, host: Host, c: int) -> Outcome:
    """Wait for the targets, now that the sender's own INVEPT is over."""
    return Outcome(in_phase(host, c, Phase.ACKS))


def answered(_setting: Setting, host: Host, c: int) -> Outcome:
    """Be done, now that the last acknowledgement has arrived."""
    return Outcome(*_finish(host, c))


def is_answered(host: Host, sender: int) -> bool:
    """Tell whether every target of a sender's broadcast has acknowledged it."""
    return not any(sender in {pcpu.signal, pcpu.handling} for pcpu in host.pcpus)


def blame_of(setting: Setting, host: Host, sender: int) -> Blame:
    """Return what a sender's broadcast is charged to."""
    call = host.pcpus[sender].call
    return setting.p2ms[call.p][0], call.cause


def _finish(host: Host, c: int) -> tuple[Host, tuple[Fact, ...]]:
    """Hand the call lock on, and end the row."""
    call, lock = host.pcpus[c].call, hand_on(host.call_lock)
    host = host.with_pcpu(c, host.pcpus[c]._replace(phase=Phase.GAP, call=NO_CALL))._replace(call_lock=lock)
    if lock.owner != NOBODY:
        host = in_phase(host, lock.owner, Phase.CALL_HANDOFF)
    return host, (BroadcastDone(),) if call.under_lock else (BroadcastDone(), HoldEnded(call.hold))
