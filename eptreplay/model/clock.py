"""The clock: which step comes next, and what it costs.

Of all steps that can be taken the earliest is; at one instant the pCPU with the lower number goes first, and on one
pCPU an interrupt before its program.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from eptreplay.errors import EptreplayError
from eptreplay.model.apic import messages, written
from eptreplay.model.broadcast import handler_invalidates
from eptreplay.model.ends import answered
from eptreplay.model.facts import VMENTER, Acked, Entered, Executed, Fact, RowCarriedOut, RowDue, RowEnded
from eptreplay.model.host import GUEST, IDLE, NOBODY, Kind, Pcpu, Phase, mode_of, mode_without_interrupt, runs
from eptreplay.model.ledger import make_result
from eptreplay.model.locks import policy_of
from eptreplay.model.log import Logged, Run
from eptreplay.model.program import fall_due
from eptreplay.model.rows import Costs, Recording
from eptreplay.model.setting import new_host, new_setting
from eptreplay.model.tables import Result
from eptreplay.model.target import acknowledge, call_over, deliver, deliver_flush, reentered, resume, unmask
from eptreplay.model.timer import Timer
from eptreplay.model.turns import QUIET, Step, obstacle, take, turns
from eptreplay.strategies import Strategy

WORK = frozenset(
    {
        Phase.ACQUIRE,
        Phase.POLL,
        Phase.LOOKUP,
        Phase.STORE,
        Phase.SEND,
        Phase.OWN_INVEPT,
        Phase.UNEXPLAINED,
        Phase.FLUSH,
        Phase.ENTRY_INVEPT,
    }
)
"""Phases, besides most gaps, in which the pCPU is busy, so that interrupts delay them. Others pass by themselves."""

ELASTIC = frozenset({"IDLE", "LOST"})
"""The gap after these rows ends at the recorded time."""


class Stuck(EptreplayError):  # noqa: N818 (a state of the host, and Xen's word for it)
    """Programs are unfinished, but nothing can happen any more."""


def replay(  # noqa: PLR0913, PLR0917 (what a replay is a function of)
    recording: Recording,
    strategy: Strategy,
    costs: Costs,
    lock: str = "queue",
    seed: int = 0,
    as_recorded: bool = False,  # noqa: FBT001, FBT002 (a mode that callers name)
) -> Result:
    """Replay a workload on the modelled host and return all result tables.

    ``lock``: the policy of the p2m locks: unfair, queue or percpu. ``seed``: of what is drawn. ``as_recorded``: rows
    are due at their recorded times, and the result says what is to be taken from the gaps. Of a strategy's switches all
    count but ``page_free``. Raises Stuck if pCPUs wait for each other, and ValueError for a program or a decision that
    makes no sense.
    """
    clock = Clock(recording, strategy, costs, lock, seed, as_recorded=as_recorded)
    for _ in clock.run():
        pass
    return clock.result()


class Turn(NamedTuple):
    """A step that can be taken: when, by which pCPU, and the how-manieth choice of that pCPU it is."""

    t_ns: int
    c: int
    rank: int
    step: Step


WAITS_UNTIL: dict[Step, str] = {
    unmask: "on",
    deliver: "arrives",
    deliver_flush: "flush_arrives",
    call_over: "free",
    acknowledge: "free",
    reentered: "free",
    resume: "free",
    answered: "acked",
}
"""The time that a step must wait for; those that are not listed end a phase of a program, and wait until it is due."""


class Clock:
    """A replay in progress."""

    def __init__(  # noqa: PLR0913 (as replay)
        self,
        recording: Recording,
        strategy: Strategy,
        costs: Costs,
        lock: str = "queue",
        seed: int = 0,
        *,
        as_recorded: bool = False,
    ) -> None:
        self.setting = new_setting(recording, strategy, costs, lock, seed)
        self.costs = costs
        self.as_recorded = as_recorded
        self.host = new_host(self.setting)
        self.now = 0
        self.log: list[Logged] = []
        programs = [self.setting.rows(c) for c in range(len(self.setting.pcpus))]
        self.recorded = [tuple(accumulate(row.gap_ns + row.cut_ns for row in rows)) for rows in programs]
        """Of each row of each pCPU, the time at which it was recorded."""
        self.timers = [Timer() for _ in programs]
        for c, rows in enumerate(programs):
            if rows:
                self.timers[c].due = self.recorded[c][0] if as_recorded else rows[0].gap_ns
        self.row_costs: dict[int, int] = {}
        self.lines: dict[int, tuple[int, int]] = {}
        """Of each sender, when the line in which its targets acknowledge is free, and who has it until then."""

    def run(self) -> Iterator[Turn]:
        """Take all steps, and yield each when it has been taken."""
        while possible := [turn for c in range(len(self.timers)) for turn in self._turns(c)]:
            if all(self._is_quiet(turn) for turn in possible):
                break
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
                self.host,
                tuple(self.log),
                self.now,
                spans=tuple(tuple(timer.spans) for timer in self.timers),
                drift_ns=tuple(timer.ended - end for timer, end in zip(self.timers, ends, strict=True)),
                row_costs=self.row_costs if self.as_recorded else {},
            )
        )

    def _is_quiet(self, turn: Turn) -> bool:
        """Tell whether nothing happens with a step, nor because of it: no interrupt waits for interrupts to be on."""
        pcpu = self.host.pcpus[turn.c]
        waits = turn.step is unmask and (pcpu.calls or pcpu.flusher != NOBODY)
        return turn.step in QUIET and not waits

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
        self._log(turn, before[turn.c], facts)
        changed = [c for c, pcpu in enumerate(self.host.pcpus) if pcpu is not before[c]]
        for c in changed:
            pcpu = self.host.pcpus[c]
            self.timers[c].change(mode_of(before[c]), mode_of(pcpu), self.now)
            if _program_of(pcpu) != _program_of(before[c]):
                self._begin_phase(c, turn.c)
        for fact in facts:
            self._charge(turn.c, fact)
        self._begin_interrupt(turn.c, before[turn.c], facts)
        for c in changed:
            self._delay(c)

    def _log(self, turn: Turn, before: Pcpu, facts: tuple[Fact, ...]) -> None:
        """Log what has happened, besides that rows are due, carried out and ended."""
        c, pcpu = turn.c, self.host.pcpus[turn.c]
        known: list[Fact] = list(facts)
        if turn.step is fall_due:
            row = self.setting.next_row(self.host, c)
            known.append(RowDue(self.setting.last_number(self.host, c) + 1, row.edge if row else None))
        elif pcpu.carried > before.carried:
            number = self.setting.last_number(self.host, c)
            known.insert(0, RowCarriedOut())
            self.row_costs[number] = self.timers[c].take_cost(self.now)
        if pcpu.phase is Phase.GAP and (pcpu.carried > before.carried or before.phase is not Phase.GAP):
            known.append(RowEnded())
        row_number = self.setting.last_number(self.host, c)
        self.log += [Logged(self.now, c, fact, row_number) for fact in known]

    def _begin_phase(self, c: int, by: int) -> None:
        """See when the new phase of a pCPU's program will be over; ``by`` took the step that led to it."""
        timer, costs, pcpu = self.timers[c], self.costs, self.host.pcpus[c]
        if pcpu.phase is Phase.GAP:
            row = self.setting.next_row(self.host, c)
            timer.ended = self.now
            timer.on = self.now + costs.irqoff_ns
            if self._is_elastic(c):
                timer.due = self.recorded[c][pcpu.carried]
            else:
                timer.due = self.now + (row.gap_ns if row else 0)
            return
        handoff_ns = costs.handoff_ns[self._distance(by, c)]
        timer.due = self.now + {
            Phase.ACQUIRE: self._acquire_ns(c),
            Phase.HANDOFF: handoff_ns,
            Phase.POLL: costs.poll_ns * self.setting.online,
            Phase.DRAINED: handoff_ns,
            Phase.LOOKUP: costs.lookup_ns,
            Phase.STORE: costs.set_ns + max(0, sum(pcpu.work) - 1) * costs.store_ns,
            Phase.SEND: self._send(c) if pcpu.phase is Phase.SEND else 0,
            Phase.OWN_INVEPT: costs.invept_ns,
            Phase.UNEXPLAINED: costs.unexplained_ns,
            Phase.FLUSH: costs.flush_ns,
            Phase.ENTRY_INVEPT: costs.invept_ns,
        }.get(pcpu.phase, 0)

    def _acquire_ns(self, c: int) -> int:
        lock, writes = self.host.pcpus[c].asks
        return self.costs.read_ns if policy_of(self.setting, lock).per_cpu and not writes else self.costs.acquire_ns

    def _send(self, c: int) -> int:
        """See when the interrupts that a pCPU begins to send will arrive; return how long the sending takes."""
        costs, call = self.costs, self.host.pcpus[c].call
        self.lines[c] = self.now, c
        begin_ns = costs.setup_ns
        if self.setting.lockless and call.kind is not Kind.FLUSH and call.targets:
            begin_ns += costs.announce_ns
        position = {self.setting.pcpus[target]: target for target in call.targets}
        sent = messages(costs, self.setting.online, sorted(position))
        ends = written(costs, sent)
        for message, end_ns in zip(sent, ends, strict=True):
            for number in message.targets:
                target = position[number]
                arrives = self.now + begin_ns + end_ns + costs.deliver_ns[self._distance(c, target)]
                if call.kind is Kind.FLUSH:
                    self.timers[target].flush_arrives = arrives
                elif self.host.pcpus[target].calls == (c,):
                    self.timers[target].arrives = arrives
                else:  # a message is under way already, and the first of them takes effect for all
                    self.timers[target].arrives = min(self.timers[target].arrives, arrives)
        return begin_ns + (ends[-1] if ends else 0)

    def _charge(self, c: int, fact: Fact) -> None:
        """See what a fact about a pCPU costs, there and elsewhere."""
        timer, costs = self.timers[c], self.costs
        if isinstance(fact, Acked):
            arrives = self.now + costs.ack_ns[self._distance(c, fact.sender)]
            self.timers[fact.sender].acked = max(self.timers[fact.sender].acked, arrives)
        elif isinstance(fact, Entered) and fact.refill:
            if self.as_recorded and self.host.pcpus[c].phase is Phase.GAP:
                timer.cost += costs.refill_ns if self._is_delayed_in_gap(c) else 0
            elif timer.left is None:
                timer.due += costs.refill_ns
            else:
                timer.left += costs.refill_ns

    def _begin_interrupt(self, c: int, before: Pcpu, facts: tuple[Fact, ...]) -> None:
        """See when a call in a handler, its cache line's way, or a re-entry, that a pCPU begins will be over."""
        timer, costs, pcpu = self.timers[c], self.costs, self.host.pcpus[c]
        if pcpu.acking:
            free, by = self.lines[pcpu.handling[0]]
            timer.free = max(self.now, free) + costs.line_ns[self._distance(by, c)]
            self.lines[pcpu.handling[0]] = timer.free, c
        elif pcpu.handling:
            timer.free = self.now + (costs.call_ns if before.handling else self._way_in_ns(c) + costs.handler_ns)
            if handler_invalidates(self.setting, self.host, pcpu.handling[0]):
                timer.free += costs.invept_ns
            if self.host.pcpus[pcpu.handling[0]].call.kind is Kind.FLUSH:
                timer.free += costs.flush_ns
        elif pcpu.entering and not before.entering:
            invepts = sum(isinstance(fact, Executed) and fact.where == VMENTER for fact in facts)
            timer.free = self.now + invepts * costs.invept_ns + costs.entry_ns

    def _way_in_ns(self, c: int) -> int:
        """Return what comes before the handler of an interrupt that has just met a pCPU."""
        costs, timer = self.costs, self.timers[c]
        wake_ns = costs.wake_deep_ns if timer.lasted >= costs.deep_after_ns else costs.wake_ns
        return {GUEST: costs.exit_ns, IDLE: wake_ns}.get(mode_without_interrupt(self.host.pcpus[c]), 0)

    def _delay(self, c: int) -> None:
        """Stop the timer of a pCPU that is kept from its work, and start it again when it goes on."""
        timer = self.timers[c]
        if runs(self.host.pcpus[c]):
            if timer.left is not None:
                timer.due, timer.left = self.now + timer.left, None
            if timer.kept_since is not None:
                timer.cost, timer.kept_since = timer.cost + self.now - timer.kept_since, None
        elif timer.left is None and self._is_at_work(c):
            timer.left = max(0, timer.due - self.now)
        elif timer.kept_since is None and self.as_recorded and self._is_delayed_in_gap(c):
            timer.kept_since = self.now

    def _is_at_work(self, c: int) -> bool:
        """Tell whether the program of a pCPU takes so much longer as it is kept from it."""
        pcpu = self.host.pcpus[c]
        if pcpu.phase is Phase.GAP:
            return pcpu.mode != IDLE and not self._is_elastic(c)
        return pcpu.phase in WORK

    def _is_delayed_in_gap(self, c: int) -> bool:
        """Tell whether a pCPU is in a gap that would be delayed if it were not replayed as recorded."""
        pcpu = self.host.pcpus[c]
        is_rigid = pcpu.carried == 0 or self.setting.last_row(self.host, c).op not in ELASTIC
        return pcpu.phase is Phase.GAP and not pcpu.overdue and pcpu.mode != IDLE and is_rigid

    def _is_elastic(self, c: int) -> bool:
        """Tell whether the gap that a pCPU is in ends at the recorded time."""
        if self.setting.next_row(self.host, c) is None:
            return False
        if self.as_recorded:
            return True
        return self.host.pcpus[c].carried > 0 and self.setting.last_row(self.host, c).op in ELASTIC

    def _distance(self, one: int, other: int) -> int:
        return self.costs.distance(self.setting.pcpus[one], self.setting.pcpus[other])

    def _refuse_unfinished(self) -> None:
        waits = [(n, obstacle(self.setting, self.host, c)) for c, n in enumerate(self.setting.pcpus)]
        if waiting := [f"pCPU {n} waits for {what}" for n, what in waits if what is not None]:
            raise Stuck(f"nothing can happen any more after {self.now} ns: {'; '.join(waiting)}")


def _program_of(pcpu: Pcpu) -> tuple[object, ...]:
    """Return what is different whenever a pCPU's program goes on."""
    return pcpu.carried, pcpu.writes, pcpu.lookups, pcpu.phase, pcpu.asks
