"""The random workloads that the properties are tested with hold everything that they should."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from eptreplay.model import Costs, Recording, Result, Row, replay
from eptreplay.model.clock import Clock
from eptreplay.model.host import IDLE, mode_without_interrupt
from eptreplay.model.rows import FIRST_NESTED_VIEW
from eptreplay.model.target import unmask
from eptreplay.p2m_types import RAM_RW, is_present
from eptreplay.strategies import DEFER, FREE_TABLE, Request, Strategy
from tests.model.workloads import MACHINES, STRATEGIES_TO_TRY, recordings

EXPECTED = {
    *("VMENTER", "VMEXIT", "SWITCH_IN", "SWITCH_OUT", "IDLE", "WAKE", "LOST", "HOLD_BEGIN", "SET", "HOLD_END"),
    *("LOOKUP", "PAGE_FREE", "PAGE_ALLOC", "call of one", "call of all", "inferred call"),
    *("lookup that waits", "lookup in a hold", "lookup in a hold of its p2m", "preemptible lookups"),
    *("other call", "flush of others", "watchdog", "wait for an edge", "draw", "deep C-state", "interrupts off"),
    *("MISCONFIG", "GLOBAL_CHANGE", "FREE_TABLE", "POD_RECLAIM", "PAUSE", "UNPAUSE", "CALL", "WAIT"),
    *("edge HOLD_BEGIN", "edge SWITCH_IN", "edge VMENTER", "edge PAUSE", "edge WAIT"),
    *(
        "entry of an unknown domain",
        "no entries recorded",
        "created domain",
        "PV domain",
        "recursive hold",
        "nested hold",
    ),
    *("target in guest", "target in xen", "target in spin", "target in idle", "two targets", "two sockets"),
    *("repeated SET", "SET of an unknown frame", "SET without rights"),
    *("range changed", "everything changed", "memory types changed", "marks left"),
    *(f"asked {what}" for what in range(7)),
    "asked about a table that was replaced",
    "PML drain in several holds",
    *("INVEPT handler", "INVEPT vmenter", "INVEPT switch", "INVEPT self"),
    *(
        "queue for a lock",
        "queue for the call lock",
        "broadcast under the lock",
        "deferred broadcast",
        "broadcast of a nested p2m under the lock of its host",
        "upgrade elided",
    ),
}


def features_of(recording: Recording) -> set[str]:
    """Return what a recording has in it."""
    found = set() if recording.has_vm_entries else {"no entries recorded"}
    found |= {"created domain" for domain in recording.domains.values() if domain.created}
    found |= {"two sockets"} if min(recording.programs) < 4 <= max(recording.programs) else set()
    for _, rows in recording.programs.values():
        held: list[tuple[int, int] | None] = []
        for row in rows:
            found |= {row.op} | ({f"edge {row.op}"} if row.edge is not None else set())
            if row.op == "HOLD_BEGIN":
                found |= {"recursive hold" if row.p2m in held else "nested hold"} if held else set()
                held.append(row.p2m)
            elif row.op == "HOLD_END":
                held.pop()
            elif row.op == "LOOKUP":
                found |= {"lookup in a hold of its p2m" if row.p2m in held else "lookup in a hold"} if held else set()
                found |= {"preemptible lookups"} if row.preemptible and row.count > 1 else set()
            elif row.op == "CALL" and row.p2m is None:
                found.add("call of all" if row.target is None else "call of one")
                found |= {"inferred call"} if row.origin == "inferred" else set()
            elif row.op == "VMENTER" and row.dom is None:
                found.add("entry of an unknown domain")
            elif row.op == "SWITCH_IN" and row.dom == 0:
                found.add("PV domain")
            found |= features_of_change(row)
    return found


def features_of_change(row: Row) -> set[str]:
    """Return what is special about a row that changes tables."""
    if row.op == "SET":
        told = {
            "repeated SET": row.count > 1,
            "SET of an unknown frame": row.gfn is None and row.count == 1,
            "SET without rights": row.new_type == RAM_RW and not is_present(RAM_RW, row.access),
        }
        return {text for text, is_so in told.items() if is_so}
    if row.op != "GLOBAL_CHANGE":
        return set()
    if row.last_gfn is not None:
        return {"range changed"}
    return {"memory types changed" if row.new_type is None else "everything changed"}


def features_in(recording: Recording, result: Result, costs: Costs) -> set[str]:
    """Return what happened in a replay."""
    found = {f"target in {ack.mode}" for ack in result.acks} | {f"INVEPT {invept.where}" for invept in result.invepts}
    begun = {row.hold for _, rows in recording.programs.values() for row in rows if row.op == "HOLD_BEGIN"}
    found |= {"PML drain in several holds" for hold in result.holds if hold.hold not in begun}
    found |= {"marks left" for table in result.tables.values() if "mark=2" in repr(table)}
    found |= {"queue for a lock" for hold in result.holds if hold.t_acquire_ns - hold.t_request_ns > costs.acquire_ns}
    for broadcast in result.broadcasts:
        found.add("broadcast under the lock" if broadcast.under_lock else "deferred broadcast")
        if broadcast.p2m[1] >= FIRST_NESTED_VIEW and broadcast.under_lock:
            found.add("broadcast of a nested p2m under the lock of its host")
        if broadcast.targets > 1:
            found.add("two targets")
        if broadcast.t_locked_ns - broadcast.t_request_ns > costs.acquire_ns:
            found.add("queue for the call lock")
    found |= (
        {"lookup that waits"} if max(result.read_waits, default=0) > max(costs.acquire_ns, costs.read_ns) else set()
    )
    found |= {"other call"} if result.other_ipis else set()
    found |= {"flush of others"} if result.alloc_flushes else set()
    found |= {"watchdog"} if result.watchdog else set()
    found |= {"wait for an edge"} if any(ns for _, ns in result.edge_waits.values()) else set()
    return found


def features_of_time(recording: Recording, strategy: Strategy, costs: Costs) -> set[str]:
    """Return what hangs on times, or on chance."""
    clock = Clock(recording, strategy, costs, "unfair", seed=1)
    found = set()
    for turn in clock.run():
        pcpu, timer = clock.host.pcpus[turn.c], clock.timers[turn.c]
        found |= {"draw"} if pcpu.draws else set()
        found |= {"interrupts off"} if turn.step is unmask and costs.irqoff_ns else set()
        woken = pcpu.handling and mode_without_interrupt(pcpu) == IDLE
        found |= {"deep C-state"} if woken and timer.lasted >= costs.deep_after_ns > 0 else set()
    return found


def questions_in(recording: Recording, costs: Costs) -> set[str]:
    """Return what a decision function is asked about."""
    found: set[str] = set()

    def defer(request: Request) -> int:
        found.add(f"asked {request.what}")
        if request.what == FREE_TABLE and request.order > 0:
            found.add("asked about a table that was replaced")
        return DEFER

    replay(recording, Strategy(name="defers", decide=defer), costs)
    return found


def test_random_workloads_have_everything_in_them_and_get_stuck_nowhere() -> None:
    found: set[str] = set()

    @settings(max_examples=900, derandomize=True, database=None)
    @given(recordings(), STRATEGIES_TO_TRY, MACHINES)
    def look(recording: Recording, strategy: Strategy, costs: Costs) -> None:
        result = replay(recording, strategy, costs)
        found.update(features_of(recording), features_in(recording, result, costs), questions_in(recording, costs))
        found.update(features_of_time(recording, strategy, costs))
        if strategy.upgrades == "elide" and strategy.decide is None and strategy.broadcast != "none":
            syncs = [
                sum(measures["syncs"] for measures in x.measures.values())
                for x in (result, replay(recording, replace(strategy, upgrades="sync"), costs))
            ]
            found.update({"upgrade elided"} if syncs[0] < syncs[1] else ())

    look()
    assert found >= EXPECTED, EXPECTED - found
