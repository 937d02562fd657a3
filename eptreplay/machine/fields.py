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
    DUE,        # when the program goes on, or NEVER
    IPI,        # when an interrupt is delivered, or NEVER; it waits while the pCPU is busy
    BACK,       # when the handler of an interrupt that met a guest has ended, or a stopped guest goes on, or NEVER
    BUSY,       # until when interrupts are off
    PHASE,      # what is due: see below
    PC,         # number of the row that is due
    REACHED,    # number of the first row that has not been carried out
    LAST,       # number of the row behind the program
    RECORDED,   # when the row that is due was recorded
    MODE,
    SINCE,      # since when it is in that mode
    DOMAIN,     # whose state is loaded
    VCPU,       # which vCPU's state is loaded
    COLD,       # 1: an INVEPT was executed since the last entry into a guest
    LEFT,       # what an interrupted or stopped guest still has to do until its next row, or NEVER
    WAITS,      # what a program that is never due waits for: see below
    NEXT,       # who is behind it in the queue of a lock
    DEPTH,      # how many p2m locks it holds or requests
    STRUCK,     # when the interrupt that it handles met it
    SENDER,     # who sent it
    I_DOMAIN,   # whose p2m the interrupt is about ...
    I_CAUSE,    # ... and the cause of it
    B_P2M,      # its own broadcast: the p2m
    B_CAUSE,
    B_HOLD,     # the hold that it belongs to
    B_NUMBER,
    B_LOCKED,   # when it had the call lock
    B_ASKED,    # when it was requested
    B_SENT,     # when the last interrupt was sent
    B_LEFT,     # acknowledgements still missing
    B_LAST,     # when the last of those that have been sent arrives
    B_SLOWEST,  # who sent it
    B_TARGETS,
    CPU_FIELDS,
) = range(34)  # fmt: skip

ROW, ACQUIRED, REQUEST, LOCKED, DONE = range(5)
"""Phases: a row; a p2m lock has been acquired; a broadcast is requested, has the call lock, is done."""

NOTHING, EDGE, GATE, QUEUE, ACKS, STOPPED = range(6)
"""What a program waits for: another row, the end of a pause, a lock, acknowledgements, being allowed to run again."""

GUEST, XEN, SPIN, IDLE, UNKNOWN = range(5)
MODES = ("guest", "xen", "spin", "idle", "unknown")

OWNER, HEAD, TAIL, LOCK_FIELDS = range(4)

P_DOMAIN, OWED, PENDING, OWED_CAUSE, MARK_CAUSE, HOLD, ROOT, P2M_FIELDS = range(8)
"""``OWED``: 1 if a broadcast is due at the release; ``PENDING``: writes that decided so; ``HOLD``: the hold."""

HOST_P2M, HAS_GUEST_MODE, PAUSED, DIRTY, DOM_FIELDS = range(5)
"""``HOST_P2M``: number of the domain's own p2m, or -1; ``DIRTY``: on how many pCPUs its state is loaded."""

(
    ACQUIRE, HANDOFF, SET_ENTRY, SETUP, ICR, DELIVER, ACK, HANDLER, EXIT, ENTRY, WAKE, INVEPT, REFILL, CORES, THREADS,
    COST_FIELDS,
) = (0, 1, 4, 5, 6, 7, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21)  # fmt: skip
"""``HANDOFF``, ``DELIVER`` and ``ACK`` are three numbers each, by distance."""

DEFAULT, IPI_KIND, RUNNING_ONLY, ELIDE, DECIDES, AT_ENTRY, ENTRIES_RECORDED, HOW_FIELDS = range(8)
"""``DEFAULT``: decision for a sync; ``AT_ENTRY``: marks are looked at before VM entry, not at a switch."""

IPI_INVEPT, IPI_KICK, IPI_NONE = range(3)
