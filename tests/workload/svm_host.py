"""An SVM host with a stock Xen: it records each write of an NPT entry, and what a nested page fault came to."""

from __future__ import annotations

from eptreplay.xentrace.encode import Trace

NESTED_PAGE_FAULT, VMMCALL, INTERRUPT = 0x400, 0x81, 0x60
RAM_RW, INVALID, LOGDIRTY, POD = 0, 1, 2, 6
NOWHERE = (1 << 64) - 1


class Host:
    """A host in the midst of recording; its clock advances by a microsecond with each timed record."""

    def __init__(self, *, sched: bool = True, dom: int = 3) -> None:
        self.trace = Trace()
        self.sched, self.dom = sched, dom
        self.tsc = 1_000_000
        self.on(0)
        self.exit(VMMCALL)

    def on(self, pcpu: int, *, dom: int | None = None, vcpu: int = 0) -> None:
        """Go on with another pCPU, where a vCPU begins to run."""
        self.trace.window(pcpu)
        if self.sched:
            self.timed("RUNSTATE_RUNNABLE_TO_RUNNING", domid=self.dom if dom is None else dom, vcpu=vcpu)

    def timed(self, name: str, **values: int) -> None:
        """Record an event with a TSC."""
        self.tsc += 1000
        self.trace.add(name, tsc=self.tsc, **values)

    def wrote(self, gfn: int, kind: int = RAM_RW, order: int = 0, mfn: int = 0x99, dom: int | None = None) -> None:
        """Record a write."""
        self.trace.add(
            "MEM_SET_P2M_ENTRY", gfn=gfn, mfn=mfn, p2mt=kind, domid=self.dom if dom is None else dom, order=order
        )

    def exit(self, reason: int, rip: int = 0x1000) -> None:
        """Record a VM exit and the entry after it, with nothing between."""
        self.timed("HVM_VMEXIT64", reason=reason, rip=rip)
        self.timed("HVM_VMENTRY")

    def recalculation(self, rip: int = 0x1000) -> None:
        """Let the guest run into an entry that a global change has left behind."""
        self.exit(NESTED_PAGE_FAULT, rip)

    def logdirty_fault(self, gfn: int, rip: int = 0x1000, kind: int = RAM_RW) -> None:
        """Let the guest write to a tracked page."""
        self.timed("HVM_VMEXIT64", reason=NESTED_PAGE_FAULT, rip=rip)
        self.wrote(gfn, kind)
        self.trace.add("HVM_NPF", gpa=gfn << 12, mfn=0x99, p2mt=kind)
        self.timed("HVM_VMENTRY")

    def spurious_fault(self, gfn: int, rip: int = 0x1000) -> None:
        """Let the guest run into an entry that stays as it is."""
        self.timed("HVM_VMEXIT64", reason=NESTED_PAGE_FAULT, rip=rip)
        self.trace.add("HVM_NPF", gpa=gfn << 12, mfn=0x99, p2mt=RAM_RW)
        self.timed("HVM_VMENTRY")

    def pod_fault(self, gfn: int, rip: int = 0x1000) -> None:
        """Let the guest touch a page that has no memory yet."""
        self.timed("HVM_VMEXIT64", reason=NESTED_PAGE_FAULT, rip=rip)
        self.wrote(gfn)
        self.trace.add("MEM_POD_POPULATE", gfn=gfn, mfn=0x99, domid=self.dom, order=0)
        self.trace.add("HVM_NPF", gpa=gfn << 12, mfn=0x99, p2mt=RAM_RW)
        self.timed("HVM_VMENTRY")

    def decrease(self, gfn: int, order: int = 0) -> None:
        """Let the guest give memory back."""
        self.trace.add("MEM_DECREASE_RESERVATION", gfn=gfn, domid=self.dom, order=order)
        self.wrote(gfn, INVALID, order, mfn=NOWHERE)

    def marked(self, gfn: int, order: int = 0) -> None:
        """Make an entry populate-on-demand."""
        self.wrote(gfn, POD, order, mfn=NOWHERE)

    def taken_back(self, gfn: int, order: int = 0) -> None:
        """Record that a page of zeros went to the cache."""
        self.trace.add("MEM_POD_ZERO_RECLAIM", gfn=gfn, mfn=0x77, domid=self.dom, order=order)

    def global_change(self, *, first: int | None = None, last: int | None = None, dom: int | None = None) -> None:
        """Record that the type of all entries, or of a range, changes to log-dirty, as only a patched Xen does."""
        p2m = {"domid": self.dom if dom is None else dom, "view": 0}
        frames = {"first_gfn": first or 0, "last_gfn": NOWHERE if last is None else last}
        self.timed("P2M_HOLD_BEGIN", cause=9, **p2m)
        self.timed(
            "P2M_GLOBAL_CHANGE", old_type=RAM_RW, new_type=LOGDIRTY, flags=int(first is not None), **p2m, **frames
        )
        self.timed("P2M_HOLD_END", **p2m)
