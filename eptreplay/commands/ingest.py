"""``eptreplay ingest``: recordings to a trace dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from eptreplay.commands.console import note, progress, report_assumptions, warn_of_damage
from eptreplay.commands.options import Force, Output, Sources, Strict, TscHz, Xen

EXAMPLES = (
    "Examples: eptreplay ingest trace.xentrace -o trace.ds"
    " | xentrace -D -e all /dev/stdout | eptreplay ingest - -o live.ds --events all"
)


def run(
    sources: Sources,
    output: Output,
    events: Annotated[str, typer.Option(metavar="ept|all", help="keep what replay needs, or every record")] = "ept",
    xen: Xen = None,
    tsc_hz: TscHz = None,
    strict: Strict = False,
    force: Force = False,
) -> None:
    """Read xentrace recordings into a dataset of Parquet tables: events, p2m, windows, damage."""
    from eptreplay import ingest

    with progress("ingest") as advance:
        manifest = ingest(
            sources, output, events=events, xen=xen, tsc_hz=tsc_hz, strict=strict, force=force, progress=advance
        )
    report_assumptions(manifest)
    warn_of_damage(manifest)
    note(f"{output}: {manifest['records']} records in {manifest['windows']} windows, events: {events}")
