"""Measuring: commands and functions by the clock, in alternating rounds, and what is said about them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
EPTREPLAY = [sys.executable, "-m", "eptreplay"]


@dataclass(frozen=True)
class Run:
    """One run: seconds by the clock, and processor seconds of all its threads."""

    wall: float
    cpu: float


@dataclass
class Timings:
    """All rounds of one contestant, in seconds."""

    runs: list[Run] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the rounds by the clock."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def best(self) -> float:
        """Fastest round by the clock."""
        return min(run.wall for run in self.runs)

    @property
    def cores(self) -> float:
        """Processors kept busy, on average, in the fastest round."""
        fastest = min(self.runs, key=lambda run: run.wall)
        return fastest.cpu / fastest.wall


Contestant = Callable[[], Run]


def alternate(rounds: int, *contestants: Contestant) -> list[Timings]:
    """Run contestants in turn, once unmeasured and then ``rounds`` times, so that a busy machine disturbs all alike."""
    timings = [Timings() for _ in contestants]
    for number in range(rounds + 1):
        for contestant, results in zip(contestants, timings, strict=True):
            run = contestant()
            if number:
                results.runs.append(run)
    return timings


def called(function: Callable[[], object]) -> Contestant:
    """Return a contestant that calls a function in this process."""

    def contestant() -> Run:
        cpu, wall = time.process_time(), time.perf_counter()
        function()
        return Run(time.perf_counter() - wall, time.process_time() - cpu)

    return contestant


def command(arguments: Sequence[str | os.PathLike[str]], after: Callable[[], None] = lambda: None) -> Contestant:
    """Return a contestant that runs a command as a process of its own; ``after`` cleans up, unmeasured.

    Raises CalledProcessError, with what the command said, if it fails.
    """

    def contestant() -> Run:
        start = time.perf_counter()
        with subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment(), cwd=ROOT
        ) as process:
            said = process.stderr.read() if process.stderr else b""
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(arguments), stderr=said)
        after()
        return Run(wall, usage.ru_utime + usage.ru_stime)

    return contestant


def peak_memory(arguments: Sequence[str], function: str = "eptreplay.commands:run") -> int:
    """Return the most memory that a command of ``eptreplay``, or another function, had resident, in bytes.

    The process reads it itself: what its parent could read includes the parent's own memory, from when it was forked.
    """
    module, _, name = function.partition(":")
    code = f"import sys; from {module} import {name} as run; run(sys.argv[1:]); print(open('/proc/self/status').read())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
        cwd=ROOT,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _environment() -> dict[str, str]:
    """Return the environment of commands: that of a user, who has compiled bytecode."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def warm(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        chunk = bytearray(1 << 20)
        while file.readinto(chunk):
            pass


@dataclass
class Goals:
    """Goals, met or missed; prints each one as it is judged."""

    missed: list[str] = field(default_factory=list)

    def judge(self, what: str, value: float, goal: float, *, unit: str = "x", most: bool = False) -> None:
        """Print how ``value`` compares with a goal that it should reach, or stay under if ``most``."""
        met = value <= goal if most else value >= goal
        bound = "at most" if most else "at least"
        print(f"  {'PASS' if met else 'MISS'}  {what}: {value:.2f} {unit} (goal: {bound} {goal:g} {unit})")
        if not met:
            self.missed.append(what)


def say(text: str) -> None:
    """Print what a reader should know about the goal above."""
    print(textwrap.fill(text, 112, initial_indent=" " * 8, subsequent_indent=" " * 8))


def table(*rows: Sequence[str]) -> None:
    """Print rows as columns, the first row as their titles; all but the first column to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            f"{cell:{'<' if i == 0 else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("    " + "  ".join(cells).rstrip())


def rates(timings: Timings, records: int, size: int) -> list[str]:
    """Return cells: median and best seconds; of the best, million records and MB per second, and processors busy."""
    best = timings.best
    speed = [f"{records / best / 1e6:.1f}", f"{size / best / 1e6:.0f}", f"{timings.cores:.2f}"]
    return [f"{timings.median:.3f}", f"{best:.3f}", *speed]


RATE_TITLES = ["median s", "best s", "M records/s", "MB/s", "cores"]
