"""The page of write paths leaves none out, and shows what replay counts."""

from __future__ import annotations

import re

import pytest
from _ext import pages, paths

from eptreplay.workload.paths import PATHS, Path
from tests.conftest import ROOT

NAMED = {path.name: path for path in PATHS}


def test_every_path_is_documented_with_its_parameters() -> None:
    assert "```{generated} paths\n```" in (ROOT / "docs/reference/paths.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", pages.GENERATORS["paths"](), re.MULTILINE | re.DOTALL))
    assert list(sections) == list(NAMED)
    for path in PATHS:
        assert path.xen in sections[path.name]
        assert path.summary.replace("``", "`") in sections[path.name]
        assert all(f"`{name} = " in sections[path.name] for name in path.parameters)


@pytest.mark.parametrize(
    ("path", "strategy", "count"),
    [
        (NAMED["pml_full"], "eager", (3, 3, 3, 3, 0)),
        (NAMED["pml_full"], "deferred", (3, 3, 3, 0, 3)),
        (NAMED["pml_full"], "deferred-2026", (1, 3, 3, 0, 1)),
        (NAMED["logdirty_fault"], "deferred", (1, 1, 2, 0, 1)),
        (NAMED["replace_table"], "deferred", (1, 1, 1, 1, 0)),
        (NAMED["write_with_views"], "deferred", (3, 3, 3, 2, 1)),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else None,
)
def test_the_page_counts_what_paths_cost_by_default(path: Path, strategy: str, count: tuple[int, ...]) -> None:
    assert paths.count(path, strategy) == count


def test_acts_are_shown_as_they_nest_and_equal_ones_side_by_side_as_one() -> None:
    assert list(paths.lines(NAMED["share"].acts())) == [
        "HOLD_BEGIN d1, other",
        "  HOLD_BEGIN d2, other",
        "    SET 0x40000 .. 0x40001: ram_shared -> ram_shared",
        "    HOLD_BEGIN d3, other",
        "      SET 0x40000: ram_shared -> ram_shared",
        "    HOLD_END d3",
        "  HOLD_END d2",
        "HOLD_END d1",
    ]
