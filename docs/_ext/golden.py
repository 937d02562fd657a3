"""Generators on the golden reports: what the recordings that the project has show, as the tests hold it.

Rows whose numbers are the same are one row, so that a table shows which releases agree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _ext.markdown import list_table
from eptreplay.report.units import count, duration, span
from eptreplay.strategies.presets import PRESETS
from eptreplay.strategies.registry import STRATEGIES

FOLDER = Path(__file__).parents[2] / "tests" / "golden"

Columns = dict[str, list[Any]]


def golden(name: str) -> dict[str, Any]:
    """Return the golden report on a recording: the one whose name begins with ``name``."""
    (path,) = FOLDER.glob(f"{name}-*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def operations(name: str) -> str:
    """Return what the rules made of a recording's records."""
    rules = golden(name)["assumptions"]["rules"]
    rows = [(f"`{rule['rule']}`", count(rule["operations"]), count(rule["records"])) for rule in rules]
    return list_table(("rule", "operations", "records"), rows, (40, 30, 30))


def runs(name: str) -> str:
    """Return how often and how long, strategy by strategy."""
    columns = golden(name)["runs"]
    rows = [
        (
            *(count(columns[key][run]) for key in ("holds", "ept_stores")),
            span(columns["broadcasts_min"][run], columns["broadcasts"][run], columns["broadcasts_max"][run]),
            *(count(columns[key][run]) for key in ("broadcasts_under_lock", "ipis", "invepts")),
            *(duration(columns[key][run]) for key in ("hold_ns_total", "op_latency_ns_p99")),
        )
        for run in _in_order(columns)
    ]
    head = ("holds", "stores", "broadcasts", "under lock", "IPIs", "INVEPTs", "lock held", "operation, p99")
    return list_table(("", *head), _joined(columns, rows), (24, 10, 10, 20, 10, 10, 10, 10, 10))


def broadcasts(name: str) -> str:
    """Return the broadcasts by cause, strategy by strategy."""
    document = golden(name)
    columns, causes = document["runs"], document["by_cause"]
    used = [cause for cause, own in causes.items() if any(own["broadcasts"])]
    by_run = {cause: dict(zip(causes[cause]["run"], causes[cause]["broadcasts"], strict=True)) for cause in used}
    rows = [tuple(count(by_run[cause].get(columns["run"][run], 0)) for cause in used) for run in _in_order(columns)]
    return list_table(("", *(f"`{cause}`" for cause in used)), _joined(columns, rows), (30, *(14 for _ in used)))


def _label(columns: Columns, run: int) -> str:
    return str(columns["preset"][run] or columns["strategy"][run])


def _in_order(columns: Columns) -> list[int]:
    """Return the runs in the order of history: presets, then strategies."""
    names = [*PRESETS, *STRATEGIES]
    return sorted(range(len(columns["run"])), key=lambda run: names.index(_label(columns, run)))


def _joined(columns: Columns, rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return rows with the names of their runs in front, those that are the same as one."""
    names: dict[tuple[str, ...], list[str]] = {}
    for run, row in zip(_in_order(columns), rows, strict=True):
        names.setdefault(row, []).append(f"`{_label(columns, run)}`")
    return [(", ".join(same), *row) for row, same in names.items()]
