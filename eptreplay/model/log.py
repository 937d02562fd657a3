"""All that happened in a replay, in the order in which it did. Times are in ns from the start of the recording."""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.facts import Fact
from eptreplay.model.host import Host
from eptreplay.model.rows import Costs
from eptreplay.model.setting import Setting


class Logged(NamedTuple):
    """A fact about the pCPU at position ``c``."""

    t_ns: int
    c: int
    fact: Fact


class Run(NamedTuple):
    """A replay that is over: the last state of the host, all that happened, and times by position of the pCPU."""

    setting: Setting
    costs: Costs
    host: Host
    log: tuple[Logged, ...]
    now_ns: int
    modes: tuple[dict[str, int], ...]
    drift_ns: tuple[int, ...]
