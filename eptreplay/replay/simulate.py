"""One replay: the host's arrays for a workload, the engine's run over them, and what it counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.errors import InputError, UsageError
from eptreplay.machine import fields as f
from eptreplay.machine.apic import CLUSTER_BITS, addressing, apic_id
from eptreplay.machine.bits import words_for
from eptreplay.machine.clock import END, bits_for, new_clock
from eptreplay.machine.ept import ENTRIES, FRAME_SHIFT, USED
from eptreplay.replay import tally as y
from eptreplay.replay.decisions import compiled_decision
from eptreplay.replay.engine import run
from eptreplay.replay.host import Host
from eptreplay.replay.program import L_COUNT, OP, SWITCH_IN, Numbers, Program
from eptreplay.strategies import decision as d
from eptreplay.strategies.strategy import Strategy
from eptreplay.workload.workload import Workload
from eptreplay.xentrace.catalogue.extension import NESTED_VIEWS

Int64s = NDArray[np.int64]

_IPI_KINDS = {"invept": f.IPI_INVEPT, "kick": f.IPI_KICK, "none": f.IPI_NONE}

COST_FIELDS = {
    "acquire_ns": f.C_ACQUIRE,
    "read_ns": f.C_READ,
    "handoff_core_ns": f.C_HANDOFF,
    "handoff_socket_ns": f.C_HANDOFF + 1,
    "handoff_remote_ns": f.C_HANDOFF + 2,
    "poll_ns": f.C_POLL,
    "weight_core": f.C_WEIGHT,
    "weight_socket": f.C_WEIGHT + 1,
    "weight_remote": f.C_WEIGHT + 2,
    "set_ns": f.C_SET,
    "store_ns": f.C_STORE,
    "lookup_ns": f.C_LOOKUP,
    "setup_ns": f.C_SETUP,
    "announce_ns": f.C_ANNOUNCE,
    "icr_ns": f.C_ICR,
    "busy_ns": f.C_BUSY,
    "deliver_core_ns": f.C_DELIVER,
    "deliver_socket_ns": f.C_DELIVER + 1,
    "deliver_remote_ns": f.C_DELIVER + 2,
    "ack_core_ns": f.C_ACK,
    "ack_socket_ns": f.C_ACK + 1,
    "ack_remote_ns": f.C_ACK + 2,
    "line_core_ns": f.C_LINE,
    "line_socket_ns": f.C_LINE + 1,
    "line_remote_ns": f.C_LINE + 2,
    "handler_ns": f.C_HANDLER,
    "call_ns": f.C_CALL,
    "exit_ns": f.C_EXIT,
    "entry_ns": f.C_ENTRY,
    "irqoff_ns": f.C_IRQOFF,
    "wake_ns": f.C_WAKE,
    "wake_deep_ns": f.C_WAKE_DEEP,
    "deep_after_ns": f.C_DEEP_AFTER,
    "flush_ns": f.C_FLUSH,
    "unexplained_ns": f.C_UNEXPLAINED,
    "invept_ns": f.C_INVEPT,
    "refill_ns": f.C_REFILL,
    "shorthand": f.C_SHORTHAND,
    "timeout_ns": f.C_TIMEOUT,
}
"""Where the numbers of a profile stand in the array ``cost``; the others are seen to in ``_costs``."""


SWITCHES = {
    d.MISCONFIG: "sync_misconfig",
    d.FREE_TABLE: "sync_table_free",
    d.POD_SUPERPAGE: "sync_pod_superpage",
    d.POD_SWEEP: "sync_pod_sweep",
    d.POD_DECREASE: "sync_pod_decrease",
}
"""The switch of a strategy for each thing that it may be asked about besides writes."""

MOST_LOCKLESS = 8192
"""pCPUs that may all call each other at once, so that for each pair is said whose call comes next."""

MOST_LOOKUPS = 1 << 25
"""Single lookups of a workload: each is replayed, and its wait kept."""

MOST_NODES = 1 << 20
"""EPT tables of all p2ms together, 4 KiB each: enough for 2 TiB in pages of 4 KiB."""


Costs = Mapping[str, int | str]
"""The values of a profile, by name."""


class Detail(NamedTuple):
    """How many broadcasts, acknowledgements, INVEPTs and stretches of one mode are to be listed one by one.

    ``rows``: whether to note when each row was carried out.
    """

    broadcasts: int = 0
    acks: int = 0
    invepts: int = 0
    spans: int = 0
    rows: bool = False


class Manner(NamedTuple):
    """How a workload is replayed besides under which strategy: policy of the p2m locks, seed, as recorded or not."""

    lock: str = "queue"
    seed: int = 0
    as_recorded: bool = False


class Outcome(NamedTuple):
    """What one replay counted, and the host as it was at the end."""

    numbers: Numbers
    tally: y.Tally
    host: Host


def simulate(
    workload: Workload,
    program: Program,
    numbers: Numbers,
    strategy: Strategy,
    costs: Costs,
    manner: Manner = Manner(),  # noqa: B008 (a tuple)
    detail: Detail = Detail(),  # noqa: B008 (a tuple of numbers)
) -> Outcome:
    """Replay a numbered workload under one strategy.

    Raises UsageError if the decision function does not compile, or returns what is no decision; InputError if the
    recording makes pCPUs wait for each other for ever, or lasts for longer than the clock can count.
    """
    check_strategy(strategy)
    host = _new_host(workload, numbers, program, strategy, costs, manner)
    tally = _new_tally(numbers, program, detail._replace(rows=detail.rows or manner.as_recorded))
    run(host, tally, program, compiled_decision(strategy))
    _check(workload, numbers, strategy, tally)
    return Outcome(numbers, tally, host)


def check_strategy(strategy: Strategy) -> None:
    """Raise UsageError if a strategy cannot be replayed: its decision function does not compile."""
    if strategy.decide is not None:
        compiled_decision(strategy)


def _new_host(
    workload: Workload,
    numbers: Numbers,
    program: Program,
    strategy: Strategy,
    costs: Costs,
    manner: Manner = Manner(),  # noqa: B008 (a tuple)
) -> Host:
    _refuse_too_large(numbers, program, strategy)
    pcpus, p2ms, domains = numbers.pcpus.size, len(numbers.p2ms), len(numbers.domains)
    words = words_for(pcpus)
    p2m = f.new_records(max(1, p2ms), f.P2M)
    dom = f.new_records(max(1, domains), f.DOM)
    mark = np.zeros((max(1, p2ms), words), np.uint64)
    dom.host_p2m = f.NONE
    kinds = {d.number: d for d in workload.domains}
    invalidates = strategy.broadcast != "none" or strategy.decide is not None
    index = {number: i for i, number in enumerate(numbers.domains)}
    for i, number in enumerate(numbers.domains):
        dom[i].has_guest_mode = number in kinds and kinds[number].has_guest_mode
        dom[i].vcpus = sum(owner == number for owner, _ in numbers.vcpus)
    anywhere = (program.rows.op & OP == SWITCH_IN) & (program.rows.which == f.NONE)
    dom.vcpus[program.rows.arg[anywhere]] = pcpus
    other = CAUSES.index("other")
    p2m.hold = f.NONE
    p2m.mark_cause = other
    node = np.zeros((max(1, numbers.nodes), ENTRIES), np.int64)
    linked = np.zeros(max(1, numbers.nodes), np.int64)
    for n, (number, view) in enumerate(numbers.p2ms):
        own = dom[index[number]]
        p2m[n].domain, p2m[n].root, p2m[n].marked_at = index[number], n, n
        if view == 0:
            own.host_p2m = n
        if view < NESTED_VIEWS:
            own.first_p2m = n if own.behind_p2m == 0 else own.first_p2m
            own.behind_p2m = n + 1
        else:
            p2m[n].nested = 1
            if strategy.invalidates_at_entry and own.host_p2m != f.NONE:
                p2m[n].marked_at = own.host_p2m
        created = number in kinds and kinds[number].created
        if invalidates and created:
            mark[n] = ~np.uint64(0)
        if not created:
            p2m[n].unfamiliar = 1
            node[n, 0] = numbers.first_tables[n] << FRAME_SHIFT | USED
            linked[numbers.first_tables[n]] = 1
    return Host(
        cpu=_new_cpus(numbers, program),
        lock=_new_locks(2 + p2ms),
        p2m=p2m,
        dom=dom,
        cost=_costs(costs, pcpus),
        how=_switches(workload, strategy, manner),
        clock=new_clock(pcpus),
        stack=np.full((pcpus, max(1, numbers.deepest), 2), f.NONE, np.int64),
        vcpu=np.full(max(1, len(numbers.vcpus)), f.NONE, np.int64),
        mark=mark,
        dirty=np.zeros((max(1, domains), words), np.uint64),
        target=np.zeros((pcpus, words), np.uint64),
        sent=np.zeros(pcpus, np.int64),
        behind=np.zeros((pcpus, pcpus) if strategy.call_lock == "lockless" else (1, 1), np.int32),
        cached=np.full((pcpus, max(1, p2ms)), f.NONE, np.int64),
        place=_places(numbers.pcpus, costs),
        node=node,
        rest=np.zeros(max(1, numbers.nodes), np.int64),
        linked=linked,
        ranges=np.zeros((max(1, p2ms), numbers.ranges, 2), np.int64),
        freed=np.concatenate([np.zeros(1, np.int64), np.full(numbers.frees, f.NONE, np.int64)]),
    )


def _refuse_too_large(numbers: Numbers, program: Program, strategy: Strategy) -> None:
    """Raise InputError for what would take more memory or time than anybody can have meant."""
    if numbers.nodes > MOST_NODES:
        raise InputError(
            f"the writes lie all over the guests' memory: {numbers.nodes} EPT tables for"
            f" {program.acts.shape[0]} writes, expected at most {MOST_NODES}; is this the output of xentrace?"
        )
    if strategy.call_lock == "lockless" and numbers.pcpus.size > MOST_LOCKLESS:
        raise InputError(
            f"strategy {strategy.name}: {numbers.pcpus.size} pCPUs, expected at most {MOST_LOCKLESS} where all may"
            " call each other; is this the output of xentrace?"
        )
    lookups = int(program.reads[:, L_COUNT].sum())
    if lookups > MOST_LOOKUPS:
        raise InputError(
            f"{lookups} lookups of p2m entries, expected at most {MOST_LOOKUPS}; a longer every= for --inject helps"
        )


def _new_locks(number: int) -> f.Records:
    lock = f.new_records(number, f.LOCK)
    for field in ("owner", "head", "tail"):
        lock[field] = f.NONE
    return lock


def _new_cpus(numbers: Numbers, program: Program) -> f.Records:
    cpu = f.new_records(numbers.pcpus.size, f.CPU)
    begin, end = numbers.begin[:-1], numbers.begin[1:]
    has_rows = begin < end
    first = begin[has_rows]
    cpu.due[has_rows] = program.rows.gap[first]
    cpu.recorded[has_rows] = program.rows.gap[first] + (program.cut[first] if program.cut.size else 0)
    cpu.pc, cpu.last = begin, end
    cpu.mode = cpu.shown = f.UNKNOWN
    cpu.phase = f.GAP
    cpu.left = f.NEVER
    for field in _NOBODY:
        cpu[field] = f.NONE
    return cpu


_NOBODY = (
    "calls", "last_call", "flusher", "handling", "rest", "taken", "next", "waited", "waiters", "behind", "lock",
    "kept", "domain", "vcpu", "entered", "cold_cause", "stalled", "struck", "b_p2m", "b_dom", "b_hold",
)  # fmt: skip
"""Fields that say nobody, or never, at first."""


def _costs(costs: Costs, pcpus: int) -> Int64s:
    """Return the numbers of a profile as the kernels want them, for a recording with so many pCPUs."""
    cost = np.zeros(f.COST_FIELDS, np.int64)
    for name, field in COST_FIELDS.items():
        cost[field] = costs[name]
    online = max(pcpus, int(costs["pcpus"]))
    how = addressing(str(costs["apic"]), online)
    cost[f.C_ONLINE], cost[f.C_SHARING], cost[f.C_WRITES] = online, how.sharing, how.writes
    cost[f.C_BUSY] *= how.is_busy
    return cost


def _places(pcpus: Int64s, costs: Costs) -> f.Records:
    """Return where pCPUs are: they are numbered by thread, core and socket."""
    cores, threads = int(costs["cores_per_socket"]), int(costs["threads_per_core"])
    place = f.new_records(pcpus.size, f.PLACE)
    place.number = pcpus
    place.core = pcpus // threads
    place.socket = place.core // cores
    place.cluster = [apic_id(pcpu, cores, threads) >> CLUSTER_BITS for pcpu in pcpus.tolist()]
    return place


def _switches(workload: Workload, strategy: Strategy, manner: Manner) -> Int64s:
    how = np.zeros(f.HOW_FIELDS, np.int64)
    how[f.DEFAULT] = strategy.default
    how[f.IPI_KIND] = _IPI_KINDS[strategy.ipi]
    how[f.RUNNING_ONLY] = strategy.kick == "running"
    how[f.ELIDE] = strategy.upgrades == "elide"
    how[f.DECIDES] = strategy.decide is not None
    how[f.AT_ENTRY] = strategy.invalidates_at_entry
    how[f.ENTRIES_RECORDED] = workload.facts.has_vm_entries
    how[f.HOLD_PER_WRITE] = strategy.pml_drain == "entry"
    how[f.IS_NPT] = strategy.tables == "npt"
    how[f.LOCKLESS] = strategy.call_lock == "lockless"
    how[f.POLICY] = f.POLICIES.index(manner.lock)
    how[f.SEED] = manner.seed
    how[f.AS_RECORDED] = manner.as_recorded
    for what, switch in SWITCHES.items():
        how[f.SYNCS + what] = getattr(strategy, switch)
    return how


def _new_tally(numbers: Numbers, program: Program, detail: Detail) -> y.Tally:
    pcpus = numbers.pcpus.size
    hold = np.zeros((max(1, numbers.holds.size), y.HOLD_FIELDS), np.int64)
    hold[: numbers.holds.size, y.H_CAUSE] = numbers.hold_cause
    total = np.zeros(y.TOTALS, np.int64)
    total[y.FIRED_AT] = f.NONE
    total[[y.BUCKET_WIDTH, y.BUCKET_END]] = y.FIRST_WIDTH_NS
    return y.Tally(
        measure=np.zeros((max(1, len(numbers.domains)), len(CAUSES), y.MEASURES), np.int64),
        total=total,
        cpu=np.zeros((pcpus, y.CPU_COUNTS), np.int64),
        mode=np.zeros((pcpus, len(f.MODES)), np.int64),
        hold=hold,
        broadcast=np.zeros((detail.broadcasts, y.BROADCAST_FIELDS), np.int64),
        ack=np.zeros((detail.acks, y.ACK_FIELDS), np.int64),
        invept=np.zeros((detail.invepts, y.INVEPT_FIELDS), np.int64),
        slowest=np.zeros(pcpus, np.int64),
        span=np.zeros((detail.spans, y.SPAN_FIELDS), np.int64),
        bucket=np.zeros((y.BUCKETS, y.MEASURES), np.int64),
        lookup=np.zeros((numbers.reads.size, y.LOOKUP_FIELDS), np.int64),
        read_wait=np.zeros(int(program.reads[:, L_COUNT].sum()), np.int64),
        row=np.zeros((program.rows.size if detail.rows else 0, y.ROW_FIELDS), np.int64),
    )


def _check(workload: Workload, numbers: Numbers, strategy: Strategy, tally: y.Tally) -> None:
    status, row = int(tally.total[y.STATUS]), int(tally.total[y.STATUS_ROW])
    if status == y.BAD_DECISION:
        raise UsageError(
            f"strategy {strategy.name}: decide returned something else than {', '.join(d.DECISIONS)} (0 to"
            f" {len(d.DECISIONS) - 1}), at row {row} of the workload"
        )
    if status == y.BAD_MASK:
        raise AssertionError(f"a domain is dirty on more pCPUs than it has vCPUs, at row {row} of the workload")
    pcpus = numbers.pcpus
    if status == y.TOO_LATE:
        raise InputError(
            f"replay cannot go on: row {row} of the workload would come {END >> bits_for(pcpus.size)} ns after the"
            f" start or later, the most that can be counted for {pcpus.size} pCPUs; is the recording damaged?"
        )
    if status == y.STUCK:
        pcpu = int(pcpus[np.searchsorted(numbers.begin, row, side="right") - 1])
        raise InputError(
            f"replay cannot go on: pCPU {pcpu} waits for ever at row {row} of the workload, {workload.t_ns[row]} ns"
            " after the start; holds, pauses or switches in the recording contradict each other"
        )
