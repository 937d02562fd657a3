"""The targets of a broadcast: what an interrupt meets, what it costs, and what it delays."""

from __future__ import annotations

import pytest

from eptreplay.model import Row
from tests.model.small import (
    COSTS,
    DEFERRED,
    EAGER,
    ONE,
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

SWITCH_OUT = Row("SWITCH_OUT", 10, ONE, 0)
AFTER = Row("WAIT", 1000)


@pytest.mark.parametrize(
    ("rows", "mode", "acked", "drift"),
    [
        ([vmenter(50), AFTER], "guest", 250, 70 + 50 + 30 + 80 + 25),
        ([AFTER], "xen", 180, 50),
        ([Row("VMEXIT", 50), AFTER], "xen", 180, 50),
        ([SWITCH_OUT, Row("IDLE", 10), Row("WAKE", 1000)], "idle", 270, 0),
        ([begin(123, 2, P2M_TWO), Row("WAIT", 876), end(0, 2, P2M_TWO)], "spin", 180, 50 + 1),
    ],
    ids=["guest", "xen", "xen again", "idle", "spin"],
)
def test_what_an_interrupt_that_only_kicks_costs(rows: list[Row], mode: str, acked: int, drift: int) -> None:
    """Delivered at 124; the guest was marked, so that INVEPT and refill come to the exit, handler and entry."""
    result = run({0: one_write(100), 1: [switch_in(0), *rows]}, VMENTER)
    assert result.acks == [(0, 1, mode, 124, acked)]
    assert result.drift_ns[1] == drift
    assert result.broadcasts[0].t_done_ns == acked


@pytest.mark.parametrize(
    ("rows", "mode", "acked", "drift"),
    [
        ([vmenter(50), AFTER], "guest", 280, 70 + 50 + 30 + 80 + 25),
        ([AFTER], "xen", 210, 80),
        ([SWITCH_OUT, Row("IDLE", 10), Row("WAKE", 1000)], "idle", 300, 0),
    ],
    ids=["guest", "xen", "idle"],
)
def test_what_an_interrupt_that_invalidates_costs(rows: list[Row], mode: str, acked: int, drift: int) -> None:
    result = run({0: one_write(100), 1: [switch_in(0), *rows]}, EAGER)
    assert result.acks == [(0, 1, mode, 124, acked)]
    assert result.drift_ns[1] == drift


def test_interrupts_count_as_off_from_the_delivery_to_the_reentry() -> None:
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER]}, VMENTER)
    # 50 in xen before, and 124 to 354 for the interrupt.
    assert result.modes[1] == {"guest": 1025, "xen": 50, "irqoff": 230, "spin": 0, "idle": 0, "unknown": 0}


def test_idling_ends_when_it_would_have_but_not_before_the_handler() -> None:
    # Woken at 124, the handler ends at 264.
    ends = {}
    for recorded in (200, 264, 300):
        idle = [switch_in(0), Row("IDLE", 50), Row("WAKE", recorded - 50)]
        result = run({0: one_write(100), 1: idle}, VMENTER)
        ends[recorded] = recorded + result.drift_ns[1]
    assert ends == {200: 264, 264: 264, 300: 300}


def test_idling_counts_as_such_again_behind_the_handler() -> None:
    result = run({0: one_write(100), 1: [switch_in(0), Row("IDLE", 50), Row("WAKE", 250)]}, VMENTER)
    assert result.modes[1] == {"guest": 0, "xen": 50, "irqoff": 140, "spin": 0, "idle": 110, "unknown": 0}
    assert sum(result.modes[1].values()) == result.simulated_ns == 300


def test_idling_is_not_delayed_either_where_other_rows_are_carried_out_in_it() -> None:
    idle = [switch_in(0), Row("IDLE", 50), Row("WAIT", 10), Row("WAKE", 240)]
    assert run({0: one_write(100), 1: idle}, VMENTER).drift_ns[1] == 0


def test_an_interrupt_delays_a_write_that_is_under_way() -> None:
    costs = COSTS._replace(set_ns=100)
    # pCPU 0: stored 101, requested 201, sent 210. pCPU 1 stores at 151 until 251, interrupted from 214 to 264.
    programs = {0: one_write(100), 1: [switch_in(0), *one_write(150, 2, P2M_TWO)]}
    result = run(programs, VMENTER, costs)
    assert result.acks == [(0, 1, "xen", 214, 270)]
    assert result.broadcasts[1].t_request_ns == 251 + 50


def test_an_interrupt_meets_a_pcpu_that_has_lost_its_records_since() -> None:
    # It was dirty when the call lock was acquired, at 112. The recorded end of the loss stays.
    result = run({0: one_write(100), 1: [switch_in(0), Row("LOST", 120), Row("WAKE", 100)]}, VMENTER)
    assert result.acks == [(0, 1, "unknown", 124, 180)]
    assert result.drift_ns[1] == 0
    assert result.modes[1] == {"guest": 0, "xen": 120, "irqoff": 50, "spin": 0, "idle": 0, "unknown": 50}


def test_an_interrupt_waits_for_the_end_of_the_invept_before_an_entry_and_then_meets_the_guest() -> None:
    # Stored 101, delivered 124. pCPU 1 enters at 120: INVEPT until 150; then exit, handler, and entry without a mark.
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(120), AFTER]}, VMENTER)
    assert result.acks == [(0, 1, "guest", 150, 276)]
    assert [(x.pcpu, x.t_ns, x.where) for x in result.invepts] == [(1, 120, "vmenter")]
    assert result.drift_ns[1] == 30 + 25 + 70 + 50 + 80


def test_an_interrupt_waits_for_the_end_of_the_invept_at_a_switch() -> None:
    # Outside the mask at the first request, at 111, pCPU 1 is marked, and invalidates at 112, when it is switched to.
    # The second write is stored at 113, its broadcast requested at 123, and delivered at 136.
    rows = [begin(100), write(0), end(0), *one_write(0, 2)]
    result = run({0: rows, 1: [switch_in(112), AFTER]}, EAGER, COSTS._replace(invept_ns=100))
    assert [(x.pcpu, x.t_ns, x.where) for x in result.invepts] == [(1, 112, "switch"), (1, 262, "handler")]
    assert result.acks == [(1, 1, "xen", 212, 368)]


def test_an_interrupt_that_arrives_just_as_the_invept_ends_meets_the_guest() -> None:
    # INVEPT from 94 to 124.
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(94, TWO), AFTER], 2: one_write(1, 2, P2M_TWO)}
    result = run(programs, VMENTER)
    assert [(x.pcpu, x.t_ns, x.dom) for x in result.invepts] == [(1, 94, TWO)]
    assert result.acks == [(1, 1, "guest", 124, 250)]


def test_an_interrupt_waits_for_an_earlier_one_and_the_reentry_behind_it() -> None:
    # First: 124 exit, 194 handler, 244 INVEPT, 274 entry, 354 guest. Acknowledged at 250, when the call lock goes to
    # pCPU 2: locked 270, sent 278, delivered 318, in time for nothing but to wait until 354.
    programs = {
        0: one_write(100),
        1: [switch_in(0), vmenter(10), AFTER],
        2: [begin(0, 2, (ONE, 1)), write(130, 2, (ONE, 1)), end(0, 2, (ONE, 1))],
    }
    result = run(programs, VMENTER)
    assert result.acks == [(0, 1, "guest", 124, 250), (1, 1, "guest", 354, 534)]
    # Both marks were there when the first entry looked, so that the second finds none.
    assert result.drift_ns[1] == (354 - 124 + 25) + (70 + 50 + 80)


def test_a_deferred_broadcast_costs_its_targets_the_same() -> None:
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER]}, DEFERRED)
    assert result.acks == [(0, 1, "guest", 124, 250)]
    assert result.drift_ns[1] == 70 + 50 + 30 + 80 + 25


@pytest.mark.parametrize(
    ("pcpu", "delivered", "acked"), [(1, 124, 180), (3, 160, 270), (4, 520, 1170)], ids=["core", "socket", "host"]
)
def test_distance_counts_on_the_way_there_and_back(pcpu: int, delivered: int, acked: int) -> None:
    result = run({0: one_write(100), pcpu: [switch_in(0)]}, VMENTER)
    assert result.acks == [(0, pcpu, "xen", delivered, acked)]
