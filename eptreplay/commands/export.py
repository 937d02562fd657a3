"""``eptreplay export``: a dataset, or a result, in other formats."""

from __future__ import annotations

from typing import Annotated

import typer

from eptreplay.commands.console import note
from eptreplay.commands.options import Force, Output

EXAMPLES = (
    "Examples: eptreplay export trace.ds --to csv -o tables | eptreplay export trace.ds --to xentrace -o again.xentrace"
)


def run(
    dataset: Annotated[str, typer.Argument(metavar="DIR|RESULT", help="a trace dataset, or a result of replay")],
    output: Output,
    to: Annotated[
        str, typer.Option(metavar="FORMAT", help="parquet, csv, arrow (a folder, one file per table) or xentrace")
    ],
    force: Force = False,
) -> None:
    """Write a dataset or a result as Parquet, CSV or Arrow files, or a dataset as the file that it came from."""
    from eptreplay import export

    export(dataset, to=to, output=output, force=force)
    note(f"{output}: written as {to}")
