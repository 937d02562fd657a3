"""What the engine counts: arrays that the caller supplies, and where everything stands in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

HOLDS, HOLD_NS, SETS, STORES, SYNCS, BROADCASTS, IPIS, INVEPTS, STOLEN, RECORDED, MEASURES = range(11)
"""Per domain whose p2m it is about, and cause; ``RECORDED``: those of the SETs that were."""

(
    VMENTERS, VMENTER_INVEPTS, UNDER_LOCK, CALL_WAIT, POST_UNLOCK, SIMULATED, BROADCAST_ROWS, ACK_ROWS, INVEPT_ROWS,
    SPAN_ROWS, READ_ROWS, ICR_WRITES, OTHER_CALLS, OTHER_IPIS, ALLOC_FLUSHES, STALL, FIRED_AT, FIRED_ON, FIRED_ROW,
    BUCKET, BUCKET_END, BUCKET_WIDTH, STATUS, STATUS_ROW, TOTALS,
) = range(25)  # fmt: skip
"""``STALL``: the longest; ``FIRED_...``: when, on which pCPU and in which row the watchdog first fired, or NONE;
``BUCKET...``: of the time that it is now, its number, its end, and how wide they are.
"""

FINE, STUCK, BAD_DECISION, BAD_MASK, TOO_LATE = range(5)
"""Values of ``STATUS``: all went well; programs wait for each other; a decision function returned what is none; a
domain has been dirty on more pCPUs than it has vCPUs, which must not be; somebody has something to do when the clock
cannot count any more.
"""

C_IPIS, C_INVEPTS, C_DRIFT, C_EDGES, C_EDGE_NS, CPU_COUNTS = range(6)

H_CAUSE, H_REQUEST, H_ACQUIRE, H_RELEASE, H_END, H_SETS, H_BROADCASTS, H_DONE, HOLD_FIELDS = range(9)

(
    B_HOLD, B_PCPU, B_DOM, B_CAUSE, B_UNDER, B_REQUEST, B_LOCKED, B_SENT, B_DONE, B_TARGETS, B_SLOWEST,
    BROADCAST_FIELDS,
) = range(12)  # fmt: skip

IN_HANDLER, AT_ENTRY, AT_SWITCH, BY_SENDER = range(4)
WHERE = ("handler", "vmenter", "switch", "self")

L_BEGIN, L_END, L_TOTAL, L_MAX, LOOKUP_FIELDS = range(5)

R_COST, R_CARRIED, ROW_FIELDS = range(3)

ACK_FIELDS, INVEPT_FIELDS, SPAN_FIELDS = 5, 4, 4

BUCKETS = 256
FIRST_WIDTH_NS = 1024
"""Buckets of time, and how wide they are before twice as much has to go into each."""


class Tally(NamedTuple):
    """Everything that is counted.

    ``measure``: [domain, cause, what]; ``total``: [what]; ``cpu``: [pCPU, what]; ``mode``: [pCPU, mode], ns;
    ``hold``: [hold, field]. ``broadcast``, ``ack`` and ``invept`` have a row for each, as many as fit; the first
    number of each ack is that of its broadcast. ``slowest``: when the last acknowledgement to a sender arrived.
    ``span``: [row, pCPU and mode and from when to when]. ``bucket``: [bucket, what]. ``lookup``: [LOOKUP, field];
    ``read_wait``: of each single lookup. ``row``: [row, field], if wanted.
    """

    measure: Int64s
    total: Int64s
    cpu: Int64s
    mode: Int64s
    hold: Int64s
    broadcast: Int64s
    ack: Int64s
    invept: Int64s
    slowest: Int64s
    span: Int64s
    bucket: Int64s
    lookup: Int64s
    read_wait: Int64s
    row: Int64s
