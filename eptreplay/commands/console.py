"""What verbs say on standard error while they work: assumptions, warnings, progress. Results go to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eptreplay.xentrace.reader import Progress

WARNED_SPOTS = 3


def note(message: str) -> None:
    """Print one line on standard error, whatever names it contains; where that fails, nobody can be told."""
    with suppress(OSError):
        sys.stderr.write(f"eptreplay: {' '.join(message.split())}\n")


def report_assumptions(document: dict[str, Any]) -> None:
    """Say which TSC frequency and which Xen layout are in force, and how they are known."""
    tsc, xen = document["tsc_hz"], document["xen"]
    spread = f", spread {tsc['spread']} Hz" if tsc["spread"] is not None else ""
    note(f"TSC {tsc['value']} Hz ({tsc['how']}{spread}), layouts of Xen {xen['layout']} ({xen['how']})")


def report_settings(assumptions: dict[str, Any]) -> None:
    """Say what the results of a replay rest on: frequency, layout, lock, profile, seed, and what was assumed."""
    from eptreplay.report.assumed import assumption_lines

    for line in assumption_lines(assumptions):
        note(line)


def warn_of_damage(document: dict[str, Any]) -> None:
    """Print one line if bytes were skipped or windows were wrong: how much, and where it begins."""
    total = document["damage_total"]
    if not total:
        return
    size = document["bytes_decoded"] + document["bytes_skipped"]
    several = len(document["sources"]) > 1
    spots = [
        (f"{document['sources'][spot['source']]['name']} " if several else "") + spot["message"]
        for spot in document["damage"][:WARNED_SPOTS]
    ]
    more = f"; and {total - len(spots)} more" if total > len(spots) else ""
    plural = "spot" if total == 1 else "spots"
    skipped = f"{document['bytes_skipped']} of {size} bytes skipped"
    note(f"warning: {total} damaged {plural}, {skipped}: {'; '.join(spots)}{more}")


@contextmanager
def progress(label: str) -> Iterator[Progress | None]:
    """Yield a callback that draws a progress bar on a terminal, or None where standard error is none."""
    if not sys.stderr.isatty():
        yield None
        return
    announce_compilation()
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[size]}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, size="")

        def advance(done: int, fraction: float | None) -> None:
            bar.update(
                task, total=None if fraction is None else 1.0, completed=fraction or 0.0, size=f"{done / 1e6:.0f} MB"
            )

        yield advance


def say_step(step: str) -> None:
    """Say on a terminal what is being done now."""
    if sys.stderr.isatty():
        note(f"{step} ...")


def announce_compilation(*, engine: bool = False) -> None:
    """Say why the first run takes longer: decoder, or engine, are compiled, once per installation."""
    from eptreplay.jit import DECODER, ENGINE, is_compiled

    if not is_compiled(ENGINE if engine else DECODER):
        note(f"first run: compiling the {'engine' if engine else 'decoder'}, some 20 seconds, once")
