"""The report for people: a verdict, counts, times, differences, then by domain and by cause, then what was assumed."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from eptreplay.report.assumed import MARK, assumption_lines, is_rough
from eptreplay.report.compare import Row, base_of, label, name_of
from eptreplay.report.units import UNKNOWN, count, difference, duration, share, span

Columns = Sequence[tuple[str, Callable[[Row], str]]]

VERDICT_COLUMNS = 100
"""Lines that are longer are hard to read."""


def _counted(name: str) -> Callable[[Row], str]:
    return lambda row: count(row[name])


def _timed(name: str) -> Callable[[Row], str]:
    return lambda row: duration(row[name])


def _marked(name: str) -> Callable[[Row], str]:
    return lambda row: (MARK if row["_marked"] and row[name] is not None else "") + duration(row[name])


def _fired(row: Row) -> str:
    """Return when the watchdog fired, or that it did not, if anybody can know."""
    if row["watchdog_fired"]:
        return duration(row["watchdog_at_ns"])
    return UNKNOWN if row["watchdog_fired"] is None else "no"


COUNTS: Columns = (
    ("p2m sets", _counted("p2m_sets")),
    ("inferred", _counted("p2m_sets_inferred")),
    ("holds", _counted("holds")),
    ("syncs", _counted("syncs")),
    ("broadcasts", lambda row: span(row["broadcasts_min"], row["broadcasts"], row["broadcasts_max"])),
    ("under lock", _counted("broadcasts_under_lock")),
    ("IPIs", _counted("ipis")),
    ("INVEPTs", _counted("invepts")),
    ("VM entries", _counted("vmenters")),
)
TIMES: Columns = (
    ("lock held", _timed("hold_ns_total")),
    ("held p50", _marked("hold_ns_p50")),
    ("held p99", _marked("hold_ns_p99")),
    ("held max", _timed("hold_ns_max")),
    ("operation p50", _marked("op_latency_ns_p50")),
    ("op. p99", _marked("op_latency_ns_p99")),
    ("op. max", _timed("op_latency_ns_max")),
    ("stolen from guests", _timed("guest_stolen_ns")),
)
WAITS: Columns = (
    ("lock busy", lambda row: share(row["lock_utilisation"])),
    ("call lock busy", lambda row: share(row["call_lock_utilisation"])),
    ("waited for lock", _timed("write_wait_ns_total")),
    ("at most", _timed("write_wait_ns_max")),
    ("for call lock", _timed("call_lock_wait_ns_total")),
    ("after unlock", _timed("post_unlock_wait_ns_total")),
    ("longest stall", _timed("stall_ns_max")),
    ("watchdog", _fired),
)
LOOKUPS: Columns = (
    ("batches", _counted("batches")),
    ("lookups", _counted("lookups")),
    ("waited for lock", _timed("wait_ns_total")),
    ("at most", _timed("wait_ns_max")),
    ("took", _timed("elapsed_ns_total")),
    ("longest batch", _timed("elapsed_ns_max")),
)
COMPARED = (
    ("lock held", "hold_ns_total"),
    ("wait for it", "write_wait_ns_total"),
    ("operation p99", "op_latency_ns_p99"),
    ("broadcasts", "broadcasts"),
    ("under lock", "broadcasts_under_lock"),
    ("IPIs", "ipis"),
    ("INVEPTs", "invepts"),
    ("stolen", "guest_stolen_ns"),
)
SHARES: Columns = (
    ("holds", _counted("holds")),
    ("p2m sets", _counted("p2m_sets")),
    ("broadcasts", _counted("broadcasts")),
    ("IPIs", _counted("ipis")),
    ("INVEPTs", _counted("invepts")),
    ("lock held", _timed("hold_ns_total")),
    ("stolen", _timed("guest_stolen_ns")),
)


class Section(NamedTuple):
    """A table of sums: by what, and which rows of the document."""

    title: str
    by: str
    rows: str
    columns: Columns


SECTIONS = (
    Section("lookups of the toolstack", "domain", "lookups", LOOKUPS),
    Section("by domain", "domain", "by_domain", SHARES),
    Section("by cause", "cause", "by_cause", SHARES),
)


def print_report(document: dict[str, Any], console: Console) -> None:
    """Print the document of ``report``."""
    rough = is_rough(document["assumptions"])
    rows = [{**row, "_marked": rough} for row in document["runs"]]
    names = {row["run"]: name_of(row, rows) for row in rows}
    for line in textwrap.wrap(document["verdict"], min(console.width, VERDICT_COLUMNS)):
        console.print(line, markup=False)
    _print(console, None, names, rows, COUNTS)
    _print(console, None, names, rows, TIMES)
    _print(console, None, names, rows, WAITS)
    others = [row for row in rows if base_of(row, rows, document["baseline"]) not in (None, row)]
    if others:
        columns = [(title, _against(name, rows, document["baseline"])) for title, name in COMPARED]
        against = next(label(row) for row in rows if row["run"] == document["baseline"])
        _print(console, f"against {against}", names, others, columns)
    for section in SECTIONS:
        _print_sums(console, section, names, document[section.rows])
    for line in assumption_lines(document["assumptions"]):
        console.print(line, markup=False)


def _against(name: str, rows: Sequence[Row], baseline: int) -> Callable[[Row], str]:
    def against(row: Row) -> str:
        base = base_of(row, rows, baseline)
        return difference(row[name], base[name] if base else None)

    return against


def _print(console: Console, title: str | None, names: dict[int, str], rows: Sequence[Row], columns: Columns) -> None:
    table = _table(title)
    table.add_column("", overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(names[row["run"]], *(write(row) for _, write in columns))
    console.print(table)


def _print_sums(console: Console, section: Section, names: dict[int, str], rows: Sequence[Row]) -> None:
    """Print sums: each domain, or cause, with a line for each run."""
    if not rows:
        return
    table = _table(section.title)
    table.add_column(section.by)
    table.add_column("")
    for heading, _ in section.columns:
        table.add_column(heading, justify="right", overflow="fold")
    name = "p2m_dom" if section.by == "domain" else "cause"
    values = list(dict.fromkeys(row[name] for row in rows))
    for value in sorted(values, key=lambda v: (v is None, v if isinstance(v, int) else 0)):
        label = "unknown" if value is None else f"d{value}" if isinstance(value, int) else value
        for row in (row for row in rows if row[name] == value):
            table.add_row(label, names[row["run"]], *(write(row) for _, write in section.columns))
            label = ""
    console.print(table)


def _table(title: str | None) -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
