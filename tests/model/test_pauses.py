"""Paused domains: who is stopped when, and how they go on."""

from __future__ import annotations

import pytest

from eptreplay.model import Row
from eptreplay.strategies import MARK, Strategy
from tests.model.small import (
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

AFTER = Row("WAIT", 1000)
MARKS = Strategy(name="marks", decide=lambda _: MARK)
RUNNING = Strategy(name="running", broadcast="sync", kick="running")


def pauses(t_ns: int, lasts_ns: int, dom: int | None = ONE) -> list[Row]:
    """Return the program of a pCPU that pauses a domain."""
    return [Row("PAUSE", t_ns, dom), Row("UNPAUSE", lasts_ns, dom)]


def test_entries_of_a_paused_domain_wait() -> None:
    result = run({0: pauses(100, 400), 1: [vmenter(200), AFTER]})
    assert result.drift_ns[1] == 300
    assert result.modes[1] == {"guest": 1000, "xen": 0, "irqoff": 0, "spin": 0, "idle": 0, "unknown": 500}


def test_who_waits_for_an_entry_answers_interrupts() -> None:
    # The pause ends at 150, the handler at 174.
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(50, ONE)], 2: pauses(10, 140)}, VMENTER)
    assert result.acks == [(0, 1, "xen", 124, 180)]
    assert [x.t_ns for x in result.invepts] == [174]


def test_a_guest_is_stopped_and_what_it_had_left_to_do_waits() -> None:
    # In guest from 50 to 100, stopped until 500, entering until 580, and then for the remaining 950.
    result = run({0: pauses(100, 400), 1: [vmenter(50), AFTER]})
    assert (result.simulated_ns, result.drift_ns[1], result.vmenters) == (1530, 480, 2)
    assert result.modes[1] == {"guest": 1000, "xen": 400, "irqoff": 80, "spin": 0, "idle": 0, "unknown": 50}
    assert result.measures == {}


def test_who_was_stopped_invalidates_before_it_enters_again() -> None:
    rows = [Row("PAUSE", 100, ONE), *one_write(100), Row("UNPAUSE", 289, ONE)]
    result = run({0: rows, 1: [vmenter(50), AFTER]}, MARKS)
    assert [(x.pcpu, x.t_ns, x.where) for x in result.invepts] == [(1, 500, "vmenter")]
    # INVEPT, entry, refill.
    assert result.drift_ns[1] == 400 + 30 + 80 + 25
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 30 + 25


def test_a_domain_runs_again_once_it_was_unpaused_as_often_as_it_was_paused() -> None:
    result = run({0: pauses(100, 400), 2: pauses(300, 500), 1: [vmenter(350), AFTER], 3: [vmenter(50), AFTER]})
    assert (result.drift_ns[1], result.drift_ns[3]) == (450, 700 + 80)


def test_an_unpause_without_a_pause_counts_for_nothing() -> None:
    result = run({0: [Row("UNPAUSE", 50, ONE), *pauses(50, 400)], 1: [vmenter(200), AFTER]})
    assert result.drift_ns[1] == 300


@pytest.mark.parametrize(
    "rows",
    [[vmenter(50, TWO)], [vmenter(50, None)], [switch_in(50)], [vmenter(50), Row("VMEXIT", 20)]],
    ids=["another domain", "an unknown one", "in xen", "in xen again"],
)
def test_who_is_not_in_guest_with_the_domain_goes_on(rows: list[Row]) -> None:
    assert run({0: pauses(100, 400), 1: [*rows, AFTER]}).drift_ns[1] == 0


def test_a_pause_of_an_unknown_domain_pauses_none() -> None:
    assert run({0: pauses(100, 400, None), 1: [vmenter(50), AFTER]}).drift_ns[1] == 0


def test_an_interrupt_meets_a_stopped_pcpu_in_xen_and_leaves_it_stopped() -> None:
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(100, 400)}
    result = run(programs, VMENTER)
    assert result.acks == [(0, 1, "xen", 124, 180)]
    assert result.drift_ns[1] == 400 + 30 + 80 + 25
    assert result.vmenters == 2


def test_kick_running_leaves_stopped_pcpus_alone() -> None:
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(100, 400)}
    assert run(programs, RUNNING).acks == []


def test_who_was_stopped_and_is_in_a_handler_enters_behind_it() -> None:
    # Handler from 124 to 174, unpaused at 150.
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(100, 50)}
    result = run(programs, VMENTER)
    assert [x.t_ns for x in result.invepts] == [174]
    assert result.drift_ns[1] == 74 + 30 + 80 + 25


def test_who_was_stopped_enters_though_an_interrupt_is_on_its_way() -> None:
    # Sent at 112; unpaused at 121: INVEPT until 151, in guest at 231, where the interrupt waits that came at 124.
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(100, 21)}
    result = run(programs, VMENTER)
    assert [x.t_ns for x in result.invepts] == [121]
    assert result.acks == [(0, 1, "guest", 231, 357)]


def test_an_interrupt_at_the_instant_of_the_unpause_goes_first() -> None:
    # From another core of the socket: delivered at 160, when pCPU 0 unpauses the domain.
    programs = {2: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 0: pauses(100, 60)}
    assert run(programs, VMENTER).acks == [(0, 1, "xen", 160, 270)]


def test_who_is_interrupted_in_guest_and_paused_meanwhile_does_not_enter_again() -> None:
    # Exit at 124, handler until 244; paused at 200, until 1000.
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(200, 800)}
    result = run(programs, VMENTER)
    assert result.acks == [(0, 1, "guest", 124, 250)]
    assert [x.t_ns for x in result.invepts] == [1000]
    assert result.drift_ns[1] == (1000 - 124) + 30 + 80 + 25
    assert result.vmenters == 2
    # What the pause takes is not stolen by the invalidation.
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == (244 - 124) + 30 + 25


def test_who_is_paused_on_its_way_back_into_the_guest_is_stopped_there() -> None:
    # INVEPT from 244 to 274, in guest at 354; paused at 300, until 1000; the refill is still to come.
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(300, 700)}
    result = run(programs, VMENTER)
    assert [x.t_ns for x in result.invepts] == [244]
    assert result.drift_ns[1] == (1000 - 124) + 80 + 25
    assert result.vmenters == 3
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 230 + 25


def test_a_pause_that_is_over_before_the_handler_is_stops_nobody() -> None:
    programs = {0: one_write(100), 1: [switch_in(0), vmenter(50), AFTER], 2: pauses(200, 40)}
    result = run(programs, VMENTER)
    assert (result.drift_ns[1], result.vmenters) == (255, 2)


def test_who_is_paused_during_the_invept_before_its_entry_is_stopped_in_guest() -> None:
    # INVEPT from 500 to 530, paused from 510 to 600.
    result = run({0: [*one_write(100), *pauses(399, 90)], 1: [vmenter(500), AFTER]}, MARKS)
    assert result.drift_ns[1] == 100 + 80 + 25
    assert result.vmenters == 2


def test_where_no_entries_were_recorded_switches_to_a_paused_guest_wait() -> None:
    programs = {0: pauses(100, 400), 1: [switch_in(200), AFTER], 2: [switch_in(200, PV), AFTER]}
    assert run(programs, has_vm_entries=False).drift_ns == {0: 0, 1: 300, 2: 0}
    assert run(programs, has_vm_entries=True).drift_ns == {0: 0, 1: 0, 2: 0}


def test_where_no_entries_were_recorded_a_guest_may_be_stopped_in_a_hold() -> None:
    # Stored at 91, with 1 of its 10 left at 100.
    rows = [switch_in(0), begin(90), write(0, present=False), end(0)]
    result = run({0: pauses(100, 400), 1: rows}, has_vm_entries=False)
    assert result.holds[0][4:8] == (90, 91, 500 + 80 + 1, 581)


def test_who_gets_its_lock_while_its_domain_is_paused_is_stopped_in_guest() -> None:
    # pCPU 1 queues in spin when its domain is paused at 100, and has the lock at 221.
    programs = {
        0: pauses(100, 400),
        1: [switch_in(0), begin(50, 1, P2M_TWO), end(7, 1, P2M_TWO)],
        2: [begin(0, 2, P2M_TWO), end(200, 2, P2M_TWO)],
    }
    result = run(programs, has_vm_entries=False)
    assert result.holds[0][4:8] == (50, 221, 587, 587)
    assert result.modes[1] == {"guest": 57, "xen": 500 - 221, "irqoff": 80, "spin": 171, "idle": 0, "unknown": 0}


def test_a_pause_changes_no_mark_and_no_mask() -> None:
    result = run({0: pauses(100, 400), 1: [switch_in(0), vmenter(50), AFTER]})
    assert result.marks[P2M] == set()
    assert result.broadcasts == []
