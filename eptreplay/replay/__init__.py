"""Replay of a workload under any number of strategies, and the tables of its results.

``replay`` is the public function; it is imported on first use, as the engine's modules need none of what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eptreplay.replay.runs import replay

__all__ = ["replay"]


def __getattr__(name: str) -> object:
    if name != "replay":
        raise AttributeError(f"module 'eptreplay.replay' has no attribute '{name}'")
    return import_module("eptreplay.replay.runs").replay
