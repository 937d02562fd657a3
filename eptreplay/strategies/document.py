"""The strategies and presets that ship with eptreplay as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from eptreplay.strategies.presets import PRESETS
from eptreplay.strategies.registry import STRATEGIES


def strategies_document() -> dict[str, Any]:
    """Return ``{"schema": 1, "strategies": [...]}``: per strategy its switches, and what is known about it.

    ``decide`` is the name of the decision function, or null.
    """
    return {
        "schema": 1,
        "strategies": [
            asdict(strategy) | {"decide": strategy.decide and strategy.decide.__name__}
            for strategy in STRATEGIES.values()
        ],
    }


def presets_document() -> dict[str, Any]:
    """Return ``{"schema": 1, "presets": [...]}``: per preset its strategy and lock by name, and its release."""
    return {"schema": 1, "presets": [asdict(preset) for preset in PRESETS.values()]}
