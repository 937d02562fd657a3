"""Tables for people, JSON documents for programs, on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from eptreplay.xentrace.catalogue import by_id

PIPE_COLUMNS = 400
"""Width where nobody looks: lines that go to a file or a pipe are not to be wrapped."""


def print_document(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


def new_console() -> Console:
    """Return standard output as a console: as wide as the terminal, wide where it goes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False, soft_wrap=False)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def print_events(document: dict[str, Any]) -> None:
    """Print the catalogue as a table: a row for each layout of an event."""
    table = _table(
        ("id", "left"), ("event", "left"), ("TSC", "left"), ("ept", "left"), ("since", "left"), ("payload", "left")
    )
    for event in document["events"]:
        timed = {True: "yes", False: "no", None: "either"}[event["timed"]]
        for number, layout in enumerate(event["layouts"]):
            first = (
                (event["id"], event["name"], timed, "yes" if event["ept"] else "") if number == 0 else ("", "", "", "")
            )
            table.add_row(*first, layout["since"], layout["payload"].replace("[", "\\["))
    new_console().print(table)


def print_strategies(document: dict[str, Any]) -> None:
    """Print strategies, each with its summary, when it was in Xen's tree, and of a candidate what speaks for it."""
    head = (("strategy", "left"), ("broadcast", "left"), ("ipi", "left"), ("commit", "left"), ("releases", "left"))
    columns = ("name", "broadcast", "ipi", "commit", "releases")
    entries = []
    for each in document["strategies"]:
        lines = [each["summary"], *(f"{name}: {each[name]}" for name in ("dates", "plausible") if each[name])]
        entries.append(([each[column] for column in columns], "\n".join(lines)))
    _entries(head, entries)


def print_presets(document: dict[str, Any]) -> None:
    """Print presets, each with its summary."""
    head = (("preset", "left"), ("strategy", "left"), ("lock", "left"), ("released", "left"))
    columns = ("name", "strategy", "lock", "released")
    _entries(head, [([each[column] for column in columns], each["summary"]) for each in document["presets"]])


def print_profiles(profiles: Sequence[dict[str, Any]]) -> None:
    """Print profiles as a table: how many of the numbers of each have a source, and how many are assumed."""
    table = _table(("profile", "left"), ("sourced", "right"), ("assumed", "right"), ("summary", "left"))
    for profile in profiles:
        sourced = sum(number["source"] is not None for number in profile["numbers"])
        table.add_row(profile["name"], f"{sourced}", f"{len(profile['numbers']) - sourced}", profile["summary"])
    new_console().print(table)


def print_profile(profile: dict[str, Any]) -> None:
    """Print every number of a profile, each with its source or why it is assumed."""
    new_console().print(Text(f"{profile['name']}: {profile['summary']}\n"))
    entries = []
    for number in profile["numbers"]:
        span = "{:,} .. {:,}".format(*number["range"]) if number["range"] else ""
        reason = f"source: {number['source']}" if number["source"] else f"assumed: {number['assumed']}"
        value, choices = number["value"], number["choices"]
        text = f"{reason}\none of: {', '.join(choices)}" if choices else reason
        entries.append(([number["name"], value if choices else f"{value:,}", number["unit"], span], text))
    _entries((("number", "left"), ("value", "right"), ("unit", "left"), ("range", "left")), entries)


def _entries(head: Sequence[tuple[str, str]], entries: Sequence[tuple[Sequence[str], str]]) -> None:
    """Print rows of short cells, each with lines of text below that have the whole width to themselves."""
    console = new_console()
    names = [name for name, _ in head]
    widths = [max(map(len, column)) for column in zip(names, *(cells for cells, _ in entries), strict=True)]
    lines = [(names, ""), (["─" * len(name) for name in names], ""), *entries]
    for cells, text in lines:
        grid = Table.grid(padding=(0, 2))
        # The last column is left to fold where the terminal is narrow.
        for (_, justify), width in zip(head, [*widths[:-1], None], strict=True):
            grid.add_column(justify="right" if justify == "right" else "left", min_width=width)
        grid.add_row(*map(Text, cells))
        console.print(grid)
        for line in text.splitlines():
            console.print(Padding(Text(line), (0, 0, 0, 4), expand=False))


def print_info(document: dict[str, Any]) -> None:
    """Print the document of ``info`` as tables: the recording, its events, its p2m writes, and what is missing."""
    console = new_console()
    console.print(_facts(_recording(document)), markup=False)
    table = _table(("event", "left"), ("id", "left"), ("records", "right"))
    for identifier, count in sorted(document["events"].items(), key=lambda item: (-item[1], item[0])):
        event = by_id(int(identifier, 16))
        table.add_row(event.name if event else "(not in the catalogue)", identifier, f"{count:,}")
    console.print(table)
    if document["p2m"]:
        console.print(_facts(_p2m(document["p2m"], document["calls"])), markup=False)
        _print_rules(console, document["p2m"]["rules"])
    for title, lines in (("missing", document["missing"]), ("invisible", (document["p2m"] or {}).get("invisible", []))):
        for line in lines:
            console.print(f"{title}: {line}", markup=False)


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _print_rules(console: Console, rules: list[dict[str, Any]]) -> None:
    """Print which rules made operations of how many records."""
    if not rules:
        return
    total = sum(rule["records"] for rule in rules)
    table = _table(("rule", "left"), ("operations", "right"), ("records", "right"), ("share", "right"))
    for rule in rules:
        share = f"{100 * rule['records'] / total:.1f} %"
        table.add_row(rule["rule"], f"{rule['operations']:,}", f"{rule['records']:,}", share)
    console.print(table)


def _recording(document: dict[str, Any]) -> list[tuple[str, str]]:
    from eptreplay.workload.skew import skew_line

    tsc, xen, back = document["tsc_hz"], document["xen"], document["tsc_steps_back"]
    rows = [
        ("source", f"{s['name']}, {s['bytes']:,} bytes, sha256 {s['sha256'] or 'not computed'}")
        for s in document["sources"]
    ]
    span = (
        "unknown"
        if document["span_ns"] is None
        else f"{document['span_ns'] / 1e9:.3f} s, {document['span_ticks']:,} ticks"
    )
    spread = f", spread {tsc['spread'] / 1e6:.3f} MHz" if tsc["spread"] is not None else ""
    rows += [
        (
            "records",
            f"{document['records']:,} in {document['windows']:,} windows; {document['timed_records']:,} with a TSC",
        ),
        ("pCPUs", _ranges(document["pcpus"])),
        ("span", span),
        ("TSC", f"{tsc['value'] / 1e6:.3f} MHz, {tsc['how']}{spread}"),
        ("Xen layouts", f"{xen['layout']}, {xen['how']}"),
        ("vendor", document["vendor"] or "unknown"),
        ("bytes", f"{document['bytes_decoded']:,} decoded, {document['bytes_skipped']:,} skipped"),
        ("damage", f"{document['damage_total']:,} spot{'' if document['damage_total'] == 1 else 's'}"),
        ("lost records", f"{document['lost_records']:,}"),
    ]
    if back["count"]:
        rows.append(("TSC steps back", f"{back['count']:,}, by up to {back['max_ticks']:,} ticks"))
    skew = skew_line(document["tsc_skew"], tsc["value"])
    if skew:
        rows.append(("TSC skew", skew))
    elif document["tsc_skew"] and document["tsc_skew"]["moves"]:
        moves = document["tsc_skew"]["moves"]
        text = "1 move of a vCPU to another pCPU" if moves == 1 else f"{moves:,} moves of vCPUs to other pCPUs"
        rows.append(("TSC skew", f"none seen in {text}"))
    return rows


def _ranges(numbers: list[int]) -> str:
    """Return ``0-3, 7`` for [0, 1, 2, 3, 7], with the count in front."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return f"{len(numbers)}: " + ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def _p2m(p2m: dict[str, Any], calls: dict[str, int] | None) -> list[tuple[str, str]]:
    domains = ", ".join(f"d{domain} {count:,}" for domain, count in p2m["by_domain"].items())
    rows = [
        ("p2m writes recorded", f"{p2m['recorded']:,}" + (f" ({domains})" if domains else "")),
        ("p2m writes inferred", f"{p2m['inferred']:,}"),
    ]
    if calls:
        counts = f"{calls['vmcs_clears']:,} to clear a VMCS, {calls['calibrations']:,} to calibrate the time"
        rows.append(("other calls inferred", counts))
    return rows
