"""A strategy is a value whose switches are checked when it is made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from eptreplay.errors import UsageError
from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, Strategy
from eptreplay.strategies.decision import DECISIONS
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.strategy import CHOICES

SYNCS = [field.name for field in fields(Strategy) if field.name.startswith("sync_")]


def made(**switches: Any) -> Strategy:  # noqa: ANN401 (whatever a user's file may give)
    """Return a strategy with these switches."""
    return Strategy(**{"name": "mine", **switches})


def complaint(**switches: Any) -> str:  # noqa: ANN401 (as above)
    """Return what is wrong with a strategy."""
    with pytest.raises(UsageError) as caught:
        made(**switches)
    return str(caught.value)


def test_its_defaults_are_those_of_deferred() -> None:
    plain, deferred = Strategy(name="plain"), STRATEGIES["deferred"]
    for field in fields(Strategy):
        if field.name not in {"name", "summary", "commit", "dates", "releases", "plausible"}:
            assert getattr(plain, field.name) == getattr(deferred, field.name)


@pytest.mark.parametrize("switch", CHOICES)
def test_each_switch_takes_its_values_and_no_other(switch: str) -> None:
    for choice in CHOICES[switch]:
        assert getattr(made(**{switch: choice}), switch) == choice
    listed = f"strategy mine: {switch} {{}}: expected one of {', '.join(CHOICES[switch])}"
    assert complaint(**{switch: "sometimes"}).startswith(listed.format("sometimes"))
    assert complaint(**{switch: True}) == listed.format("True")
    assert complaint(**{switch: None}).startswith(listed.format("None"))


def test_a_misspelt_switch_value_comes_with_near_ones() -> None:
    assert complaint(ipi="invpt").endswith("expected one of invept, kick, none; did you mean invept?")


@pytest.mark.parametrize("switch", SYNCS)
def test_yes_or_no_is_neither_a_number_nor_a_text(switch: str) -> None:
    for value in (True, False):
        assert getattr(made(**{switch: value}), switch) is value
    for other in (1, 0, "yes", None):
        assert complaint(**{switch: other}) == f"strategy mine: {switch} must be True or False"


@pytest.mark.parametrize("field", ["summary", "commit", "dates", "releases", "plausible"])
def test_descriptions_are_texts(field: str) -> None:
    assert complaint(**{field: 4.7}) == f"strategy mine: {field} must be a text"


@pytest.mark.parametrize("name", ["", "two\nlines", "\x1b[2J", 5, None])
def test_a_name_can_be_printed(name: object) -> None:
    assert complaint(name=name) == f"a strategy's name must be a printable text, not {name!r}"


@pytest.mark.parametrize("decide", [NOW, "now"])
def test_only_functions_decide(decide: object) -> None:
    assert complaint(decide=decide) == "strategy mine: decide must be a function of one argument, the request"


def test_switches_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'brodcast'"):
        made(brodcast="sync")


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STRATEGIES["eager"].ipi = "kick"  # type: ignore[misc]


def test_decisions_are_numbered_as_they_are_listed() -> None:
    assert [DECISIONS[number] for number in (NOTHING, MARK, DEFER, NOW)] == list(DECISIONS)
    assert {name: STRATEGIES[name].default for name in ("eager", "vmenter", "deferred", "never")} == {
        "eager": NOW,
        "vmenter": NOW,
        "deferred": DEFER,
        "never": NOTHING,
    }


def test_only_handlers_that_invalidate_leave_vm_entry_alone() -> None:
    in_handlers = [name for name, strategy in STRATEGIES.items() if not strategy.invalidates_at_entry]
    assert in_handlers == ["eager", "eager-no-misconfig", "deferred-free-list"]
