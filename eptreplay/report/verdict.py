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
    watchdog = _watchdog(rows)
    if not others:
        return f"{name_of(base, rows)}: {_measured(base)}.{watchdog}"
    # A control that never invalidates would win every comparison.
    serious = [row for row in others if row["broadcasts"] or not base["broadcasts"]] or others
    best = min(
        serious, key=lambda row: (_or_last(row["hold_ns_total"]), _or_last(row["broadcasts_under_lock"]), row["run"])
    )
    ours, theirs = name_of(best, rows), name_of(base, rows)
    return f"{ours} {_compared(best, base)} {theirs}. {ours}: {_measured(best)}. {theirs}: {_measured(base)}.{watchdog}"


def _watchdog(rows: Sequence[dict[str, Any]]) -> str:
    """Return where the watchdog fires, or that it does not; nothing where nobody can know."""
    fired = [row for row in rows if row["watchdog_fired"]]
    if fired:
        cases = ", ".join(
            f"{name_of(row, rows)} on pCPU {row['watchdog_pcpu']} after {duration(row['watchdog_at_ns'])}"
            for row in fired
        )
        spared = [name_of(row, rows) for row in rows if row["watchdog_fired"] is False]
        return f" The watchdog fires: {cases}{f'; not with {_listed(spared)}' if spared else ''}."
    if not any(row["watchdog_fired"] is False for row in rows):
        return ""
    worst = max(rows, key=lambda row: row["stall_ns_max"] or 0)
    return (
        f" The watchdog does not fire: no pCPU is kept from its softirqs for longer than"
        f" {duration(worst['stall_ns_max'])} ({name_of(worst, rows)})."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


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
