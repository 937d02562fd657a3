"""Replay a Xen host's trace under any EPT invalidation strategy: what it would have cost, and whether it was safe.

The functions below do what the verbs of the command line do. They are imported on first use, so that ``import
eptreplay`` costs nothing. The functions behind ``replay`` and ``report`` stand in the packages of these names:
``from eptreplay.replay import replay``, ``from eptreplay.report import report``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from eptreplay.replay.export import export
    from eptreplay.trace.ingest import ingest
    from eptreplay.trace.pushdown import scan_xentrace
    from eptreplay.trace.scan import scan
    from eptreplay.workload.info import info

__all__ = ["__version__", "export", "info", "ingest", "scan", "scan_xentrace"]

_HOME = {
    "export": "eptreplay.replay.export",
    "info": "eptreplay.workload.info",
    "ingest": "eptreplay.trace.ingest",
    "scan": "eptreplay.trace.scan",
    "scan_xentrace": "eptreplay.trace.pushdown",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'eptreplay' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
