"""What results mean: sums by domain and by cause, differences, a verdict; printed, or as files.

``report`` is the public function; it is imported on first use, as it needs everything else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eptreplay.journey import report

__all__ = ["report"]


def __getattr__(name: str) -> object:
    if name != "report":
        raise AttributeError(f"module 'eptreplay.report' has no attribute '{name}'")
    return import_module("eptreplay.journey").report
