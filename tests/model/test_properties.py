"""What holds for every workload, strategy and machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eptreplay.model import Broadcast, Costs, Recording, Result, Row, replay
from eptreplay.model.clock import Clock, Turn
from eptreplay.model.host import GUEST, Phase, dirty, mode_of
from eptreplay.model.program import carry_out, fall_due
from eptreplay.model.target import acknowledge, deliver, reentered, unmask
from eptreplay.strategies import Strategy
from eptreplay.strategies.registry import STRATEGIES
from tests.model.workloads import (
    FREE_MACHINES,
    GUESTS,
    LOCKS,
    MACHINES,
    P2MS,
    PCPUS,
    SEEDS,
    STRATEGIES_TO_TRY,
    Features,
    by_gfn,
    recordings,
)

NEVER = STRATEGIES["never"]
ONE_HOLD = replace(
    STRATEGIES["deferred"],
    pml_drain="batch",
    sync_table_free=False,
    sync_pod_superpage=False,
    sync_pod_sweep=False,
    sync_pod_decrease=False,
)
UNDER_NO_LOCK = [
    ONE_HOLD,
    replace(NEVER, pml_drain="batch"),
    replace(ONE_HOLD, ipi="invept"),
    replace(ONE_HOLD, decide=lambda request: by_gfn(request) % 3),
]
"""Strategies that never decide NOW, and drain a log of page modifications in one hold."""

replays = given(recordings(), STRATEGIES_TO_TRY, MACHINES)
replays_of_all_locks = given(recordings(), STRATEGIES_TO_TRY, MACHINES, LOCKS, SEEDS)
examples = settings(max_examples=60)


def is_within_a_hold(broadcast: Broadcast, result: Result) -> bool:
    """Tell whether the sender of a broadcast held a lock during all of it."""
    return any(
        hold.pcpu == broadcast.pcpu
        and hold.t_acquire_ns <= broadcast.t_request_ns
        and broadcast.t_done_ns <= hold.t_release_ns
        for hold in result.holds
    )


def rows_of(recording: Recording) -> list[Row]:
    """Return all rows."""
    return [row for _, rows in recording.programs.values() for row in rows]


@examples
@replays
def test_what_happens_to_holds_and_broadcasts_happens_in_order(
    rec: Recording, strategy: Strategy, costs: Costs
) -> None:
    result = replay(rec, strategy, costs)
    for hold in result.holds:
        assert list(hold[4:8]) == sorted(hold[4:8])
    for broadcast in result.broadcasts:
        assert list(broadcast[6:10]) == sorted(broadcast[6:10])
        hold = next(hold for hold in result.holds if hold.hold == broadcast.hold)
        assert broadcast.t_done_ns <= hold.t_release_ns or hold.t_release_ns <= broadcast.t_request_ns
        assert broadcast.under_lock == is_within_a_hold(broadcast, result) or broadcast.t_done_ns == hold.t_release_ns
        assert broadcast.t_done_ns <= hold.t_end_ns <= result.simulated_ns
    for ack in result.acks:
        broadcast = result.broadcasts[ack.broadcast]
        times = [broadcast.t_locked_ns, ack.t_deliver_ns, ack.t_ack_ns, broadcast.t_done_ns]
        assert times == sorted(times)
    assert [invept.t_ns for invept in result.invepts] == sorted(invept.t_ns for invept in result.invepts)


@examples
@replays
def test_locks_are_held_by_one_pcpu_at_a_time_and_come_in_turn(
    rec: Recording, strategy: Strategy, costs: Costs
) -> None:
    result = replay(rec, strategy, costs)
    for p2m in {hold.p2m for hold in result.holds}:
        holds = sorted((hold for hold in result.holds if hold.p2m == p2m), key=lambda hold: hold[5:7])
        assert all(one.t_release_ns <= other.t_acquire_ns for one, other in pairwise(holds))
        requests = [hold.t_request_ns for hold in holds]
        assert requests == sorted(requests)
    if strategy.call_lock == "serial":
        assert all(one.t_done_ns <= other.t_locked_ns for one, other in pairwise(result.broadcasts))


@examples
@replays_of_all_locks
def test_under_every_policy_one_writes_or_many_read_and_everybody_who_waits_has_a_turn(
    rec: Recording, strategy: Strategy, costs: Costs, lock: str, seed: int
) -> None:
    clock = Clock(rec, strategy, costs, lock, seed)
    reads = {Phase.LOOKUP}
    for _ in clock.run():
        for p2m in clock.host.p2ms:
            state, readers = p2m.lock, [c for c in p2m.lock.readers if clock.host.pcpus[c].phase in reads]
            assert not (p2m.depth and readers)
            assert not (state.waiting and state.writer < 0 and not state.readers)
    assert all(not p2m.lock.waiting and not p2m.lock.readers for p2m in clock.host.p2ms)
    result = clock.result()
    for p2m_name in {hold.p2m for hold in result.holds}:
        times = sorted((hold.t_acquire_ns, hold.t_release_ns) for hold in result.holds if hold.p2m == p2m_name)
        assert all(one[1] <= other[0] for one, other in pairwise(times))
        assert result.held_ns[p2m_name] == sum(end - begin for begin, end in times)


@examples
@replays_of_all_locks
def test_all_tables_of_lookups_buckets_and_spans_agree(
    rec: Recording, strategy: Strategy, costs: Costs, lock: str, seed: int
) -> None:
    result = replay(rec, strategy, costs, lock, seed)
    assert len(result.read_waits) == sum(row.count for row in rows_of(rec) if row.op == "LOOKUP")
    assert sum(result.read_waits) == sum(x.wait_ns_total for x in result.lookups)
    assert all(x.elapsed_ns >= x.wait_ns_total + x.count * costs.lookup_ns for x in result.lookups)
    total: Counter[str] = Counter()
    for measures in result.measures.values():
        total.update(measures)
    assert total == sum((Counter(bucket) for bucket in result.timeline), Counter())
    assert len(result.timeline) <= 256
    for pcpu, modes in result.modes.items():
        spans = [span for span in result.spans if span[0] == pcpu]
        assert all(one[3] == other[2] and one[1] != other[1] for one, other in pairwise(spans))
        assert sum(end - begin for _, _, begin, end in spans) == sum(modes.values()) == result.simulated_ns
    assert result.stall_ns_max <= result.simulated_ns


@examples
@replays
def test_the_modes_of_a_pcpu_add_up_to_the_time_simulated(rec: Recording, strategy: Strategy, costs: Costs) -> None:
    result = replay(rec, strategy, costs)
    assert {sum(modes.values()) for modes in result.modes.values()} == {result.simulated_ns}
    assert set(result.modes) == set(rec.programs)


@examples
@replays
def test_measures_add_up_to_what_the_tables_hold(rec: Recording, strategy: Strategy, costs: Costs) -> None:
    result = replay(rec, strategy, costs)
    total: Counter[str] = Counter()
    for measures in result.measures.values():
        total.update(measures)
    assert total["holds"] == len(result.holds)
    assert total["p2m_sets"] == sum(row.count for row in rows_of(rec) if row.op == "SET")
    assert total["ept_stores"] >= total["p2m_sets"]
    assert total["p2m_sets"] == sum(hold.sets for hold in result.holds)
    assert total["broadcasts"] == len(result.broadcasts) == sum(hold.broadcasts for hold in result.holds)
    assert total["ipis"] == len(result.acks) == sum(result.ipis_received.values())
    assert total["invepts"] == len(result.invepts)
    assert result.vmenter_invepts == sum(invept.where == "vmenter" for invept in result.invepts)
    assert [b.targets for b in result.broadcasts] == [
        sum(ack.broadcast == n for ack in result.acks) for n in range(len(result.broadcasts))
    ]


@examples
@replays
def test_a_broadcast_has_at_most_as_many_targets_as_the_domain_has_vcpus(
    rec: Recording, strategy: Strategy, costs: Costs
) -> None:
    result = replay(rec, strategy, costs)
    vcpus = {dom: {row.vcpu for row in rows_of(rec) if row.op == "SWITCH_IN" and row.dom == dom} for dom in GUESTS}
    for broadcast in result.broadcasts:
        assert broadcast.targets <= len(vcpus[broadcast.p2m[0]])
        assert broadcast.pcpu not in {ack.pcpu for ack in result.acks if ack.broadcast == broadcast.broadcast}


@examples
@given(recordings(), MACHINES)
def test_never_broadcasts_and_invalidates_nothing(rec: Recording, costs: Costs) -> None:
    result = replay(rec, NEVER, costs)
    assert (result.broadcasts, result.invepts) == ([], [])


@examples
@given(recordings(Features(nested=False, pauses=False)), st.sampled_from(UNDER_NO_LOCK), FREE_MACHINES)
def test_where_nothing_costs_a_hold_lasts_as_long_as_the_gaps_in_it(
    rec: Recording, strategy: Strategy, costs: Costs
) -> None:
    expected, hold = Counter[int](), None
    for row in rows_of(rec):
        if hold is not None:
            expected[hold] += row.gap_ns
        hold = None if row.op == "HOLD_END" else row.hold if row.op == "HOLD_BEGIN" else hold
    result = replay(rec, strategy, costs)
    assert {hold.hold: hold.t_release_ns - hold.t_acquire_ns for hold in result.holds} == dict(expected)


@examples
@replays
def test_an_entry_invalidates_only_for_a_mark(rec: Recording, strategy: Strategy, costs: Costs) -> None:
    result = replay(rec, strategy, costs)
    first = sum(domain.created for domain in rec.domains.values()) * len({view for _, view in P2MS})
    syncs = sum(measures["syncs"] for measures in result.measures.values())
    assert result.vmenter_invepts <= (first + syncs) * len(rec.programs)
    # Where entries were not recorded, switches stand for them.
    switches = 0 if rec.has_vm_entries else sum(row.op == "SWITCH_IN" for row in rows_of(rec))
    assert result.vmenter_invepts <= result.vmenters + switches


@examples
@replays
def test_no_row_comes_before_the_row_that_its_edge_names(rec: Recording, strategy: Strategy, costs: Costs) -> None:
    clock = Clock(rec, strategy, costs)
    carried: list[int] = []
    for turn in clock.run():
        if turn.step is carry_out:
            first, rows = rec.programs[clock.setting.pcpus[turn.c]]
            row = clock.host.pcpus[turn.c].carried - 1
            edge = rows[row].edge
            assert edge is None or edge in carried
            carried.append(first + row)
    assert sorted(carried) == sorted(first + i for first, rows in rec.programs.values() for i in range(len(rows)))


@examples
@replays
def test_at_no_time_is_a_paused_domain_in_guest_or_a_vcpu_in_two_places(
    rec: Recording, strategy: Strategy, costs: Costs
) -> None:
    clock = Clock(rec, strategy, costs)
    for _ in clock.run():
        pcpus = clock.host.pcpus
        assert not any(mode_of(pcpu) == GUEST and pcpu.entered in clock.host.paused for pcpu in pcpus)
        loaded = [pcpu.loaded for pcpu in pcpus if pcpu.loaded is not None]
        assert len(set(loaded)) == len(loaded)
        assert all(len(dirty(clock.host, dom)) == sum(place[0] == dom for place in loaded) for dom in GUESTS)


def relabelled(rec: Recording, numbers: dict[int, int]) -> Recording:
    """Return a recording with other numbers for its pCPUs."""
    programs = {
        numbers[pcpu]: (first, tuple(row._replace(target=numbers.get(row.target)) for row in rows))  # type: ignore[arg-type]
        for pcpu, (first, rows) in rec.programs.items()
    }
    return rec._replace(programs=programs)


def with_numbers(result: Result, numbers: dict[int, int]) -> Result:
    """Return a result with other numbers for its pCPUs."""
    return result._replace(
        holds=[x._replace(pcpu=numbers[x.pcpu]) for x in result.holds],
        broadcasts=[
            x._replace(pcpu=numbers[x.pcpu], slowest_pcpu=None if x.slowest_pcpu is None else numbers[x.slowest_pcpu])
            for x in result.broadcasts
        ],
        acks=sorted(x._replace(pcpu=numbers[x.pcpu]) for x in result.acks),
        invepts=sorted((x._replace(pcpu=numbers[x.pcpu]) for x in result.invepts), key=lambda x: (x.t_ns, x.pcpu)),
        modes={numbers[pcpu]: x for pcpu, x in result.modes.items()},
        drift_ns={numbers[pcpu]: x for pcpu, x in result.drift_ns.items()},
        ipis_received={numbers[pcpu]: x for pcpu, x in result.ipis_received.items()},
        marks={p2m: frozenset(numbers[pcpu] for pcpu in x) for p2m, x in result.marks.items()},
        lookups=[x._replace(pcpu=numbers[x.pcpu]) for x in result.lookups],
        spans=sorted(
            ((numbers[pcpu], mode, begin, end) for pcpu, mode, begin, end in result.spans),
            key=lambda span: (span[0], span[2]),
        ),
        watchdog=result.watchdog and (result.watchdog[0], numbers[result.watchdog[1]], result.watchdog[2]),
        edge_waits={numbers[pcpu]: x for pcpu, x in result.edge_waits.items()},
    )


@examples
@replays
def test_the_same_pcpus_on_other_sockets_do_the_same(rec: Recording, strategy: Strategy, costs: Costs) -> None:
    numbers = {pcpu: pcpu + 4 for pcpu in rec.programs}
    there = replay(relabelled(rec, numbers), strategy, costs)
    assert there == with_numbers(replay(rec, strategy, costs), numbers)


def without_slowest(result: Result) -> Result:
    """Return a result that does not say which target of a broadcast was the slowest."""
    return result._replace(broadcasts=[x._replace(slowest_pcpu=None) for x in result.broadcasts])


ONE_CORE = Costs(
    cores_per_socket=1,
    threads_per_core=64,
    pcpus=0,
    apic="x2apic-physical",
    shorthand=0,
    acquire_ns=11,
    read_ns=13,
    handoff_ns=(23, 0, 0),
    poll_ns=17,
    weight=(1, 1, 1),
    set_ns=31,
    store_ns=37,
    lookup_ns=41,
    setup_ns=47,
    announce_ns=43,
    icr_ns=0,
    busy_ns=0,
    deliver_ns=(53, 0, 0),
    ack_ns=(61, 0, 0),
    line_ns=(0, 0, 0),
    handler_ns=97,
    call_ns=101,
    exit_ns=73,
    entry_ns=83,
    irqoff_ns=59,
    wake_ns=103,
    wake_deep_ns=131,
    deep_after_ns=1009,
    flush_ns=113,
    unexplained_ns=29,
    invept_ns=109,
    refill_ns=127,
    timeout_ns=2003,
)
"""All pCPUs are alike: one core, and interrupts are sent to all at once."""
COMMUTE = frozenset({deliver, acknowledge, reentered, unmask, fall_due})
"""Steps that concern nobody but their pCPU, and the sender once all have been taken."""


def has_ties(turns: list[Turn]) -> bool:
    """Tell whether the order of pCPUs decided about anything."""
    return any(
        one.t_ns == other.t_ns and one.c != other.c and not {one.step, other.step} <= COMMUTE
        for one, other in pairwise(turns)
    )


@examples
@given(recordings(), STRATEGIES_TO_TRY, st.permutations(PCPUS), st.integers(0, 10**6))
def test_other_numbers_change_nothing_where_no_two_things_happen_at_once(
    rec: Recording, strategy: Strategy, order: list[int], seed: int
) -> None:
    programs = {
        pcpu: (
            first,
            tuple(row._replace(gap_ns=(7919 * n + 104_729 * seed) % 1_000_003) for n, row in enumerate(rows, first)),
        )
        for pcpu, (first, rows) in rec.programs.items()
    }
    rec = rec._replace(programs=programs)
    clock = Clock(rec, strategy, ONE_CORE)
    assume(not has_ties(list(clock.run())))
    numbers = {pcpu: number for pcpu, number in zip(PCPUS, order, strict=True) if pcpu in rec.programs}
    there, here = replay(relabelled(rec, numbers), strategy, ONE_CORE), with_numbers(clock.result(), numbers)
    # Targets that are interrupted at once may acknowledge at once, and then the lowest number counts as the slowest.
    assert without_slowest(there) == without_slowest(here)
