"""What interrupts a program: the interrupts that others send, and the way back into the guest.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.allocator import flushed
from eptreplay.model.broadcast import blame_of, handler_invalidates
from eptreplay.model.facts import HANDLER, Acked, Delivered, Entered, Executed, Fact, Outcome
from eptreplay.model.host import GUEST, NOBODY, Host, Kind, mode_of, mode_without_interrupt
from eptreplay.model.setting import Setting
from eptreplay.model.steps import chill, in_guest, prepare_entry


def unmask(_setting: Setting, host: Host, c: int) -> Outcome:
    """Have interrupts on again, some time behind a VM exit."""
    return Outcome(host.with_pcpu(c, host.pcpus[c]._replace(masked=False)))


def deliver(setting: Setting, host: Host, c: int) -> Outcome:
    """Let a call interrupt: the handler takes all calls that there are."""
    calls = host.pcpus[c].calls
    return into_handler(setting, host.with_pcpu(c, host.pcpus[c]._replace(calls=())), c, calls)


def deliver_flush(setting: Setting, host: Host, c: int) -> Outcome:
    """Let the allocator's flush interrupt, which has a vector of its own."""
    flusher = host.pcpus[c].flusher
    return into_handler(setting, host.with_pcpu(c, host.pcpus[c]._replace(flusher=NOBODY)), c, (flusher,))


def into_handler(setting: Setting, host: Host, c: int, senders: tuple[int, ...]) -> Outcome:
    """Let an interrupt take effect: out of the guest or the C-state, and into the handler."""
    pcpu = host.pcpus[c]
    facts = tuple(Delivered(sender, mode_of(pcpu), blame_of(setting, host, sender)) for sender in senders)
    return Outcome(host.with_pcpu(c, pcpu._replace(handling=senders)), facts)


def call_over(setting: Setting, host: Host, c: int) -> Outcome:
    """Have carried out a call, and ask for the cache line in which all its targets acknowledge it."""
    sender = host.pcpus[c].handling[0]
    facts: tuple[Fact, ...] = ()
    if blame := invept_of(setting, host, sender):
        host, facts = chill(host, c, blame), (Executed(HANDLER, blame),)
    elif host.pcpus[sender].call.kind is Kind.FLUSH:
        host = flushed(host, c)
    return Outcome(host.with_pcpu(c, host.pcpus[c]._replace(acking=True)), facts)


def acknowledge(setting: Setting, host: Host, c: int) -> Outcome:
    """Acknowledge a call, and, if it was the handler's last, go back into the guest that was interrupted, if any.

    If its domain has been paused meanwhile, the pCPU is stopped instead: that is for ``eptreplay.model.turns``.
    """
    sender, *others = host.pcpus[c].handling
    pcpu = host.pcpus[c]._replace(handling=tuple(others), acking=False)
    host = host.with_pcpu(c, pcpu)
    reenters = not others and mode_without_interrupt(pcpu) == GUEST and pcpu.entered not in host.paused
    acked = Acked(sender, last=not others, reenters=reenters)
    if not reenters:
        return Outcome(host, (acked,))
    return Outcome(*start_entry(setting, host, c)).behind(acked)


def invept_of(setting: Setting, host: Host, sender: int) -> tuple[int, str] | None:
    """Return what the INVEPT that a sender wants of a handler is charged to; None if it wants none."""
    return blame_of(setting, host, sender) if handler_invalidates(setting, host, sender) else None


def resume(setting: Setting, host: Host, c: int) -> Outcome:
    """Go back into the guest, as its domain is no longer paused."""
    return Outcome(*start_entry(setting, host, c))


def start_entry(setting: Setting, host: Host, c: int) -> tuple[Host, tuple[Fact, ...]]:
    """Begin to re-enter the guest; the mark is looked at just before (8eb2235599)."""
    host, executed = prepare_entry(setting, host, c, host.pcpus[c].entered)
    return host.with_pcpu(c, host.pcpus[c]._replace(stopped=False, entering=True)), executed


def reentered(_setting: Setting, host: Host, c: int) -> Outcome:
    """Be in guest again."""
    host = host.with_pcpu(c, host.pcpus[c]._replace(entering=False))
    host, refill = in_guest(host, c)
    return Outcome(host, (Entered(counts=True, refill=refill),))
