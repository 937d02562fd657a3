"""Whose turn it can be: the steps that a pCPU may take next, and how one is taken.

A step is everything that a pCPU does between two costs or gaps, be they 0: nobody comes in between. So the steps of
different pCPUs, in any order, are all the concurrency that there is.
"""

from __future__ import annotations

from collections.abc import Callable

from eptreplay.model.broadcast import invalidated, is_answered, sent
from eptreplay.model.ends import acquired, answered, locked, stored
from eptreplay.model.facts import Outcome
from eptreplay.model.host import NOBODY, Host, Phase
from eptreplay.model.program import carry_out, entered, waits_for
from eptreplay.model.setting import Setting
from eptreplay.model.steps import stop_paused
from eptreplay.model.target import acknowledge, deliver, reentered, resume

Step = Callable[[Setting, Host, int], Outcome]
"""Takes the setting, the host, and the position of the pCPU whose step it is."""

ENDS: dict[Phase, Step] = {
    Phase.GAP: carry_out,
    Phase.ACQUIRE: acquired,
    Phase.HANDOFF: acquired,
    Phase.STORE: stored,
    Phase.CALL_ACQUIRE: locked,
    Phase.CALL_HANDOFF: locked,
    Phase.SEND: sent,
    Phase.OWN_INVEPT: invalidated,
    Phase.ACKS: answered,
    Phase.ENTRY_INVEPT: entered,
}
"""The step that ends each phase of a program. Those that are missing are ended by another pCPU."""


def turns(setting: Setting, host: Host, c: int) -> tuple[Step, ...]:
    """Return the steps that a pCPU may take next; of those at one instant, the first goes first."""
    pcpu = host.pcpus[c]
    if pcpu.handling != NOBODY:
        return (acknowledge,)
    if pcpu.entering:
        return (reentered,)
    if pcpu.phase is Phase.ENTRY_INVEPT:  # interrupts are off
        return (entered,)
    interrupt: tuple[Step, ...] = (deliver,) if pcpu.signal != NOBODY else ()
    return interrupt + program_turn(setting, host, c)


def program_turn(setting: Setting, host: Host, c: int) -> tuple[Step, ...]:
    """Return the step that a program may take next, but for interrupts; none while it waits for another pCPU."""
    pcpu = host.pcpus[c]
    if pcpu.stopped:
        return () if pcpu.entered in host.paused else (resume,)
    if pcpu.phase is Phase.GAP:
        row = setting.next_row(host, c)
        return (carry_out,) if row is not None and waits_for(setting, host, row) is None else ()
    if pcpu.phase is Phase.ACKS and not is_answered(host, c):
        return ()
    return (ENDS[pcpu.phase],) if pcpu.phase in ENDS else ()


def take(setting: Setting, host: Host, c: int, step: Step) -> Outcome:
    """Take a step. Whoever is then in guest with a vCPU of a paused domain is stopped there and then."""
    outcome = step(setting, host, c)
    return outcome._replace(host=stop_paused(outcome.host))


def obstacle(setting: Setting, host: Host, c: int) -> str | None:
    """Return what the unfinished program of a pCPU waits for, in words; None if it is finished or can go on.

    Nobody waits for the call lock for ever, as whoever has it only waits for handlers.
    """
    pcpu, row = host.pcpus[c], setting.next_row(host, c)
    if pcpu.phase is Phase.QUEUE:
        p2m = next(p for p, p2m in enumerate(host.p2ms) if c in p2m.lock.queue)
        return f"the lock of p2m {setting.p2ms[p2m]}, which pCPU {setting.pcpus[host.p2ms[p2m].lock.owner]} has"
    if pcpu.stopped and (row is not None or pcpu.phase is not Phase.GAP):
        return f"domain {pcpu.entered}, which is paused"
    return waits_for(setting, host, row) if row is not None and pcpu.phase is Phase.GAP else None
