"""Calls that have nothing to do with EPT, and the allocator's flushes."""

from __future__ import annotations

import pytest

from eptreplay.model import Row
from eptreplay.strategies import Strategy
from eptreplay.strategies.registry import STRATEGIES
from tests.model.small import COSTS, DEFERRED, EAGER, ONE, P2M_TWO, TWO, VMENTER, begin, end, one_write, run, switch_in
from tests.model.small import vmenter as enters

AFTER = Row("WAIT", 1000)
NEAR = COSTS._replace(deliver_ns=(4, 4, 4), ack_ns=(6, 6, 6))


def call(gap_ns: int, target: int | None = None, origin: str = "recorded") -> Row:
    """Return a call of one pCPU, or of all."""
    return Row("CALL", gap_ns, target=target, origin=origin)


@pytest.mark.parametrize("strategy", [DEFERRED, EAGER, STRATEGIES["hardware-broadcast"]], ids=lambda x: x.name)
def test_a_call_takes_the_call_lock_and_interrupts_its_target(strategy: Strategy) -> None:
    # Locked 101, written 109, there 113, handled until 163, answered 169.
    result = run({0: [call(100, 1)], 1: [], 2: []}, strategy, NEAR)
    assert (result.drift_ns[0], result.simulated_ns) == (69, 169)
    assert (result.other_calls, result.other_ipis, result.icr_writes) == (1, 1, 1)
    assert (result.call_wait_ns, result.call_held_ns) == (1, 68)
    assert (result.broadcasts, result.acks, result.invepts, result.measures) == ([], [], [], {})


def test_a_call_of_all_reaches_all_other_pcpus_of_the_recording_and_is_as_late_as_the_others() -> None:
    # What nothing explains has been seen with broadcasts about p2ms only.
    costs = NEAR._replace(pcpus=20, unexplained_ns=7)
    result = run({0: [], 1: [call(100)], 2: []}, DEFERRED, costs)
    # The second is written at 112.
    assert (result.other_ipis, result.drift_ns[1]) == (2, 112 + 4 + 50 + 6 - 100)


def test_targets_acknowledge_one_after_the_other_as_they_share_a_cache_line() -> None:
    # Written at 109, 112, 115 and 118, handled until 163, 166, 169 and 172. The line is with 4 at 173, with 5 at 183,
    # with 6 at 193 and with 7 at 203; so the last answer arrives at 209.
    costs = NEAR._replace(line_ns=(10, 10, 10))
    result = run({0: [call(100)], 4: [AFTER], 5: [AFTER], 6: [AFTER], 7: [AFTER]}, DEFERRED, costs)
    assert result.drift_ns[0] == 209 - 100
    assert [result.modes[pcpu]["irqoff"] for pcpu in (4, 5, 6, 7)] == [173 - 113, 183 - 116, 193 - 119, 203 - 122]


def test_the_line_waits_for_a_handler_that_ends_later() -> None:
    costs = NEAR._replace(line_ns=(0, 1, 2), icr_ns=30)
    # Written at 136 and 166, handled until 190 and 220: it was free long before the second wanted it.
    result = run({0: [call(100)], 4: [AFTER], 6: [AFTER]}, DEFERRED, costs)
    assert result.drift_ns[0] == 220 + 1 + 6 - 100


def test_an_interrupt_that_waits_behind_a_vm_exit_is_delivered_though_nothing_else_is_left_to_happen() -> None:
    # There at 113, but interrupts are on from 117 only.
    rows = [switch_in(0), enters(0), Row("VMEXIT", 112)]
    result = run({0: [call(100, 1)], 1: rows}, DEFERRED, NEAR._replace(irqoff_ns=5))
    assert (result.other_ipis, result.drift_ns[0]) == (1, 73)


def test_a_call_of_the_caller_takes_the_lock_and_is_done() -> None:
    result = run({0: [call(100, 0)]})
    assert (result.drift_ns[0], result.other_calls, result.other_ipis, result.icr_writes) == (1, 1, 0, 0)


def test_broadcasts_queue_behind_other_calls() -> None:
    # pCPU 0 has the call lock until 169; pCPU 2 asks at 131, and has it at 189.
    result = run({0: [call(100, 1)], 1: [], 2: one_write(120)}, VMENTER, NEAR)
    assert result.broadcasts[0][6:] == (131, 189, 189, 189, 0, None)
    assert (result.call_wait_ns, result.call_held_ns) == (1 + 58, 68)


def test_what_a_call_steals_is_charged_to_nobody_but_entries_look_at_marks() -> None:
    marks = Strategy(name="marks", decide=lambda _: 1)
    rows = [switch_in(0), enters(50), AFTER]
    result = run({0: [*one_write(0), call(89, 1)], 1: rows}, marks, NEAR)
    # The mark was there when the guest was entered at 50, and cost 30 and 25; nothing is charged for the call.
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 55
    assert result.vmenters == 2
    assert result.drift_ns[1] == 55 + 70 + 50 + 80


@pytest.mark.parametrize(("origin", "target", "calls"), [("inferred", 1, 0), ("inferred", None, 1), ("recorded", 1, 1)])
def test_hosts_with_npt_have_no_vmcs_to_clear(origin: str, target: int | None, calls: int) -> None:
    result = run({0: [call(100, target, origin)], 1: []}, STRATEGIES["npt-deferred"], NEAR)
    assert result.other_calls == calls
    assert (result.drift_ns[0] == 0) == (calls == 0)


# Pages.

FREED, ALLOC = Row("PAGE_FREE", 50), Row("PAGE_ALLOC", 50, freed_by=0)


def test_who_has_flushed_since_need_not_flush() -> None:
    # pCPU 1 switches at 70, pCPU 2 at 30. pCPU 0 flushes itself from 100 to 135, and then pCPU 2: locked 136, written
    # 144, there 148, handler and flush until 233, answered 239.
    programs = {0: [FREED, ALLOC], 1: [switch_in(70)], 2: [switch_in(30, TWO)]}
    result = run(programs, DEFERRED, NEAR)
    assert (result.drift_ns[0], result.alloc_flushes, result.icr_writes) == (139, 1, 1)
    assert (result.modes[2]["irqoff"], result.modes[1]["irqoff"]) == (85, 0)
    assert (result.call_wait_ns, result.other_calls) == (0, 0)


def test_the_same_vcpu_again_is_no_flush() -> None:
    programs = {0: [FREED, ALLOC], 1: [switch_in(30), Row("SWITCH_OUT", 10), switch_in(30)]}
    assert run(programs, DEFERRED, NEAR).alloc_flushes == 1


@pytest.mark.parametrize("row", [Row("SWITCH_IN", 30, ONE), Row("SWITCH_IN", 30)], ids=["vcpu", "domain"])
def test_a_vcpu_that_nobody_knows_is_another(row: Row) -> None:
    programs = {0: [FREED, ALLOC], 1: [Row("SWITCH_IN", 30, row.dom), row]}
    assert run(programs, DEFERRED, NEAR).alloc_flushes == 0


def test_pages_that_nobody_has_freed_yet_are_allocated_at_once() -> None:
    result = run({0: [Row("PAGE_ALLOC", 50, freed_by=100), Row("PAGE_ALLOC", 0)], 1: [Row("PAGE_FREE", 60)]})
    assert (result.drift_ns[0], result.alloc_flushes) == (0, 0)


def test_a_second_allocation_finds_everybody_flushed() -> None:
    result = run({0: [FREED, ALLOC, Row("PAGE_ALLOC", 10, freed_by=0)], 1: []}, DEFERRED, NEAR)
    assert (result.drift_ns[0], result.alloc_flushes) == (139, 1)


def test_of_two_vectors_that_wait_the_flush_goes_first() -> None:
    # pCPU 1 has interrupts off from 90 to 190. The call arrives at 113, the flush, locked at 136, at 148; it is over at
    # 275 and answered at 281, the call at 325 and 331.
    programs = {0: [FREED, ALLOC], 1: [Row("VMEXIT", 90), AFTER], 2: [switch_in(60), call(40, 1)]}
    result = run(programs, DEFERRED, NEAR._replace(irqoff_ns=100))
    assert (result.drift_ns[0], result.drift_ns[2]) == (281 - 100, 331 - 100)
    assert result.modes[1]["irqoff"] == 100 + 85 + 50


# Stalls.


def test_a_stall_is_a_hold_from_its_request_until_its_broadcast_is_done() -> None:
    result = run({0: one_write(100), 1: [switch_in(0)]}, DEFERRED, COSTS._replace(timeout_ns=80))
    assert (result.stall_ns_max, result.watchdog) == (80, (180, 0, 0))
    assert run({0: one_write(100), 1: [switch_in(0)]}, DEFERRED, COSTS._replace(timeout_ns=81)).watchdog is None


def test_a_watchdog_of_nothing_is_off() -> None:
    assert run({0: one_write(100)}, DEFERRED).watchdog is None


@pytest.mark.parametrize(("preemptible", "stall"), [(False, 48), (True, 16)])
def test_lookups_that_can_be_preempted_are_a_stall_each(*, preemptible: bool, stall: int) -> None:
    lookups = Row("LOOKUP", 100, p2m=(ONE, 0), count=3, preemptible=preemptible)
    assert run({0: [lookups]}).stall_ns_max == stall
    # Within a hold they let nothing run.
    result = run({0: [begin(100, 1, P2M_TWO), lookups, end(0, 1, P2M_TWO)]}, costs=COSTS._replace(timeout_ns=149))
    assert (result.stall_ns_max, result.watchdog) == (149, (249, 0, 0))


def test_each_hold_of_a_log_that_is_cut_is_a_stall() -> None:
    drain = [begin(100, cause="pml"), *(Row("SET", 0, p2m=(ONE, 0), hold=1) for _ in range(3)), end(0)]
    assert run({0: drain}, DEFERRED).stall_ns_max == 11
    assert run({0: drain}, STRATEGIES["deferred-2026"]).stall_ns_max == 31


def test_calls_and_allocations_are_stalls() -> None:
    assert run({0: [call(100, 1)], 1: []}, DEFERRED, NEAR).stall_ns_max == 69
    assert run({0: [FREED, ALLOC], 1: []}, DEFERRED, NEAR).stall_ns_max == 139


def test_the_first_stall_that_lasts_too_long_counts_and_of_several_the_lowest_pcpu() -> None:
    programs = {n: [begin(100, n, (ONE, n)), end(500, n, (ONE, n))] for n in (3, 2, 1)}
    result = run({**programs, 1: [begin(101, 1, (ONE, 1)), end(500, 1, (ONE, 1))]}, costs=COSTS._replace(timeout_ns=99))
    assert result.watchdog == (199, 2, 200)
