"""What rows a command line asks for, in which order, and what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eptreplay.errors import UsageError
from eptreplay.replay.plan import DEFAULT_PRESETS, LOCKS, Plan, plan
from eptreplay.strategies.presets import PRESETS


def rows(wanted: Plan) -> list[tuple[str | None, str, str, str, int]]:
    """Return what tells the rows of a plan apart."""
    found = [run for run, _ in wanted.runs]
    assert [run.number for run in found] == list(range(len(found)))
    return [(run.preset, run.strategy.name, run.lock, run.profile, run.seed) for run in found]


def test_by_default_three_releases_are_compared() -> None:
    assert rows(plan()) == [
        ("xen-4.6", "eager", "unfair", "two-socket", 0),
        ("xen-4.7", "deferred", "percpu", "two-socket", 0),
        ("xen-4.22", "deferred-2026", "percpu", "two-socket", 0),
    ]
    assert plan().labels == list(DEFAULT_PRESETS)


def test_whoever_names_something_gets_nothing_else() -> None:
    assert plan(["eager"]).labels == ["eager"]
    assert plan(presets=["xen-4.7"]).labels == ["xen-4.7"]


def test_strategies_come_before_presets_and_seeds_are_the_fastest() -> None:
    wanted = plan(["vmenter", "eager"], ["xen-4.7", "xen-4.6"], profiles=["zero", "two-socket"], seed=3, seeds=2)
    found = rows(wanted)
    assert wanted.labels == ["vmenter", "eager", "xen-4.7", "xen-4.6"]
    assert [(preset, strategy) for preset, strategy, *_ in found[::4]] == [
        (None, "vmenter"), (None, "eager"), ("xen-4.7", "deferred"), ("xen-4.6", "eager")
    ]  # fmt: skip
    assert [(profile, seed) for *_, profile, seed in found[:4]] == [
        ("zero", 3), ("zero", 4), ("two-socket", 3), ("two-socket", 4)
    ]  # fmt: skip


def test_a_strategy_may_stand_beside_the_preset_that_has_it() -> None:
    assert [row[:2] for row in rows(plan(["eager"], ["xen-4.6"]))] == [(None, "eager"), ("xen-4.6", "eager")]


def test_all_is_every_strategy_and_no_preset() -> None:
    assert not {preset for preset, *_ in rows(plan(["all"]))} - {None}
    assert len(plan(["all"], ["xen-4.22"]).labels) == len(plan(["all"]).labels) + 1


# Locks.


def test_a_lock_that_is_given_replaces_that_of_a_preset() -> None:
    wanted = plan(presets=["xen-4.6"], locks=["queue"])
    assert [row[2] for row in rows(wanted)] == ["queue"]
    assert wanted.presets == ("xen-4.6: eager, lock queue in place of unfair, as --lock says",)


def test_a_preset_brings_its_own_lock_and_a_strategy_none() -> None:
    wanted = plan(["eager"], ["xen-4.6", "xen-4.7"])
    assert [row[2] for row in rows(wanted)] == wanted.locks == ["queue", "unfair", "percpu"]
    assert wanted.presets == ("xen-4.6: eager, lock unfair", "xen-4.7: deferred, lock percpu")
    given = plan(["eager"], ["xen-4.6"], locks=["percpu", "queue", "percpu"])
    assert [(row[0], row[2]) for row in rows(given)] == [
        (None, "percpu"), (None, "queue"), ("xen-4.6", "percpu"), ("xen-4.6", "queue")
    ]  # fmt: skip
    assert given.presets == ("xen-4.6: eager, lock percpu, queue in place of unfair, as --lock says",)
    assert plan(presets=["xen-4.7"], locks=["percpu"]).presets == ("xen-4.7: deferred, lock percpu",)
    assert plan(["eager"]).presets == ()


def test_every_preset_has_a_lock_that_there_is() -> None:
    assert {preset.lock for preset in PRESETS.values()} <= set(LOCKS)


# What ran while recording, and what is added.


def test_the_recorded_host_is_a_strategy_or_a_preset_on_a_machine() -> None:
    assert plan().recorded is None
    preset = plan(recorded_as="xen-4.6", recorded_on="two-socket").recorded
    assert preset
    assert (preset.strategy.name, preset.lock, preset.profile.name, preset.label) == (
        "eager", "unfair", "two-socket", "xen-4.6"
    )  # fmt: skip
    strategy = plan(recorded_as="npt-deferred", recorded_on="zero").recorded
    assert strategy
    assert (strategy.strategy.name, strategy.lock, strategy.profile.name, strategy.label) == (
        "npt-deferred", "queue", "zero", "npt-deferred"
    )  # fmt: skip


def test_a_strategy_of_a_user_may_have_been_recorded_and_its_file_is_not_named(tmp_path: Path) -> None:
    recorded = plan(recorded_as=own(tmp_path, "mine"), recorded_on="zero").recorded
    assert recorded
    assert (recorded.strategy.name, recorded.label) == ("mine", "mine")


def test_what_is_injected_and_scaled_is_in_the_plan() -> None:
    assert (plan().injections, plan().think_scale) == ((), 1.0)
    wanted = plan(inject=["calls:every=1ms", "lookups:every=2ms,dom=3"], think_scale=2)
    assert [injection.text for injection in wanted.injections] == ["calls:every=1ms", "lookups:every=2ms,dom=3"]
    assert repr(wanted.think_scale) == "2.0"


# Errors.


def own(folder: Path, name: str, **switches: str) -> str:
    """Write a strategy of a user's, and return what to call it."""
    given = "".join(f", {switch}={value!r}" for switch, value in switches.items())
    path = folder / "mine.py"
    path.write_text(f"from eptreplay.strategies import Strategy\nMINE = Strategy(name={name!r}{given})\n")
    return f"{path}:MINE"


def test_no_strategy_may_be_called_like_a_preset_beside_it(tmp_path: Path) -> None:
    mine = own(tmp_path, "xen-4.6")
    assert plan([mine]).labels == ["xen-4.6"]
    with pytest.raises(UsageError, match=r"^-s xen-4\.6: there is a preset of that name, too; each row of a result"):
        plan([mine], ["xen-4.6"])


@pytest.mark.compiled
def test_strategies_that_cannot_be_replayed_are_told_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from eptreplay.strategies import Strategy\n"
        "def decide(request):\n    return undefined(request)\n"
        "MINE = Strategy(name='mine', decide=decide)\n"
    )
    with pytest.raises(UsageError, match="undefined"):
        plan([f"{path}:MINE"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presets": ["xen-4.8"]}, "--preset xen-4.8: expected one of "),
        ({"presets": ["xen-4.7", "xen-4.7"]}, "--preset xen-4.7: named twice"),
        ({"strategies": ["eager", "eager"]}, "-s eager: named twice"),
        (
            {"presets": ["xen-4.6"], "locks": ["unfiar"]},
            "--lock unfiar: expected one of unfair, queue, percpu; did you",
        ),
        ({"recorded_as": "eager"}, "--recorded-as eager: expected --recorded-on as well"),
        ({"recorded_on": "zero"}, "--recorded-on zero: expected --recorded-as as well"),
        ({"recorded_as": "xen-4.66", "recorded_on": "zero"}, "--recorded-as xen-4.66: expected one of xen-4.6, "),
        ({"recorded_as": "egaer", "recorded_on": "zero"}, "--recorded-as egaer: expected one of "),
        ({"recorded_as": "eager", "recorded_on": "zeor"}, "profile zeor: expected one of "),
        ({"inject": ["lokups:every=1ms"]}, "--inject lokups: expected one of lookups, calls; did you mean lookups?"),
        ({"think_scale": 0}, "--think-scale 0: expected a number above 0, 1000 at most"),
    ],
)
def test_wrong_usage_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(**options)
    assert str(caught.value).startswith(message)


def test_every_preset_can_be_planned() -> None:
    assert plan(presets=list(PRESETS)).labels == list(PRESETS)
