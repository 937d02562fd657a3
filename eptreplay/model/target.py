"""What interrupts a program: the interrupt of a broadcast, and the way back into the guest.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.broadcast import blame_of, handler_invalidates
from eptreplay.model.facts import HANDLER, Acked, Delivered, Entered, Executed, Fact, Outcome
from eptreplay.model.host import GUEST, NOBODY, Host, mode_of, mode_without_interrupt
from eptreplay.model.setting import Setting
from eptreplay.model.steps import chill, in_guest, prepare_entry


def deliver(setting: Setting, host: Host, c: int) -> Outcome:
    """Let an interrupt take effect: out of the guest or the C-state, and into the handler."""
    pcpu = host.pcpus[c]
    fact = Delivered(pcpu.signal, mode_of(pcpu), blame_of(setting, host, pcpu.signal))
    return Outcome(host.with_pcpu(c, pcpu._replace(signal=NOBODY, handling=pcpu.signal)), (fact,))


def acknowledge(setting: Setting, host: Host, c: int) -> Outcome:
    """Acknowledge, now that the handler is over, and go back into the guest that was interrupted, if any.

    If its domain has been paused meanwhile, the pCPU is stopped instead: that is for ``eptreplay.model.turns``.
    """
    sender = host.pcpus[c].handling
    facts: tuple[Fact, ...] = ()
    if handler_invalidates(setting, host, sender):
        blame = blame_of(setting, host, sender)
        host, facts = chill(host, c, blame), (Executed(HANDLER, blame),)
    pcpu = host.pcpus[c]._replace(handling=NOBODY)
    host = host.with_pcpu(c, pcpu)
    reenters = mode_without_interrupt(pcpu) == GUEST and pcpu.entered not in host.paused
    facts = (*facts, Acked(sender, reenters))
    if not reenters:
        return Outcome(host, facts)
    host, more = start_entry(setting, host, c)
    return Outcome(host, (*facts, *more))


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
