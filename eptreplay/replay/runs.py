"""The public function: a trace dataset, or a recording, through any number of strategies into a result dataset."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eptreplay.machine.profile import Profile
from eptreplay.replay import rows as r
from eptreplay.replay import tally as y
from eptreplay.replay.manifest import manifest_of
from eptreplay.replay.plan import UNSEEN, Plan, plan
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.recorded import Taken, check_clamped, without_own_costs
from eptreplay.replay.results import columns_table, is_replaceable_result, rows_table, write_result
from eptreplay.replay.simulate import Detail, Manner, Outcome, simulate
from eptreplay.strategies.strategy import Strategy
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import dataset_among, read_manifest
from eptreplay.trace.ingest import ingest
from eptreplay.trace.summary import Document
from eptreplay.workload.entries import PATHS
from eptreplay.workload.inject import with_injections
from eptreplay.workload.lower import lower
from eptreplay.workload.schema import ASSUMED, MISCONFIG
from eptreplay.workload.think import UNSCALED, with_think_scale
from eptreplay.workload.workload import Workload, workload_table
from eptreplay.xentrace.reader import Progress

Step = Callable[[str], None]
"""Called with what is being done now."""


def replay(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    strategies: Sequence[str] = (),
    presets: Sequence[str] = (),
    locks: Sequence[str] = (),
    profiles: Sequence[str] = (),
    seed: int = 0,
    seeds: int = 1,
    unseen: str | None = None,
    detail: str = "summary",
    paths: str = PATHS[-1],
    recorded_as: str | None = None,
    recorded_on: str | None = None,
    inject: Sequence[str] = (),
    think_scale: float = UNSCALED,
    force: bool = False,
    threads: int | None = None,
    xen: str | None = None,
    tsc_hz: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    step: Step | None = None,
) -> Document:
    """Replay a trace dataset, or xentrace files (several are one recording), into a new result dataset.

    ``strategies``, ``presets``, ``locks`` and ``profiles``: names, or files of the user's; none given, the defaults. A
    preset brings its own lock unless ``locks`` are given. ``seeds``: how many, from ``seed`` on. ``unseen``:
    ``present`` or ``absent``, what entries were of which the recording tells nothing. ``detail``: ``full`` lists holds,
    broadcasts and INVEPTs one by one. ``paths``: 4.6, 4.9 or 4.21, the release as which Xen writes entries.
    ``recorded_as`` and ``recorded_on``: strategy or preset, and profile, of the recorded host, whose own costs are then
    taken out; ``force`` does so even if many gaps are too short for that. ``inject``: work to add, such as
    ``lookups:batch=1024,every=10ms``. ``think_scale``: what the gaps are multiplied by. ``threads``: how many replays
    run at a time; the results are the same for any number. ``xen``, ``tsc_hz``, ``strict``: as in ``ingest``. Returns
    the manifest of the result. Raises UsageError, InputError, DamageError, OutputError.
    """
    wanted = plan(
        strategies, presets, locks, profiles, seed, seeds, unseen, detail, paths, recorded_as, recorded_on, inject,
        think_scale,
    )  # fmt: skip
    target = Path(output)
    with (
        staged(target, force=force, replaceable=is_replaceable_result, folder=True) as folder,
        tempfile.TemporaryDirectory(prefix="eptreplay-") as scratch,
    ):
        dataset = as_dataset(source, Path(scratch) / "trace", xen=xen, tsc_hz=tsc_hz, strict=strict, progress=progress)
        return replay_dataset(dataset, folder, target, wanted, force=force, threads=threads, step=step)


def as_dataset(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: Path,
    *,
    xen: str | None,
    tsc_hz: int | None,
    strict: bool,
    progress: Progress | None,
) -> Path:
    """Return the trace dataset that ``source`` names, or ``folder``, ingested from the files that it names."""
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    if dataset := dataset_among(paths, xen=xen, tsc_hz=tsc_hz):
        return dataset
    ingest(paths, folder, xen=xen, tsc_hz=tsc_hz, strict=strict, progress=progress)
    return folder


def replay_dataset(
    dataset: Path,
    folder: Path,
    target: Path,
    wanted: Plan,
    *,
    force: bool = False,
    threads: int | None = None,
    step: Step | None = None,
) -> Document:
    """Replay a trace dataset into ``folder``, which is to become ``target``; returns the manifest.

    ``force``: whatever the recorded host is said to be, and however little that fits.
    """
    say = step or (lambda _: None)
    say("reading the dataset")
    source = read_manifest(dataset)
    say("finding operations")
    workload, taken = lower(dataset, wanted.paths, without_kicks=wanted.recorded is not None), None
    if wanted.recorded:
        workload, taken = without_own_costs(workload, wanted.recorded, wanted.seeds[0])
        check_clamped(taken, wanted.recorded, force=force)
    workload = with_think_scale(workload, wanted.think_scale)
    workload, injected = with_injections(workload, wanted.injections)
    say(f"replaying {workload.rows} rows under {len(wanted.runs)} strategies")
    replayed = _replay_all(workload, wanted, taken, threads or os.cpu_count() or 1)
    say("writing the result")
    tables = {
        name: rows_table(name, [row for one in replayed for row in rows(workload, one)])
        for name, rows in r.ROWS.items()
    }
    tables["workload"] = workload_table(workload)
    if wanted.detail == "full":
        for name, columns in r.COLUMNS.items():
            tables[name] = columns_table(name, (columns(workload, one) for one in replayed))
    manifest = manifest_of(source, workload, wanted, taken, injected)
    with writing(target):
        return write_result(folder, tables, manifest)


def _replay_all(workload: Workload, wanted: Plan, taken: Taken | None, threads: int) -> list[r.Replayed]:
    """Carry out all runs, some at a time; the order of the results is that of the command line."""
    runs = wanted.runs
    if wanted.recorded and taken:
        runs = [
            (run._replace(recorded_as=wanted.recorded.label, clamped_rows=taken.clamped), profile)
            for run, profile in runs
        ]
    unseen, doubts = wanted.unseen or UNSEEN[0], (_has_assumed(workload), _has_doubtful(workload))
    readings = {run.strategy: _readings(run.strategy, unseen, *doubts) for run, _ in runs}
    numbered = {
        reading: number_workload(workload, reading)
        for reading in dict.fromkeys(reading for several in readings.values() for reading in several)
    }

    def one(run: r.Run, profile: Profile) -> r.Replayed:
        usual, *others = readings[run.strategy]
        costs, manner = profile.costs(), Manner(run.lock, run.seed)
        outcome = simulate(workload, *numbered[usual], run.strategy, costs, manner)
        if wanted.detail == "full":
            # Now it is known how many of everything there are; a second replay lists them.
            outcome = simulate(workload, *numbered[usual], run.strategy, costs, manner, _everything(outcome))
        counts = [
            int(simulate(workload, *numbered[other], run.strategy, costs, manner).tally.total[y.BROADCAST_ROWS])
            for other in others
        ]
        return r.Replayed(run, outcome, tuple(counts))

    with ThreadPoolExecutor(max(1, min(threads, len(runs))), "replay") as pool:
        # The engine is compiled, or loaded, by the first run alone.
        first = one(*runs[0])
        return [first, *pool.map(lambda pair: one(*pair), runs[1:])]


def _readings(strategy: Strategy, unseen: str, has_assumed: bool, has_doubtful: bool) -> list[Reading]:
    """Return how a workload is read for a strategy, and then the other ways that may make a difference.

    Broadcasts are fewest if entries of which nothing is known were absent, and misconfigurations that an earlier one
    may have mended did not happen; and most the other way round.
    """
    usual = Reading(unseen, doubtful=False, tables=strategy.tables)
    least, most = usual._replace(unseen="absent"), usual._replace(unseen="present")
    asks = strategy.sync_misconfig or strategy.decide is not None
    if strategy.tables == "ept" and asks and has_doubtful:
        most = most._replace(doubtful=True)
    if not has_assumed:
        least, most = (reading._replace(unseen=unseen) for reading in (least, most))
    return list(dict.fromkeys((usual, least, most)))


def _has_assumed(workload: Workload) -> bool:
    return bool((workload.present("present") != workload.present("absent")).any())


def _has_doubtful(workload: Workload) -> bool:
    return bool(((workload.op == MISCONFIG) & (workload.old_known == ASSUMED)).any())


def _everything(outcome: Outcome) -> Detail:
    """Return room for all that a replay did."""
    total = outcome.tally.total
    return Detail(
        broadcasts=int(total[y.BROADCAST_ROWS]),
        acks=int(total[y.ACK_ROWS]),
        invepts=int(total[y.INVEPT_ROWS]),
        spans=int(total[y.SPAN_ROWS]),
    )
