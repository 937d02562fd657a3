"""The clock: which step comes next, and what it costs.

Of all steps that can be taken the earliest is; at one instant the pCPU with the lower number goes first, and on one
pCPU an interrupt before its program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from eptreplay.errors import EptreplayError
from eptreplay.model.broadcast import handler_invalidates
from eptreplay.model.ends import answered
from eptreplay.model.facts import VMENTER, Acked, BroadcastLocked, Entered, Executed, Fact
from eptreplay.model.host import GUEST, IDLE, MODES, NOBODY, Pcpu, Phase, mode_of, mode_without_interrupt, runs
from eptreplay.model.ledger import make_result
from eptreplay.model.log import Logged, Run
from eptreplay.model.rows import Costs, Recording
from eptreplay.model.setting import new_host, new_setting
from eptreplay.model.tables import Result
from eptreplay.model.target import acknowledge, deliver, reentered, resume
from eptreplay.model.turns import Step, obstacle, take, turns
from eptreplay.strategies import Strategy

WORK = frozenset({Phase.ACQUIRE, Phase.STORE, Phase.CALL_ACQUIRE, Phase.SEND, Phase.OWN_INVEPT, Phase.ENTRY_INVEPT})
"""Phases, besides most gaps, in which the pCPU is busy, so that interrupts delay them. Others pass by themselves."""

ELASTIC = frozenset({"IDLE", "LOST"})
"""The gap after these rows ends at the recorded time."""


class Stuck(EptreplayError):  # noqa: N818 (a state of the host, and Xen's word for it)
    """Programs are unfinished, but nothing can happen any more."""


def replay(recording: Recording, strategy: Strategy, costs: Costs) -> Result:
    """Replay a workload on the modelled host and return all result tables.

    Of a strategy's switches, those that a write or a broadcast depends on count: ``broadcast``, ``ipi``, ``kick``, all
    ``sync_...``, ``pml_drain``, ``upgrades``, ``tables`` and ``decide``; ``call_lock`` is taken to be serial.
    Raises Stuck if pCPUs wait for each other, and ValueError for a program or a decision that makes no sense.
    """
    clock = Clock(recording, strategy, costs)
    for _ in clock.run():
        pass
    return clock.result()


class Turn(NamedTuple):
    """A step that can be taken: when, by which pCPU, and the how-manieth choice of that pCPU it is."""

    t_ns: int
    c: int
    rank: int
    step: Step


@dataclass
class Timer:
    """Times of one pCPU."""

    due: int = 0
    """When the phase of its program is over, or should have been, as far as that hangs on time."""
    left: int | None = None
    """What is left of a phase of work, while an interrupt or a pause keeps the pCPU from it."""
    free: int = 0
    """When the handler or the re-entry that it is at is over."""
    arrives: int = 0
    """When the interrupt sent to it arrives."""
    acked: int = 0
    """When the last acknowledgement so far of its broadcast arrives."""
    ended: int = 0
    """When its last row ended."""
    modes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODES, 0))
    """Time spent in each mode until ``counted``."""
    counted: int = 0

    def count(self, mode: str, now: int) -> None:
        """Count the time since the last count for the mode that the pCPU has been in."""
        self.modes[mode] += now - self.counted
        self.counted = now


WAITS_UNTIL: dict[Step, str] = {
    deliver: "arrives",
    acknowledge: "free",
    reentered: "free",
    resume: "free",
    answered: "acked",
}
"""The time that a step must wait for; those that are not listed end a phase of a program, and wait until it is due."""


class Clock:
    """A replay in progress."""

    def __init__(self, recording: Recording, strategy: Strategy, costs: Costs) -> None:
        self.setting = new_setting(recording, strategy)
        self.costs = costs
        self.host = new_host(self.setting)
        self.now = 0
        self.log: list[Logged] = []
        programs = [self.setting.rows(c) for c in range(len(self.setting.pcpus))]
        self.recorded = [tuple(accumulate(row.gap_ns for row in rows)) for rows in programs]
        """Of each row of each pCPU, the time at which it was recorded."""
        self.timers = [Timer(due=rows[0].gap_ns if rows else 0) for rows in programs]

    def run(self) -> Iterator[Turn]:
        """Take all steps, and yield each when it has been taken."""
        while possible := [turn for c in range(len(self.timers)) for turn in self._turns(c)]:
            turn = min(possible, key=lambda turn: turn[:3])
            self._take(turn)
            yield turn
        self._refuse_unfinished()

    def result(self) -> Result:
        """Return the tables, once all steps have been taken."""
        for pcpu, timer in zip(self.host.pcpus, self.timers, strict=True):
            timer.count(mode_of(pcpu), self.now)
        ends = [recorded[-1] if recorded else 0 for recorded in self.recorded]
        return make_result(
            Run(
                self.setting,
                self.costs,
                self.host,
                tuple(self.log),
                self.now,
                modes=tuple(timer.modes for timer in self.timers),
                drift_ns=tuple(timer.ended - end for timer, end in zip(self.timers, ends, strict=True)),
            )
        )

    def _turns(self, c: int) -> Iterator[Turn]:
        """Yield the steps that a pCPU can take if nobody else takes one before."""
        for rank, step in enumerate(turns(self.setting, self.host, c)):
            t_ns: int = getattr(self.timers[c], WAITS_UNTIL.get(step, "due"))
            yield Turn(max(self.now, t_ns), c, rank, step)

    def _take(self, turn: Turn) -> None:
        """Take a step, and see what it began."""
        self.now = turn.t_ns
        before = self.host.pcpus
        self.host, facts = take(self.setting, self.host._replace(now_ns=self.now), turn.c, turn.step)
        self.log += [Logged(self.now, turn.c, fact) for fact in facts]
        changed = [c for c, pcpu in enumerate(self.host.pcpus) if pcpu is not before[c]]
        for c in changed:
            pcpu = self.host.pcpus[c]
            self.timers[c].count(mode_of(before[c]), self.now)
            if (pcpu.carried, pcpu.writes, pcpu.phase) != (before[c].carried, before[c].writes, before[c].phase):
                self._begin_phase(c, turn.c)
        for fact in facts:
            self._charge(turn.c, fact)
        self._begin_interrupt(turn.c, before[turn.c], facts)
        for c in changed:
            self._delay(c)

    def _begin_phase(self, c: int, by: int) -> None:
        """See when the new phase of a pCPU's program will be over; ``by`` took the step that led to it."""
        timer, costs, pcpu = self.timers[c], self.costs, self.host.pcpus[c]
        if pcpu.phase is Phase.GAP:
            row = self.setting.next_row(self.host, c)
            timer.ended = self.now
            if self._is_elastic(c):
                timer.due = self.recorded[c][pcpu.carried]
            else:
                timer.due = self.now + (row.gap_ns if row else 0)
            return
        handoff_ns = costs.handoff_ns[self._distance(by, c)]
        interrupts = sum(other.signal == c for other in self.host.pcpus)
        timer.due = self.now + {
            Phase.ACQUIRE: costs.acquire_ns,
            Phase.HANDOFF: handoff_ns,
            Phase.STORE: costs.set_ns + max(0, sum(pcpu.work) - 1) * costs.store_ns,
            Phase.CALL_ACQUIRE: costs.acquire_ns,
            Phase.CALL_HANDOFF: handoff_ns,
            Phase.SEND: costs.setup_ns + interrupts * costs.icr_ns,
            Phase.OWN_INVEPT: costs.invept_ns,
            Phase.ENTRY_INVEPT: costs.invept_ns,
        }.get(pcpu.phase, 0)

    def _charge(self, c: int, fact: Fact) -> None:
        """See what a fact about a pCPU costs, there and elsewhere."""
        timer, costs = self.timers[c], self.costs
        if isinstance(fact, BroadcastLocked):
            for writes, target in enumerate(fact.targets, 1):
                written = self.now + costs.setup_ns + writes * costs.icr_ns
                self.timers[target].arrives = written + costs.deliver_ns[self._distance(c, target)]
        elif isinstance(fact, Acked):
            arrives = self.now + costs.ack_ns[self._distance(c, fact.sender)]
            self.timers[fact.sender].acked = max(self.timers[fact.sender].acked, arrives)
        elif isinstance(fact, Entered) and fact.refill:
            if timer.left is None:
                timer.due += costs.refill_ns
            else:
                timer.left += costs.refill_ns

    def _begin_interrupt(self, c: int, before: Pcpu, facts: tuple[Fact, ...]) -> None:
        """See when a handler, or a re-entry, that a pCPU begins will be over."""
        timer, costs, pcpu = self.timers[c], self.costs, self.host.pcpus[c]
        if pcpu.handling != NOBODY:
            out_ns = {GUEST: costs.exit_ns, IDLE: costs.wake_ns}.get(mode_without_interrupt(pcpu), 0)
            invept_ns = costs.invept_ns if handler_invalidates(self.setting, self.host, pcpu.handling) else 0
            timer.free = self.now + out_ns + costs.handler_ns + invept_ns
        elif pcpu.entering and not before.entering:
            invepts = sum(isinstance(fact, Executed) and fact.where == VMENTER for fact in facts)
            timer.free = self.now + invepts * costs.invept_ns + costs.entry_ns

    def _delay(self, c: int) -> None:
        """Stop the timer of a pCPU that is kept from its work, and start it again when it goes on."""
        timer, pcpu = self.timers[c], self.host.pcpus[c]
        if runs(pcpu):
            if timer.left is not None:
                timer.due, timer.left = self.now + timer.left, None
        elif timer.left is None and self._is_at_work(c):
            timer.left = max(0, timer.due - self.now)

    def _is_at_work(self, c: int) -> bool:
        """Tell whether the program of a pCPU takes so much longer as it is kept from it."""
        pcpu = self.host.pcpus[c]
        if pcpu.phase is Phase.GAP:
            return pcpu.mode != IDLE and not self._is_elastic(c)
        return pcpu.phase in WORK

    def _is_elastic(self, c: int) -> bool:
        """Tell whether the gap that a pCPU is in ends at the recorded time."""
        if self.host.pcpus[c].carried == 0 or self.setting.next_row(self.host, c) is None:
            return False
        return self.setting.last_row(self.host, c).op in ELASTIC

    def _distance(self, one: int, other: int) -> int:
        return self.costs.distance(self.setting.pcpus[one], self.setting.pcpus[other])

    def _refuse_unfinished(self) -> None:
        waits = [(n, obstacle(self.setting, self.host, c)) for c, n in enumerate(self.setting.pcpus)]
        if waiting := [f"pCPU {n} waits for {what}" for n, what in waits if what is not None]:
            raise Stuck(f"nothing can happen any more after {self.now} ns: {'; '.join(waiting)}")
