"""Waits for edges, time buckets, and what a recording's own host paid."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings

from eptreplay.model import Costs, Recording, Result, Row, replay
from eptreplay.strategies import Strategy
from tests.model.small import COSTS, VMENTER, begin, end, one_write, recording, run, switch_in, vmenter
from tests.model.workloads import LOCKS, MACHINES, SEEDS, STRATEGIES_TO_TRY, recordings


def test_a_row_that_is_due_waits_for_the_row_that_its_edge_names() -> None:
    programs = {0: [Row("WAIT", 300), Row("WAIT", 100)], 1: [Row("WAIT", 100, edge=0), Row("WAIT", 200, edge=1)]}
    # From 100 to 300; the next is due at 500, after 400.
    assert run(programs).edge_waits == {0: (0, 0), 1: (1, 200)}


def test_at_one_instant_nobody_has_waited() -> None:
    assert run({0: [Row("WAIT", 100, edge=100)], 1: [Row("WAIT", 100)]}).edge_waits[0] == (0, 0)


def test_an_interrupt_does_not_end_the_wait_for_an_edge() -> None:
    # Due at 60, interrupted from 124 to 354; the other row comes at 360, and this one, after the refill, at 379.
    rows = [switch_in(0), vmenter(50), Row("WAIT", 10, edge=200)]
    result = run({0: one_write(100), 1: rows, 2: [Row("WAIT", 360)]}, VMENTER)
    assert result.edge_waits[1] == (1, 300)
    assert result.carried_ns[102] == 379


def ended_at(end_ns: int) -> Result:
    """Return a replay of one write, which is over at 1012, that ends when told."""
    return run({0: [*one_write(1000), Row("WAIT", end_ns - 1012)]})


def test_buckets_are_as_wide_as_the_end_needs() -> None:
    for end_ns, width in ((256 * 1024, 2048), (256 * 1024 - 1, 1024)):
        result = ended_at(end_ns)
        assert (result.simulated_ns, result.bucket_ns, len(result.timeline)) == (end_ns, width, end_ns // width + 1)
    # Requested 1000, stored 1001, released and broadcast 1011.
    result = ended_at(2000)
    first = {name: n for name, n in result.timeline[0].items() if n}
    assert first == {"holds": 1, "hold_ns_total": 10, "p2m_sets": 1, "ept_stores": 1, "syncs": 1, "broadcasts": 1}
    assert not any(any(bucket.values()) for bucket in result.timeline[1:])


def test_a_hold_counts_in_the_bucket_of_its_release() -> None:
    result = run({0: [begin(1000), end(50)]})
    assert [bucket["hold_ns_total"] for bucket in result.timeline] == [0, 50]


def test_what_rows_cost_as_recorded_is_taken_from_the_gaps_behind_them() -> None:
    # Recorded rows: the hold of pCPU 0, with a broadcast that is done at 250, and a guest that it interrupts.
    programs = {0: [*one_write(100), Row("WAIT", 500)], 1: [switch_in(0), vmenter(50), Row("VMEXIT", 1000)]}
    result = replay(recording(programs), VMENTER, COSTS, as_recorded=True)
    # HOLD_BEGIN costs 1. SET and its broadcast, from 101 to 250, HOLD_END nothing.
    assert [result.row_costs[n] for n in range(4)] == [0, 1, 149, 0]
    # Interrupted from 124 to 354, and a refill of 25.
    assert [result.row_costs[n] for n in (100, 101, 102)] == [0, 0, 255]
    assert result.carried_ns[102] == 1050


def test_what_comes_when_a_row_is_due_and_has_to_wait_is_not_taken() -> None:
    rows = [switch_in(0), vmenter(50), Row("WAIT", 10, edge=200)]
    programs = {0: one_write(100), 1: rows, 2: [Row("WAIT", 360)]}
    assert replay(recording(programs), VMENTER, COSTS, as_recorded=True).row_costs[102] == 0


def test_idling_pays_for_no_handler_and_a_cut_does_not_change_when_it_ends() -> None:
    programs = {0: one_write(100), 1: [switch_in(0), Row("IDLE", 50), Row("WAKE", 300, cut_ns=50)]}
    result = replay(recording(programs), VMENTER, COSTS, as_recorded=True)
    assert result.row_costs[102] == 0
    result = run(programs, VMENTER)
    assert (result.carried_ns[102], result.drift_ns[1]) == (400, 0)


def at_times(rec: Recording, times: dict[int, int], costs: dict[int, int]) -> Recording:
    """Return a recording of the same rows at other times, with something taken from the gaps."""
    programs = {}
    for pcpu, (first, rows) in rec.programs.items():
        at = [0, *(times[first + i] for i in range(len(rows)))]
        gaps = [b - a for a, b in pairwise(at)]
        cuts = [costs.get(first + i, 0) for i in range(len(rows))]
        programs[pcpu] = (
            first,
            tuple(row._replace(gap_ns=gap - cut, cut_ns=cut) for row, gap, cut in zip(rows, gaps, cuts, strict=True)),
        )
    return rec._replace(programs=programs)


@settings(max_examples=60)
@given(recordings(), STRATEGIES_TO_TRY, MACHINES, LOCKS, SEEDS)
def test_what_a_replay_made_has_its_own_times_again(
    rec: Recording, strategy: Strategy, costs: Costs, lock: str, seed: int
) -> None:
    # Where interrupts take no time to arrive, one may come behind a row that it came before.
    costs = costs._replace(deliver_ns=tuple(max(1, ns) for ns in costs.deliver_ns))  # type: ignore[arg-type]
    times = replay(rec, strategy, costs, lock, seed).carried_ns
    recorded = replay(at_times(rec, times, {}), strategy, costs, lock, seed, as_recorded=True)
    assert recorded.carried_ns == times
    again = at_times(rec, times, recorded.row_costs)
    assert all(row.gap_ns >= 0 for _, rows in again.programs.values() for row in rows)
    assert replay(again, strategy, costs, lock, seed).carried_ns == times
