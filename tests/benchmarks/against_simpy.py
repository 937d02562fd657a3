"""The engine beside SimPy, on what both can express: one p2m lock, broadcasts, and one call lock."""

from __future__ import annotations

import time

import numpy as np

from eptreplay.machine.profile import load_profile
from eptreplay.replay import tally as y
from eptreplay.replay.decisions import compiled_decision
from eptreplay.replay.engine import run
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import Detail, _new_host, _new_tally
from eptreplay.strategies.registry import STRATEGIES
from tests.benchmarks.measure import Goals, Run, alternate, say, table
from tests.replay.contended import contended

try:
    from tests.benchmarks.simpy_model import Model, Turn
except ImportError:
    HAS_SIMPY = False
else:
    HAS_SIMPY = True

PROFILE = "two-socket"
ONE_EACH: dict[str, int | str] = {"apic": "x2apic-physical", "shorthand": 0}
"""One message for each target."""
NEW_RULES = True
"""As in ``tests.benchmarks.peer``, of which this is independent."""
SEED = 5
MEAN_GAP_NS, MEAN_HELD_NS, MEAN_REST_NS = 100_000, 1_500, 500
DISTANCES = ("core", "socket", "remote")


class Contest:
    """A workload that engine and SimPy simulate; ``ours`` and ``theirs``: what each counted last."""

    def __init__(self, pcpus: int, turns: int) -> None:
        draw = np.random.Generator(np.random.PCG64(SEED))
        means = (MEAN_GAP_NS, MEAN_HELD_NS, MEAN_REST_NS)
        gap, held, rest = (np.ceil(draw.exponential(mean, (pcpus, turns))).astype(np.int64) for mean in means)
        self.workload = contended(gap, held, rest)
        self.program, self.numbers = number_workload(self.workload, Reading())
        self._times = np.stack([gap, held, rest], axis=2).tolist()
        costs = load_profile(PROFILE).costs()
        assert costs["unexplained_ns"] == 0
        self._costs = {name: int(value) for name, value in costs.items() if name != "apic"}
        self.ours: dict[str, int] = {}
        self.theirs: dict[str, int] = {}

    def run_engine(self) -> Run:
        """Replay once; only the kernel is measured."""
        strategy = STRATEGIES["deferred"]
        host = _new_host(self.workload, self.numbers, self.program, strategy, {**self._costs, **ONE_EACH})
        tally = _new_tally(self.numbers, self.program, Detail())
        decide = compiled_decision(strategy)
        cpu, wall = time.process_time(), time.perf_counter()
        run(host, tally, self.program, decide)
        measured = Run(time.perf_counter() - wall, time.process_time() - cpu)
        assert int(tally.total[y.STATUS]) == y.FINE
        measure, hold = tally.measure.sum(axis=(0, 1)), tally.hold
        self.ours = {
            "holds": int(measure[y.HOLDS]),
            "broadcasts": int(measure[y.BROADCASTS]),
            "ipis": int(measure[y.IPIS]),
            "write_wait_ns": int((hold[:, y.H_ACQUIRE] - hold[:, y.H_REQUEST]).sum()),
            "call_lock_wait_ns": int(tally.total[y.CALL_WAIT]),
            "simulated_ns": int(tally.total[y.SIMULATED]),
        }
        return measured

    def run_simpy(self) -> Run:
        """Simulate once; setting up is not measured."""
        costs = {(name, 0): self._costs[f"{name}_ns"] for name in ("acquire", "set", "setup", "icr", "handler")}
        for name in ("handoff", "deliver", "ack"):
            costs |= {(name, i): self._costs[f"{name}_{distance}_ns"] for i, distance in enumerate(DISTANCES)}
        turns = [[Turn(*times) for times in own] for own in self._times]
        cores, threads = self._costs["cores_per_socket"], self._costs["threads_per_core"]
        model = Model(turns, costs, cores, threads, shares_line=NEW_RULES)
        cpu, wall = time.process_time(), time.perf_counter()
        model.run()
        measured = Run(time.perf_counter() - wall, time.process_time() - cpu)
        self.theirs = {
            "holds": model.holds,
            "broadcasts": model.broadcasts,
            "ipis": model.ipis,
            "write_wait_ns": model.p2m_lock.waited,
            "call_lock_wait_ns": model.call_lock.waited,
            "simulated_ns": model.ended,
        }
        return measured

    def check_equal(self) -> None:
        """Raise AssertionError unless both have counted the same."""
        if self.ours != self.theirs:
            raise AssertionError(f"SimPy says {self.theirs}, the engine {self.ours}")


def compare_with_simpy(goals: Goals, turns: int, rounds: int) -> None:
    """Print the engine beside SimPy."""
    if not HAS_SIMPY:
        print("  MISS  SimPy is not installed (extra `bench`): nothing is compared with it")
        goals.missed.append("SimPy (not installed)")
        return
    for pcpus in (8, 32):
        contest = Contest(pcpus, turns)
        engine, simpy = alternate(rounds, contest.run_engine, contest.run_simpy)
        contest.check_equal()
        goals.judge(f"engine against SimPy, {pcpus} pCPUs", simpy.median / engine.median, 20.0)
        if pcpus == 8:
            say(
                "Each pCPU computes, queues for the one p2m lock, writes an entry and interrupts all others after the"
                " release. Both count the same holds, broadcasts and IPIs, wait as long for either lock, and end at the"
                " same nanosecond."
            )
        rows, ipis = contest.workload.rows, contest.ours["ipis"]
        titles = [f"{rows} rows, {ipis} IPIs, medians", "s", "best s", "thousand rows/s", "thousand IPIs/s"]
        lines = [
            [
                name,
                f"{timing.median:.4f}",
                f"{timing.best:.4f}",
                f"{rows / timing.median / 1e3:.0f}",
                f"{ipis / timing.median / 1e3:.0f}",
            ]
            for name, timing in (("engine", engine), ("SimPy", simpy))
        ]
        table(titles, *lines)
