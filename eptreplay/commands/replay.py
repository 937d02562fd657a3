"""``eptreplay replay``: a recording, or its dataset, through strategies into a result dataset."""

from __future__ import annotations

import sys

from eptreplay.commands.console import (
    announce_compilation,
    note,
    progress,
    report_settings,
    say_step,
    warn_of_damage,
)
from eptreplay.commands.options import (
    Detail,
    Force,
    Inject,
    Locks,
    Output,
    Paths,
    Presets,
    Profiles,
    RecordedAs,
    RecordedOn,
    Seed,
    Seeds,
    SourcesOrDataset,
    Strategies,
    Strict,
    ThinkScale,
    TscHz,
    Unseen,
    Xen,
)

EXAMPLES = (
    "Examples: eptreplay replay trace.xentrace -o result -s eager --preset xen-4.7"
    " | eptreplay replay trace.ds -o result -s mine.py:MINE --profile zero --detail full"
)


def run(
    sources: SourcesOrDataset,
    output: Output,
    strategies: Strategies = None,
    preset: Presets = None,
    lock: Locks = None,
    profile: Profiles = None,
    seed: Seed = 0,
    seeds: Seeds = 1,
    unseen: Unseen = None,
    paths: Paths = "4.21",
    recorded_as: RecordedAs = None,
    recorded_on: RecordedOn = None,
    inject: Inject = None,
    think_scale: ThinkScale = 1.0,
    detail: Detail = "summary",
    xen: Xen = None,
    tsc_hz: TscHz = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Replay recordings, or a dataset, under invalidation strategies, and write the results as Parquet tables."""
    from eptreplay.replay import replay

    if sys.stderr.isatty():
        announce_compilation(engine=True)
    with progress("ingest") as advance:
        manifest = replay(
            sources, output, strategies=strategies or (), presets=preset or (), locks=lock or (),
            profiles=profile or (), seed=seed, seeds=seeds, unseen=unseen, paths=paths, recorded_as=recorded_as,
            recorded_on=recorded_on, inject=inject or (), think_scale=think_scale, detail=detail, xen=xen,
            tsc_hz=tsc_hz, strict=strict, force=force, progress=advance, step=say_step,
        )  # fmt: skip
    report_settings(manifest["assumptions"])
    warn_of_damage(manifest["trace"])
    note(f"{output}: {', '.join(manifest['tables'])}; eptreplay report {output} shows what they say")
