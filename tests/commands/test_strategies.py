"""``eptreplay strategies``: every strategy that ships, for people and for programs."""

from __future__ import annotations

import json

from eptreplay.strategies.document import strategies_document
from eptreplay.strategies.registry import STRATEGIES
from tests.commands.conftest import Run
from tests.commands.running import narrow


def test_the_table_has_a_row_and_a_summary_for_each(here: Run) -> None:
    done = here("strategies")
    assert (done.code, done.err) == (0, "")
    head, rule, *lines = done.out.splitlines()
    assert head.split() == ["strategy", "broadcast", "ipi", "commit", "releases"]
    assert rule.split() == ["─" * len(name) for name in head.split()]
    for strategy in STRATEGIES.values():
        row, summary = lines.pop(0), lines.pop(0)
        cells = [strategy.name, strategy.broadcast, strategy.ipi, strategy.commit, strategy.releases]
        assert row.split() == " ".join(cells).split()
        assert summary == f"    {strategy.summary}"
        for name in ("dates", "plausible"):
            if getattr(strategy, name):
                assert lines.pop(0) == f"    {name}: {getattr(strategy, name)}"
    assert lines == []


def test_json_is_the_document(here: Run) -> None:
    done = here("strategies", "--format", "json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == strategies_document()


def test_on_a_narrow_terminal_nothing_is_lost_or_cut(here: Run) -> None:
    with narrow(80):
        out = here("strategies").out
    assert max(map(len, out.splitlines())) <= 80
    words = set(out.split())
    for strategy in STRATEGIES.values():
        texts = (strategy.name, strategy.releases, strategy.summary, strategy.dates, strategy.plausible)
        assert set(" ".join(texts).split()) <= words
