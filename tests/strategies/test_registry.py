"""Strategies by name."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from eptreplay.errors import UsageError
from eptreplay.strategies import Strategy
from eptreplay.strategies.document import strategies_document
from eptreplay.strategies.registry import ALL, STRATEGIES, find_strategies, find_strategy


def names(*wanted: str) -> list[str]:
    """Return the names of the strategies found."""
    return [strategy.name for strategy in find_strategies(wanted)]


def test_each_is_registered_under_its_own_name_and_says_what_it_is() -> None:
    assert {"eager", "vmenter", "deferred", "never"} <= set(STRATEGIES)
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name != ALL
        assert strategy.summary
        assert strategy.releases


def test_they_come_in_the_order_asked_for() -> None:
    assert names("vmenter", "eager") == ["vmenter", "eager"]
    assert names() == []
    assert find_strategy("never") is STRATEGIES["never"]


def test_all_is_every_one_that_ships() -> None:
    assert names("all") == list(STRATEGIES)


@pytest.mark.parametrize("wanted", [["eager", "vmenter", "eager"], ["all", "never"], ["never", "all"], ["all", "all"]])
def test_none_may_be_named_twice(wanted: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^-s \w+: named twice; each row of a result needs a name of its own$"):
        find_strategies(wanted)


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("defered", "deferred or npt-deferred or deferred-pml"),
        ("eager-no-misconf", "eager-no-misconfig"),
        ("vmentry", "vmenter"),
        ("al", "all"),
        ("EAGER", ""),
        ("", ""),
        ("mine.py", ""),
        ("xen-4.7", ""),
    ],
)
def test_unknown_names_come_with_near_ones(wanted: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_strategies([wanted])
    message = str(caught.value)
    assert message.startswith(f"-s {wanted}: expected one of {', '.join(STRATEGIES)}, all, file.py:NAME")
    assert message.partition("; did you mean ")[2] == (f"{near}?" if near else "")


def test_the_document_has_every_field_of_every_strategy() -> None:
    document = json.loads(json.dumps(strategies_document()))
    assert document["schema"] == 1
    assert [each["name"] for each in document["strategies"]] == list(STRATEGIES)
    for each in document["strategies"]:
        strategy = STRATEGIES[each["name"]]
        assert list(each) == [field.name for field in fields(Strategy)]
        assert each["decide"] == (strategy.decide.__name__ if strategy.decide else None)
        assert Strategy(**{**each, "decide": strategy.decide}) == strategy
