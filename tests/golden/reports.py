"""Golden reports: where they lie, and how they are made anew.

``python -m tests.golden.reports [NAME ...]`` writes them, from the recordings in the folder EPTREPLAY_RECORDINGS.
Look at every difference before committing it: each is a change of what we tell our users.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from eptreplay.report import report

FOLDER = Path(__file__).parent
SUFFIX = ".xentrace.xz"


def golden_file(recording: Path) -> Path:
    """Return where the golden report on a recording lies."""
    return FOLDER / f"{recording.name.removesuffix(SUFFIX)}.json"


def report_on(recording: Path) -> dict[str, Any]:
    """Return the report with all defaults, but for the version that made it."""
    document = report(recording)
    return {name: value for name, value in document.items() if name != "version"}


def main() -> None:
    """Write golden reports."""
    recordings = sorted(Path(os.environ["EPTREPLAY_RECORDINGS"]).glob(f"*{SUFFIX}"))
    for recording in recordings:
        if not sys.argv[1:] or any(recording.name.startswith(name) for name in sys.argv[1:]):
            golden_file(recording).write_text(json.dumps(report_on(recording), indent=1) + "\n")


if __name__ == "__main__":
    main()
