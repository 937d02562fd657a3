"""``eptreplay info``: what a recording or a dataset holds."""

from __future__ import annotations

from typing import Annotated

import typer

from eptreplay.commands.console import progress, report_assumptions, warn_of_damage
from eptreplay.commands.options import FORMATS, Format, SourcesOrDataset, Strict, TscHz, Xen
from eptreplay.errors import unknown_choice

EXAMPLES = "Examples: eptreplay info trace.xentrace.xz | eptreplay info trace.ds --format json"


def run(
    sources: SourcesOrDataset,
    format_: Format = "table",
    full: Annotated[
        bool, typer.Option("--full", help="hash and count p2m records of files of 1 GB and more as well")
    ] = False,
    xen: Xen = None,
    tsc_hz: TscHz = None,
    strict: Strict = False,
) -> None:
    """Print what recordings (or a dataset) hold, what is damaged, and what is missing."""
    from eptreplay import info
    from eptreplay.commands.render import print_document, print_info

    if format_ not in FORMATS:
        raise unknown_choice("--format", format_, FORMATS)
    with progress("info") as advance:
        document = info(sources, full=full, xen=xen, tsc_hz=tsc_hz, strict=strict, progress=advance)
    report_assumptions(document)
    warn_of_damage(document)
    if format_ == "json":
        print_document(document)
    else:
        print_info(document)
