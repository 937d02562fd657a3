"""The p2m lock: one for each p2m, first come, first served."""

from __future__ import annotations

import pytest

from eptreplay.model import Hold, Row
from tests.model.small import (
    COSTS,
    ONE,
    P2M,
    P2M_TWO,
    TWO,
    VMENTER,
    begin,
    end,
    one_write,
    run,
    switch_in,
    vmenter,
    write,
)

VIEW = (ONE, 1)


def test_a_free_lock_is_acquired_at_its_cost() -> None:
    result = run({0: [begin(100), write(7, present=False), end(9)]})
    assert result.holds == [Hold(1, 0, P2M, "grant", 100, 101, 127, 127, sets=1, broadcasts=0)]
    assert result.modes[0]["spin"] == 1


def test_a_lock_that_is_taken_goes_to_the_first_in_the_queue_at_the_cost_of_the_distance() -> None:
    programs = {
        0: [begin(0), end(1000)],
        2: [begin(20, 2), end(0, 2)],
        4: [begin(10, 4), end(0, 4)],
        1: [begin(30, 3), end(0, 3)],
    }
    result = run(programs)
    # From 0 to 4: another socket; from 4 to 2 again; from 2 to 1: another core of the socket.
    assert [(h.pcpu, h.t_request_ns, h.t_acquire_ns) for h in result.holds] == [
        (0, 0, 1),
        (2, 20, 1401),
        (1, 30, 1421),
        (4, 10, 1201),
    ]
    assert [result.modes[n]["spin"] for n in (0, 1, 2, 4)] == [1, 1391, 1381, 1191]


def test_within_a_core_the_handoff_is_that_of_a_core() -> None:
    result = run({0: [begin(0), end(99)], 1: [begin(10, 2), end(0, 2)]})
    assert result.holds[1].t_acquire_ns == 102


def test_on_release_the_first_in_the_queue_owns_the_lock_at_once() -> None:
    # pCPU 1 asks at 105, after the release at 100 and before pCPU 4 has acquired the lock.
    programs = {0: [begin(0), end(99)], 4: [begin(10, 4), end(0, 4)], 1: [begin(105, 5), end(0, 5)]}
    assert [h.t_acquire_ns for h in run(programs).holds] == [1, 300, 500]


def test_while_a_free_lock_is_being_acquired_others_queue() -> None:
    costs = COSTS._replace(acquire_ns=50)
    result = run({0: [begin(100), end(0)], 1: [begin(120, 2), end(0, 2)]}, costs=costs)
    assert [h.t_acquire_ns for h in result.holds] == [150, 152]


@pytest.mark.parametrize(
    ("held_ns", "acquired"),
    [(149, 174), (153, 174), (159, 180), (300, 321)],
    ids=[
        "handed on during the handler",
        "and there just when it ends",
        "there after the handler",
        "handed on after it",
    ],
)
def test_a_pcpu_that_queues_answers_interrupts_and_acquires_the_lock_behind_the_handler(
    held_ns: int, acquired: int
) -> None:
    # pCPU 1 queues for domain 2's p2m from 50 on, and handles an interrupt from 124 to 174. The handoff takes 20.
    programs = {
        0: one_write(100),
        1: [switch_in(0), begin(50, 2, P2M_TWO), end(0, 2, P2M_TWO)],
        2: [begin(0, 3, P2M_TWO), end(held_ns, 3, P2M_TWO)],
    }
    result = run(programs, VMENTER)
    assert result.acks == [(0, 1, "spin", 124, 180)]
    assert result.holds[1].t_acquire_ns == acquired
    assert result.modes[1]["spin"] == acquired - 50 - 50


def test_taking_a_free_lock_is_delayed_by_an_interrupt() -> None:
    # pCPU 0: acquired 140, set until 150, call lock 190, sent 198. pCPU 1 asks at 180, is at it for 22, then for 18.
    costs = COSTS._replace(acquire_ns=40)
    programs = {0: one_write(100), 1: [switch_in(0), begin(180, 2, P2M_TWO), end(0, 2, P2M_TWO)]}
    result = run(programs, VMENTER, costs)
    assert result.acks == [(0, 1, "spin", 202, 258)]
    assert result.holds[1].t_acquire_ns == 270


def test_a_lock_that_the_pcpu_already_holds_is_entered_and_left_without_any_cost() -> None:
    inner = [begin(5, 9), write(0, 9, present=False), begin(0, 8), end(0, 8), end(7, 9)]
    result = run({0: [begin(100), *inner, end(3)], 1: [begin(102, 2), end(0, 2)]})
    # 101 acquired, 106 set, 116, 123 inner end, 126 release.
    assert result.holds == [
        Hold(1, 0, P2M, "grant", 100, 101, 126, 126, sets=1, broadcasts=0),
        Hold(2, 1, P2M, "grant", 102, 128, 128, 128, sets=0, broadcasts=0),
    ]


def test_p2ms_have_locks_of_their_own_even_those_of_one_domain() -> None:
    nested = [begin(0), begin(10, 2, VIEW), end(10, 2, VIEW), end(10)]
    result = run({0: nested, 1: [begin(5, 3, P2M_TWO), end(0, 3, P2M_TWO)]})
    assert [h[4:7] for h in result.holds] == [(0, 1, 32), (11, 12, 22), (5, 6, 6)]


def test_mode_before_the_request_comes_back_with_the_lock() -> None:
    result = run({0: [vmenter(10, TWO), begin(10), end(30), Row("IDLE", 0), begin(0), end(4), Row("WAKE", 0)]})
    assert result.modes[0] == {"guest": 40, "xen": 0, "irqoff": 0, "spin": 2, "idle": 4, "unknown": 10}


@pytest.mark.parametrize("op", ["SET", "HOLD_END"])
def test_a_row_that_needs_the_lock_and_does_not_hold_it_is_refused(op: str) -> None:
    with pytest.raises(ValueError, match=f"{op} of p2m .1, 0. without holding its lock"):
        run({0: [Row(op, 0, p2m=P2M, hold=1)]})


def test_a_hold_needs_a_p2m_and_a_number() -> None:
    with pytest.raises(ValueError, match="HOLD_BEGIN without a p2m or a hold"):
        run({0: [Row("HOLD_BEGIN", 0, p2m=P2M)]})
