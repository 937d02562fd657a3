"""Strategies out of users' files, in a replay: what they decide is done, and what is wrong in them is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from eptreplay.errors import UsageError
from tests.replay.results import Guest, replayed, run

HEAD = "from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, Request, Strategy\n\n"


def file(folder: Path, body: str, **switches: str) -> str:
    """Write a strategy with a decision function, and return what to call it on the command line."""
    path = folder / "mine.py"
    given = "".join(f", {name}={value!r}" for name, value in switches.items())
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(
        f"{HEAD}def decide(request: Request) -> int:\n{lines}\n\nMINE = Strategy(name='mine', decide=decide{given})\n"
    )
    return f"{path}:MINE"


def guest() -> Guest:
    """Return a recording with something to decide."""
    return Guest(0, 2).busy(0, 2, faults=30)


def same(folder: Path, mine: str, other: str) -> None:
    """Assert that two strategies give the same results."""
    tables = replayed(folder, guest().trace, strategies=[mine, other], profiles=["two-socket"])
    ours, theirs = run(tables, "mine"), run(tables, other if ".py:" not in other else "other")
    assert ours["broadcasts"] > 0
    assert {**ours, "run": 0, "strategy": ""} == {**theirs, "run": 0, "strategy": ""}
    for table in ("causes", "pcpus", "holds", "broadcasts", "invepts"):
        one, two = (tables[table].filter(run=number).drop("run") for number in (ours["run"], theirs["run"]))
        assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("strategy", "switches"),
    [
        ("deferred", {}),
        ("vmenter", {"broadcast": "sync"}),
        ("eager", {"broadcast": "sync", "ipi": "invept"}),
    ],
)
def test_a_function_that_takes_the_default_is_the_strategy_without_it(
    tmp_path: Path, strategy: str, switches: dict[str, str]
) -> None:
    same(tmp_path, file(tmp_path, "return request.default", **switches), strategy)


def test_a_function_may_decide_what_a_switch_would(tmp_path: Path) -> None:
    same(tmp_path, file(tmp_path, "return NOW"), "vmenter")


def test_a_function_that_passes_upgrades_over_is_the_switch_that_elides_them(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(f"{HEAD}OTHER = Strategy(name='other', upgrades='elide')\n")
    mine = file(tmp_path, "if request.upgrade:\n    return NOTHING\nreturn request.default")
    same(tmp_path, mine, f"{tmp_path}/other.py:OTHER")
    tables = replayed(tmp_path, guest().trace, strategies=[mine, "deferred"])
    # Faults on tracked pages only give rights back.
    upgrades = tables["workload"].filter(op="SET", cause="logdirty_fault").height
    assert run(tables, "deferred")["syncs"] - run(tables, "mine")["syncs"] == upgrades > 0


@pytest.mark.parametrize("decision", ["4", "-1", "request.gfn + 100", "1 << 40"])
def test_what_is_no_decision_is_told(tmp_path: Path, decision: str) -> None:
    mine = file(tmp_path, f"return {decision}")
    with pytest.raises(
        UsageError, match=r"^strategy mine: decide returned something else than NOTHING, MARK, DEFER, NOW"
    ):
        replayed(tmp_path, guest().trace, strategies=[mine])
    assert not list(tmp_path.glob("*.result"))


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        ("return len(open('x').read())", 4, "decide does not compile: "),
        # Where a name stands that nothing defines numba does not say.
        ("names = {}\nnames['a'] = nonesuch\nreturn 0", 3, "decide does not compile: NameError: name 'nonesuch' is"),
        ("return 'now'", 3, "decide does not compile: "),
        ("return request.no_such_field", 4, "decide does not compile: "),
    ],
)
def test_a_function_that_does_not_compile_is_told_with_its_line(
    tmp_path: Path, body: str, line: int, reason: str
) -> None:
    mine = file(tmp_path, body)
    with pytest.raises(UsageError) as caught:
        replayed(tmp_path, guest().trace, strategies=[mine])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path}/mine.py: line {line}: strategy mine: ")
    assert reason in message
