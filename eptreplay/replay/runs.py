"""The public function: a trace dataset, or a recording, through any number of strategies into a result dataset."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.machine.profile import Profile, find_profiles
from eptreplay.replay import rows as r
from eptreplay.replay import tally as y
from eptreplay.replay.program import Numbers, Program, number_workload
from eptreplay.replay.results import columns_table, is_replaceable_result, rows_table, write_result
from eptreplay.replay.simulate import Detail, check_strategy, simulate
from eptreplay.replay.unknown import consequences
from eptreplay.strategies.registry import find_strategies
from eptreplay.strategies.strategy import Strategy
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import dataset_among, read_manifest
from eptreplay.trace.ingest import ingest
from eptreplay.trace.summary import Document
from eptreplay.workload.lower import lower
from eptreplay.workload.schema import INTERPOLATED
from eptreplay.workload.workload import Workload, shares_document, workload_table
from eptreplay.xentrace.reader import Progress

DEFAULT_STRATEGIES = ("eager", "vmenter", "deferred")
LOCKS = ("queue",)
DEFAULT_LOCK = "queue"
DEFAULT_PROFILE = "two-socket"
UNSEEN = ("present", "absent")
DETAILS = ("summary", "full")
LARGEST_SEED = (1 << 63) - 1

Step = Callable[[str], None]
"""Called with what is being done now."""


@dataclass(frozen=True)
class Plan:
    """What is to be replayed how, checked.

    ``unseen``: what entries were of which nothing is known, or None if the user did not say; then they are present.
    """

    strategies: tuple[Strategy, ...]
    locks: tuple[str, ...]
    profiles: tuple[Profile, ...]
    seeds: tuple[int, ...]
    unseen: str | None
    detail: str

    @property
    def runs(self) -> list[tuple[r.Run, Profile]]:
        """The rows of ``runs``: strategies, locks, profiles, seeds, the last fastest."""
        combined = [
            (strategy, lock, profile, seed)
            for strategy in self.strategies
            for lock in self.locks
            for profile in self.profiles
            for seed in self.seeds
        ]
        return [
            (r.Run(number, strategy, lock, profile.name, seed), profile)
            for number, (strategy, lock, profile, seed) in enumerate(combined)
        ]


def plan(
    strategies: Sequence[str] = (),
    locks: Sequence[str] = (),
    profiles: Sequence[str] = (),
    seed: int = 0,
    seeds: int = 1,
    unseen: str | None = None,
    detail: str = "summary",
) -> Plan:
    """Check what the user asked for; raises UsageError."""
    for lock in locks:
        if lock not in LOCKS:
            raise unknown_choice("--lock", lock, LOCKS)
    if unseen is not None and unseen not in UNSEEN:
        raise unknown_choice("--unseen", unseen, UNSEEN)
    if detail not in DETAILS:
        raise unknown_choice("--detail", detail, DETAILS)
    if seeds < 1 or not 0 <= seed <= LARGEST_SEED - seeds:
        raise UsageError(f"--seed {seed} --seeds {seeds}: expected seeds from 0 to {LARGEST_SEED - 1}, one at least")
    found = find_strategies(strategies or DEFAULT_STRATEGIES)
    for strategy in found:
        check_strategy(strategy)
    return Plan(
        tuple(found),
        tuple(dict.fromkeys(locks)) or (DEFAULT_LOCK,),
        tuple(find_profiles(profiles or (DEFAULT_PROFILE,))),
        tuple(range(seed, seed + seeds)),
        unseen,
        detail,
    )


def replay(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    strategies: Sequence[str] = (),
    locks: Sequence[str] = (),
    profiles: Sequence[str] = (),
    seed: int = 0,
    seeds: int = 1,
    unseen: str | None = None,
    detail: str = "summary",
    force: bool = False,
    threads: int | None = None,
    xen: str | None = None,
    tsc_hz: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    step: Step | None = None,
) -> Document:
    """Replay a trace dataset, or xentrace files (several are one recording), into a new result dataset.

    ``strategies``, ``locks`` and ``profiles``: names, or files of the user's; none given, the defaults. ``seeds``: how
    many, from ``seed`` on. ``unseen``: ``present`` or ``absent``, what entries were of which the recording tells
    nothing. ``detail``: ``full`` lists holds, broadcasts and INVEPTs one by one. ``threads``: how many replays run at
    a time; the results are the same for any number. ``xen``, ``tsc_hz``, ``strict``: as in ``ingest``. Returns the
    manifest of the result. Raises UsageError, InputError, DamageError, OutputError.
    """
    wanted = plan(strategies, locks, profiles, seed, seeds, unseen, detail)
    target = Path(output)
    with (
        staged(target, force=force, replaceable=is_replaceable_result, folder=True) as folder,
        tempfile.TemporaryDirectory(prefix="eptreplay-") as scratch,
    ):
        dataset = as_dataset(source, Path(scratch) / "trace", xen=xen, tsc_hz=tsc_hz, strict=strict, progress=progress)
        return replay_dataset(dataset, folder, target, wanted, threads=threads, step=step)


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
    dataset: Path, folder: Path, target: Path, wanted: Plan, *, threads: int | None = None, step: Step | None = None
) -> Document:
    """Replay a trace dataset into ``folder``, which is to become ``target``; returns the manifest."""
    say = step or (lambda _: None)
    say("reading the dataset")
    source = read_manifest(dataset)
    say("finding operations")
    workload = lower(dataset)
    say(f"replaying {workload.rows} rows under {len(wanted.runs)} strategies")
    replayed = _replay_all(workload, wanted, threads or os.cpu_count() or 1)
    say("writing the result")
    tables = {
        "runs": rows_table("runs", [r.run_row(workload, one) for one in replayed]),
        "causes": rows_table("causes", [row for one in replayed for row in r.cause_rows(workload, one)]),
        "pcpus": rows_table("pcpus", [row for one in replayed for row in r.pcpu_rows(workload, one)]),
        "workload": workload_table(workload),
    }
    if wanted.detail == "full":
        tables["holds"] = columns_table("holds", (r.hold_columns(workload, one) for one in replayed))
        tables["broadcasts"] = columns_table("broadcasts", (r.broadcast_columns(workload, one) for one in replayed))
        tables["invepts"] = columns_table("invepts", (r.invept_columns(workload, one) for one in replayed))
    manifest = _manifest(source, workload, wanted)
    with writing(target):
        return write_result(folder, tables, manifest)


def _replay_all(workload: Workload, wanted: Plan, threads: int) -> list[r.Replayed]:
    """Carry out all runs, some at a time; the order of the results is that of the command line."""
    unseen = wanted.unseen or UNSEEN[0]
    numbered = number_workload(workload, unseen)
    other = number_workload(workload, UNSEEN[1 - UNSEEN.index(unseen)]) if _has_assumed(workload) else None

    def one(run: r.Run, profile: Profile) -> r.Replayed:
        costs = profile.costs()
        return _replay_one(workload, numbered, other, run, costs, full=wanted.detail == "full")

    runs = wanted.runs
    with ThreadPoolExecutor(max(1, min(threads, len(runs))), "replay") as pool:
        # The engine is compiled, or loaded, by the first run alone.
        first = one(*runs[0])
        return [first, *pool.map(lambda pair: one(*pair), runs[1:])]


def _has_assumed(workload: Workload) -> bool:
    return bool((workload.present("present") != workload.present("absent")).any())


def _replay_one(
    workload: Workload, numbered: tuple[Program, Numbers], other: tuple[Program, Numbers] | None, run: r.Run,
    costs: dict[str, int], *, full: bool,
) -> r.Replayed:  # fmt: skip
    outcome = simulate(workload, *numbered, run.strategy, costs)
    broadcasts = int(outcome.tally.total[y.BROADCAST_ROWS])
    if full:
        # Now it is known how many of everything there are; a second replay lists them.
        total = outcome.tally.total
        detail = Detail(broadcasts, int(total[y.ACK_ROWS]), int(total[y.INVEPT_ROWS]))
        outcome = simulate(workload, *numbered, run.strategy, costs, detail)
    if other is not None:
        broadcasts = int(simulate(workload, *other, run.strategy, costs).tally.total[y.BROADCAST_ROWS])
    return r.Replayed(run, outcome, broadcasts)


_OF_TRACE = ("sources", "records", "bytes_decoded", "bytes_skipped", "damage", "damage_total", "lost_records")
"""What a result says of its recording, so that damage can be told without it."""


def _manifest(source: Document, workload: Workload, wanted: Plan) -> dict[str, Any]:
    return {
        "source": source["source"],
        "sources": source["sources"],
        "trace": {name: source[name] for name in _OF_TRACE},
        "options": {
            "strategies": [strategy.name for strategy in wanted.strategies],
            "locks": list(wanted.locks),
            "profiles": [profile.name for profile in wanted.profiles],
            "seeds": list(wanted.seeds),
            "unseen": wanted.unseen,
            "detail": wanted.detail,
        },
        "assumptions": assumptions(source, workload, wanted),
    }


def assumptions(source: Document, workload: Workload, wanted: Plan) -> dict[str, Any]:
    """Return everything that a result rests on besides its recording."""
    assumed = int((workload.present("present") != workload.present("absent")).sum())
    return {
        "tsc_hz": source["tsc_hz"],
        "xen": source["xen"],
        "vendor": source["vendor"],
        "locks": list(wanted.locks),
        "profiles": [
            {
                "name": profile.name,
                "sourced": sum(number.source is not None for number in profile.numbers.values()),
                "assumed": sum(number.assumed is not None for number in profile.numbers.values()),
            }
            for profile in wanted.profiles
        ],
        "seeds": list(wanted.seeds),
        "unseen": {"as": wanted.unseen or UNSEEN[0], "how": "given" if wanted.unseen else "assumed", "rows": assumed},
        "domains": [
            {
                "domain": domain.number,
                "guest_mode": domain.has_guest_mode,
                "how": "assumed" if domain.assumed else "seen",
                "created": domain.created,
            }
            for domain in workload.domains
        ],
        "rules": shares_document(workload.shares),
        "interpolated_share": _share(workload),
        "damage": source["damage_total"],
        "missing": source["missing"],
        "consequences": consequences(workload.facts),
        "not_modelled": list(NOT_MODELLED),
    }


NOT_MODELLED = (
    "recalculated entries, log-dirty operations and PML drains are rows of the workload, but cost nothing yet",
    "superpages are written and removed whole: splits and freed tables are not modelled yet",
    "nothing reacts to time or staleness: a guest writes no less, and a stale entry causes no further fault",
)
"""What this version's replay leaves out, in every result."""


def _share(workload: Workload) -> float:
    return round(float((workload.time_origin == INTERPOLATED).mean()), 4) if workload.rows else 0.0
