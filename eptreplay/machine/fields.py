"""Where everything stands in the arrays of the modelled host. All are of 64-bit integers unless said otherwise.

    cpu[pCPU, field]     what each pCPU does
    lock[lock, field]    0 is the call lock, 1 + n the write lock of p2m n
    p2m[p2m, field]
    dom[domain, field]
    cost[field]          from the profile, in nanoseconds
    how[field]           the strategy

Domains, vCPUs, p2ms and pCPUs have dense numbers from 0 here; -1 stands for none or unknown.
"""

from __future__ import annotations

import numpy as np

NONE = -1
NEVER = np.int64(1) << 62
"""A time that does not come."""

(
    DUE,        # when the phase of its program is over, as far as that hangs on time
    LEFT,       # what is left of it, while an interrupt or a pause keeps the pCPU from its work; else NEVER
    FREE,       # when the handler or the re-entry that it is at is over
    ARRIVES,    # when the interrupt that was sent to it arrives
    SIGNAL,     # who sent that interrupt, or NONE
    HANDLING,   # who sent the interrupt whose handler it is in, or NONE
    ENTERING,   # 1: on its way back into the guest, interrupts off
    STOPPED,    # 1: kept from the guest, as its domain is paused
    PHASE,      # what its program is at: see below
    WAITS,      # what the row that is due waits for: see below
    NEXT,       # which row or domain that is; or who is behind it in the queue of a lock
    PC,         # number of the row that it carries out next; all before have been carried out
    LAST,       # number of the row behind the program
    RECORDED,   # when the row that it carries out next was recorded
    ENDED,      # when its last row ended
    MODE,       # but for spinning, interrupts and pauses
    SHOWN,      # with them: the mode that counts ...
    SINCE,      # ... and since when
    DOMAIN,     # whose state is loaded
    VCPU,       # which vCPU's state is loaded
    ENTERED,    # the domain of the last VM entry
    COLD_CAUSE, # translations are cold, because of an INVEPT with this cause; else NONE
    COLD_DOMAIN,
    DEPTH,      # how many p2m locks it holds or requests
    STRUCK,     # when the interrupt that keeps it from its guest was delivered, or NONE
    I_DOMAIN,   # whose p2m that interrupt is about ...
    I_CAUSE,    # ... and the cause of it
    B_P2M,      # its own broadcast: the p2m
    B_CAUSE,
    B_HOLD,     # the hold that it belongs to, or NONE: no broadcast
    B_UNDER,    # 1: under the p2m lock
    B_NUMBER,
    B_LOCKED,   # when it had the call lock
    B_ASKED,    # when it was requested
    B_SENT,     # when the last interrupt was sent
    B_LEFT,     # acknowledgements still missing
    B_ACKED,    # when the last of those that have been sent arrives
    B_SLOWEST,  # who sent it
    B_TARGETS,
    B_KIND,     # what its handler does: see below
    B_THEN,     # what comes after it: see below
    REPEATS,    # writes that the row is still to make
    CPU_FIELDS,
) = range(43)  # fmt: skip

(
    GAP, ACQUIRE, QUEUE, HANDOFF, STORE, CALL_ACQUIRE, CALL_QUEUE, CALL_HANDOFF, SEND, OWN_INVEPT, ACKS, ENTRY_INVEPT,
    ANSWERED, WRITTEN, CHANGE, REQUEST,
) = range(16)  # fmt: skip
"""Phases: until the next row; a p2m lock that was free, is waited for, is on its way; behind a store; the same three
for the call lock; sending; the sender's own INVEPT; waiting for acknowledgements; INVEPT before an entry or at a
switch. The last four are over within the step in which they begin: a broadcast is done; a write is, with what it had to
broadcast; something is to be changed; the call lock is to be requested.
"""

NOTHING, EDGE, GATE = range(3)
"""What a row waits for: another row, the end of a pause."""

END_ROW, END_WRITE, END_HOLD, NEXT_HOLD = range(4)
"""``B_THEN``: the row ends; SET goes on to its next write, if it has more; the hold has ended; and another begins."""

GUEST, XEN, SPIN, IDLE, UNKNOWN = range(5)
MODES = ("guest", "xen", "spin", "idle", "unknown")

OWNER, HEAD, TAIL, LOCK_FIELDS = range(4)

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

HOST_P2M, FIRST_P2M, BEHIND_P2M, HAS_GUEST_MODE, PAUSED, DIRTY, DOM_FIELDS = range(7)
"""``HOST_P2M``: number of the domain's own p2m, or -1; ``FIRST_P2M`` to ``BEHIND_P2M``: those whose marks a VM entry
looks at; ``DIRTY``: on how many pCPUs its state is loaded.
"""

(
    C_ACQUIRE, C_HANDOFF, C_SET, C_STORE, C_SETUP, C_ICR, C_DELIVER, C_ACK, C_HANDLER, C_EXIT, C_ENTRY, C_WAKE,
    C_INVEPT, C_REFILL, C_CORES, C_THREADS, COST_FIELDS,
) = (0, 1, 4, 5, 6, 7, 8, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22)  # fmt: skip
"""``C_HANDOFF``, ``C_DELIVER`` and ``C_ACK`` are three numbers each, by distance."""

(
    DEFAULT, IPI_KIND, RUNNING_ONLY, ELIDE, DECIDES, AT_ENTRY, ENTRIES_RECORDED, HOLD_PER_WRITE, IS_NPT, SYNCS,
    HOW_FIELDS,
) = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16)  # fmt: skip
"""``DEFAULT``: decision for a sync; ``AT_ENTRY``: marks are looked at before VM entry, not at a switch;
``HOLD_PER_WRITE``: each entry of a PML buffer is a hold of its own; ``IS_NPT``: leaves are recalculated one by one;
``SYNCS``: for each ``what`` of
``strategies.decision``, 1 if the strategy broadcasts there.
"""

IPI_INVEPT, IPI_KICK, IPI_NONE, IPI_PLAIN = range(4)
"""The handler executes INVEPT; it does nothing, for the VM exit; there is none, as hardware reaches all pCPUs; it does
nothing, whatever the strategy (a nested flush).
"""
