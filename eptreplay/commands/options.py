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

SourcesDatasetOrResult = Annotated[
    list[str],
    typer.Argument(metavar="SRC...", help="xentrace files, also .zst .gz .xz, or - ; or one dataset; or one result"),
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "-s",
        "--strategy",
        metavar="NAME",
        help="strategy, or file.py:NAME, or all; may be repeated",
    ),
]
Presets = Annotated[
    list[str] | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="strategy and lock of a release; may be repeated [default, without -s: xen-4.6 xen-4.7 xen-4.22]",
    ),
]
Locks = Annotated[
    list[str] | None,
    typer.Option(
        "--lock",
        metavar="NAME",
        help="policy of the p2m lock, also in place of a preset's; may be repeated [default: queue]",
    ),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", metavar="NAME|FILE", help="cost profile; may be repeated [default: two-socket]"),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="of random choices")]
Seeds = Annotated[int, typer.Option("--seeds", metavar="K", help="replay with so many seeds, from --seed on")]
Unseen = Annotated[
    str | None,
    typer.Option(
        "--unseen",
        metavar="present|absent",
        help="what entries were of which the recording tells nothing [default: present]",
    ),
]
Paths = Annotated[
    str,
    typer.Option(
        "--paths",
        metavar="4.6|4.9|4.21",
        help="Xen release whose way to write entries all rows have; 4.6 removes superpages page by page",
    ),
]
RecordedAs = Annotated[
    str | None,
    typer.Option(
        "--recorded-as",
        metavar="NAME",
        help="strategy or preset that ran while recording: what it cost there is taken out of the gaps",
    ),
]
RecordedOn = Annotated[
    str | None,
    typer.Option("--recorded-on", metavar="NAME|FILE", help="cost profile of the recorded host, for --recorded-as"),
]
Inject = Annotated[
    list[str] | None,
    typer.Option(
        "--inject",
        metavar="SPEC",
        help="add work on a pCPU of its own: lookups:batch=1024,every=10ms[,map=N][,dom=D][,pcpu=P][,start=T] or"
        " calls:every=1ms[,targets=1|all][,pcpu=P][,start=T]; may be repeated",
    ),
]
ThinkScale = Annotated[
    float,
    typer.Option("--think-scale", metavar="X", help="multiply the gaps between operations, but not idling, by X"),
]
Detail = Annotated[
    str, typer.Option("--detail", metavar="summary|full", help="full: list holds, broadcasts, INVEPTs one by one")
]
