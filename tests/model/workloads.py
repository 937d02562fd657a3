"""Random workloads, strategies and machines: everything that a recording may hold, and nothing that gets stuck.

A recording is made up in its own order of time. So an edge can lead from an earlier row to a later one, and whatever
replay makes of the times, the row that was recorded first among those to come can always be carried out:

- no row within a hold has an edge; locks are nested in ascending order, those of lookups too (a PML drain, which
  releases its lock in between, lies in no other hold and holds no other lock then);
- who pauses a domain is not in guest, and waits for no p2m lock and no row until it has called UNPAUSE. (Who has the
  call lock, or the flush lock, waits for nothing but handlers.)
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from hypothesis import strategies as st

from eptreplay.model import Costs, Recording, Row
from eptreplay.strategies import DEFER, FREE_TABLE, GLOBAL_CHANGE, MARK, MISCONFIG, NOTHING, NOW, Request, Strategy
from eptreplay.strategies.registry import STRATEGIES
from tests.model.hold_rows import FRAMES, NESTED, P2MS, HoldRows
from tests.model.recorder import ALL, GUESTS, PV, Features, Pcpu

__all__ = [
    "ALL",
    "APICS",
    "DECIDES",
    "FRAMES",
    "FREE_MACHINES",
    "GUESTS",
    "LOCKS",
    "MACHINES",
    "MADE",
    "NESTED",
    "P2MS",
    "PCPUS",
    "PV",
    "SEEDS",
    "STRATEGIES_TO_TRY",
    "VCPUS",
    "Features",
    "Maker",
    "by_dirty",
    "by_gfn",
    "by_hold",
    "by_switches",
    "by_time",
    "by_type",
    "by_what",
    "frames_of_interest",
    "machines",
    "recordings",
]

VCPUS = range(3)
NO_EFFECT = ("LOGDIRTY_CLEAN", "PML_DRAIN", "WAIT")
PCPUS = (*range(8), 17, 21)
"""With two cores to a socket and two threads to a core, four sockets, and two clusters of APICs."""


class Maker(HoldRows):
    """A recording in the making, in which anything may happen next that makes sense."""

    def step(self) -> None:
        """Let something happen on some pCPU."""
        number = self.choose(list(self.pcpus))
        getattr(self, self.choose(self.possible(self.pcpus[number])))(number)

    def possible(self, pcpu: Pcpu) -> list[str]:
        """Return the names of the methods below that make sense now, as often as they are likely."""
        if pcpu.holds:
            others = ["unknown_write", "misconfig", "global_change", "free_table", "pod_reclaim", "call", "nothing"]
            others += ["lookup", "other_call", "page_free", "page_alloc"]
            return ["write"] * 8 + ["end"] * 6 + others + ["begin"] * self.features.nested
        if pcpu.pausing is not None:
            return ["unpause", "nothing", "leave", "other_call", "page_free", "page_alloc"]
        things = ["begin"] * 5 + ["lookup"] * 2 + ["nothing", "lose", "other_call", "page_free", "page_alloc"]
        things += ["pause"] * (self.features.pauses and not pcpu.guest)
        if pcpu.guest:
            return [*things, "leave", "leave"]
        if pcpu.idle:
            return [*things, "leave", "switch_in"]
        if pcpu.running is None:
            return things + ["switch_in"] * 4 + ["idle"] * 2 + ["enter"] * (2 * self.has_vm_entries)
        enters = self.has_vm_entries and pcpu.running[0] != PV
        return [*things, "switch_out", "idle"] + ["enter"] * (6 * enters)

    # Rows.

    def nothing(self, number: int) -> None:
        """Add a row without effect."""
        self.anywhere(number, Row(self.choose(NO_EFFECT), 0))

    def anywhere(self, number: int, row: Row) -> None:
        """Add a row, with an edge where it may have one."""
        waits = not self.pcpus[number].holds and self.pcpus[number].pausing is None
        self.add(number, row, self.any_edge() if waits else None)

    def other_call(self, number: int) -> None:
        """Add a call that has nothing to do with EPT."""
        target = self.choose((None, *self.pcpus, *self.pcpus))
        self.anywhere(number, Row("CALL", 0, target=target, origin=self.choose(("recorded", "inferred"))))

    def page_free(self, number: int) -> None:
        """Add the end of a page."""
        self.frees.append((number, len(self.pcpus[number].rows)))
        self.anywhere(number, Row("PAGE_FREE", 0))

    def page_alloc(self, number: int) -> None:
        """Add the allocation of a page that was freed before, or that nobody has seen freed."""
        wanted = self.choose((True, True, False))
        if wanted and self.frees:
            self.freed_by[number, len(self.pcpus[number].rows)] = self.choose(self.frees[-4:])
        self.anywhere(number, Row("PAGE_ALLOC", 0))

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

    def pause(self, number: int) -> None:
        """Add the pause of a domain."""
        dom = self.choose((*GUESTS, *GUESTS, PV))
        self.add(number, Row("PAUSE", 0, dom), self.any_edge())
        self.pcpus[number].pausing = dom


@st.composite
def recordings(draw: st.DrawFn, features: Features = ALL, most: int = 60) -> Recording:
    """Draw a recording of about as many rows at most, most of them in a tape of bytes: drawing one by one is slow."""
    few = draw(st.sampled_from((3, 1)))
    pcpus = draw(st.lists(st.sampled_from(PCPUS), min_size=few, max_size=6, unique=True))
    steps = draw(st.integers(0, most))
    tape = draw(st.binary(min_size=15 * most, max_size=15 * most))
    maker = Maker(tape, features, pcpus)
    for number in maker.choose((pcpus, pcpus[1:], [])):
        maker.switch_in(number)  # so that broadcasts find somebody
    for _ in range(steps):
        maker.step()
    return maker.finish()


def frames_of_interest(recording: Recording) -> list[int]:
    """Return the frames that rows name, their neighbours, and the corners of the regions around them."""
    rows = [row for _, rows in recording.programs.values() for row in rows]
    named = {gfn for row in rows for gfn in (row.gfn, row.last_gfn) if gfn is not None}
    starts = {gfn >> order << order for gfn in named for order in (0, 9, 18)}
    corners = {start + size for start in starts for size in (0, 1, 1 << 9, 1 << 18)}
    return sorted(gfn for corner in corners for gfn in (corner - 1, corner) if gfn >= 0)


# Machines.

APICS = ("xapic-flat", "xapic-physical", "x2apic-physical", "x2apic-cluster")
LOCKS = st.sampled_from(("unfair", "queue", "percpu"))
SEEDS = st.integers(0, 2**63 - 1)


def machines(ns: st.SearchStrategy[int]) -> st.SearchStrategy[Costs]:
    """Return a strategy for machines with such costs."""
    triple = st.tuples(ns, ns, ns)
    weight = st.sampled_from((1, 1, 2, 7, 100))
    shape: dict[str, st.SearchStrategy[Any]] = {
        "cores_per_socket": st.integers(1, 2),
        "threads_per_core": st.integers(1, 2),
        "pcpus": st.sampled_from((0, 0, 4, 9, 30)),
        "apic": st.sampled_from(APICS),
        "shorthand": st.integers(0, 1),
        "weight": st.tuples(weight, weight, weight),
    }
    triples = dict.fromkeys(("handoff_ns", "deliver_ns", "ack_ns", "line_ns"), triple)
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


def by_what(request: Request) -> int:
    """Decide about marks and at sync points otherwise than the switches do, and about writes by the rights they add."""
    if request.what == MISCONFIG or request.what == GLOBAL_CHANGE:  # noqa: PLR1714 (numba would search a tuple)
        return (request.gfn + request.new_type + request.cause) % 4
    if request.what >= FREE_TABLE:
        return NOW if request.pending + request.order > 1 else NOTHING
    return MARK if request.upgrade == 1 else DEFER


def by_switches(request: Request) -> int:
    """Decide what the switches do, but never to do nothing."""
    return max(request.default, MARK)


DECIDES = (by_gfn, by_hold, by_dirty, by_time, by_type, by_what, by_switches)

MADE = st.builds(
    Strategy,
    name=st.just("made"),
    broadcast=st.sampled_from(("sync", "unlock", "none")),
    ipi=st.sampled_from(("invept", "kick", "none")),
    kick=st.sampled_from(("dirty", "running")),
    sync_misconfig=st.booleans(),
    sync_table_free=st.booleans(),
    sync_pod_superpage=st.booleans(),
    sync_pod_sweep=st.booleans(),
    sync_pod_decrease=st.booleans(),
    pml_drain=st.sampled_from(("entry", "batch")),
    upgrades=st.sampled_from(("sync", "elide")),
    tables=st.sampled_from(("ept", "ept", "npt")),
    call_lock=st.sampled_from(("serial", "lockless")),
    decide=st.none() | st.sampled_from(DECIDES),
)
LOCKLESS = [replace(strategy, call_lock="lockless") for strategy in STRATEGIES.values()]
STRATEGIES_TO_TRY = st.sampled_from([*STRATEGIES.values(), *LOCKLESS]) | MADE
