"""Whose turn it can be: the steps that a pCPU may take next, and how one is taken.

A step is everything that a pCPU does between two costs or gaps, be they 0: nobody comes in between. So the steps of
different pCPUs, in any order, are all the concurrency that there is.
"""

from __future__ import annotations

from collections.abc import Callable

from eptreplay.model.broadcast import invalidated, is_answered, sent
from eptreplay.model.ends import (
    acquired,
    answered,
    at_lock,
    done,
    flushed_itself,
    locked,
    looked_up,
    polled,
    stored,
)
from eptreplay.model.facts import Outcome
from eptreplay.model.host import INTERRUPTS_OFF, NOBODY, Host, Phase
from eptreplay.model.locks import get_lock
from eptreplay.model.program import carry_out, entered, fall_due, waits_for
from eptreplay.model.setting import Setting
from eptreplay.model.steps import stop_paused
from eptreplay.model.target import acknowledge, call_over, deliver, deliver_flush, reentered, resume, unmask

Step = Callable[[Setting, Host, int], Outcome]
"""Takes the setting, the host, and the position of the pCPU whose step it is."""

ENDS: dict[Phase, Step] = {
    Phase.GAP: carry_out,
    Phase.ACQUIRE: at_lock,
    Phase.HANDOFF: at_lock,
    Phase.POLL: polled,
    Phase.DRAINED: acquired,
    Phase.LOOKUP: looked_up,
    Phase.STORE: stored,
    Phase.SEND: sent,
    Phase.OWN_INVEPT: invalidated,
    Phase.ACKS: answered,
    Phase.UNEXPLAINED: done,
    Phase.FLUSH: flushed_itself,
    Phase.ENTRY_INVEPT: entered,
}
"""The step that ends each phase of a program. Those that are missing are ended by another pCPU."""

QUIET: frozenset[Step] = frozenset({unmask, fall_due})
"""Steps with which nothing happens but that time has passed. A replay does not last until they can be taken."""


def turns(setting: Setting, host: Host, c: int) -> tuple[Step, ...]:
    """Return the steps that a pCPU may take next; of those at one instant, the first goes first."""
    pcpu = host.pcpus[c]
    if pcpu.handling:
        return (acknowledge if pcpu.acking else call_over,)
    if pcpu.entering:
        return (reentered,)
    if pcpu.phase in INTERRUPTS_OFF:
        return (ENDS[pcpu.phase],)
    program = program_turn(setting, host, c)
    if pcpu.masked:
        return (unmask, *program)
    flush: tuple[Step, ...] = (deliver_flush,) if pcpu.flusher != NOBODY else ()
    call: tuple[Step, ...] = (deliver,) if pcpu.calls else ()
    return flush + call + program


def program_turn(setting: Setting, host: Host, c: int) -> tuple[Step, ...]:
    """Return the step that a program may take next, but for interrupts; none while it waits for another pCPU."""
    pcpu = host.pcpus[c]
    if pcpu.stopped:
        return () if pcpu.entered in host.paused else (resume,)
    if pcpu.phase is Phase.GAP:
        row = setting.next_row(host, c)
        if row is None:
            return ()
        if waits_for(setting, host, row) is None:
            return (carry_out,)
        return () if pcpu.overdue else (fall_due,)
    if pcpu.phase is Phase.ACKS and not is_answered(host, c):
        return ()
    return (ENDS[pcpu.phase],) if pcpu.phase in ENDS else ()


def take(setting: Setting, host: Host, c: int, step: Step) -> Outcome:
    """Take a step. Whoever is then in guest with a vCPU of a paused domain is stopped there and then.

    A call that needs no lock is sent in the step that asks for it.
    """
    outcome = step(setting, host, c)
    while outcome.host.pcpus[c].phase is Phase.READY:
        outcome = locked(setting, outcome.host, c).behind(*outcome.facts)
    return outcome._replace(host=stop_paused(outcome.host))


def obstacle(setting: Setting, host: Host, c: int) -> str | None:
    """Return what the unfinished program of a pCPU waits for, in words; None if it is finished or can go on.

    Nobody waits for the call lock for ever, as whoever has it only waits for handlers.
    """
    pcpu, row = host.pcpus[c], setting.next_row(host, c)
    if pcpu.phase in {Phase.QUEUE, Phase.DRAIN}:
        lock = get_lock(host, pcpu.asks.lock)
        others = lock.readers if pcpu.phase is Phase.DRAIN or lock.writer == NOBODY else (lock.writer,)
        named = ", ".join(str(setting.pcpus[other]) for other in others)
        return f"the lock of p2m {setting.p2ms[pcpu.asks.lock]}, which pCPU {named} has"
    if pcpu.stopped and (row is not None or pcpu.phase is not Phase.GAP):
        return f"domain {pcpu.entered}, which is paused"
    return waits_for(setting, host, row) if row is not None and pcpu.phase is Phase.GAP else None
