"""The table ``workload``: its operations, enumerations and columns, and what each of them means."""

from __future__ import annotations

import pyarrow as pa

from eptreplay.causes import CAUSES
from eptreplay.trace.schema import Column

OPS = {
    "VMENTER": "a vCPU enters its guest",
    "VMEXIT": "it exits",
    "SWITCH_IN": "a vCPU begins to run",
    "SWITCH_OUT": "it ceases to run",
    "IDLE": "the pCPU goes idle",
    "WAKE": "it ceases to be idle",
    "LOST": "records were dropped from here on; who runs is unknown until the next SWITCH_IN or IDLE",
    "HOLD_BEGIN": "the p2m write lock is requested",
    "SET": "a p2m entry is written",
    "GLOBAL_CHANGE": "a type changes for a range or the whole p2m, entries follow one by one",
    "MISCONFIG": "an entry that such a change has left behind is recalculated",
    "FREE_TABLE": "a page of the p2m is freed",
    "POD_RECLAIM": "pages go to the populate-on-demand cache",
    "PAGE_FREE": "pages go to the allocator",
    "PAGE_ALLOC": "pages come from the allocator",
    "HOLD_END": "the p2m write lock is released",
    "LOOKUP": "entries are looked up for another domain",
    "PAUSE": "all vCPUs of a domain are stopped",
    "UNPAUSE": "they may run again",
    "LOGDIRTY_CLEAN": "the toolstack takes the list of dirty pages, and they become read-only again",
    "PML_DRAIN": "a page-modification log is emptied",
    "CALL": "a function is called on other pCPUs for some other reason",
    "WAIT": "nothing but the edge: work that waits for more than one row has more than one of these",
}
OP_NAMES = tuple(OPS)

(
    VMENTER, VMEXIT, SWITCH_IN, SWITCH_OUT, IDLE, WAKE, LOST, HOLD_BEGIN, SET, GLOBAL_CHANGE, MISCONFIG, FREE_TABLE,
    POD_RECLAIM, PAGE_FREE, PAGE_ALLOC, HOLD_END, LOOKUP, PAUSE, UNPAUSE, LOGDIRTY_CLEAN, PML_DRAIN, CALL, WAIT,
) = range(len(OPS))  # fmt: skip
"""Numbers of the operations: positions in OP_NAMES."""

ACTS = (SET, GLOBAL_CHANGE, MISCONFIG, FREE_TABLE, POD_RECLAIM)
"""What is done within a hold."""

OLD_KNOWN = ("recorded", "cause", "earlier", "created", "assumed")
"""How ``old_type`` is known, best evidence first; ``recorded`` is position 0."""
RECORDED, BY_CAUSE, EARLIER, CREATED, ASSUMED = range(len(OLD_KNOWN))

ORIGINS = ("recorded", "inferred", "synthetic")
"""Where a row comes from; positions in this tuple."""
FROM_RECORD, INFERRED, SYNTHETIC = range(len(ORIGINS))

TIME_ORIGINS = ("timed", "inherited", "interpolated")
"""How a row's time is known; positions in this tuple."""
TIMED, INHERITED, INTERPOLATED = range(len(TIME_ORIGINS))

_NAME = pa.dictionary(pa.int8(), pa.string())
FIRST_RESERVED_DOMAIN = 0x7FF0
"""``DOMID_FIRST_RESERVED``: from here on numbers stand for no guest, but for owners of pages, or the idle domain."""
IDLE_DOMAIN = 32767
NO_GFN = (1 << 64) - 1
"""In place of a frame number that is unknown, or not there."""
HOST_VIEW = 0

WORKLOAD = [
    Column("pcpu", pa.uint16(), False, "physical CPU that carries the operation out"),
    Column("seq", pa.int64(), False, "number of the row among those of its pCPU, from 0"),
    Column("gap_ns", pa.int64(), False, "time since the row before on that pCPU, or since the start, in ns"),
    Column("op", _NAME, False, "the operation"),
    Column("run_dom", pa.uint16(), True, "domain that runs on the pCPU, or is switched in or out"),
    Column("run_vcpu", pa.uint16(), True, "its vCPU"),
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m it concerns"),
    Column("p2m_view", pa.uint16(), True, "which of its p2ms: 0 host, 1 + n altp2m n, 256 + n nested p2m n"),
    Column("hold", pa.int64(), True, "number of the hold of the p2m write lock that it belongs to"),
    Column("gfn", pa.uint64(), True, "guest frame number, in pages of 4 KiB; null where it is unknown"),
    Column("order", pa.uint16(), True, "2^order pages of 4 KiB"),
    Column("mfn", pa.uint64(), True, "machine frame number; 2^64 - 1 in a write that leaves the entry without one"),
    Column("old_type", pa.uint8(), True, "Xen's number of the p2m type before; null where nothing tells"),
    Column(
        "old_known",
        _NAME,
        True,
        "how the state before is known; an assumed entry counts as present, an assumed MISCONFIG as mended before",
    ),
    Column("new_type", pa.uint8(), True, "Xen's number of the p2m type afterwards"),
    Column("cause", _NAME, True, "why the lock is held, or the entry changed"),
    Column("origin", _NAME, False, "whether the row was recorded, inferred from other records, or made up"),
    Column(
        "time_origin", _NAME, False, "timed by its own record, inherited from the one before, or spread between two"
    ),
    Column("preemptible", pa.bool_(), False, "whether Xen can turn to something else in the midst of it"),
    Column(
        "count",
        pa.int64(),
        False,
        "how many: lost records, lookups, entries; 0: a MISCONFIG that only NPT has; else 1",
    ),
    Column("edge", pa.int64(), True, "number of the row of this table, from 0, that has to be carried out before"),
    Column("old_present", pa.bool_(), True, "whether the entry was present before; null where nothing tells"),
    Column("last_gfn", pa.uint64(), True, "last frame of a range that changes; null: all of the p2m"),
    Column("access", pa.uint8(), True, "Xen's number of the access that the entry has now; null: all rights"),
    Column("not_before_ns", pa.int64(), True, "of an inferred row: from when on it can have been, ns since the start"),
    Column("not_after_ns", pa.int64(), True, "of an inferred row: by when it must have been, ns since the start"),
    Column("target", pa.uint16(), True, "of a CALL of no p2m: the only pCPU that is called; null: all others"),
    Column(
        "freed_by",
        pa.int64(),
        True,
        "of PAGE_ALLOC: number of the row of this table that was the last to free one of its pages before, a PAGE_FREE",
    ),
    Column(
        "cut_ns",
        pa.int64(),
        False,
        "what was taken from the gap since the recorded host paid it for its own invalidations, in ns; the recorded"
        " time of a row is the sum of gap_ns and cut_ns so far",
    ),
]

NAMES = {
    "op": OP_NAMES,
    "old_known": OLD_KNOWN,
    "cause": CAUSES,
    "origin": ORIGINS,
    "time_origin": TIME_ORIGINS,
}
"""Columns that hold a name, and the names by number."""


def workload_schema() -> pa.Schema:
    """Return the Arrow schema of ``workload.parquet``."""
    return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in WORKLOAD])
