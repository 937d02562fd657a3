"""How interrupts are sent: messages by APIC mode, and what a handler, a C-state and a sender make of them."""

from __future__ import annotations

import pytest

from eptreplay.model import Costs, Result, Row
from eptreplay.model.apic import apic_number
from eptreplay.strategies import Strategy
from tests.model.small import COSTS, EAGER, ONE, TWO, VMENTER, one_write, run, switch_in, vmenter

THREE = {n: [switch_in(0, vcpu=n)] for n in (1, 2, 3)}
NEAR = COSTS._replace(deliver_ns=(4, 4, 4), ack_ns=(6, 6, 6))


def to_three(costs: Costs) -> Result:
    """Return a broadcast of pCPU 0, locked at 112, to three others; the first write begins at 117."""
    return run({**THREE, 0: one_write(100)}, VMENTER, costs)


@pytest.mark.parametrize(
    ("apic", "pcpus", "shorthand", "sent", "delivered", "writes"),
    [
        ("x2apic-physical", 0, 0, 126, [124, 127, 130], 3),
        ("x2apic-cluster", 0, 0, 120, [124, 124, 124], 1),
        ("xapic-flat", 0, 0, 123, [127, 127, 127], 2),
        # Written at 123, busy until 133, and so on.
        ("xapic-flat", 9, 0, 155, [127, 143, 159], 6),
        ("xapic-physical", 0, 0, 155, [127, 143, 159], 6),
        ("xapic-physical", 0, 1, 120, [124, 124, 124], 1),
        ("x2apic-physical", 4, 1, 120, [124, 124, 124], 1),
        # pCPU 4 is online as well, and no target.
        ("x2apic-physical", 5, 1, 126, [124, 127, 130], 3),
    ],
)
def test_the_mode_of_the_apics_says_who_shares_a_message(
    apic: str, pcpus: int, shorthand: int, sent: int, delivered: list[int], writes: int
) -> None:
    result = to_three(NEAR._replace(apic=apic, pcpus=pcpus, shorthand=shorthand, busy_ns=10))
    assert result.broadcasts[0].t_sent_ns == sent
    assert [ack.t_deliver_ns for ack in result.acks] == delivered
    assert result.icr_writes == writes


def test_a_cluster_has_sixteen_numbers_of_apics() -> None:
    # Two bits for a core and one for a thread: a socket of six pCPUs has eight numbers, so two sockets are a cluster.
    costs = NEAR._replace(apic="x2apic-cluster", cores_per_socket=3, threads_per_core=2)
    assert [apic_number(costs, pcpu) for pcpu in (0, 1, 2, 5, 6, 11, 12)] == [0, 1, 2, 5, 8, 13, 16]
    others = {n: [switch_in(0, vcpu=n)] for n in (5, 11, 12, 13)}
    result = run({**others, 0: one_write(100)}, VMENTER, costs)
    assert [(ack.pcpu, ack.t_deliver_ns) for ack in result.acks] == [(5, 124), (11, 124), (12, 127), (13, 127)]
    assert result.icr_writes == 2


def test_interrupts_are_off_while_a_pcpu_sends() -> None:
    result = to_three(NEAR)
    assert [span for span in result.spans if span[:2] == (0, "irqoff")] == [(0, "irqoff", 112, 126)]


def test_interrupts_are_off_at_the_own_invept_of_a_sender() -> None:
    result = run({0: [switch_in(0), *one_write(100)]}, EAGER)
    assert [span for span in result.spans if span[:2] == (0, "irqoff")] == [(0, "irqoff", 112, 147)]


def test_what_nobody_can_explain_follows_the_last_acknowledgement() -> None:
    costs = COSTS._replace(unexplained_ns=1000)
    result = run({0: one_write(100), 1: [switch_in(0)]}, VMENTER, costs)
    assert (result.acks[0].t_ack_ns, result.broadcasts[0].t_done_ns) == (180, 1180)
    assert (result.modes[0]["spin"], result.modes[0]["irqoff"]) == (1180 - 100 - 10 - 8, 8)
    # There is none of it without targets.
    assert run({0: one_write(100)}, VMENTER, costs).broadcasts[0].t_done_ns == 112


@pytest.mark.parametrize(
    ("next_row_ns", "delivered", "mode"),
    [(1000, 140, "xen"), (24, 140, "xen"), (20, 136, "guest"), (23, 139, "guest")],
    ids=["irqoff ends", "both end at once", "the next row ends it", "just before"],
)
def test_behind_a_vm_exit_interrupts_wait_until_they_are_on_or_the_next_row(
    next_row_ns: int, delivered: int, mode: str
) -> None:
    # The exit is at 116, the interrupt arrives at 124. The entry has no mark to look at: nobody knows whose it is.
    costs = COSTS._replace(irqoff_ns=24)
    rows = [switch_in(0), vmenter(50, None), Row("VMEXIT", 66), vmenter(next_row_ns, None), Row("WAIT", 2000)]
    result = run({0: one_write(100), 1: rows}, VMENTER, costs)
    assert [(ack.mode, ack.t_deliver_ns) for ack in result.acks] == [(mode, delivered)]
    first = next(span for span in result.spans if span[:2] == (1, "irqoff"))
    assert first[2] == 116
    assert first[3] >= delivered or mode == "guest"


def test_the_end_of_a_replay_does_not_wait_for_interrupts_to_be_on() -> None:
    result = run({0: [vmenter(10), Row("VMEXIT", 10)]}, costs=COSTS._replace(irqoff_ns=24))
    assert result.simulated_ns == 20


@pytest.mark.parametrize(("idle_since", "wake_ns"), [(24, 900), (25, 90)])
def test_a_c_state_is_deep_once_it_has_lasted_long_enough(idle_since: int, wake_ns: int) -> None:
    costs = COSTS._replace(wake_deep_ns=900, deep_after_ns=100)
    result = run({0: one_write(100), 1: [switch_in(0), Row("IDLE", idle_since)]}, VMENTER, costs)
    assert result.acks == [(0, 1, "idle", 124, 124 + wake_ns + 50 + 6)]


def test_a_handler_breaks_a_c_state() -> None:
    # Woken at 124 and idle again at 1074; the second broadcast, written at 1151, requested at 1161, arrives at 1174.
    costs = COSTS._replace(wake_deep_ns=900, deep_after_ns=101)
    rows = [*one_write(100), *one_write(1150 - 1080, 2)]
    result = run({0: rows, 1: [switch_in(0), Row("IDLE", 0)]}, VMENTER, costs)
    assert [(ack.t_deliver_ns, ack.t_ack_ns) for ack in result.acks] == [(124, 1080), (1174, 1320)]


def test_more_targets_than_vcpus_are_an_error_unless_a_vcpu_is_unknown() -> None:
    unknown = Row("SWITCH_IN", 0, ONE)
    result = run({0: one_write(100), 1: [unknown], 2: [unknown], 3: [switch_in(0)]}, VMENTER)
    assert result.broadcasts[0].targets == 3


# Without a call lock.

LOCKLESS = Strategy(name="lockless", broadcast="sync", call_lock="lockless")
BUSY = [switch_in(0), switch_in(50, TWO, vcpu=9)]


def test_without_a_call_lock_a_broadcast_is_sent_in_the_step_of_its_request() -> None:
    # Requested and sent from 111 on: 5 to set up, 2 to say so, 3 for each message.
    costs = NEAR._replace(announce_ns=2)
    result = run({0: one_write(100), 1: [switch_in(0)], 2: [switch_in(0, vcpu=2)]}, LOCKLESS, costs)
    assert result.broadcasts[0][6:] == (111, 111, 124, 184, 2, 2)
    assert [ack.t_deliver_ns for ack in result.acks] == [125, 128]
    assert (result.call_wait_ns, result.call_held_ns) == (0, 0)


def test_without_a_call_lock_a_broadcast_to_nobody_is_done_at_once() -> None:
    assert run({0: one_write(100)}, LOCKLESS).broadcasts[0][6:] == (111, 111, 111, 111, 0, None)


def test_a_target_that_is_to_be_interrupted_anyway_takes_both_calls_at_the_first_message() -> None:
    # pCPU 0 sends at 111, pCPU 3 at 115, to pCPU 1. The interrupt arrives at 111 + 5 + 2 + 3 + 4.
    costs = NEAR._replace(announce_ns=2, call_ns=20)
    programs = {0: one_write(100), 3: one_write(104, 2, (TWO, 0)), 1: [switch_in(0)], 2: [switch_in(0, TWO)]}
    alone = run(programs, LOCKLESS, costs)
    assert (alone.icr_writes, [ack.t_deliver_ns for ack in alone.acks]) == (2, [125, 129])
    programs = {0: one_write(100), 3: [Row("CALL", 115, target=1)], 1: [switch_in(0)]}
    both = run(programs, LOCKLESS, costs)
    # The first call is over at 175, the second at 195. The message of pCPU 3, written at 125, changes nothing.
    assert (both.icr_writes, both.other_ipis, both.broadcasts[0].t_done_ns) == (2, 1, 181)
    assert both.drift_ns[3] == 201 - 115


def test_calls_are_acknowledged_one_by_one_each_with_its_invept() -> None:
    costs = NEAR._replace(call_ns=20)
    eager = Strategy(name="lockless and eager", broadcast="sync", ipi="invept", call_lock="lockless")
    nested_hold = [(ONE, 1), (ONE, 0)]
    programs = {
        0: one_write(100, 1, nested_hold[0]),
        3: one_write(104, 2, nested_hold[1]),
        1: [switch_in(0), vmenter(50), Row("WAIT", 1000)],
    }
    result = run(programs, eager, costs)
    # Sent at 119, arrives at 123, out at 193; 50 + 30 until 273, 20 + 30 until 323, and in guest at 403.
    assert [tuple(ack) for ack in result.acks] == [(0, 1, "guest", 123, 279), (1, 1, "guest", 123, 329)]
    assert [(x.pcpu, x.t_ns) for x in result.invepts] == [(1, 243), (1, 293)]
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 403 - 123 + 25
    assert result.icr_writes == 2


def test_the_message_that_arrives_first_counts_for_all_calls() -> None:
    # pCPU 0 needs 30 to each of two writes, the second for pCPU 4, there at 111 + 5 + 60 + 4. pCPU 3 calls it at 120.
    costs = NEAR._replace(icr_ns=30)
    programs = {0: one_write(100), 1: [switch_in(0)], 4: [switch_in(0, vcpu=2)], 3: [Row("CALL", 120, target=4)]}
    result = run(programs, LOCKLESS, costs)
    assert [(ack.pcpu, ack.t_deliver_ns) for ack in result.acks] == [(1, 150), (4, 120 + 5 + 30 + 4)]


def test_a_call_that_comes_during_the_handler_has_an_interrupt_of_its_own() -> None:
    # pCPU 1 is in the handler from 123 to 173. pCPU 3 calls at 130: 138 written, 142 there, handled from 173 on.
    programs = {0: one_write(100), 3: [Row("CALL", 130, target=1)], 1: [switch_in(0)]}
    result = run(programs, LOCKLESS, NEAR)
    assert result.icr_writes == 2
    assert result.drift_ns[3] == 173 + 50 + 6 - 130
