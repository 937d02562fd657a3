"""What stands where in the arrays of the modelled host.

    cpu[pCPU]        what each pCPU does, a record of ``CPU``
    lock[lock]       ``LOCK``; 0 is the call lock, 1 + n the lock of p2m n, the last one the flush lock
    p2m[p2m]         ``P2M``
    dom[domain]      ``DOM``
    place[pCPU]      where each pCPU is, ``PLACE``
    cost[field]      from the profile, in nanoseconds
    how[field]       the strategy, the policy of the p2m locks, the seed

Domains, vCPUs, p2ms and pCPUs have dense numbers from 0 here; -1 stands for none or unknown. Records are of ``i1``,
small numbers and flags, ``i4``, the numbers of things, and ``i8``: nanoseconds, rows, and what has no bound.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

Records = np.recarray[Any, np.dtype[Any]]

NONE = -1
LINE = 64
"""Bytes of a cache line."""
NEVER = np.int64(1) << 62
"""A time that does not come."""


def whole_lines(fields: list[tuple[str, str]]) -> np.dtype[Any]:
    """Return a record that ends with a line of the cache, so that the lines of one are never those of another."""
    kind: np.dtype[Any] = np.dtype(cast("Any", fields), align=True)
    at = cast("Any", kind.fields)
    return np.dtype(
        {
            "names": [name for name, _ in fields],
            "formats": [np.dtype(what) for _, what in fields],
            "offsets": [at[name][1] for name, _ in fields],
            "itemsize": -(-kind.itemsize // LINE) * LINE,
        },
        align=True,
    )


CPU = whole_lines(
    [
        # What most events look at, in two cache lines.
        ("phase", "i1"),        # what its program is at: see below
        ("mode", "i1"),         # but for spinning, interrupts and pauses
        ("shown", "i1"),        # with them: the mode that counts
        ("event", "i1"),        # what comes next: see below
        ("entering", "i1"),     # 1: on its way back into the guest, interrupts off
        ("stopped", "i1"),      # 1: kept from the guest, as its domain is paused
        ("waits", "i1"),        # what the row that is due waits for: see below
        ("acking", "i1"),       # 1: a call is over, and it waits for the cache line in which it acknowledges
        ("handling", "i4"),     # whose call it is handling, or NONE
        ("entered", "i4"),      # the domain of the last VM entry
        ("calls", "i4"),        # whose call its next handler finds first, or NONE
        ("flusher", "i4"),      # who wants it to flush its TLB, or NONE
        ("pc", "i8"),           # number of the row that it carries out next; all before have been carried out
        ("last", "i8"),         # number of the row behind the program
        ("due", "i8"),          # when the phase of its program is over, as far as that hangs on time
        ("left", "i8"),         # what is left of it, while an interrupt or a pause keeps it from its work; else NEVER
        ("since", "i8"),        # since when it has been in that mode
        ("free", "i8"),         # when the handler or the re-entry that it is at is over
        ("off_until", "i8"),    # until when interrupts stay off behind its last VM exit
        ("kept", "i8"),         # replaying as recorded: since when it is kept from the work of its gap, or NONE
        ("carried", "i8"),      # when its last row was carried out
        ("recorded", "i8"),     # when the row that it carries out next was recorded
        ("ended", "i8"),        # when its last row ended
        ("stalled", "i8"),      # since when no softirq can run, or NONE
        ("waited", "i8"),       # since when the next row has been due and had to wait, or NONE
        # Locks, interrupts, whose state is loaded.
        ("arrives", "i8"),      # when the interrupt for ``calls`` arrives ...
        ("flush_arrives", "i8"),  # ... and that for ``flusher``
        ("struck", "i8"),       # when the interrupt that keeps it from its guest was delivered, or NONE
        ("repeats", "i8"),      # writes, or lookups, that the row is still to make
        ("depth", "i4"),        # how many p2m locks it holds or requests
        ("domain", "i4"),       # whose state is loaded
        ("vcpu", "i4"),         # which vCPU's state is loaded
        ("lock", "i4"),         # the p2m lock that it requests, reads or has requested last; NONE: that it has anyway
        ("behind", "i4"),       # who is behind it in the queue of a lock, or of those who wait for a row
        ("cold_domain", "i4"),
        ("struck_domain", "i4"),  # whose p2m the interrupt of ``struck`` is about
        ("cold_cause", "i1"),   # translations are cold, because of an INVEPT with this cause; else NONE
        ("struck_cause", "i1"),
        ("met", "i1"),          # the mode that the interrupt met
        ("reads", "i1"),        # 1: it requests the read side
        # What is rarer.
        ("last_call", "i4"),    # whose call it finds last
        ("rest", "i4"),         # whose call it handles after that of ``handling``, or NONE
        ("taken", "i4"),        # whose call is the last that it handles then
        ("waiters", "i4"),      # the first of those who wait for a row of this pCPU, or NONE
        ("next", "i8"),         # which row or domain it waits for
        ("delivered", "i8"),    # when the interrupt met it
        ("asked", "i8"),        # when it requested the read side
        ("stamp", "i8"),        # of its last TLB flush
        ("stall_row", "i8"),    # with which row ``stalled`` began
        ("draws", "i8"),        # how often it has drawn an heir
        # Its own broadcast.
        ("b_kind", "i1"),       # what its handler does: see below
        ("b_then", "i1"),       # what comes after it: see below
        ("b_cause", "i1"),
        ("b_p2m", "i4"),        # the p2m, or NONE
        ("b_dom", "i4"),        # whose p2m that is, or NONE
        ("b_slowest", "i4"),    # whose acknowledgement arrives last
        ("b_line_by", "i4"),    # who has the cache line in which targets acknowledge, until ``b_line``
        ("b_left", "i4"),       # acknowledgements still missing
        ("b_targets", "i4"),
        ("b_hold", "i8"),       # the hold that it belongs to, or NONE: no broadcast about a p2m
        ("b_number", "i8"),
        ("b_asked", "i8"),      # when it was requested
        ("b_locked", "i8"),     # when it had the call lock
        ("b_sent", "i8"),       # when the last interrupt was sent
        ("b_acked", "i8"),      # when the last of those acknowledgements that have been sent arrives
        ("b_line", "i8"),       # when that cache line is free for the next target
        # The LOOKUP that it is at.
        ("read_wait", "i8"),    # time waited so far ...
        ("read_longest", "i8"),  # ... and the longest wait
    ]
)  # fmt: skip

(
    GAP, STORE, READ, FLUSH, ENTRY_INVEPT, SEND, OWN_INVEPT, ACQUIRE, QUEUE, HANDOFF, POLL, DRAIN, CALL_ACQUIRE,
    CALL_QUEUE, CALL_HANDOFF, ACKS, UNEXPLAINED, ANSWERED, WRITTEN, CHANGE, REQUEST,
) = range(21)  # fmt: skip
"""Phases. In the mode from before: until the next row; behind a store; looking up; flushing the own TLB. With
interrupts off: INVEPT before an entry or at a switch; sending; the sender's own INVEPT. Spinning: a p2m lock that was
free, is waited for, is on its way; polling the slots of readers; waiting for them to go; the first three for the call
lock or the flush lock; waiting for acknowledgements; and for nothing that is known. The last four are over within the
step in which they begin: a broadcast is done; a write is, with what it had to broadcast; something is to be changed;
the call lock is to be requested.
"""

OWN_EVENT, INTERRUPT = range(2)
"""``event``: its program, handler or re-entry goes on; it is interrupted."""

NOTHING, EDGE, GATE = range(3)
"""What a row waits for: another row, the end of a pause."""

END_ROW, END_WRITE, END_HOLD, NEXT_HOLD = range(4)
"""``b_then``: the row ends; SET goes on to its next write, if it has more; the hold has ended; and another begins."""

GUEST, XEN, IRQOFF, SPIN, IDLE, UNKNOWN = range(6)
MODES = ("guest", "xen", "irqoff", "spin", "idle", "unknown")

LOCK = np.dtype(
    [
        ("owner", "i4"),    # the writer, or NONE
        ("head", "i4"),     # the first of those who wait, or NONE ...
        ("tail", "i4"),     # ... and the last
        ("readers", "i4"),  # how many read
        ("active", "i1"),   # 1 if the writer is active, so that readers of a per-CPU lock have to wait
        ("since", "i8"),    # since when the writer has had it
        ("held", "i8"),     # how long writers have had it in all
    ],
    align=True,
)  # fmt: skip

UNFAIR, QUEUED, PERCPU = range(3)
POLICIES = ("unfair", "queue", "percpu")
"""Of p2m locks."""

PLACE = np.dtype([("number", "i4"), ("core", "i4"), ("socket", "i4"), ("cluster", "i4")])
"""The number of a pCPU in Xen; those of its core and its socket; the cluster that its APIC is in."""

P2M = np.dtype(
    [
        ("hold", "i8"),         # during which its lock is held, or NONE
        ("pending", "i8"),      # writes in it that want a broadcast at the release
        ("root", "i8"),         # node of its root
        ("ranges", "i8"),       # ranges for which log-dirty is on
        ("domain", "i4"),
        ("marked_at", "i4"),    # the p2m whose marks stand for its own
        ("owed", "i1"),         # 1 if a broadcast is due at the release
        ("owed_cause", "i1"),
        ("mark_cause", "i1"),
        ("synced", "i1"),       # 1 if something in the hold got a decision other than NOTHING
        ("nested", "i1"),       # 1 for a nested p2m
        ("unfamiliar", "i1"),   # 1 if its domain was there before the recording
        ("tracked", "i1"),      # 1 if log-dirty is on for all of it
    ],
    align=True,
)  # fmt: skip

DOM = np.dtype(
    [
        ("host_p2m", "i4"),     # number of the domain's own p2m, or NONE
        ("first_p2m", "i4"),    # from here ...
        ("behind_p2m", "i4"),   # ... to before here: the p2ms whose marks a VM entry looks at
        ("paused", "i4"),       # how often it has been paused more than unpaused
        ("dirty", "i4"),        # on how many pCPUs its state is loaded
        ("vcpus", "i4"),        # on how many it can be, as it has no more vCPUs
        ("has_guest_mode", "i1"),
    ],
    align=True,
)  # fmt: skip

(
    C_ACQUIRE, C_READ, C_HANDOFF, C_POLL, C_WEIGHT, C_SET, C_STORE, C_LOOKUP, C_SETUP, C_ANNOUNCE, C_ICR, C_BUSY,
    C_DELIVER, C_ACK, C_LINE, C_HANDLER, C_CALL, C_EXIT, C_ENTRY, C_IRQOFF, C_WAKE, C_WAKE_DEEP, C_DEEP_AFTER, C_FLUSH,
    C_UNEXPLAINED, C_INVEPT, C_REFILL, C_ONLINE, C_SHARING, C_WRITES, C_SHORTHAND, C_TIMEOUT,
    COST_FIELDS,
) = (
    0, 1, 2, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 19, 22, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
    40, 41, 42,
)  # fmt: skip
"""``C_HANDOFF``, ``C_WEIGHT``, ``C_DELIVER``, ``C_ACK`` and ``C_LINE`` are three numbers each, by distance."""

(
    DEFAULT, IPI_KIND, RUNNING_ONLY, ELIDE, DECIDES, AT_ENTRY, ENTRIES_RECORDED, HOLD_PER_WRITE, IS_NPT, SYNCS,
    LOCKLESS, POLICY, SEED, AS_RECORDED, HOW_FIELDS,
) = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 19, 20)  # fmt: skip
"""``DEFAULT``: decision for a sync; ``AT_ENTRY``: marks are looked at before VM entry, not at a switch;
``HOLD_PER_WRITE``: each entry of a PML buffer is a hold of its own; ``IS_NPT``: leaves are recalculated one by one;
``SYNCS``: for each ``what`` of ``strategies.decision``, 1 if the strategy broadcasts there; ``LOCKLESS``: senders share
no call lock; ``POLICY``: of p2m locks; ``AS_RECORDED``: every row is due when it was recorded.
"""

IPI_INVEPT, IPI_KICK, IPI_NONE, IPI_PLAIN, IPI_CALL, IPI_FLUSH = range(6)
"""The handler executes INVEPT; it does nothing, for the VM exit; there is none, as hardware reaches all pCPUs; it does
nothing, whatever the strategy (a nested flush); it does something that has nothing to do with p2ms; it flushes the TLB.
"""


def new_records(number: int, kind: np.dtype[Any]) -> Records:
    """Return so many records of zeros, the first at the beginning of a cache line."""
    raw = np.zeros(number * kind.itemsize + LINE, np.uint8)
    begin = -raw.ctypes.data % LINE
    return raw[begin : begin + number * kind.itemsize].view(kind).view(np.recarray)
