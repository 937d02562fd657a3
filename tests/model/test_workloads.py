"""The random workloads that the properties are tested with hold everything that they should."""

from __future__ import annotations

from hypothesis import given, settings

from eptreplay.model import Costs, Recording, Result, replay
from eptreplay.strategies import Strategy
from tests.model.workloads import MACHINES, STRATEGIES_TO_TRY, recordings

EXPECTED = {
    *("VMENTER", "VMEXIT", "SWITCH_IN", "SWITCH_OUT", "IDLE", "WAKE", "LOST", "HOLD_BEGIN", "SET", "HOLD_END"),
    *("PAUSE", "UNPAUSE", "CALL"),
    *("edge HOLD_BEGIN", "edge SWITCH_IN", "edge VMENTER", "edge PAUSE", "edge CALL"),
    *(
        "entry of an unknown domain",
        "no entries recorded",
        "created domain",
        "PV domain",
        "recursive hold",
        "nested hold",
    ),
    *("target in guest", "target in xen", "target in spin", "target in idle", "two targets", "two sockets"),
    *("INVEPT handler", "INVEPT vmenter", "INVEPT switch", "INVEPT self"),
    *(
        "queue for a lock",
        "queue for the call lock",
        "broadcast under the lock",
        "deferred broadcast",
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
            elif row.op == "VMENTER" and row.dom is None:
                found.add("entry of an unknown domain")
            elif row.op == "SWITCH_IN" and row.dom == 0:
                found.add("PV domain")
    return found


def features_in(result: Result, costs: Costs) -> set[str]:
    """Return what happened in a replay."""
    found = {f"target in {ack.mode}" for ack in result.acks} | {f"INVEPT {invept.where}" for invept in result.invepts}
    found |= {"queue for a lock" for hold in result.holds if hold.t_acquire_ns - hold.t_request_ns > costs.acquire_ns}
    for broadcast in result.broadcasts:
        found.add("broadcast under the lock" if broadcast.under_lock else "deferred broadcast")
        if broadcast.targets > 1:
            found.add("two targets")
        if broadcast.t_locked_ns - broadcast.t_request_ns > costs.acquire_ns:
            found.add("queue for the call lock")
    return found


def test_random_workloads_have_everything_in_them_and_get_stuck_nowhere() -> None:
    found: set[str] = set()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(recordings(), STRATEGIES_TO_TRY, MACHINES)
    def look(recording: Recording, strategy: Strategy, costs: Costs) -> None:
        result = replay(recording, strategy, costs)
        found.update(features_of(recording), features_in(result, costs))
        if strategy.upgrades == "elide" and strategy.decide is None and strategy.broadcast != "none":
            sets = sum(row.op == "SET" and row.present for _, rows in recording.programs.values() for row in rows)
            found.update({"upgrade elided"} if sum(m["syncs"] for m in result.measures.values()) < sets else ())

    look()
    assert found >= EXPECTED, EXPECTED - found
