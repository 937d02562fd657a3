"""The file that "Write your own strategy" shows is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import pytest

from eptreplay.causes import CAUSES
from eptreplay.strategies import DEFER, MARK, SET, Request, Strategy
from eptreplay.strategies.registry import find_strategies
from tests.conftest import ROOT
from tests.docs.examples import blocks

PAGE = ROOT / "docs" / "strategies.md"
UNKNOWN = Request(*[-1] * len(Request._fields))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Strategy:
    """Return the strategy out of the first file of the page, saved under the name that the page gives it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(next(block.body for block in blocks(PAGE) if block.language == "python"))
    _, mine = find_strategies(["deferred", "mine.py:MINE"])
    return mine


def test_it_decides_as_the_page_says(mine: Strategy) -> None:
    assert mine.decide
    fault = UNKNOWN._replace(what=SET, default=DEFER, cause=CAUSES.index("logdirty_fault"), upgrade=1)
    assert mine.decide(fault) == MARK
    assert mine.decide(fault._replace(upgrade=0)) == DEFER
    assert mine.decide(fault._replace(cause=CAUSES.index("decrease"))) == DEFER
    assert mine.decide(fault._replace(what=SET + 1)) == DEFER


@pytest.mark.compiled
def test_numba_compiles_it(mine: Strategy) -> None:
    jit: Any = numba.njit  # its types do not know what a compiled function returns
    decide = jit(mine.decide)
    fault = UNKNOWN._replace(what=SET, default=DEFER, cause=CAUSES.index("logdirty_fault"), upgrade=1)
    assert [decide(request) for request in (fault, UNKNOWN)] == [MARK, -1]


def test_the_other_files_of_the_page_run(tmp_path: Path) -> None:
    others = [block.body for block in blocks(PAGE) if block.language == "python"][1:]
    assert others
    for number, body in enumerate(others):
        (tmp_path / f"other{number}.py").write_text(body)
        assert find_strategies([f"{tmp_path}/other{number}.py:EAGER_RUNNING"])[0].kick == "running"
