"""Tables of the result dataset: columns, types, and what each of them means."""

from __future__ import annotations

import pyarrow as pa

from eptreplay.trace.schema import Column

RESULT_SCHEMA = 1
RESULT_KIND = "result"

_TEXT, _COUNT, _SHARE = pa.string(), pa.int64(), pa.float64()
_RUN = Column("run", pa.int32(), False, "number of the replay, from 0, in the order of the command line")

_QUANTILES = {
    "total": "in all",
    "p50": "median",
    "p90": "90 % are not longer",
    "p99": "99 % are not longer",
    "p999": "99.9 % are not longer",
    "max": "the longest",
}


def _times(name: str, about: str, *which: str) -> list[Column]:
    return [Column(f"{name}_{q}", _COUNT, True, f"{about}, ns: {_QUANTILES[q]}") for q in which]


MEASURES = [
    Column("holds", _COUNT, True, "times that the outermost p2m write lock was held"),
    Column("hold_ns_total", _COUNT, True, "time that p2m write locks were held, ns"),
    Column("p2m_sets", _COUNT, True, "writes of p2m entries: calls of Xen's set-entry function"),
    Column("p2m_sets_recorded", _COUNT, True, "those of them that were recorded"),
    Column("p2m_sets_inferred", _COUNT, True, "those of them that were inferred from other records"),
    Column("ept_stores", _COUNT, True, "live EPT entries written"),
    Column("syncs", _COUNT, True, "writes for which the strategy did anything to invalidate"),
    Column("broadcasts", _COUNT, True, "broadcasts to other pCPUs, those without a target included"),
    Column("ipis", _COUNT, True, "interrupts sent by broadcasts; the sender is no target"),
    Column("invepts", _COUNT, True, "INVEPTs executed, wherever"),
    Column("guest_stolen_ns", _COUNT, True, "time that guests lost to interrupts, INVEPTs and cold translations, ns"),
]
"""What is counted by domain and cause."""

_BY_NAME = {column.name: column for column in MEASURES}

RUNS = [
    _RUN,
    Column("preset", _TEXT, True, "the release that strategy and lock are those of; null if named one by one"),
    Column("strategy", _TEXT, False, "invalidation strategy"),
    Column("lock", _TEXT, False, "policy of the p2m lock"),
    Column("profile", _TEXT, False, "cost profile"),
    Column("seed", _COUNT, False, "of the random choices, if the policy makes any"),
    Column("recorded_as", _TEXT, True, "strategy that ran while recording, if its costs were subtracted"),
    *(
        _BY_NAME[name]
        for name in ("p2m_sets", "p2m_sets_recorded", "p2m_sets_inferred", "ept_stores", "holds", "syncs")
    ),
    _BY_NAME["broadcasts"],
    Column("broadcasts_min", _COUNT, True, "the same if no assumed entry was present"),
    Column("broadcasts_max", _COUNT, True, "the same if every assumed entry was present"),
    Column("broadcasts_under_lock", _COUNT, True, "those that were sent, and waited for, under the p2m lock"),
    _BY_NAME["ipis"],
    _BY_NAME["invepts"],
    Column("vmenters", _COUNT, True, "VM entries: recorded ones, and those after an interrupt"),
    Column("vmenter_invepts", _COUNT, True, "INVEPTs before a VM entry"),
    *_times("hold_ns", "time from acquiring to releasing a p2m write lock", *_QUANTILES),
    *_times("write_wait_ns", "time from requesting a p2m write lock to having it", "total", "p50", "p99", "max"),
    *_times("read_wait_ns", "time from requesting a p2m read lock to having it", "total", "p50", "p99", "max"),
    *_times("op_latency_ns", "time from requesting the lock to the last acknowledgement", "p50", "p99", "max"),
    Column("post_unlock_wait_ns_total", _COUNT, True, "time spent in broadcasts after a release, ns"),
    Column("call_lock_wait_ns_total", _COUNT, True, "time spent waiting for the call lock, ns"),
    Column("lock_utilisation", _SHARE, True, "share of the time that the busiest p2m lock was held by writers"),
    Column("call_lock_utilisation", _SHARE, True, "share of the time that the call lock was held"),
    _BY_NAME["guest_stolen_ns"],
    Column("watchdog_fired", pa.bool_(), True, "whether some pCPU reached no softirq for the watchdog's time"),
    Column("watchdog_at_ns", _COUNT, True, "when, ns"),
    *(Column(f"violations_p{n}", _COUNT, True, f"violations of safety property P{n}") for n in range(1, 6)),
    *(Column(f"exposures_p{n}", _COUNT, True, f"events that could have violated P{n}") for n in range(1, 6)),
    *_times("stale_ns", "time during which a stale translation could be used", "p50", "p99", "max"),
    Column("assumed_rows", _COUNT, False, "writes of entries of which nothing tells what they were"),
    Column("interpolated_rows", _COUNT, False, "rows whose time was spread between those of two records"),
    Column("clamped_rows", _COUNT, True, "rows whose gap was shorter than what was to be subtracted"),
    Column("simulated_ns", _COUNT, True, "when the last thing happened, ns"),
    Column("watchdog_pcpu", pa.uint16(), True, "on which pCPU"),
    Column("watchdog_row", _COUNT, True, "row of the workload that kept it from its softirqs, from 0"),
    Column("stall_ns_max", _COUNT, True, "the longest time that something kept a pCPU from its softirqs, ns"),
    Column("icr_writes", _COUNT, True, "writes of interrupt command registers, whatever for"),
    Column(
        "other_calls", _COUNT, True, "calls of other pCPUs that are not about a p2m: VMCS clears, calibrations, ..."
    ),
    Column("other_ipis", _COUNT, True, "interrupts sent by those"),
    Column("alloc_flushes", _COUNT, True, "allocations for which TLBs of other pCPUs had to be flushed"),
]

CAUSES_TABLE = [
    _RUN,
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m it is about"),
    Column("cause", _TEXT, False, "why the lock was held, or the entry written"),
    *MEASURES,
]

PCPUS = [
    _RUN,
    Column("pcpu", pa.uint16(), False, "physical CPU"),
    *(
        Column(f"{mode}_ns", _COUNT, True, about)
        for mode, about in (
            ("guest", "time in guest mode, ns"),
            ("xen", "time in the hypervisor, or in a PV guest, ns"),
            ("irqoff", "time in the hypervisor with interrupts off, ns"),
            ("spin", "time waiting for a lock or for acknowledgements, ns"),
            ("idle", "time idling, ns"),
            ("unknown", "time of which nobody knows who ran, ns"),
        )
    ),
    Column("ipis_received", _COUNT, True, "interrupts of broadcasts that arrived"),
    Column("invepts", _COUNT, True, "INVEPTs executed on it"),
    Column("drift_ns", _COUNT, True, "how much later than recorded its last row ended, ns"),
    Column("edges_waited", _COUNT, True, "rows that had to wait for one of another pCPU"),
    Column("edge_wait_ns", _COUNT, True, "how long in all, ns"),
]

TIMELINE = [
    _RUN,
    Column("t0_ns", _COUNT, False, "beginning of the time, ns"),
    Column("t1_ns", _COUNT, False, "its end, ns"),
    *MEASURES,
]

LOOKUPS = [
    _RUN,
    Column("pcpu", pa.uint16(), False, "physical CPU of the toolstack"),
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m it looked up"),
    Column("count", _COUNT, False, "lookups of the batch"),
    Column("wait_ns_total", _COUNT, True, "time spent waiting for the read lock, ns"),
    Column("wait_ns_max", _COUNT, True, "the longest single wait, ns"),
    Column("elapsed_ns", _COUNT, True, "time from beginning to end, ns"),
    Column("row", _COUNT, False, "row of the workload, from 0"),
    Column("t_ns", _COUNT, True, "when the batch began, ns"),
    Column("preemptible", pa.bool_(), False, "whether softirqs could run between two lookups"),
]

HOLDS = [
    _RUN,
    Column("hold", _COUNT, False, "number of the hold in the workload"),
    Column("pcpu", pa.uint16(), False, "physical CPU that held the lock"),
    Column("run_dom", pa.uint16(), True, "domain that ran there"),
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m lock it was"),
    Column("p2m_view", pa.uint16(), False, "which of its p2ms"),
    Column("cause", _TEXT, False, "why it was held"),
    Column("t_request_ns", _COUNT, True, "when it was requested, ns"),
    Column("t_acquire_ns", _COUNT, True, "when it was acquired, ns"),
    Column("t_release_ns", _COUNT, True, "when it was released, ns"),
    Column("sets", _COUNT, False, "entries written meanwhile"),
    Column("broadcasts", _COUNT, False, "broadcasts sent because of these"),
]

BROADCASTS = [
    _RUN,
    Column("broadcast", _COUNT, False, "number of the broadcast, in the order of requests"),
    Column("hold", _COUNT, False, "hold that it belongs to"),
    Column("pcpu", pa.uint16(), False, "sender"),
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m it is about"),
    Column("cause", _TEXT, False, "why the entry was written"),
    Column("under_lock", pa.bool_(), False, "whether the p2m lock was held"),
    Column("t_request_ns", _COUNT, True, "when it was called for, ns"),
    Column("t_locked_ns", _COUNT, True, "when the sender had the call lock, ns"),
    Column("t_sent_ns", _COUNT, True, "when the last interrupt was sent, ns"),
    Column("t_done_ns", _COUNT, True, "when the last acknowledgement had arrived, ns"),
    Column("targets", _COUNT, True, "pCPUs that were interrupted"),
    Column("slowest_pcpu", pa.uint16(), True, "the one whose acknowledgement arrived last"),
]

INVEPTS = [
    _RUN,
    Column("pcpu", pa.uint16(), False, "physical CPU that executed it"),
    Column("t_ns", _COUNT, True, "when, ns"),
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m it was for"),
    Column("where", _TEXT, False, "vmenter, handler, switch or self"),
]

ACKS = [
    _RUN,
    Column("broadcast", _COUNT, False, "number of the broadcast"),
    Column("pcpu", pa.uint16(), False, "the target"),
    Column("mode", _TEXT, True, "what the interrupt met it at: guest, xen, spin, idle or unknown"),
    Column("t_deliver_ns", _COUNT, True, "when the interrupt took effect, ns"),
    Column("t_ack_ns", _COUNT, True, "when the sender had the acknowledgement, ns"),
]

MODES_TABLE = [
    _RUN,
    Column("pcpu", pa.uint16(), False, "physical CPU"),
    Column("mode", _TEXT, False, "guest, xen, irqoff, spin, idle or unknown"),
    Column("t0_ns", _COUNT, False, "from when on, ns"),
    Column("t1_ns", _COUNT, False, "until when, ns"),
]

SUMMARY_TABLES = {"runs": RUNS, "causes": CAUSES_TABLE, "timeline": TIMELINE, "pcpus": PCPUS, "lookups": LOOKUPS}
FULL_TABLES = {"holds": HOLDS, "broadcasts": BROADCASTS, "acks": ACKS, "invepts": INVEPTS, "modes": MODES_TABLE}
RESULT_TABLES = {**SUMMARY_TABLES, **FULL_TABLES}
"""Columns by table; the table ``workload`` is described with the workload."""


def result_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table of the result dataset."""
    return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in RESULT_TABLES[table]])
