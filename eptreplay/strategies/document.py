"""The strategies that ship with eptreplay as one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

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
