"""A recording in the making: rows as they are recorded, edges between them, and the end that makes it complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, TypeVar

from eptreplay.model import Domain, Recording, Row

PV = 0
GUESTS = (1, 2)
GAPS_NS = (0, 0, 0, 1, 2, 7, 30, 200)

_T = TypeVar("_T")

Place = tuple[int, int]
"""A row: pCPU and position in its program."""
P2m = tuple[int, int]


class Features(NamedTuple):
    """What a recording may hold besides switches, entries, holds and writes."""

    nested: bool = True
    """Holds within holds."""
    pauses: bool = True
    created: bool = True
    vm_entries: bool | None = None
    """Whether entries are recorded; None: either."""


ALL = Features()


@dataclass
class Pcpu:
    """What a pCPU is at in recorded time."""

    rows: list[Row] = field(default_factory=list)
    time_ns: int = 0
    guest: bool = False
    idle: bool = False
    running: tuple[int, int] | None = None
    holds: list[tuple[P2m, int]] = field(default_factory=list)
    pausing: int | None = None


class Recorder:
    """Rows, edges and the choices that a tape of bytes makes."""

    def __init__(self, tape: bytes, features: Features, pcpus: list[int]) -> None:
        self.tape = iter(tape)
        self.features = features
        self.has_vm_entries = self.choose((True, False)) if features.vm_entries is None else features.vm_entries
        self.pcpus = {number: Pcpu() for number in pcpus}
        self.time_ns = 0
        self.holds = 0
        self.order: list[Place] = []
        """All rows, as they were recorded."""
        self.edges: dict[Place, Place] = {}
        self.frees: list[Place] = []
        """Rows PAGE_FREE."""
        self.freed_by: dict[Place, Place] = {}
        """Of rows PAGE_ALLOC."""
        self.left: dict[tuple[int, int], Place] = {}
        """Where each vCPU that does not run was seen last."""

    def choose(self, options: Sequence[_T]) -> _T:
        """Choose with the next byte of the tape; behind its end, the first."""
        return options[next(self.tape, 0) % len(options)]

    def add(self, number: int, row: Row, edge: Place | None = None) -> None:
        """Record a row, some time after the one before it on any pCPU."""
        pcpu = self.pcpus[number]
        self.time_ns += self.choose(GAPS_NS)
        place = (number, len(pcpu.rows))
        pcpu.rows.append(row._replace(gap_ns=self.time_ns - pcpu.time_ns))
        pcpu.time_ns = self.time_ns
        if edge is not None:
            self.edges[place] = edge
        self.order.append(place)

    def any_edge(self) -> Place | None:
        """Draw an earlier row to wait for, or mostly none."""
        wanted = self.choose((False, False, False, True))
        return self.choose(self.order[-100:]) if wanted and self.order else None

    def end(self, number: int) -> None:
        """Add the end of the innermost hold."""
        p2m, hold = self.pcpus[number].holds.pop()
        self.add(number, Row("HOLD_END", 0, p2m=p2m, hold=hold))

    def unpause(self, number: int) -> None:
        """Add the end of a pause."""
        self.add(number, Row("UNPAUSE", 0, self.pcpus[number].pausing))
        self.pcpus[number].pausing = None

    def finish(self) -> Recording:
        """End what must end, and number the rows."""
        for number, pcpu in self.pcpus.items():
            while pcpu.holds:
                self.end(number)
            if pcpu.pausing is not None:
                self.unpause(number)
        self.leave_numbers()
        first, free = {}, self.choose(range(3))
        for number in self.choose((sorted(self.pcpus), sorted(self.pcpus, reverse=True))):
            first[number] = free
            free += len(self.pcpus[number].rows) + self.choose(range(3))
        for (number, i), (other, j) in self.edges.items():
            rows = self.pcpus[number].rows
            rows[i] = rows[i]._replace(edge=first[other] + j)
        for (number, i), (other, j) in self.freed_by.items():
            rows = self.pcpus[number].rows
            rows[i] = rows[i]._replace(freed_by=first[other] + j)
        created = [self.features.created and self.choose((False, True)) for _ in GUESTS]
        domains = {PV: Domain(PV, has_guest_mode=False, created=False)}
        domains |= {
            dom: Domain(dom, has_guest_mode=True, created=new) for dom, new in zip(GUESTS, created, strict=True)
        }
        programs = {number: (first[number], tuple(pcpu.rows)) for number, pcpu in self.pcpus.items()}
        return Recording(programs, domains, self.has_vm_entries)

    def leave_numbers(self) -> None:
        """Give holds numbers, with as many behind each as it has writes: PML drains may need them."""
        writes: Counter[int | None] = Counter()
        for pcpu in self.pcpus.values():
            for row in pcpu.rows:
                writes[row.hold] += row.count if row.op == "SET" else 0
        starts = accumulate((1 + writes[hold] for hold in range(1, self.holds + 1)), initial=1)
        numbers: dict[int | None, int] = dict(enumerate(starts, 1))
        for pcpu in self.pcpus.values():
            pcpu.rows = [row._replace(hold=numbers.get(row.hold)) for row in pcpu.rows]
