"""An EPT host that records what xen-semantics 8.4 lists, and its p2m writes too if it is a patched one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from eptreplay.causes import CAUSES
from eptreplay.xentrace.encode import Trace

RAM_RW, INVALID, LOGDIRTY, MMIO, POD = 0, 1, 2, 4, 6
READ, WRITE = 0x181, 0x182
VIOLATION, MISCONFIG, PML_FULL, INTERRUPT, HLT, VMCALL = 48, 49, 62, 1, 12, 18
NOWHERE = (1 << 64) - 1


class Host:
    """A host in the midst of recording; its clock advances by a microsecond with each timed record.

    ``patched``: whether it has extension event P2M_SET; ``sched``: whether runstate changes are recorded.
    """

    def __init__(self, *, patched: bool = False, sched: bool = True, dom: int = 3, pcpu: int = 0) -> None:
        self.trace = Trace("4.19")
        self.patched, self.sched, self.dom = patched, sched, dom
        self.tsc = 1_000_000
        self.on(pcpu)
        # Only such a host says which interrupt it was.
        self.exit(INTERRUPT, lambda: self.trace.add("HVM_INTR", vector=0xFB))

    def on(self, pcpu: int) -> None:
        """Go on with another pCPU, where a vCPU of the same number begins to run."""
        self.trace.window(pcpu)
        if self.sched:
            self.timed("RUNSTATE_RUNNABLE_TO_RUNNING", domid=self.dom, vcpu=pcpu)

    def timed(self, name: str, **values: int) -> None:
        """Record an event with a TSC."""
        self.tsc += 1000
        self.trace.add(name, tsc=self.tsc, **values)

    def wrote(
        self, gfn: int, old: int, new: int, order: int = 0, mfn: int = 0x99, *, view: int = 0, flags: int = 0,
        access: int = 7,
    ) -> None:  # fmt: skip
        """Record a write, if that is something that this host does."""
        if self.patched:
            kinds = {"old_type": old, "new_type": new, "flags": flags, "access": access}
            self.timed("P2M_SET", gfn=gfn, mfn=mfn, order=order, domid=self.dom, view=view, **kinds)

    def global_change(
        self, new: int, *, first: int | None = None, last: int = NOWHERE, view: int = 0, memory: bool = False
    ) -> None:
        """Record that the type of all entries changes, or of a range; ``memory``: only their memory types."""
        flags = (first is not None) | memory << 1
        kinds = {"old_type": RAM_RW, "new_type": new, "flags": flags}
        frames = {"first_gfn": first or 0, "last_gfn": last}
        self.timed("P2M_GLOBAL_CHANGE", domid=self.dom, view=view, **kinds, **frames)

    def exit(self, reason: int, body: Callable[[], None] = lambda: None) -> None:
        """Record a VM exit, what follows it, and the entry after that."""
        self.timed("HVM_VMEXIT64", reason=reason, rip=0x1000)
        body()
        self.timed("HVM_VMENTRY")

    def npf(self, gfn: int, p2mt: int, qualification: int = READ) -> None:
        """Record what EPT hosts do before they handle a violation."""
        self.trace.add("HVM_NPF", gpa=gfn << 12 | 0x123, mfn=0x88, qualification=qualification, p2mt=p2mt)

    def logdirty_fault(self, gfn: int) -> None:
        """Let the guest write to a tracked page."""

        def handle() -> None:
            self.npf(gfn, LOGDIRTY, WRITE)
            self.wrote(gfn, LOGDIRTY, RAM_RW)

        self.exit(VIOLATION, handle)

    def pod_fault(self, gfn: int, order: int = 0, reclaimed: tuple[int, ...] = ()) -> None:
        """Let the guest touch a page that has no memory yet; first pages of zeros are taken back."""

        def handle() -> None:
            self.npf(gfn, POD)
            for page in reclaimed:
                self.reclaim(page)
            self.wrote(gfn >> order << order, POD, RAM_RW, order)
            self.trace.add("MEM_POD_POPULATE", gfn=gfn, mfn=0x99, domid=self.dom, order=order)

        self.exit(VIOLATION, handle)

    def reclaim(self, gfn: int) -> None:
        """Take a page of zeros back."""
        self.wrote(gfn, RAM_RW, POD, mfn=NOWHERE)
        self.trace.add("MEM_POD_ZERO_RECLAIM", gfn=gfn, mfn=0x77, domid=self.dom, order=0)

    def other_fault(self, gfn: int, p2mt: int) -> None:
        """Let the guest run into an entry that stays as it is."""
        self.exit(VIOLATION, lambda: self.npf(gfn, p2mt))

    def decrease(self, gfn: int, order: int = 0) -> None:
        """Let the guest give memory back, by a hypercall."""

        def handle() -> None:
            self.trace.add("MEM_DECREASE_RESERVATION", gfn=gfn, domid=self.dom, order=order)
            for page in range(1 << order):
                self.wrote(gfn + page, RAM_RW, INVALID, mfn=NOWHERE)

        self.exit(VMCALL, handle)

    def bare(self, reason: int) -> None:
        """Record an exit that tells of a p2m by itself."""
        self.exit(reason)

    def hold(self, cause: str, body: Callable[[], None], *, view: int = 0, dom: int | None = None) -> None:
        """Record a hold of the p2m lock."""
        p2m = {"domid": self.dom if dom is None else dom, "view": view}
        self.timed("P2M_HOLD_BEGIN", cause=CAUSES.index(cause), **p2m)
        body()
        self.timed("P2M_HOLD_END", **p2m)


class Act(NamedTuple):
    """Something that a host does: the name of one of its methods, and what to call it with."""

    method: str
    arguments: tuple[object, ...]

    def by(self, host: Host) -> None:
        """Let a host do it."""
        getattr(host, self.method)(*self.arguments)


def _acts(method: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Act]:
    return st.builds(Act, st.just(method), st.tuples(*arguments))


GFNS = st.sampled_from([0, 1, 2, 511, 512, 513, 0x3FFFF, 0x40000, (1 << 36) - 1])
POD_ORDERS = st.sampled_from([0, 0, 9])
PAGES = st.lists(st.integers(0x1000, 0x1010), max_size=3, unique=True).map(tuple)

ACTS: st.SearchStrategy[Act] = st.one_of(
    _acts("logdirty_fault", GFNS),
    _acts("pod_fault", GFNS, POD_ORDERS, PAGES),
    _acts("other_fault", GFNS, st.sampled_from([RAM_RW, MMIO, 3, 14])),
    _acts("decrease", GFNS, st.just(0)),
    _acts("bare", st.sampled_from([MISCONFIG, PML_FULL, HLT, VMCALL, VIOLATION])),
    _acts("on", st.integers(0, 2)),
)


def recorded(acts: list[Act], *, patched: bool, sched: bool = True) -> Trace:
    """Return what a host records that does these things."""
    host = Host(patched=patched, sched=sched)
    for act in acts:
        act.by(host)
    return host.trace
