"""Where everything stands in the arrays of the modelled host. All are of 64-bit integers unless said otherwise.

    cpu[pCPU, field]     what each pCPU does
    lock[lock, field]    0 is the call lock, 1 + n the lock of p2m n, the last one the flush lock
    p2m[p2m, field]
    dom[domain, field]
    cost[field]          from the profile, in nanoseconds
    place[pCPU, field]   where each pCPU is
    how[field]           the strategy, the policy of the p2m locks, the seed

Domains, vCPUs, p2ms and pCPUs have dense numbers from 0 here; -1 stands for none or unknown.
"""

from __future__ import annotations

import numpy as np

NONE = -1
NEVER = np.int64(1) << 62
"""A time that does not come."""

(
    EVENT,      # what comes next: see below
    PHASE,      # what its program is at: see below
    MODE,       # but for spinning, interrupts and pauses
    SHOWN,      # with them: the mode that counts ...
    SINCE,      # ... and since when
    ENTERED,    # the domain of the last VM entry
    HANDLING,   # whose call it is handling, or NONE
    ENTERING,   # 1: on its way back into the guest, interrupts off
    STOPPED,    # 1: kept from the guest, as its domain is paused
    LEFT,       # what is left of it, while an interrupt or a pause keeps the pCPU from its work; else NEVER
    KEPT,       # replaying as recorded: since when it is kept from the work of its gap, or NONE
    DUE,        # when the phase of its program is over, as far as that hangs on time
    FREE,       # when the handler or the re-entry that it is at is over
    WAITS,      # what the row that is due waits for: see below
    PC,         # number of the row that it carries out next; all before have been carried out
    LAST,       # number of the row behind the program
    OFF_UNTIL,  # until when interrupts stay off behind its last VM exit
    CALLS,      # whose call comes first in its queue, or NONE ...
    FLUSHER,    # who wants it to flush its TLB, or NONE
    ARRIVES,    # when the interrupt for them arrives
    FLUSH_ARRIVES,
    CARRIED,    # when its last row was carried out
    RECORDED,   # when the row that it carries out next was recorded
    ENDED,      # when its last row ended
    STALLED,    # since when no softirq can run, or NONE ...
    DEPTH,      # how many p2m locks it holds or requests
    DOMAIN,     # whose state is loaded
    VCPU,       # which vCPU's state is loaded
    COLD_CAUSE, # translations are cold, because of an INVEPT with this cause; else NONE
    COLD_DOMAIN,
    STRUCK,     # when the interrupt that keeps it from its guest was delivered, or NONE
    REPEATS,    # writes, or lookups, that the row is still to make
    LOCK,       # the p2m lock that it requests, reads or has requested last; NONE: one that it has anyway
    LAST_CALL,  # ... and whose last
    REST,       # whose call it handles after that, or NONE
    ACKING,     # 1: that call is over, and it waits for the cache line in which it acknowledges
    TAKEN,      # whose call is the last that it handles then
    MET,        # the mode that the interrupt met ...
    DELIVERED,  # ... and when
    NEXT,       # which row or domain that is
    WAITED,     # since when the next row has been due and had to wait for another or its domain, or NONE
    WAITERS,    # the first of those who wait for a row of this pCPU, or NONE
    BEHIND,     # who is behind it in the queue of a lock, or among those who wait for a row of the same pCPU
    READS,      # 1: it requests the read side
    ASKED,      # when it requested that
    STAMP,      # of its last TLB flush
    STALL_ROW,  # ... and with which row that began
    DRAWS,      # how often it has drawn an heir
    I_DOMAIN,   # whose p2m that interrupt is about ...
    I_CAUSE,    # ... and the cause of it
    B_P2M,      # its own broadcast: the p2m, or NONE
    B_DOM,      # whose p2m that is, or NONE
    B_CAUSE,
    B_HOLD,     # the hold that it belongs to, or NONE: no broadcast about a p2m
    B_UNDER,    # 1: under the p2m lock
    B_NUMBER,
    B_LOCKED,   # when it had the call lock
    B_ASKED,    # when it was requested
    B_SENT,     # when the last interrupt was sent
    B_LEFT,     # acknowledgements still missing
    B_ACKED,    # when the last of those that have been sent arrives
    B_SLOWEST,  # who sent it
    B_LINE,     # when the cache line in which targets acknowledge is free for the next of them ...
    B_LINE_BY,  # ... and who has it until then
    B_TARGETS,
    B_KIND,     # what its handler does: see below
    B_THEN,     # what comes after it: see below
    L_WAIT,     # of the LOOKUP that it is at: time waited so far, and the longest wait
    L_LONGEST,
    CPU_FIELDS,
) = range(70)  # fmt: skip

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
"""``EVENT``: its program, handler or re-entry goes on; it is interrupted."""

NOTHING, EDGE, GATE = range(3)
"""What a row waits for: another row, the end of a pause."""

END_ROW, END_WRITE, END_HOLD, NEXT_HOLD = range(4)
"""``B_THEN``: the row ends; SET goes on to its next write, if it has more; the hold has ended; and another begins."""

GUEST, XEN, IRQOFF, SPIN, IDLE, UNKNOWN = range(6)
MODES = ("guest", "xen", "irqoff", "spin", "idle", "unknown")

OWNER, HEAD, TAIL, READERS, ACTIVE, SINCE_WHEN, HELD, LOCK_FIELDS = range(8)
"""The writer; the first and the last who wait; how many read; 1 if the writer is active, so that readers of a per-CPU
lock have to wait; since when the writer has acquired it; how long writers have had it in all.
"""

UNFAIR, QUEUED, PERCPU = range(3)
POLICIES = ("unfair", "queue", "percpu")
"""Of p2m locks."""

NUMBER, CORE, SOCKET, CLUSTER, PLACE_FIELDS = range(5)
"""The number of a pCPU in Xen; those of its core and its socket; the cluster that its APIC is in."""


(
    P_DOMAIN,
    OWED,       # 1 if a broadcast is due at the release
    PENDING,    # writes that decided so
    OWED_CAUSE,
    MARK_CAUSE,
    MARKED_AT,  # the p2m whose marks stand for its own
    HOLD,       # the hold
    SYNCED,     # 1 if something in the hold got a decision other than NOTHING
    ROOT,       # node of its root
    NESTED,     # 1 for a nested p2m
    UNFAMILIAR, # 1 if its domain was there before the recording
    TRACKED,    # 1 if log-dirty is on for all of it
    RANGES,     # ranges for which it is on
    P2M_FIELDS,
) = range(14)  # fmt: skip

HOST_P2M, FIRST_P2M, BEHIND_P2M, HAS_GUEST_MODE, PAUSED, DIRTY, VCPUS, DOM_FIELDS = range(8)
"""``HOST_P2M``: number of the domain's own p2m, or -1; ``FIRST_P2M`` to ``BEHIND_P2M``: those whose marks a VM entry
looks at; ``DIRTY``: on how many pCPUs its state is loaded; ``VCPUS``: on how many it can be, as it has no more vCPUs.
"""

(
    C_ACQUIRE, C_READ, C_HANDOFF, C_POLL, C_WEIGHT, C_SET, C_STORE, C_LOOKUP, C_SETUP, C_ENQUEUE, C_ICR, C_BUSY,
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
