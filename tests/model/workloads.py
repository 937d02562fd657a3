"""Random workloads, strategies and machines: everything that a recording may hold, and nothing that gets stuck.

A recording is made up in its own order of time. So an edge can lead from an earlier row to a later one, and whatever
replay makes of the times, the row that was recorded first among those to come can always be carried out:

- no row within a hold has an edge; locks are nested in ascending order;
- who pauses a domain is not in guest, and waits for nothing until it has called UNPAUSE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from eptreplay.causes import CAUSES
from eptreplay.model import Costs, Domain, Recording, Row
from eptreplay.p2m_types import TYPES
from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, Request, Strategy
from eptreplay.strategies.registry import STRATEGIES

PV = 0
GUESTS = (1, 2)
VCPUS = range(3)
P2MS = ((1, 0), (1, 1), (2, 0), (2, 1))
"""Host p2m and one view of each guest."""
LIKELY = (*P2MS, P2MS[0], P2MS[0])
NO_EFFECT = ("CALL", "LOOKUP", "GLOBAL_CHANGE")
GAPS_NS = (0, 0, 0, 1, 2, 7, 30, 200)
PCPUS = range(8)
"""With two cores to a socket and two threads to a core, two sockets."""

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


class Maker:
    """A recording in the making."""

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

    def step(self) -> None:
        """Let something happen on some pCPU."""
        number = self.choose(list(self.pcpus))
        getattr(self, self.choose(self.possible(self.pcpus[number])))(number)

    def possible(self, pcpu: Pcpu) -> list[str]:
        """Return the names of the methods below that make sense now, as often as they are likely."""
        if pcpu.holds:
            return ["write"] * 4 + ["end"] * 3 + ["nothing"] + ["begin"] * self.features.nested
        if pcpu.pausing is not None:
            return ["unpause", "nothing", "leave"]
        things = ["begin"] * 4 + ["nothing", "lose"]
        things += ["pause"] * (self.features.pauses and not pcpu.guest)
        if pcpu.guest:
            return [*things, "leave", "leave"]
        if pcpu.idle:
            return [*things, "leave", "switch_in"]
        if pcpu.running is None:
            return things + ["switch_in"] * 4 + ["idle"] * 2 + ["enter"] * self.has_vm_entries
        enters = self.has_vm_entries and pcpu.running[0] != PV
        return [*things, "switch_out", "idle"] + ["enter"] * (6 * enters)

    # Rows.

    def nothing(self, number: int) -> None:
        """Add a row without effect."""
        waits = not self.pcpus[number].holds and self.pcpus[number].pausing is None
        self.add(number, Row(self.choose(NO_EFFECT), 0), self.any_edge() if waits else None)

    def enter(self, number: int) -> None:
        """Add a VM entry. Where no switch told who runs, the domain may be known all the same, or not."""
        pcpu = self.pcpus[number]
        dom, vcpu = pcpu.running or (self.choose((None, *GUESTS)), None)
        self.add(number, Row("VMENTER", 0, dom, vcpu), self.any_edge())
        pcpu.guest, pcpu.idle = True, False

    def leave(self, number: int) -> None:
        """Add the end of a stay in guest or idle."""
        pcpu = self.pcpus[number]
        self.add(number, Row("WAKE" if pcpu.idle else "VMEXIT", 0))
        pcpu.guest = pcpu.idle = False

    def idle(self, number: int) -> None:
        """Add the begin of idling."""
        self.add(number, Row("IDLE", 0))
        self.pcpus[number].idle = True

    def switch_in(self, number: int) -> None:
        """Add a switch to a vCPU that runs nowhere, behind the row with which it left the pCPU before."""
        running = {pcpu.running for pcpu in self.pcpus.values()}
        idle = [vcpu for vcpu in product((GUESTS[0], GUESTS[0], GUESTS[1], PV), VCPUS) if vcpu not in running]
        chosen = self.choose(idle)
        self.add(number, Row("SWITCH_IN", 0, *chosen), self.left.get(chosen))
        pcpu = self.pcpus[number]
        pcpu.running, pcpu.idle = chosen, False
        pcpu.guest = not self.has_vm_entries and chosen[0] != PV

    def switch_out(self, number: int) -> None:
        """Add a switch from the vCPU that runs."""
        self.add(number, Row("SWITCH_OUT", 0, *(self.pcpus[number].running or ())))
        self._stop_running(number)

    def lose(self, number: int) -> None:
        """Add a loss of records."""
        self.add(number, Row("LOST", 0))
        self._stop_running(number)

    def _stop_running(self, number: int) -> None:
        pcpu = self.pcpus[number]
        if pcpu.running is not None:
            self.left[pcpu.running] = number, len(pcpu.rows) - 1
        pcpu.running, pcpu.guest, pcpu.idle = None, False, False

    def begin(self, number: int) -> None:
        """Add the begin of a hold: of a p2m that is held already, or of one behind all of those."""
        pcpu = self.pcpus[number]
        held = [p2m for p2m, _ in pcpu.holds]
        p2m = self.choose([p2m for p2m in LIKELY if p2m in held or not held or p2m > max(held)])
        self.holds += 1
        hold = dict(pcpu.holds).get(p2m, self.holds)
        row = Row("HOLD_BEGIN", 0, p2m=p2m, hold=hold, cause=self.choose(CAUSES))
        self.add(number, row, None if held else self.any_edge())
        pcpu.holds.append((p2m, hold))

    def write(self, number: int) -> None:
        """Add a write to one of the p2ms that are held."""
        p2m, hold = self.choose(self.pcpus[number].holds)
        types = range(len(TYPES))
        row = Row(
            "SET",
            0,
            p2m=p2m,
            hold=hold,
            gfn=self.choose(range(4)),
            order=self.choose((0, 0, 0, 3, 9, 18)),
            mfn=self.choose(range(4)),
            old_type=self.choose((None, *types)),
            present=self.choose((True, True, True, False)),
            new_type=self.choose(types),
            cause=self.choose(CAUSES),
        )
        self.add(number, row)

    def end(self, number: int) -> None:
        """Add the end of the innermost hold."""
        p2m, hold = self.pcpus[number].holds.pop()
        self.add(number, Row("HOLD_END", 0, p2m=p2m, hold=hold))

    def pause(self, number: int) -> None:
        """Add the pause of a domain."""
        dom = self.choose((*GUESTS, *GUESTS, PV))
        self.add(number, Row("PAUSE", 0, dom), self.any_edge())
        self.pcpus[number].pausing = dom

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
        first, free = {}, self.choose(range(3))
        for number in self.choose((sorted(self.pcpus), sorted(self.pcpus, reverse=True))):
            first[number] = free
            free += len(self.pcpus[number].rows) + self.choose(range(3))
        for (number, i), (other, j) in self.edges.items():
            rows = self.pcpus[number].rows
            rows[i] = rows[i]._replace(edge=first[other] + j)
        created = [self.features.created and self.choose((False, True)) for _ in GUESTS]
        domains = {PV: Domain(PV, has_guest_mode=False, created=False)}
        domains |= {
            dom: Domain(dom, has_guest_mode=True, created=new) for dom, new in zip(GUESTS, created, strict=True)
        }
        programs = {number: (first[number], tuple(pcpu.rows)) for number, pcpu in self.pcpus.items()}
        return Recording(programs, domains, self.has_vm_entries)


@st.composite
def recordings(draw: st.DrawFn, features: Features = ALL, most: int = 60) -> Recording:
    """Draw a recording of about as many rows at most, most of them in a tape of bytes: drawing one by one is slow."""
    few = draw(st.sampled_from((3, 1)))
    pcpus = draw(st.lists(st.sampled_from(PCPUS), min_size=few, max_size=6, unique=True))
    steps = draw(st.integers(0, most))
    tape = draw(st.binary(min_size=12 * most, max_size=12 * most))
    maker = Maker(tape, features, pcpus)
    for number in maker.choose((pcpus, pcpus[1:], [])):
        maker.switch_in(number)  # so that broadcasts find somebody
    for _ in range(steps):
        maker.step()
    return maker.finish()


# Machines.


def machines(ns: st.SearchStrategy[int]) -> st.SearchStrategy[Costs]:
    """Return a strategy for machines with such costs."""
    triple = st.tuples(ns, ns, ns)
    shape = dict.fromkeys(("cores_per_socket", "threads_per_core"), st.integers(1, 2))
    triples = dict.fromkeys(("handoff_ns", "deliver_ns", "ack_ns"), triple)
    others = dict.fromkeys(set(Costs._fields) - set(shape) - set(triples), ns)
    return st.builds(Costs, **shape, **triples, **others)


FREE_MACHINES = machines(st.just(0))
MACHINES = FREE_MACHINES | machines(st.integers(0, 3)) | machines(st.sampled_from((0, 1, 10, 100, 1000)))


# Strategies. Decision functions are such as a compiler for a subset of Python can compile.


def by_gfn(request: Request) -> int:
    """Decide anything, without a pattern that the switches could make."""
    return (request.gfn + request.mfn + request.order) % 4


def by_hold(request: Request) -> int:
    """Defer, but for every third write of a hold, and once much is pending."""
    if request.pending >= 2 or request.sets % 3 == 0:
        return NOW
    return DEFER


def by_dirty(request: Request) -> int:
    """Interrupt few at once and many later, and nobody if there is nobody."""
    if request.dirty == 0:
        return MARK
    if request.dirty == 1:
        return NOW
    return DEFER


def by_time(request: Request) -> int:
    """Decide by when the write is made, and how long the lock has been held."""
    return (request.now_ns + request.held_ns + request.what) % 4


def by_type(request: Request) -> int:
    """Decide by what is changed, and leave the rest to the switches."""
    if request.upgrade == 1:
        return NOTHING
    if request.old_type == -1 or request.cause > 7:
        return request.default
    return request.new_type % 4


DECIDES = (by_gfn, by_hold, by_dirty, by_time, by_type)

MADE = st.builds(
    Strategy,
    name=st.just("made"),
    broadcast=st.sampled_from(("sync", "unlock", "none")),
    ipi=st.sampled_from(("invept", "kick", "none")),
    kick=st.sampled_from(("dirty", "running")),
    upgrades=st.sampled_from(("sync", "elide")),
    decide=st.none() | st.sampled_from(DECIDES),
)
STRATEGIES_TO_TRY = st.sampled_from(list(STRATEGIES.values())) | MADE
