"""``eptreplay presets``: every preset, for people and for programs."""

from __future__ import annotations

import json

from eptreplay.strategies.document import presets_document
from eptreplay.strategies.presets import PRESETS
from tests.commands.conftest import Run
from tests.commands.running import narrow


def test_the_table_has_a_row_and_a_summary_for_each(here: Run) -> None:
    done = here("presets")
    assert (done.code, done.err) == (0, "")
    head, _, *lines = done.out.splitlines()
    assert head.split() == ["preset", "strategy", "lock", "released"]
    for row, summary, preset in zip(lines[::2], lines[1::2], PRESETS.values(), strict=True):
        assert row.split() == [preset.name, preset.strategy, preset.lock, preset.released]
        assert summary == f"    {preset.summary}"


def test_json_is_the_document(here: Run) -> None:
    done = here("presets", "--format", "json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == presets_document()


def test_an_unknown_format_is_2(here: Run) -> None:
    done = here("presets", "--format", "jsn")
    assert (done.code, done.out) == (2, "")
    assert done.lines == ["eptreplay: --format jsn: expected one of table, json; did you mean json?"]


def test_on_a_narrow_terminal_nothing_is_lost_or_cut(here: Run) -> None:
    with narrow(60):
        out = here("presets").out
    assert max(map(len, out.splitlines())) <= 60
    for preset in PRESETS.values():
        assert {preset.name, preset.strategy, preset.released, *preset.summary.split()} <= set(out.split())
