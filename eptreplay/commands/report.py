"""``eptreplay report``: the main job, from a recording to what each strategy would have cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

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
    Paths,
    Presets,
    Profiles,
    RecordedAs,
    RecordedOn,
    Seed,
    Seeds,
    SourcesDatasetOrResult,
    Strategies,
    Strict,
    ThinkScale,
    TscHz,
    Unseen,
    Xen,
)
from eptreplay.errors import UsageError, unknown_choice

EXAMPLES = (
    "Examples: eptreplay report trace.xentrace.xz | eptreplay report trace.ds -s all --profile zero --format json"
    " | eptreplay report result --format csv"
)

FORMATS = ("table", "json", "csv", "parquet")


def run(
    sources: SourcesDatasetOrResult,
    format_: Annotated[
        str, typer.Option("--format", metavar="table|json|csv|parquet", help="how to write it; csv has the runs only")
    ] = "table",
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PATH", help="where to write; parquet needs it, a folder")
    ] = None,
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
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="preset or strategy to compare the others with [default: the first row]"),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="DIR", help="keep the datasets that are made on the way in this new folder")
    ] = None,
    detail: Detail = "summary",
    xen: Xen = None,
    tsc_hz: TscHz = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Print what each strategy would have cost on a recording, a dataset, or a result that exists already."""
    from eptreplay.commands.publish import publishing
    from eptreplay.journey import reported
    from eptreplay.replay.results import is_result

    if format_ not in FORMATS:
        raise unknown_choice("--format", format_, FORMATS)
    if format_ == "parquet" and output is None:
        raise UsageError("--format parquet writes a folder of tables: name it with -o")
    if sys.stderr.isatty() and not (len(sources) == 1 and is_result(sources[0])):
        announce_compilation(engine=True)
    with (
        publishing(format_, None if output is None else Path(output), force=force) as publish,
        progress("ingest") as advance,
        reported(
            list(sources), baseline=baseline, keep=keep, force=force, strategies=strategies or (), presets=preset or (),
            locks=lock or (), profiles=profile or (), seed=seed, seeds=seeds, unseen=unseen, paths=paths,
            recorded_as=recorded_as, recorded_on=recorded_on, inject=inject or (), think_scale=think_scale,
            detail=detail, xen=xen, tsc_hz=tsc_hz, strict=strict, progress=advance, step=say_step,
        ) as (document, result),
    ):  # fmt: skip
        publish(document, result)
    if format_ != "table" or output is not None:
        report_settings(document["assumptions"])
    warn_of_damage(document["trace"])
    if output is not None:
        note(f"{output}: {format_} written")
