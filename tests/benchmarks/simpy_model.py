"""Lock and interrupts in SimPy: what somebody would write who models this contention with a simulation library.

The rules are those of docs/background/machine.md for a p2m lock that is queued for, a write in each hold, the broadcast
after the release (``deferred``), one call lock, and nobody in guest mode. Times are in ns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import simpy
from simpy.events import EventPriority

Steps = Generator[simpy.Event, Any, None]


class Turn(NamedTuple):
    """One turn of a pCPU: ``gap`` until it requests the lock; in the hold ``held``, a write, and ``rest`` behind it."""

    gap: int
    held: int
    rest: int


class Pcpu:
    """A pCPU; ``stolen``: what handlers have taken from it so far; ``handles_until``: when the latest of them ends."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.stolen = 0
        self.handles_until = 0


class Line:
    """The cache line in which the targets of a broadcast acknowledge: who has it, and from when on it can be passed."""

    def __init__(self, sender: Pcpu, free_at: int) -> None:
        self.owner = sender.number
        self.free_at = free_at


class Lock:
    """A lock for which pCPUs queue; ``holder``: who has it, or had it last."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._resource = simpy.Resource(model.env, capacity=1)
        self._request: Any = None
        self._holder = 0
        self.waited = 0

    def acquire(self, pcpu: Pcpu) -> Steps:
        """Take the lock, or queue for it and have it handed over."""
        env, costs = self._model.env, self._model.costs
        asked = env.now
        request = self._resource.request()
        queued = not request.triggered
        yield request
        if queued:
            yield self._model.after(pcpu, costs["handoff", self._model.distance(self._holder, pcpu.number)])
            while env.now < pcpu.handles_until:
                yield self._model.after(pcpu, pcpu.handles_until - int(env.now))
        else:
            yield from self._model.work(pcpu, costs["acquire", 0])
        self._request, self._holder = request, pcpu.number
        self.waited += int(env.now - asked)

    def release(self) -> None:
        """Hand the lock on."""
        self._resource.release(self._request)


class Model:
    """All pCPUs, each with turns of its own; the counts are those of the engine.

    ``costs``: by name and distance. ``cores``, ``threads``: of a socket, of a core. ``shares_line``: who acknowledges
    has to get the cache line in which all targets of a broadcast do so.
    """

    def __init__(
        self, turns: list[list[Turn]], costs: dict[tuple[str, int], int], cores: int, threads: int, *, shares_line: bool
    ) -> None:
        self.env = simpy.Environment()
        self.costs, self._cores, self._threads, self._shares_line = costs, cores, threads, shares_line
        self._pcpus = [Pcpu(number) for number in range(len(turns))]
        self.p2m_lock, self.call_lock = Lock(self), Lock(self)
        self.holds = self.broadcasts = self.ipis = self.ended = 0
        for pcpu, own in zip(self._pcpus, turns, strict=True):
            self.env.process(self._program(pcpu, own))

    def run(self) -> None:
        """Simulate everything."""
        self.env.run()

    def distance(self, a: int, b: int) -> int:
        """Return 0 for pCPUs of one core, 1 of one socket, else 2."""
        core_a, core_b = a // self._threads, b // self._threads
        if core_a == core_b:
            return 0
        return 1 if core_a // self._cores == core_b // self._cores else 2

    def after(self, pcpu: Pcpu, delay: int, *, interrupts: bool = False) -> simpy.Event:
        """Return what happens to a pCPU after a delay: at one instant by number, and interrupts before programs.

        As ``Environment.timeout()``, which leaves the order to that of its calls.
        """
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        self.env.schedule(event, priority=EventPriority(2 + 2 * pcpu.number + (not interrupts)), delay=delay)
        return event

    def work(self, pcpu: Pcpu, duration: int) -> Steps:
        """Compute for so long, and for as long as handlers have taken meanwhile."""
        seen = pcpu.stolen
        yield self.after(pcpu, duration)
        while pcpu.stolen > seen:
            late, seen = pcpu.stolen - seen, pcpu.stolen
            yield self.after(pcpu, late)

    def _program(self, pcpu: Pcpu, turns: list[Turn]) -> Steps:
        for turn in turns:
            yield from self.work(pcpu, turn.gap)
            yield from self.p2m_lock.acquire(pcpu)
            yield from self.work(pcpu, turn.held)
            yield from self.work(pcpu, self.costs["set", 0])
            yield from self.work(pcpu, turn.rest)
            self.p2m_lock.release()
            self.holds += 1
            yield from self._broadcast(pcpu)
        self.ended = int(self.env.now)

    def _broadcast(self, sender: Pcpu) -> Steps:
        self.broadcasts += 1
        yield from self.call_lock.acquire(sender)
        sent, answers, line = self.costs["setup", 0], [], Line(sender, int(self.env.now))
        for pcpu in self._pcpus:
            if pcpu is not sender:
                sent += self.costs["icr", 0]
                answers.append(self.env.process(self._answer(pcpu, sender, line, sent)))
        self.ipis += len(answers)
        yield self.after(sender, sent)
        yield self.env.all_of(answers)
        self.call_lock.release()

    def _answer(self, pcpu: Pcpu, sender: Pcpu, line: Line, sent: int) -> Steps:
        far = self.distance(pcpu.number, sender.number)
        yield self.after(pcpu, sent + self.costs["deliver", far], interrupts=True)
        yield self._in_handler(pcpu, self.costs["handler", 0])
        if self._shares_line:
            late = max(0, line.free_at - int(self.env.now))
            late += self.costs["handoff", self.distance(line.owner, pcpu.number)]
            line.owner, line.free_at = pcpu.number, int(self.env.now) + late
            yield self._in_handler(pcpu, late)
        yield self.after(sender, self.costs["ack", far])

    def _in_handler(self, pcpu: Pcpu, duration: int) -> simpy.Event:
        pcpu.stolen += duration
        pcpu.handles_until = int(self.env.now) + duration
        return self.after(pcpu, duration, interrupts=True)
