"""Which runs a report compares with which, and what tells one from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

BESIDES = ("lock", "profile", "seed")
"""What a run has besides its preset or strategy."""


def label(row: Row) -> str:
    """Return what a run is called: its preset, or else its strategy. One of the two tells what it is about."""
    return str(row["preset"] or row["strategy"])


def name_of(row: Row, rows: Sequence[Row]) -> str:
    """Return what tells a run from the others: what it is called, and what else differs among them.

    A lock is named only where it differs among those called so: that of a preset is told elsewhere.
    """
    namesakes = [other for other in rows if label(other) == label(row)]
    among = {"lock": namesakes}
    differs = [column for column in BESIDES if len({other[column] for other in among.get(column, rows)}) > 1]
    parts = [f"seed {row[column]}" if column == "seed" else str(row[column]) for column in differs]
    return " ".join([label(row), *parts])


def base_of(row: Row, rows: Sequence[Row], baseline: int) -> Row | None:
    """Return the run that another is compared with: the baseline's preset or strategy, and the same in all else.

    The lock may differ where that is part of what is compared: presets bring their own.
    """
    name = next(label(other) for other in rows if other["run"] == baseline)
    bases = [
        other
        for other in rows
        if label(other) == name and (other["profile"], other["seed"]) == (row["profile"], row["seed"])
    ]
    same = next((other for other in bases if other["lock"] == row["lock"]), None)
    return same or (bases[0] if len(bases) == 1 else None)
