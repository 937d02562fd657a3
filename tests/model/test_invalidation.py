"""Where INVEPT is executed, what becomes cold, and whom it is charged to."""

from __future__ import annotations

import pytest

from eptreplay.model import Invept, Row
from eptreplay.strategies import MARK, Strategy
from tests.model.small import (
    CREATED,
    DEFERRED,
    EAGER,
    NEVER,
    ONE,
    P2M,
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

MARKS = Strategy(name="marks", decide=lambda _: MARK)
MARKS_SWITCH = Strategy(name="marks, and looks at switches", ipi="invept", decide=lambda _: MARK)
AFTER = Row("WAIT", 1000)


@pytest.mark.parametrize("strategy", [VMENTER, DEFERRED, MARKS], ids=lambda x: x.name)
def test_a_marked_pcpu_invalidates_before_the_entry(strategy: Strategy) -> None:
    result = run({0: one_write(0), 1: [vmenter(500), AFTER]}, strategy)
    assert result.invepts == [Invept(1, 500, ONE, "vmenter", "grant")]
    assert result.drift_ns[1] == 30 + 25
    assert result.modes[1] == {"guest": 1025, "xen": 0, "irqoff": 30, "spin": 0, "idle": 0, "unknown": 500}
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 55
    assert result.marks[P2M] == {0}
    assert (result.vmenters, result.vmenter_invepts) == (1, 1)


def test_the_mark_is_cleared_once_it_has_been_acted_upon() -> None:
    result = run({0: one_write(0), 1: [vmenter(500), Row("VMEXIT", 50), vmenter(50), AFTER]}, MARKS)
    assert [x.t_ns for x in result.invepts] == [500]
    assert result.drift_ns[1] == 30 + 25


def test_a_mark_that_comes_during_the_invept_is_for_the_next_entry() -> None:
    # INVEPT from 500 to 530, the second store at 511.
    rows = [*one_write(0), *one_write(498, 2)]
    result = run({0: rows, 1: [vmenter(500), Row("VMEXIT", 50), vmenter(50)]}, MARKS)
    assert [x.t_ns for x in result.invepts] == [500, 500 + 30 + 25 + 100]


def test_entries_look_at_the_p2ms_of_the_domain_that_they_enter() -> None:
    programs = {
        0: one_write(0, 2, (TWO, 0)),
        1: [vmenter(500)],
        2: [vmenter(500, None)],
        3: [vmenter(500, TWO)],
    }
    result = run(programs, MARKS)
    assert result.invepts == [Invept(3, 500, TWO, "vmenter", "grant")]
    assert result.vmenters == 3


def test_the_latest_write_is_what_a_mark_is_charged_to() -> None:
    rows = [begin(0), write(0, cause="pml"), write(0, cause="foreign"), end(0)]
    result = run({0: rows, 1: [vmenter(500)]}, MARKS)
    assert result.invepts[0].cause == "foreign"


def test_first_marks_are_charged_to_other_causes() -> None:
    result = run({0: [vmenter(500, CREATED)]}, DEFERRED)
    assert result.invepts == [Invept(0, 500, CREATED, "vmenter", "other")]
    assert result.measures == {
        (CREATED, "other"): {
            "holds": 0,
            "hold_ns_total": 0,
            "p2m_sets": 0,
            "ept_stores": 0,
            "syncs": 0,
            "broadcasts": 0,
            "ipis": 0,
            "invepts": 1,
            "guest_stolen_ns": 55,
        }
    }


@pytest.mark.parametrize("has_vm_entries", [True, False])
def test_with_invept_in_the_handler_a_marked_pcpu_invalidates_at_the_switch(*, has_vm_entries: bool) -> None:
    result = run({0: one_write(0), 1: [switch_in(500), AFTER]}, EAGER, has_vm_entries=has_vm_entries)
    assert result.invepts == [Invept(1, 500, ONE, "switch", "grant")]
    # The refill waits for the guest.
    assert result.drift_ns[1] == 30 + (0 if has_vm_entries else 25)
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 30 + (0 if has_vm_entries else 25)
    assert result.marks[P2M] == {0}
    assert (result.vmenters, result.vmenter_invepts) == (0, 0)


def test_with_invept_in_the_handler_entries_look_at_no_mark() -> None:
    result = run({0: one_write(0), 1: [vmenter(500), AFTER]}, EAGER)
    assert result.invepts == []
    assert result.drift_ns[1] == 0


def test_the_switch_to_a_pv_domain_looks_at_no_mark() -> None:
    result = run({0: one_write(0, 1, (PV, 0)), 1: [switch_in(500, PV), AFTER]}, EAGER)
    assert result.invepts == []


@pytest.mark.parametrize("strategy", [VMENTER, DEFERRED, NEVER], ids=lambda x: x.name)
def test_where_entries_were_recorded_a_switch_is_none(strategy: Strategy) -> None:
    result = run({0: one_write(0), 1: [switch_in(500), AFTER]}, strategy)
    assert result.invepts == []


def test_where_no_entries_were_recorded_a_switch_to_a_guest_is_one() -> None:
    result = run({0: one_write(0), 1: [switch_in(500), AFTER]}, DEFERRED, has_vm_entries=False)
    assert result.invepts == [Invept(1, 500, ONE, "vmenter", "grant")]
    assert result.drift_ns[1] == 30 + 25
    # It is no row VMENTER, though.
    assert (result.vmenters, result.vmenter_invepts) == (0, 1)


def test_where_no_entries_were_recorded_a_guest_goes_on_in_guest_behind_its_holds() -> None:
    # 501 acquired, 511 set, 511 released, broadcast done at 512; the vCPU's own pCPU invalidates at its next entry.
    result = run({1: [switch_in(400), *one_write(100), AFTER]}, DEFERRED, has_vm_entries=False)
    assert result.modes[1] == {"guest": 100 + 10 + 1000, "xen": 0, "irqoff": 0, "spin": 2, "idle": 0, "unknown": 400}
    assert result.marks[P2M] == {1}


def test_a_refill_is_paid_at_the_next_entry_and_once() -> None:
    # The interrupt at 124 meets xen, and its INVEPT from 174 to 204 is paid for by the guest that is entered later.
    rows = [switch_in(0), vmenter(500), Row("VMEXIT", 50), vmenter(50), AFTER]
    result = run({0: one_write(100), 1: rows}, EAGER)
    assert result.invepts == [Invept(1, 174, ONE, "handler", "grant")]
    assert result.drift_ns[1] == 50 + 30 + 25
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 25


def test_a_refill_is_charged_to_what_made_translations_cold_whichever_guest_pays() -> None:
    rows = [switch_in(0), Row("WAIT", 200), switch_in(300, TWO), vmenter(50, TWO)]
    result = run({0: one_write(100), 1: rows}, EAGER)
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 25
    assert {dom for dom, _ in result.measures} == {ONE}


def test_an_entry_of_an_unknown_domain_is_refilled_too() -> None:
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(500, None), AFTER]}, EAGER)
    assert result.drift_ns[1] == 80 + 25


def test_a_refill_behind_the_last_row_delays_nothing_and_is_charged() -> None:
    result = run({0: one_write(0), 1: [vmenter(500)]}, MARKS)
    assert (result.simulated_ns, result.drift_ns[1]) == (530, 30)
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 55


def test_an_interrupted_guest_loses_all_the_time_from_delivery_to_reentry_and_the_refill() -> None:
    # 124 to 354, and 25.
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER]}, VMENTER)
    assert result.invepts == [Invept(1, 244, ONE, "vmenter", "grant")]
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 230 + 25
    assert (result.vmenters, result.vmenter_invepts) == (2, 1)


@pytest.mark.parametrize(("edge_ns", "carried_out"), [(200, 379), (360, 379), (379, 379), (400, 400)])
def test_a_guest_that_waits_for_an_edge_is_refilled_before_it_goes_on(edge_ns: int, carried_out: int) -> None:
    # It has waited since 60, is interrupted from 124 to 354, and loses 25 then.
    rows = [switch_in(0), vmenter(50), Row("WAIT", 10, edge=200)]
    result = run({0: one_write(100), 1: rows, 2: [Row("WAIT", edge_ns)]}, VMENTER)
    assert result.drift_ns[1] == carried_out - 60


def test_an_interrupted_guest_without_a_mark_loses_exit_handler_and_entry() -> None:
    # Nobody knows whose guest it is, and so whose marks; 124 to 324.
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50, None), AFTER]}
    result = run(programs, VMENTER)
    assert result.invepts == []
    assert result.drift_ns[1] == 200
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 200


def test_what_an_interrupt_steals_is_charged_to_the_broadcast_and_the_invept_to_the_mark() -> None:
    # Both writes are stored before the broadcast of the first cause.
    rows = [begin(80), write(0, cause="pml"), write(0, cause="foreign"), end(0)]
    result = run({0: rows, 1: [switch_in(0), vmenter(50), AFTER]}, DEFERRED)
    assert result.broadcasts[0].cause == "pml"
    assert result.measures[ONE, "pml"]["guest_stolen_ns"] == 255
    assert (result.measures[ONE, "pml"]["invepts"], result.measures[ONE, "foreign"]["invepts"]) == (0, 1)
    assert result.measures[ONE, "foreign"]["guest_stolen_ns"] == 0


def test_marks_outside_the_mask_of_a_deferred_broadcast_are_charged_to_its_cause() -> None:
    # Requested at 121. pCPU 1 invalidates because of the interrupt, and not again at its next switch.
    rows = [switch_in(0), begin(100), write(0, cause="pml"), write(0, cause="foreign"), end(0)]
    programs = {0: rows, 1: [switch_in(0, vcpu=1), switch_in(500, vcpu=1)], 2: [switch_in(500, vcpu=2)]}
    result = run(programs, Strategy(name="unlock", broadcast="unlock", ipi="invept"))
    assert result.invepts == [
        Invept(0, 130, ONE, "self", "pml"),
        Invept(1, 184, ONE, "handler", "pml"),
        Invept(2, 500, ONE, "switch", "pml"),
    ]
    assert result.marks[P2M] == set()


def test_marks_under_every_strategy_wait_for_the_place_where_it_looks_at_them() -> None:
    rows = [switch_in(500), vmenter(50), AFTER]
    for strategy, where in ((MARKS, "vmenter"), (MARKS_SWITCH, "switch")):
        result = run({0: one_write(0), 1: rows}, strategy)
        assert [x.where for x in result.invepts] == [where]
        assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 55
        assert result.drift_ns[1] == 55
