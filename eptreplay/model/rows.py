"""What is replayed: the programs of a host's pCPUs, its domains, and what each thing costs on the modelled machine.

``docs/background/machine.md``, ``tables.md`` and ``timing.md`` say what rows do. Times are whole nanoseconds.
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.p2m_types import RWX

HOST_VIEW = 0
"""View of a domain's own p2m. Up to 255 follow alternate p2ms."""
FIRST_NESTED_VIEW = 256

SAME_CORE, SAME_SOCKET, OTHER_SOCKET = range(3)
"""Distances between two pCPUs: positions in the triples of ``Costs``."""

Triple = tuple[int, int, int]


class Row(NamedTuple):
    """One row of a program: an operation, and the work before it. Which fields count depends on ``op``."""

    op: str
    """VMENTER VMEXIT SWITCH_IN SWITCH_OUT IDLE WAKE LOST HOLD_BEGIN SET MISCONFIG GLOBAL_CHANGE FREE_TABLE POD_RECLAIM
    HOLD_END LOOKUP CALL PAGE_FREE PAGE_ALLOC PAUSE UNPAUSE; others do nothing."""
    gap_ns: int
    """From the end of the row before it, or from the start."""
    dom: int | None = None
    """Domain that is entered, switched to, paused or unpaused; None if the recording does not say which."""
    vcpu: int | None = None
    p2m: tuple[int, int] | None = None
    """Domain and view, for HOLD_BEGIN, HOLD_END, what changes the p2m between them, LOOKUP, and CALL, unless it is of
    none."""
    hold: int | None = None
    """Number of the hold, likewise; that of the outermost HOLD_BEGIN of a p2m counts."""
    gfn: int | None = 0
    """Guest frame, or the first of a range; None: unknown."""
    order: int = 0
    """SET: the entry maps 2^order pages of 4 KiB: 0, 9 or 18. POD_RECLAIM: so many go to the cache."""
    mfn: int = 0
    count: int = 1  # type: ignore[assignment]  # tuple.count() is no use to a row
    """SET: so many writes; more than one are at unknown frames. LOOKUP: so many lookups."""
    access: int = RWX
    """SET: Xen's number of the p2m access that the entry has now."""
    last_gfn: int | None = None
    """GLOBAL_CHANGE: last frame of the range; None: everything."""
    old_type: int | None = None
    """SET: Xen's number of the p2m type that the entry had; None if unknown."""
    present: bool = False
    """SET: the entry was present before."""
    new_type: int | None = 0
    """SET, GLOBAL_CHANGE. None: only memory types are to be recalculated, of everything."""
    cause: str = "other"
    """A name of ``eptreplay.causes.CAUSES``, for all rows that have a p2m."""
    edge: int | None = None
    """Number of the row that must have been carried out before this one."""
    target: int | None = None
    """CALL of no p2m: number of the pCPU that is called; None: all others."""
    preemptible: bool = False
    """LOOKUP: softirqs may run between two lookups."""
    freed_by: int | None = None
    """PAGE_ALLOC: number of the PAGE_FREE that freed one of its pages last, if any."""
    origin: str = "recorded"
    """``inferred``: made up when the recording became a workload."""
    cut_ns: int = 0
    """So much was taken from the gap; the recorded time of a row counts it in."""


class Domain(NamedTuple):
    """A domain. ``has_guest_mode``: not PV; ``created``: in the recording, so that its p2ms begin marked."""

    number: int
    has_guest_mode: bool
    created: bool


class Recording(NamedTuple):
    """A workload: per pCPU the number of its program's first row, and the rows, numbered on from there.

    ``domains`` has every domain that a row or a p2m names. ``has_vm_entries``: VMENTER rows were recorded.
    """

    programs: dict[int, tuple[int, tuple[Row, ...]]]
    domains: dict[int, Domain]
    has_vm_entries: bool


class Costs(NamedTuple):
    """The cost profile: the shape of the machine, and nanoseconds. Triples are by distance."""

    cores_per_socket: int
    threads_per_core: int
    pcpus: int
    """Online; at least as many as the recording has."""
    apic: str
    """xapic-flat, xapic-physical, x2apic-physical or x2apic-cluster: how interrupts are sent."""
    shorthand: int
    """1: one message may go to all pCPUs but the sender (5500d265a2)."""
    acquire_ns: int
    """Taking a lock that can be had at once."""
    read_ns: int
    """The same for a reader of a per-CPU rwlock (66ea5ed478)."""
    handoff_ns: Triple
    """A lock's way to the next who waits, or to a writer from its last reader."""
    poll_ns: int
    """A writer's look at the slot of one pCPU (66ea5ed478)."""
    weight: Triple
    """How likely a race for a lock is won, by distance to whoever released it."""
    set_ns: int
    """The first entry that is stored."""
    store_ns: int
    """Each further one that is stored or built."""
    lookup_ns: int
    """A lookup with the read side held."""
    setup_ns: int
    """Of a broadcast, before the first write of the interrupt command register."""
    announce_ns: int
    """Without a call lock: entering the sender in the mask of those who call."""
    icr_ns: int
    """A write of the interrupt command register."""
    busy_ns: int
    """xAPIC: from the last write of a message until the next may be written."""
    deliver_ns: Triple
    ack_ns: Triple
    line_ns: Triple
    """The way of the cache line in which targets acknowledge, from one of them to the next."""
    handler_ns: int
    call_ns: int
    """Each further call that a handler carries out."""
    exit_ns: int
    """VM exit."""
    entry_ns: int
    """VM entry."""
    irqoff_ns: int
    """Interrupts stay off so long behind a VM exit."""
    wake_ns: int
    """Leaving a C-state."""
    wake_deep_ns: int
    """Leaving a deep one."""
    deep_after_ns: int
    """A C-state is deep if it has lasted so long."""
    flush_ns: int
    """Flushing the TLB for the allocator."""
    unexplained_ns: int
    """What broadcasts were measured to take beyond all that is modelled."""
    invept_ns: int
    refill_ns: int
    """What a guest loses once its translations are cold."""
    timeout_ns: int
    """Of the watchdog; 0: there is none."""

    def distance(self, one: int, other: int) -> int:
        """Return how far two pCPUs are from each other."""
        cores = one // self.threads_per_core, other // self.threads_per_core
        if cores[0] == cores[1]:
            return SAME_CORE
        sockets = cores[0] // self.cores_per_socket, cores[1] // self.cores_per_socket
        return SAME_SOCKET if sockets[0] == sockets[1] else OTHER_SOCKET
