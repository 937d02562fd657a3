"""Speed of eptreplay beside xenalyze, in one run, and where the time goes: ``make bench``.

Both sides read the same files from a warm page cache and take turns. Ratios are of the fastest rounds.

Environment: ``EPTREPLAY_XENALYZE``, the xenalyze to compare with.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eptreplay.strategies.registry import STRATEGIES
from eptreplay.xentrace.decode import KEEP_ALL, KEEP_EPT
from eptreplay.xentrace.index import summarise_windows, window_offsets
from tests.benchmarks.against_c import compare_with_c
from tests.benchmarks.against_simpy import compare_with_simpy
from tests.benchmarks.decoding import Memory, load
from tests.benchmarks.measure import (
    EPTREPLAY,
    RATE_TITLES,
    ROOT,
    Contestant,
    Goals,
    alternate,
    called,
    command,
    peak_memory,
    rates,
    table,
    warm,
)
from tests.benchmarks.replaying import OWN, Replaying, workload_of
from tests.benchmarks.stages import print_stages
from tests.benchmarks.tables import Changing, frees, resolutions, splits
from tests.benchmarks.tile import Tiled, tiled_file

RECORDING = ROOT / "traces" / "r12-migrate-live-4vcpu-mem-hvm-sched.xentrace.xz"
BENCH = ROOT / "build" / "bench"
XENALYZE = ROOT / "build" / "peers" / "usr" / "bin" / "xenalyze"
FULL_BYTES, QUICK_BYTES = 200_000_000, 50_000_000
MIX_ROWS = 2_000_000
LARGE = 10
"""The large file is so many times as large."""


@dataclass(frozen=True)
class Bench:
    """What all benchmarks share."""

    size: int
    rounds: int
    xenalyze: Path
    goals: Goals

    def file(self, pcpus: int, times: int = 1) -> Tiled:
        """Return a made recording in the page cache."""
        made = tiled_file(RECORDING, BENCH, pcpus, self.size * times)
        warm(made.path)
        return made

    def summary(self, made: Tiled) -> Contestant:
        """Return ``xenalyze -s`` on a file as a contestant."""
        return command([self.xenalyze, "--svm-mode", "-s", made.path])


def decoding(bench: Bench) -> None:
    """Kernel decoding to memory."""
    for pcpus, goal in ((160, 10.0), (8, 5.0)):
        made = bench.file(pcpus)
        data = load(made.path)
        everything, kept = (Memory(data, made.bytes, keep) for keep in (KEEP_ALL, KEEP_EPT))
        contestants = [called(everything.decode), called(everything.decode_to_columns), called(kept.decode_to_columns)]
        rows, columns, ept, theirs = alternate(bench.rounds, *contestants, bench.summary(made))
        if everything.records != made.records:
            raise AssertionError(f"{everything.records} records decoded of {made.records}")
        bench.goals.judge(f"decode to columns, {pcpus} pCPUs, all records", theirs.best / columns.best, goal)
        bench.goals.judge(f"decode to rows, {pcpus} pCPUs, all records", theirs.best / rows.best, goal)
        table(
            [f"{pcpus} pCPUs, {made.bytes / 1e6:.0f} MB", *RATE_TITLES],
            ["decode to rows", *rates(rows, made.records, made.bytes)],
            ["decode to columns", *rates(columns, made.records, made.bytes)],
            ["decode to columns, events ept", *rates(ept, made.records, made.bytes)],
            ["xenalyze -s", *rates(theirs, made.records, made.bytes)],
        )


def ingest(bench: Bench) -> None:
    """Ingest end to end, startup included."""
    output = BENCH / "ingested"
    shutil.rmtree(output, ignore_errors=True)
    for times, rounds in ((1, bench.rounds), (LARGE, 1)):
        made = bench.file(160, times)
        ept, everything = (
            command(
                [*EPTREPLAY, "ingest", str(made.path), "-o", str(output), "--events", events],
                lambda: shutil.rmtree(output),
            )
            for events in ("ept", "all")
        )
        ours, wide, theirs = alternate(rounds, ept, everything, bench.summary(made))
        title = f"160 pCPUs, {made.bytes / 1e6:.0f} MB"
        bench.goals.judge(f"ingest --events ept, {title}", theirs.best / ours.best, 2.0)
        print(f"        ingest --events all, {title}: {theirs.best / wide.best:.2f} x (no goal)")
        table(
            [title, *RATE_TITLES],
            ["ingest --events ept", *rates(ours, made.records, made.bytes)],
            ["ingest --events all", *rates(wide, made.records, made.bytes)],
            ["xenalyze -s", *rates(theirs, made.records, made.bytes)],
        )


def index(bench: Bench) -> None:
    """Window index: level one, and level two, which decodes."""
    made = bench.file(160)
    found = window_offsets(made.path)
    if found is None or found.offset.size != made.windows:
        raise AssertionError(f"the window index does not find the {made.windows} windows of {made.path}")
    chosen = found
    offsets, summaries = alternate(
        bench.rounds,
        called(lambda: window_offsets(made.path)),
        called(lambda: summarise_windows(made.path, chosen)),
    )
    bench.goals.judge("window index", made.bytes / offsets.best / 1e9, 3.0, unit="GB/s")
    table(
        [f"160 pCPUs, {made.bytes / 1e6:.0f} MB", *RATE_TITLES],
        ["window offsets", *rates(offsets, made.records, made.bytes)],
        ["window summaries", *rates(summaries, made.records, made.bytes)],
    )


def memory(bench: Bench) -> None:
    """Peak memory of ingest, by size of the input."""
    output = BENCH / "ingested"
    for events in ("ept", "all"):
        peaks = []
        rows = [[f"ingest --events {events}", "peak MB"]]
        for times in (1, LARGE):
            made = bench.file(160, times)
            shutil.rmtree(output, ignore_errors=True)
            peaks.append(peak_memory(["ingest", str(made.path), "-o", str(output), "--events", events]))
            shutil.rmtree(output)
            rows.append([f"{made.bytes / 1e6:.0f} MB", f"{peaks[-1] / 1e6:.0f}"])
        bench.goals.judge(
            f"peak memory, --events {events}, {LARGE} times the input", peaks[1] / peaks[0], 1.1, most=True
        )
        table(*rows)


def start(bench: Bench) -> None:
    """Start of the command."""
    script = Path(sys.executable).with_name("eptreplay")
    program = [str(script)] if script.exists() else EPTREPLAY
    helped, bare = alternate(10, command([*program, "--help"]), command([sys.executable, "-c", "pass"]))
    bench.goals.judge("eptreplay --help", helped.best, 0.25, unit="s", most=True)
    table(
        ["", "median s", "best s"],
        ["eptreplay --help", f"{helped.median:.3f}", f"{helped.best:.3f}"],
        ["python -c pass", f"{bare.median:.3f}", f"{bare.best:.3f}"],
    )


def stages(bench: Bench) -> None:
    """Where the time goes in ingest --events ept."""
    tiny = tiled_file(RECORDING, BENCH, 8, 1)
    print_stages(bench.file(160), tiny, BENCH / "stages", bench.rounds)


def replay(bench: Bench) -> None:
    """Replay: the engine alone, JIT warm, and a whole report."""
    times = 100 if bench.size == FULL_BYTES else 10
    replaying = Replaying(workload_of(RECORDING, BENCH), times)
    named = {"deferred": STRATEGIES["deferred"], "eager": STRATEGIES["eager"], "own": OWN, "never": STRATEGIES["never"]}
    timings = alternate(
        min(bench.rounds, 3), *(partial(replaying.run, strategy, "two-socket") for strategy in named.values())
    )
    best = {name: timing.best for name, timing in zip(named, timings, strict=True)}
    bench.goals.judge("replay, deferred", replaying.rows / best["deferred"] / 1e6, 10.0, unit="M rows/s")
    bench.goals.judge("a strategy of one's own against deferred", best["deferred"] / best["own"], 0.8)
    rows = []
    for name, strategy in named.items():
        replaying.run(strategy, "two-socket")
        targets = f"{replaying.targets / best[name] / 1e6:.2f}"
        rows.append([name, f"{best[name]:.3f}", f"{replaying.rows / best[name] / 1e6:.1f}", targets])
    title = f"{replaying.rows / 1e6:.1f} M rows, {100 * replaying.p2m_share:.0f} % of them p2m operations"
    table([title, "best s", "M rows/s", "M broadcast targets/s"], *rows)
    (report,) = alternate(bench.rounds, command([*EPTREPLAY, "report", RECORDING]))
    bench.goals.judge(f"eptreplay report {RECORDING.name}", report.best, 5.0, unit="s", most=True)


def against_c(bench: Bench) -> None:
    """Replay, the engine beside the same replay in C: rows like those of r12, on 8 to 512 pCPUs; two threads."""
    compare_with_c(bench.goals, MIX_ROWS if bench.size == FULL_BYTES else MIX_ROWS // 5, bench.rounds, BENCH)


def against_simpy(bench: Bench) -> None:
    """Replay, the engine beside SimPy, a library for discrete-event simulation: one p2m lock and broadcasts."""
    compare_with_simpy(bench.goals, 200 if bench.size == FULL_BYTES else 50, min(bench.rounds, 3))


def tables(bench: Bench) -> None:
    """EPT tables: splits, resolving marks, freeing tables, and the memory that a guest of 1 TiB takes."""
    many = 20_000 if bench.size == FULL_BYTES else 5_000
    chosen = {"splits": splits(many), "resolving marks": resolutions(many // 10), "freeing tables": frees(many)}
    changing = {name: Changing(made) for name, made in chosen.items()}
    timings = alternate(bench.rounds, *(one.run for one in changing.values()))
    rows = [["one of two acts is what is measured", "acts", "best s", "M acts/s", "M stores/s"]]
    for (name, one), timing in zip(changing.items(), timings, strict=True):
        rates_of = [f"{number / timing.best / 1e6:.2f}" for number in (one.acts, one.stores)]
        rows.append([name, f"{one.acts:,}", f"{timing.best:.4f}", *rates_of])
    table(*rows)
    peak = peak_memory([], "tests.benchmarks.tables:main")
    bench.goals.judge("peak memory, guest of 1 TiB", peak / 1e9, 4.0, unit="GB", most=True)


BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    function.__name__: function
    for function in (decoding, ingest, index, memory, start, stages, replay, against_c, against_simpy, tables)
}


def main() -> int:
    """Run the benchmarks that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="run this one; may be given several times")
    parser.add_argument("--quick", action="store_true", help="files of 50 MB instead of 200 MB, and three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement (5, with --quick 3)")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a goal is missed")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 5)
    xenalyze = Path(os.environ.get("EPTREPLAY_XENALYZE", XENALYZE)).absolute()
    if not os.access(xenalyze, os.X_OK):
        parser.error(f"no xenalyze at {xenalyze}: run `make peers` or set EPTREPLAY_XENALYZE")
    BENCH.mkdir(parents=True, exist_ok=True)
    bench = Bench(QUICK_BYTES if options.quick else FULL_BYTES, rounds, xenalyze, Goals())
    print(
        f"Page cache warm, contestants in turn, {rounds} rounds, ratios and rates of the fastest;"
        f" load now {os.getloadavg()[0]:.1f}"
    )
    for name in options.only or BENCHMARKS:
        print(f"\n{name}: {(BENCHMARKS[name].__doc__ or '').rstrip('.')}")
        BENCHMARKS[name](bench)
    if bench.goals.missed:
        print(f"\n{len(bench.goals.missed)} missed: {'; '.join(bench.goals.missed)}")
    return 1 if options.check and bench.goals.missed else 0


if __name__ == "__main__":
    sys.exit(main())
