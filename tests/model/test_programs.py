"""When rows are carried out: gaps, elastic gaps, edges, drift; and who goes first at one instant."""

from __future__ import annotations

import pytest

from eptreplay.model import Row, Stuck
from tests.model.small import DEFERRED, FREE, ONE, P2M_TWO, PV, VMENTER, begin, end, one_write, run, switch_in, vmenter


def times(programs: dict[int, list[Row]]) -> dict[int, tuple[int, int, int]]:
    """Return request, acquisition and release of each hold."""
    return {hold.hold: hold[4:7] for hold in run(programs).holds}


def test_each_row_is_due_one_gap_after_the_end_of_the_one_before() -> None:
    programs = {0: [Row("WAKE", 100), begin(7), Row("WAIT", 5), end(20)]}
    assert times(programs) == {1: (107, 108, 133)}
    assert run(programs).drift_ns == {0: 1}


def test_an_unknown_operation_takes_no_time_and_changes_nothing() -> None:
    result = run({0: [Row("LOGDIRTY_CLEAN", 10), Row("WAIT", 5)]})
    assert (result.simulated_ns, result.drift_ns, result.measures) == (15, {0: 0}, {})
    assert result.modes[0] == {"guest": 0, "xen": 0, "irqoff": 0, "spin": 0, "idle": 0, "unknown": 15}


@pytest.mark.parametrize("op", ["IDLE", "LOST"])
def test_an_elastic_gap_makes_up_for_what_was_lost_before(op: str) -> None:
    # The hold takes 1 ns more than recorded: the gap of 50 lasts 49.
    result = run({0: [begin(10), end(0), Row(op, 0), Row("WAKE", 50), Row("VMEXIT", 5)]})
    assert (result.simulated_ns, result.drift_ns) == (65, {0: 0})


@pytest.mark.parametrize("op", ["IDLE", "LOST"])
def test_an_elastic_gap_that_is_long_over_ends_at_once(op: str) -> None:
    slow = [begin(10), end(0), begin(0), end(0), begin(0), end(0), Row(op, 0), Row("WAKE", 2), Row("VMEXIT", 5)]
    result = run({0: slow})
    assert (result.simulated_ns, result.drift_ns) == (18, {0: 1})


def test_an_edge_delays_a_row_until_the_other_row_was_carried_out() -> None:
    result = run({0: [Row("WAKE", 10, edge=101), Row("WAKE", 1)], 1: [Row("WAKE", 20), Row("WAKE", 30)]})
    assert result.drift_ns == {0: 40, 1: 0}


def test_an_edge_to_a_row_that_came_before_delays_nothing() -> None:
    result = run({0: [Row("WAKE", 60, edge=101)], 1: [Row("WAKE", 20), Row("WAKE", 30)]})
    assert (result.drift_ns, result.simulated_ns) == ({0: 0, 1: 0}, 60)


@pytest.mark.parametrize(
    ("row", "carried_out"),
    [(100, 105), (101, 116), (102, 126)],
    ids=["HOLD_BEGIN: the request", "SET: the store", "HOLD_END: the release"],
)
def test_a_row_that_takes_time_is_carried_out_when_it_begins(row: int, carried_out: int) -> None:
    # pCPU 1: request 105, acquired 106, store 116, its end 126, release 126, broadcast until 127 (no targets).
    writer = [begin(105), one_write(0)[1]._replace(gap_ns=10), end(0)]
    result = run({0: [Row("WAKE", 0, edge=row)], 1: writer})
    assert result.drift_ns[0] == carried_out
    assert result.simulated_ns == 127


def test_a_pcpu_that_waits_for_an_edge_keeps_its_mode_and_answers_interrupts() -> None:
    # pCPU 1 is in xen when the interrupt comes, at 124, and waits until 500.
    waiting = [switch_in(0), Row("WAKE", 10, edge=201)]
    result = run({0: one_write(100), 1: waiting, 2: [Row("WAKE", 0), Row("WAKE", 500)]})
    assert result.acks == [(0, 1, "xen", 124, 180)]
    assert result.drift_ns[1] == 490
    assert result.modes[1] == {"guest": 0, "xen": 450, "irqoff": 50, "spin": 0, "idle": 0, "unknown": 0}


def test_a_row_whose_edge_comes_during_a_handler_is_carried_out_behind_it() -> None:
    # The handler lasts from 124 to 174, the edge comes at 150.
    waiting = [switch_in(0), Row("WAKE", 10, edge=201)]
    result = run({0: one_write(100), 1: waiting, 2: [Row("WAKE", 0), Row("WAKE", 150)]})
    assert result.drift_ns[1] == 164


def test_pcpus_that_wait_for_each_other_are_named_with_what_they_wait_for() -> None:
    programs = {
        3: [begin(0), begin(10, 2, P2M_TWO), end(0, 2, P2M_TWO), end(0)],
        4: [begin(0, 3, P2M_TWO), begin(10, 4), end(0, 4), end(0, 3, P2M_TWO)],
        5: [Row("PAUSE", 2, ONE), vmenter(5)],
        6: [Row("WAKE", 0, edge=299)],
        7: [vmenter(0), Row("VMEXIT", 5)],
        8: [vmenter(0)],
    }
    with pytest.raises(Stuck) as caught:
        run(programs)
    text = str(caught.value)
    assert text.startswith("nothing can happen any more after 11 ns: ")
    assert text.partition(": ")[2].split("; ") == [
        "pCPU 3 waits for the lock of p2m (2, 0), which pCPU 4 has",
        "pCPU 4 waits for the lock of p2m (1, 0), which pCPU 3 has",
        "pCPU 5 waits for domain 1, which is paused",
        "pCPU 6 waits for row 299",
        "pCPU 7 waits for domain 1, which is paused",
    ]


def test_at_one_instant_the_lower_pcpu_goes_first() -> None:
    result = run({n: [begin(10, n), end(100, n)] for n in (4, 1, 2)})
    assert [(hold.pcpu, hold.t_acquire_ns) for hold in result.holds] == [(1, 11), (2, 131), (4, 431)]


def test_at_one_instant_the_lower_pcpu_goes_first_even_if_an_interrupt_is_on_its_way_to_it() -> None:
    # The interrupt is sent at 112 and arrives at 124; both ask for the lock at 118.
    programs = {
        0: one_write(100),
        1: [switch_in(0), begin(118, 2, P2M_TWO), end(0, 2, P2M_TWO)],
        3: [begin(118, 3, P2M_TWO), end(0, 3, P2M_TWO)],
    }
    assert times(programs) == {1: (100, 101, 111), 2: (118, 119, 119), 3: (118, 139, 139)}


def test_a_lower_pcpu_goes_first_as_soon_as_it_can() -> None:
    # The WAKE of pCPU 2 frees pCPU 1, which asks before pCPU 3 does, all at 10.
    programs = {
        1: [begin(0, 1, edge=200), end(5, 1)],
        2: [Row("WAKE", 10)],
        3: [begin(10, 3), end(5, 3)],
    }
    assert times(programs) == {1: (10, 11, 16), 3: (10, 36, 41)}


def test_between_a_release_and_the_broadcast_behind_it_nobody_comes() -> None:
    # pCPU 0 gets the p2m lock and asks for the call lock at once, where nothing costs anything; still behind pCPU 1.
    second = [begin(0, 2, edge=100), *one_write(0, 2)[1:]]
    result = run({0: second, 1: one_write(0)}, DEFERRED, FREE)
    assert [(b.pcpu, b.t_request_ns) for b in result.broadcasts] == [(1, 0), (0, 0)]


def test_of_an_interrupt_and_a_row_at_one_instant_the_interrupt_goes_first() -> None:
    # Both at 124: the row is carried out behind the handler.
    result = run({0: one_write(100), 1: [switch_in(0), Row("WAKE", 124)]})
    assert result.acks == [(0, 1, "xen", 124, 180)]
    assert result.drift_ns[1] == 50


def test_after_its_last_row_a_pcpu_stays_as_it_is_and_answers_interrupts() -> None:
    # 124: exit, 194: handler, 244: INVEPT, 274: entry, 354: in guest again. The sender goes on at 250.
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(10)]}, VMENTER)
    assert result.acks == [(0, 1, "guest", 124, 250)]
    assert (result.simulated_ns, result.drift_ns) == (354, {0: 150, 1: 0})
    assert result.modes[1] == {"guest": 114, "xen": 10, "irqoff": 230, "spin": 0, "idle": 0, "unknown": 0}


def test_a_recording_may_be_empty() -> None:
    result = run({0: [], 5: []})
    assert (result.simulated_ns, result.drift_ns, result.ipis_received) == (0, {0: 0, 5: 0}, {0: 0, 5: 0})
    assert result.marks == {(PV, 0): set(), (1, 0): set(), (2, 0): set(), (3, 0): {0, 5}}
