"""What the engine counts: arrays that the caller supplies, and where everything stands in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

HOLDS, HOLD_NS, SETS, STORES, SYNCS, BROADCASTS, IPIS, INVEPTS, STOLEN, MEASURES = range(10)
"""Per domain whose p2m it is about, and cause."""

(
    VMENTERS, VMENTER_INVEPTS, UNDER_LOCK, CALL_WAIT, POST_UNLOCK, SIMULATED, BROADCAST_ROWS, ACK_ROWS, INVEPT_ROWS,
    STATUS, STATUS_ROW, TOTALS,
) = range(12)  # fmt: skip

FINE, STUCK, BAD_DECISION = range(3)
"""Values of ``STATUS``: all went well; programs wait for each other; a decision function returned what is none."""

C_IPIS, C_INVEPTS, C_DRIFT, CPU_COUNTS = range(4)

H_CAUSE, H_REQUEST, H_ACQUIRE, H_RELEASE, H_END, H_SETS, H_BROADCASTS, H_DONE, HOLD_FIELDS = range(9)

(
    B_HOLD, B_PCPU, B_DOM, B_CAUSE, B_UNDER, B_REQUEST, B_LOCKED, B_SENT, B_DONE, B_TARGETS, B_SLOWEST,
    BROADCAST_FIELDS,
) = range(12)  # fmt: skip

IN_HANDLER, AT_ENTRY, AT_SWITCH, BY_SENDER = range(4)
WHERE = ("handler", "vmenter", "switch", "self")

ACK_FIELDS, INVEPT_FIELDS = 5, 4


class Tally(NamedTuple):
    """Everything that is counted.

    ``measure``: [domain, cause, what]; ``total``: [what]; ``cpu``: [pCPU, what]; ``mode``: [pCPU, mode], ns;
    ``hold``: [hold, field]. ``broadcast``, ``ack`` and ``invept`` have a row for each, as many as fit; the first
    number of each ack is that of its broadcast. ``slowest``: when the last acknowledgement to a sender arrived.
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
