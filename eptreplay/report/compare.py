"""Which runs a report compares with which, and what tells one from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

BESIDES = ("lock", "profile", "seed")
"""What a run has besides its strategy. Only runs that agree in all of it are compared."""


def name_of(row: Row, rows: Sequence[Row]) -> str:
    """Return what tells a run from the others: its preset or strategy, and what else differs among them."""
    differs = [column for column in BESIDES if len({other[column] for other in rows}) > 1]
    parts = [f"seed {row[column]}" if column == "seed" else str(row[column]) for column in differs]
    return " ".join([row["preset"] or row["strategy"], *parts])


def base_of(row: Row, rows: Sequence[Row], baseline: int) -> Row | None:
    """Return the run that another is compared with: of the baseline's strategy, and the same in all else."""
    strategy = next(other["strategy"] for other in rows if other["run"] == baseline)
    return next(
        (
            other
            for other in rows
            if other["strategy"] == strategy and all(other[column] == row[column] for column in BESIDES)
        ),
        None,
    )
