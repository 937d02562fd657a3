"""The result in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eptreplay.report.compare import base_of, name_of
from eptreplay.report.units import count, duration

NO_WRITES = "No p2m write is in this recording, recorded or inferred: every strategy costs the same, which is nothing."


def verdict(rows: Sequence[dict[str, Any]], baseline: int) -> str:
    """Return what the rows say: hold time beside operation latency, and how much was sent under the lock."""
    if not rows:
        return "Nothing was replayed."
    base = next(row for row in rows if row["run"] == baseline)
    if not base["p2m_sets"] and not base["holds"]:
        return NO_WRITES
    others = [row for row in rows if row is not base and base_of(row, rows, baseline) is base]
    if not others:
        return f"{name_of(base, rows)}: {_measured(base)}."
    # A control that never invalidates would win every comparison.
    serious = [row for row in others if row["broadcasts"] or not base["broadcasts"]] or others
    best = min(
        serious, key=lambda row: (_or_last(row["hold_ns_total"]), _or_last(row["broadcasts_under_lock"]), row["run"])
    )
    ours, theirs = name_of(best, rows), name_of(base, rows)
    return f"{ours} {_compared(best, base)} {theirs}. {ours}: {_measured(best)}. {theirs}: {_measured(base)}."


def _or_last(value: int | None) -> tuple[bool, int]:
    return value is None, value or 0


def _compared(row: dict[str, Any], base: dict[str, Any]) -> str:
    ours, theirs = row["hold_ns_total"], base["hold_ns_total"]
    if ours is None or theirs is None:
        ours, theirs = row["broadcasts_under_lock"], base["broadcasts_under_lock"]
        if ours == theirs:
            return "sends as many broadcasts under the p2m lock as"
        return f"sends {'fewer' if ours < theirs else 'more'} broadcasts under the p2m lock than"
    if ours == theirs:
        return "holds the p2m lock as long as"
    if theirs == 0:
        return "holds the p2m lock longer than"
    return (
        f"holds the p2m lock {abs(100 * (ours - theirs) / theirs):.0f} % {'less' if ours < theirs else 'longer'} than"
    )


def _measured(row: dict[str, Any]) -> str:
    held = "hold times unknown"
    if row["hold_ns_total"] is not None:
        held = f"held {duration(row['hold_ns_total'])} in all and {duration(row['hold_ns_max'])} at most"
    latency = "operation latency unknown"
    if row["op_latency_ns_p99"] is not None:
        latency = (
            f"an operation took {duration(row['op_latency_ns_p50'])} in the median,"
            f" {duration(row['op_latency_ns_p99'])} at the 99th percentile"
        )
    return f"{held}, {latency}, {count(row['broadcasts_under_lock'])} of {count(row['broadcasts'])} broadcasts under it"
