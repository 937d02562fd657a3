"""Golden reports: what is in them, where they lie, and how they are made anew.

``python -m tests.golden.reports [NAME ...]`` writes them, from the recordings in the folder EPTREPLAY_RECORDINGS.
Look at every difference before committing it: each is a change of what we tell our users.

A golden report is ``eptreplay report X --format json`` with all presets, and with the strategies of STRATEGIES, less
the version. The lists of rows are kept as columns, one line each with a value for every run, so that a change of one
number is a change of one line, and presets that agree are seen to agree.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from eptreplay.report import report
from eptreplay.strategies.presets import PRESETS

FOLDER = Path(__file__).parent
SUFFIX = ".xentrace.xz"

STRATEGIES = ("eager-no-misconfig", "deferred-no-pod-sync", "npt-immediate", "npt-deferred", "never")
"""What is compared besides the presets: releases without one of their reasons to broadcast; what ran while recording,
and what runs there today; and what there is to do anyway."""
BASELINE = "xen-4.6"

KEYS = {"runs": (), "by_domain": ("p2m_dom",), "by_cause": ("cause",)}
"""Lists of rows, and the columns whose values tell their parts from each other."""

LIST_OF_VALUES = re.compile(r'\[(?:\s+(?:"[^"\s]*"|[^"\s\[{]+),?)+\s+\]')

Rows = list[dict[str, Any]]


def golden_file(recording: Path) -> Path:
    """Return where the golden report on a recording lies."""
    return FOLDER / f"{recording.name.removesuffix(SUFFIX)}.json"


def report_on(recording: Path) -> dict[str, Any]:
    """Return the golden report on a recording."""
    document = report(recording, strategies=STRATEGIES, presets=list(PRESETS), baseline=BASELINE)
    del document["version"]
    return {name: in_columns(value, *KEYS[name]) if name in KEYS else value for name, value in document.items()}


def in_columns(rows: Rows, *keys: str) -> dict[str, Any]:
    """Return rows as columns, apart for each value of a key."""
    if not keys:
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    key, *others = keys
    parts: dict[str, Rows] = {}
    for row in rows:
        parts.setdefault(str(row[key]), []).append({name: value for name, value in row.items() if name != key})
    return {value: in_columns(part, *others) for value, part in sorted(parts.items())}


def as_text(document: dict[str, Any]) -> str:
    """Return a document as JSON, with each list of numbers and names in one line."""
    return LIST_OF_VALUES.sub(_in_one_line, json.dumps(document, indent=1)) + "\n"


def _in_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[0][1:-1].split())}]"


def main() -> None:
    """Write golden reports."""
    recordings = sorted(Path(os.environ["EPTREPLAY_RECORDINGS"]).glob(f"*{SUFFIX}"))
    for recording in recordings:
        if not sys.argv[1:] or any(recording.name.startswith(name) for name in sys.argv[1:]):
            golden_file(recording).write_text(as_text(report_on(recording)))


if __name__ == "__main__":
    main()
