"""Presets: strategy and lock of a release."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields

import pytest

from eptreplay.errors import UsageError
from eptreplay.strategies.document import presets_document
from eptreplay.strategies.presets import PRESETS, Preset, find_presets
from eptreplay.strategies.registry import STRATEGIES


def test_each_is_a_strategy_that_ships_and_a_lock() -> None:
    assert {name: (preset.strategy, preset.lock) for name, preset in PRESETS.items()} == {
        "xen-4.6": ("eager", "unfair"),
        "xen-4.7": ("deferred", "percpu"),
        "xen-4.17.0": ("deferred-xsa480", "percpu"),
        "xen-4.21.0": ("deferred-xsa480-pml", "percpu"),
        "xen-4.22": ("deferred-2026", "percpu"),
    }
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.strategy in STRATEGIES
        assert preset.summary


def test_they_are_ordered_by_release() -> None:
    dates = [preset.released for preset in PRESETS.values()]
    assert dates == sorted(dates)
    assert all(date[:4].isdecimal() for date in dates)


def test_a_release_had_the_strategy_that_its_preset_has() -> None:
    for preset in PRESETS.values():
        release = preset.name.removeprefix("xen-")
        assert release in STRATEGIES[preset.strategy].releases.replace("4.17 to", "4.17.0 to")


def test_no_preset_is_called_like_a_strategy() -> None:
    assert set(PRESETS) & set(STRATEGIES) == set()


def test_they_come_in_the_order_asked_for() -> None:
    assert [preset.name for preset in find_presets(["xen-4.22", "xen-4.6"])] == ["xen-4.22", "xen-4.6"]
    assert find_presets([]) == []


@pytest.mark.parametrize(
    ("wanted", "near"), [("xen-4.60", "xen-4.6"), ("4.6", "xen-4.6"), ("eager", ""), ("all", ""), ("", "")]
)
def test_unknown_names_come_with_near_ones(wanted: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_presets([wanted])
    message = str(caught.value)
    assert message.startswith(f"--preset {wanted}: expected one of {', '.join(PRESETS)}")
    assert near in message.partition("; did you mean ")[2]
    assert ("did you mean" in message) == bool(near)


def test_none_may_be_named_twice() -> None:
    with pytest.raises(UsageError, match=r"^--preset xen-4\.7: named twice; each row of a result needs a name"):
        find_presets(["xen-4.7", "xen-4.6", "xen-4.7"])


def test_the_document_has_every_field_of_every_preset() -> None:
    document = json.loads(json.dumps(presets_document()))
    assert document["schema"] == 1
    for each, preset in zip(document["presets"], PRESETS.values(), strict=True):
        assert list(each) == [field.name for field in fields(Preset)]
        assert Preset(**each) == preset


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PRESETS["xen-4.6"].lock = "queue"  # type: ignore[misc]
