"""The sender of a broadcast, nanosecond by nanosecond."""

from __future__ import annotations

import pytest

from eptreplay.model import Broadcast, Row
from eptreplay.strategies import Strategy
from tests.model.small import (
    COSTS,
    DEFERRED,
    EAGER,
    ONE,
    P2M,
    P2M_TWO,
    PV,
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

RUNNING = Strategy(name="running", broadcast="sync", kick="running")


def test_a_broadcast_to_nobody_takes_the_call_lock_and_counts() -> None:
    result = run({0: one_write(100)}, VMENTER)
    assert result.broadcasts == [
        Broadcast(
            0,
            1,
            0,
            P2M,
            "grant",
            under_lock=True,
            t_request_ns=111,
            t_locked_ns=112,
            t_sent_ns=112,
            t_done_ns=112,
            targets=0,
            slowest_pcpu=None,
        )
    ]
    assert result.modes[0] == {"guest": 0, "xen": 0, "irqoff": 0, "spin": 2, "idle": 0, "unknown": 110}


def test_interrupts_are_sent_one_after_the_other_and_the_last_acknowledgement_counts() -> None:
    # Locked 112; writes end at 120, 123, 126; delivered 124 (same core), 163 (socket), 526 (other socket);
    # handlers until 174, 213, 576; acknowledged 180, 273, 1176.
    programs = {n: [switch_in(0, vcpu=n)] for n in (5, 1, 3)}
    result = run({**programs, 0: one_write(100)}, VMENTER)
    assert result.acks == [(0, 1, "xen", 124, 180), (0, 3, "xen", 163, 273), (0, 5, "xen", 526, 1176)]
    assert result.broadcasts[0][6:] == (111, 112, 126, 1176, 3, 5)
    # It spins for either lock for 1, and from the last write on; interrupts are off while it sends.
    assert (result.modes[0]["spin"], result.modes[0]["irqoff"]) == (1 + 1 + 1050, 14)
    assert result.ipis_received == {0: 0, 1: 1, 3: 1, 5: 1}


def test_the_acknowledgement_that_arrives_last_need_not_be_the_one_that_was_sent_last() -> None:
    # pCPU 1 wakes up first and acknowledges at 264, which takes 6; pCPU 5 at 177, which takes 600.
    programs = {0: one_write(100), 1: [switch_in(0), Row("IDLE", 0)], 5: [switch_in(0, vcpu=5)]}
    result = run(programs, VMENTER, COSTS._replace(deliver_ns=(4, 4, 4)))
    assert result.acks == [(0, 1, "idle", 124, 270), (0, 5, "xen", 127, 777)]
    assert result.broadcasts[0][9:] == (777, 2, 5)


def test_of_equally_late_acknowledgements_the_lowest_pcpu_is_the_slowest() -> None:
    costs = COSTS._replace(icr_ns=0)
    result = run({0: one_write(100), 2: [switch_in(0, vcpu=2)], 3: [switch_in(0, vcpu=3)]}, VMENTER, costs)
    assert [ack.t_ack_ns for ack in result.acks] == [267, 267]
    assert result.broadcasts[0].slowest_pcpu == 2


def test_the_sender_is_no_target() -> None:
    result = run({0: [switch_in(0), *one_write(100)], 1: [switch_in(0, vcpu=1)]}, VMENTER)
    assert [ack.pcpu for ack in result.acks] == [1]


def test_deferred_broadcasts_once_the_lock_is_released() -> None:
    programs = {0: one_write(100), 1: [switch_in(0), begin(105, 2), end(0, 2)]}
    result = run(programs, DEFERRED)
    # pCPU 1 gets the lock at 111, which takes 2, while pCPU 0 is at its broadcast.
    assert [hold[4:8] for hold in result.holds] == [(100, 101, 111, 180), (105, 113, 113, 113)]
    assert result.broadcasts[0][5:10] == (False, 111, 112, 120, 180)


def test_vmenter_holds_the_lock_until_the_broadcast_is_done() -> None:
    programs = {0: one_write(100), 1: [switch_in(0), begin(105, 2), end(0, 2)]}
    result = run(programs, VMENTER)
    assert [hold[4:8] for hold in result.holds] == [(100, 101, 180, 180), (105, 182, 182, 182)]


def test_eager_waits_for_invept_in_the_handler() -> None:
    # Delivered 124, handler 50, INVEPT from 174 to 204.
    result = run({0: one_write(100), 1: [switch_in(0)]}, EAGER)
    assert result.acks == [(0, 1, "xen", 124, 210)]
    assert result.invepts == [(1, 174, ONE, "handler", "grant")]
    assert result.broadcasts[0].t_done_ns == 210


def test_eager_executes_invept_on_the_sender_itself_behind_the_last_write() -> None:
    result = run({0: [switch_in(0), *one_write(100)], 1: [switch_in(0, vcpu=1)]}, EAGER)
    assert result.invepts == [(0, 120, ONE, "self", "grant"), (1, 174, ONE, "handler", "grant")]
    assert result.broadcasts[0][6:] == (111, 112, 120, 210, 1, 1)


def test_a_sender_alone_in_its_mask_sets_up_and_invalidates_but_sends_nothing() -> None:
    result = run({0: [switch_in(0), *one_write(100)]}, EAGER)
    assert result.broadcasts[0][6:] == (111, 112, 117, 147, 0, None)
    assert result.invepts == [(0, 117, ONE, "self", "grant")]


def test_the_dirty_mask_of_a_kick_is_that_of_the_call_lock() -> None:
    # Requested at 111, locked at 112.
    result = run({2: one_write(100), 1: [switch_in(112)], 3: [switch_in(112, vcpu=3)]}, VMENTER)
    assert [ack.pcpu for ack in result.acks] == [1]


def test_the_dirty_mask_of_invept_is_that_of_the_request() -> None:
    # Requested at 111. pCPU 1 is no longer dirty when the call lock is acquired, and is interrupted all the same.
    programs = {0: one_write(100), 1: [switch_in(0), switch_in(111, TWO)]}
    assert [ack.pcpu for ack in run(programs, EAGER).acks] == [1]
    assert [ack.pcpu for ack in run(programs, VMENTER).acks] == []


def test_a_sender_whose_state_was_unloaded_since_the_request_invalidates_all_the_same() -> None:
    # The vCPU that was left on pCPU 0 is switched to on pCPU 1 between request and call lock.
    left = [switch_in(0), Row("SWITCH_OUT", 10, ONE, 0), *one_write(90)]
    result = run({0: left, 1: [switch_in(111)]}, EAGER)
    assert [(x.pcpu, x.t_ns, x.where) for x in result.invepts] == [(1, 111, "switch"), (0, 117, "self")]


@pytest.mark.parametrize(
    ("rows", "kicked"),
    [
        ([vmenter(50)], True),
        ([], False),
        ([vmenter(50), Row("VMEXIT", 20)], False),
        ([vmenter(50), Row("IDLE", 20)], False),
        ([vmenter(50), begin(20, 2, P2M_TWO)], True),
        ([vmenter(50), begin(61, 2, P2M_TWO)], False),
    ],
    ids=["guest", "xen", "xen again", "idle", "guest again behind spin", "spin"],
)
def test_kick_running_interrupts_those_in_guest_mode_alone(rows: list[Row], kicked: bool) -> None:  # noqa: FBT001
    programs = {0: one_write(100), 1: [switch_in(0), *rows]}
    ended = {1: [*programs[1], Row("WAIT", 900), *([end(0, 2, P2M_TWO)] if rows and rows[-1].hold else [])]}
    result = run({**programs, **ended}, RUNNING)
    assert [ack.pcpu for ack in result.acks] == [1] * kicked


def test_one_sender_at_a_time_in_the_order_of_the_requests() -> None:
    # pCPU 0: requested 111, done 180. pCPU 2 has asked at 131, pCPU 4 at 121; their p2m is another.
    programs = {
        0: one_write(100),
        1: [switch_in(0)],
        2: one_write(120, 2, P2M_TWO),
        4: one_write(110, 4, (PV, 0)),
    }
    result = run(programs, VMENTER)
    # 0 to 4: 200, at 380, nobody to interrupt; from 4 to 2 as well.
    assert [(b.pcpu, b.t_request_ns, b.t_locked_ns, b.t_done_ns) for b in result.broadcasts] == [
        (0, 111, 112, 180),
        (4, 121, 380, 380),
        (2, 131, 580, 580),
    ]


def test_a_sender_that_queues_for_the_call_lock_answers_the_broadcast_before_its_own() -> None:
    # pCPU 1 asks for the call lock at 113, is interrupted in spin from 124 to 174; handed on at 180, locked at 182.
    programs = {0: one_write(100), 1: [switch_in(0), *one_write(102, 2, P2M_TWO)]}
    result = run(programs, VMENTER)
    assert result.acks == [(0, 1, "spin", 124, 180)]
    assert result.broadcasts[1][6:] == (113, 182, 182, 182, 0, None)


def test_writes_go_on_when_the_broadcast_is_done() -> None:
    rows = [begin(100), write(0), write(9), end(0)]
    result = run({0: rows, 1: [switch_in(0)]}, VMENTER)
    # First: 111 to 180. The second is stored at 189, requested at 199, done 69 later.
    assert [(b.t_request_ns, b.t_done_ns) for b in result.broadcasts] == [(111, 180), (199, 268)]
    assert result.holds[0].t_release_ns == 268
