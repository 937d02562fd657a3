"""What does not change in a replay, and the state in which the host begins."""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.ept import UNKNOWN_ROOT, Table
from eptreplay.model.host import Host, P2m, Pcpu
from eptreplay.model.rows import HOST_VIEW, Costs, Recording, Row
from eptreplay.strategies import Strategy


class Setting(NamedTuple):
    """Everything that does not change, with the numbers of pCPUs in ascending order."""

    recording: Recording
    strategy: Strategy
    costs: Costs
    lock: str
    """Policy of the p2m locks, a name of ``eptreplay.model.locks.POLICIES``."""
    seed: int
    pcpus: tuple[int, ...]
    p2ms: tuple[tuple[int, int], ...]
    position: dict[tuple[int, int], int]
    """Of each p2m in ``p2ms``."""

    @property
    def online(self) -> int:
        """How many pCPUs there are, recorded or not."""
        return max(len(self.pcpus), self.costs.pcpus)

    @property
    def lockless(self) -> bool:
        """Whether pCPUs call others without a lock."""
        return self.strategy.call_lock == "lockless"

    def rows(self, c: int) -> tuple[Row, ...]:
        """Return the program of a pCPU."""
        return self.recording.programs[self.pcpus[c]][1]

    def is_created(self, p: int) -> bool:
        """Tell whether a p2m's domain was created in the recording, so that all about the p2m is known."""
        return self.recording.domains[self.p2ms[p][0]].created

    def next_row(self, host: Host, c: int) -> Row | None:
        """Return the row that a pCPU carries out next, None behind the last."""
        rows, carried = self.rows(c), host.pcpus[c].carried
        return rows[carried] if carried < len(rows) else None

    def last_row(self, host: Host, c: int) -> Row:
        """Return the row that a pCPU has carried out last; there must be one."""
        return self.rows(c)[host.pcpus[c].carried - 1]

    def last_number(self, host: Host, c: int) -> int:
        """Return the number of that row in the workload."""
        return self.recording.programs[self.pcpus[c]][0] + host.pcpus[c].carried - 1

    def vcpus(self, dom: int) -> int | None:
        """Return how many vCPUs of a domain are ever switched to; None if some switch does not say to which."""
        switches = {
            row.vcpu
            for _, rows in self.recording.programs.values()
            for row in rows
            if row.op == "SWITCH_IN" and row.dom == dom
        }
        return None if None in switches else len(switches)


def new_setting(recording: Recording, strategy: Strategy, costs: Costs, lock: str, seed: int) -> Setting:
    """Return what stays the same: the p2ms are those that rows name, and the host p2m of every domain."""
    named = {row.p2m for _, rows in recording.programs.values() for row in rows if row.p2m is not None}
    p2ms = tuple(sorted(named | {(dom, HOST_VIEW) for dom in recording.domains}))
    pcpus = tuple(sorted(recording.programs))
    return Setting(recording, strategy, costs, lock, seed, pcpus, p2ms, {p2m: p for p, p2m in enumerate(p2ms)})


def new_host(setting: Setting) -> Host:
    """Return the host at the start of the recording.

    p2ms of created domains begin empty, and with all pCPUs marked (8eb2235599), unless the strategy never invalidates.
    """
    strategy = setting.strategy
    invalidates = strategy.broadcast != "none" or strategy.decide is not None
    new = [setting.is_created(p) for p in range(len(setting.p2ms))]
    p2ms = tuple(
        P2m(
            marks=("other" if is_new and invalidates else None,) * len(setting.pcpus),
            table=Table() if is_new else UNKNOWN_ROOT,
        )
        for is_new in new
    )
    return Host(tuple(Pcpu() for _ in setting.pcpus), p2ms)


def is_carried_out(setting: Setting, host: Host, number: int) -> bool:
    """Tell whether the row of the workload with a number has been carried out."""
    for c, pcpu in enumerate(host.pcpus):
        first, rows = setting.recording.programs[setting.pcpus[c]]
        if first <= number < first + len(rows):
            return pcpu.carried > number - first
    return False
