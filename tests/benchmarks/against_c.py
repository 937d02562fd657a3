"""The engine beside the same replay in C: rows a second, how that depends on the number of pCPUs, and two threads."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from eptreplay.machine.profile import load_profile
from eptreplay.replay import tally as y
from eptreplay.replay.decisions import compiled_decision
from eptreplay.replay.engine import run
from eptreplay.replay.host import Host
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import Detail, _new_host, _new_tally
from eptreplay.strategies.registry import STRATEGIES
from tests.benchmarks.measure import Goals, Run, Timings, alternate, say, table
from tests.benchmarks.mix import make_mix
from tests.benchmarks.peer import NoCompilerError, Peer, check_equal, compiler_line

PROFILE = "two-socket"
PCPUS = 160
SIZES = (8, 32, 160, 512)
SIMILAR = ("deferred", "deferred-2026")
"""Two strategies that do the same work on the mix, which has no PML."""


class Mixed(NamedTuple):
    """A mix and its timings: of the peer, of the engine, and of the engine without broadcasts."""

    pcpus: int
    rows: int
    peer: Timings
    engine: Timings
    never: Timings
    sums: dict[str, int]


class Engine:
    """A mix on the engine, to be replayed any number of times; ``host``, ``tally``: of the last replay."""

    def __init__(self, pcpus: int, rows: int) -> None:
        self.mix = make_mix(pcpus, rows)
        self.program, self.numbers = number_workload(self.mix.workload, Reading())
        self.costs = {**load_profile(PROFILE).costs(), "apic": "x2apic-physical"}
        self.host: Host | None = None
        self.tally: y.Tally | None = None

    def run(self, *names: str, threads: int = 1) -> Run:
        """Replay under each strategy, on so many threads; only the kernel is measured."""
        workload, numbers = self.mix.workload, self.numbers
        prepared = []
        for strategy in (STRATEGIES[name] for name in names):
            host = _new_host(workload, numbers, self.program, strategy, self.costs)
            prepared.append(
                (host, _new_tally(numbers, self.program, Detail()), self.program, compiled_decision(strategy))
            )
        with ThreadPoolExecutor(threads) as pool:
            cpu, wall = time.process_time(), time.perf_counter()
            list(pool.map(lambda arguments: run(*arguments), prepared))
            measured = Run(time.perf_counter() - wall, time.process_time() - cpu)
        self.host, self.tally = prepared[-1][:2]
        assert int(self.tally.total[y.STATUS]) == y.FINE
        return measured


def measure_mix(pcpus: int, rows: int, rounds: int, folder: Path) -> Mixed:
    """Replay a mix by turns in C and in the engine. Raises AssertionError unless they count the same."""
    engine = Engine(pcpus, rows)
    peer = Peer(engine.mix, engine.program, engine.numbers, engine.costs, folder)
    peer.run()
    engine.run("deferred")
    assert peer.counts is not None
    assert engine.tally is not None
    assert engine.host is not None
    sums = check_equal(peer.counts, engine.tally, engine.host, engine.numbers.holds.size)
    contestants = (peer.run, partial(engine.run, "deferred"), partial(engine.run, "never"))
    theirs, ours, never = alternate(rounds, *contestants)
    return Mixed(pcpus, engine.mix.workload.rows, theirs, ours, never, sums)


def compare_with_c(goals: Goals, rows: int, rounds: int, folder: Path) -> None:
    """Print the engine beside C, by number of pCPUs, and on two threads."""
    try:
        mixed = {pcpus: measure_mix(pcpus, rows, rounds, folder) for pcpus in SIZES}
    except NoCompilerError as error:
        print(f"  MISS  the same replay in C: {error}; nothing is compared with it, by any number of pCPUs")
        goals.missed.append("the same replay in C (no compiler)")
    else:
        _print_speed(goals, mixed[PCPUS])
        _print_growth(goals, mixed)
    _print_threads(goals, rows, rounds)
    print(f"    Load now {os.getloadavg()[0]:.1f}, on {os.cpu_count()} processors.")


def _print_speed(goals: Goals, mixed: Mixed) -> None:
    ratio = mixed.engine.median / mixed.peer.median
    goals.judge(f"engine against C, {mixed.pcpus} pCPUs, time of its loop", ratio, 1.3, most=True)
    say(
        "Both replay the same rows under deferred; only their loops are timed. They agree on the times of each hold,"
        " the modes and drift of each pCPU, the counts for each domain and cause; in all on " + _in_words(mixed.sums)
    )
    say(f"The peer: {compiler_line()}")
    table(
        [f"{mixed.rows / 1e6:.2f} M rows, medians", "s", "best s", "M rows/s", "time, C = 1"],
        *(
            [
                name,
                f"{timing.median:.3f}",
                f"{timing.best:.3f}",
                f"{mixed.rows / timing.median / 1e6:.2f}",
                f"{timing.median / mixed.peer.median:.2f}",
            ]
            for name, timing in (
                ("C, deferred", mixed.peer),
                ("engine, deferred", mixed.engine),
                ("engine, never (no broadcasts)", mixed.never),
            )
        ),
    )


def _in_words(sums: dict[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in sums.items()) + "."


def _print_growth(goals: Goals, mixed: dict[int, Mixed]) -> None:
    """Print the cost of a row by number of pCPUs. Choosing whose turn it is should take its logarithm, nothing more."""
    least = mixed[SIZES[0]]
    worst = max(
        (one.never.median / one.rows) / (least.never.median / least.rows) / (math.log(pcpus) / math.log(SIZES[0]))
        for pcpus, one in mixed.items()
        if pcpus != SIZES[0]
    )
    goals.judge("growth of a row's cost against that of log pCPUs, without broadcasts", worst, 1.0, most=True)
    say(
        f"The largest of (cost with n pCPUs / cost with {SIZES[0]}) / (log n / log {SIZES[0]}). More pCPUs need more"
        " cache, which is part of it."
    )
    rows = [["pCPUs", "log n, 8 = 1", "C ns/row", "engine ns/row", "without broadcasts", "8 = 1", "time, C = 1"]]
    for pcpus, one in mixed.items():
        peer, engine, never = (1e9 * t.median / one.rows for t in (one.peer, one.engine, one.never))
        growth = never / (1e9 * least.never.median / least.rows)
        rows.append(
            [
                str(pcpus),
                f"{math.log(pcpus) / math.log(SIZES[0]):.2f}",
                f"{peer:.0f}",
                f"{engine:.0f}",
                f"{never:.0f}",
                f"{growth:.2f}",
                f"{engine / peer:.2f}",
            ]
        )
    table(*rows)


def _print_threads(goals: Goals, rows: int, rounds: int) -> None:
    """Print what two threads gain; the engine needs no lock of Python's."""
    engine = Engine(PCPUS, rows)
    turns, both = alternate(rounds, partial(engine.run, *SIMILAR), lambda: engine.run(*SIMILAR, threads=len(SIMILAR)))
    goals.judge(f"two strategies on two threads, {PCPUS} pCPUs", turns.median / both.median, 1.7)
    table(
        [f"{' and '.join(SIMILAR)}, medians", "s", "best s", "cores"],
        ["one after the other", f"{turns.median:.3f}", f"{turns.best:.3f}", f"{turns.cores:.2f}"],
        ["two threads", f"{both.median:.3f}", f"{both.best:.3f}", f"{both.cores:.2f}"],
    )
