"""Lock and interrupts in SimPy: what somebody would write who models this contention with a simulation library.

The rules are those of docs/background/machine.md for a p2m lock that is queued for, a write in each hold, the broadcast
after the release (``deferred``), one call lock, and nobody in guest mode. Times are in ns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import simpy

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
            yield env.timeout(costs["handoff", self._model.distance(self._holder, pcpu.number)])
            if env.now < pcpu.handles_until:
                yield env.timeout(pcpu.handles_until - env.now)
        else:
            yield from self._model.work(pcpu, costs["acquire", 0])
        self._request, self._holder = request, pcpu.number
        self.waited += int(env.now - asked)

    def release(self) -> None:
        """Hand the lock on."""
        self._resource.release(self._request)


class Model:
    """All pCPUs, each with turns of its own; the counts are those of the engine.

    ``costs``: by name and distance. ``cores``, ``threads``: of a socket, of a core.
    """

    def __init__(self, turns: list[list[Turn]], costs: dict[tuple[str, int], int], cores: int, threads: int) -> None:
        self.env = simpy.Environment()
        self.costs, self._cores, self._threads = costs, cores, threads
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

    def work(self, pcpu: Pcpu, duration: int) -> Steps:
        """Compute for so long, and for as long as handlers have taken meanwhile."""
        seen = pcpu.stolen
        yield self.env.timeout(duration)
        while pcpu.stolen > seen:
            late, seen = pcpu.stolen - seen, pcpu.stolen
            yield self.env.timeout(late)

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
        sent, answers = self.costs["setup", 0], []
        for pcpu in self._pcpus:
            if pcpu is not sender:
                sent += self.costs["icr", 0]
                answers.append(self.env.process(self._answer(pcpu, sender, sent)))
        self.ipis += len(answers)
        yield self.env.timeout(sent)
        yield self.env.all_of(answers)
        self.call_lock.release()

    def _answer(self, pcpu: Pcpu, sender: Pcpu, sent: int) -> Steps:
        far = self.distance(pcpu.number, sender.number)
        handler = self.costs["handler", 0]
        yield self.env.timeout(sent + self.costs["deliver", far])
        pcpu.stolen += handler
        pcpu.handles_until = int(self.env.now) + handler
        yield self.env.timeout(handler + self.costs["ack", far])
