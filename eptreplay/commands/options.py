"""Options that several verbs share, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SRC...", help="xentrace files, also .zst .gz .xz, or - ; several are one recording, in order"
    ),
]
SourcesOrDataset = Annotated[
    list[str],
    typer.Argument(metavar="SRC...", help="xentrace files, also .zst .gz .xz, or - ; several are one; or one dataset"),
]
Xen = Annotated[
    str | None, typer.Option(metavar="RELEASE", help="Xen release that wrote it, such as 4.17 [default: inferred]")
]
TscHz = Annotated[
    int | None, typer.Option(metavar="N", help="TSC ticks per second [default: estimated, else 2400000000]")
]
FORMATS = ("table", "json")
Format = Annotated[str, typer.Option("--format", metavar="table|json", help="how to print it")]
Strict = Annotated[bool, typer.Option("--strict", help="treat the first damage as an error")]
Force = Annotated[bool, typer.Option("--force", help="replace an existing output")]
Output = Annotated[str, typer.Option("-o", "--output", metavar="PATH", help="where to write")]
