"""All that happened in a replay, in the order in which it did. Times are in ns from the start of the recording."""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.facts import Fact
from eptreplay.model.host import Host
from eptreplay.model.setting import Setting


class Logged(NamedTuple):
    """A fact about the pCPU at position ``c``, which was at the row of the workload with that number then."""

    t_ns: int
    c: int
    fact: Fact
    row: int


class Run(NamedTuple):
    """A replay that is over: the last state of the host, all that happened, and times by position of the pCPU."""

    setting: Setting
    host: Host
    log: tuple[Logged, ...]
    now_ns: int
    spans: tuple[tuple[tuple[str, int, int], ...], ...]
    drift_ns: tuple[int, ...]
    row_costs: dict[int, int]
