"""Fail unless line coverage and branch coverage each reach the floor.

``coverage report`` knows one number that mixes the two, and many lines can hide few branches.
Called by ``make coverage`` with the JSON report; the floor is ``fail_under`` of ``pyproject.toml``.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def main(report: Path) -> int:
    """Print both shares of the JSON report and return 1 if one lies below the floor."""
    floor = tomllib.loads(PYPROJECT.read_text())["tool"]["coverage"]["report"]["fail_under"]
    totals = json.loads(report.read_text())["totals"]
    lines = totals["covered_lines"] / totals["num_statements"] * 100
    branches = totals["covered_branches"] / totals["num_branches"] * 100
    sys.stdout.write(f"lines {lines:.2f} %, branches {branches:.2f} %, wanted of each: {floor} %\n")
    return int(min(lines, branches) < floor)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
