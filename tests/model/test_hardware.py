"""Hardware that broadcasts: nobody is interrupted, and one INVEPT reaches all pCPUs."""

from __future__ import annotations

import pytest

from eptreplay.model import Invept, Row
from eptreplay.strategies import DEFER, MARK, NOW, Strategy
from tests.model.small import CREATED, NEVER, ONE, P2M, TWO, begin, end, one_write, run, switch_in, vmenter, write

HARDWARE = Strategy(name="hardware", broadcast="sync", ipi="none")
AFTER = Row("WAKE", 1000)


def test_the_sender_executes_one_invept_and_interrupts_nobody() -> None:
    result = run({0: one_write(100), 1: [switch_in(0), vmenter(50)]}, HARDWARE)
    # Requested 111, locked 112, set up until 117, INVEPT until 147.
    assert result.broadcasts[0][6:] == (111, 112, 117, 147, 0, None)
    assert result.acks == []
    assert result.invepts == [Invept(0, 117, ONE, "self", "grant")]
    assert result.measures[ONE, "grant"]["ipis"] == 0


def test_whoever_is_dirty_when_it_begins_pays_a_refill_at_the_next_entry() -> None:
    reentry = [Row("VMEXIT", 100), vmenter(10), Row("VMEXIT", 100), vmenter(10), AFTER]
    programs = {
        0: [*one_write(100), vmenter(50), AFTER],
        1: [switch_in(0), vmenter(50), *reentry],
        2: [switch_in(118, vcpu=2), vmenter(50), AFTER],
        3: [switch_in(0, TWO), vmenter(300, TWO), AFTER],
    }
    result = run(programs, HARDWARE)
    # The sender itself is cold too, dirty or not: 10 + 2 + 5 + 30 + 25 of drift.
    assert result.drift_ns == {0: 11 + 36 + 25, 1: 25, 2: 0, 3: 0}
    assert result.measures[ONE, "grant"]["guest_stolen_ns"] == 50


@pytest.mark.parametrize(("decision", "marks"), [(MARK, {0, 1}), (DEFER, set()), (NOW, set())])
def test_what_the_hardware_invalidates_needs_no_mark(decision: int, marks: set[int]) -> None:
    strategy = Strategy(name="decides", ipi="none", decide=lambda _: decision)
    assert run({0: one_write(100), 1: []}, strategy).marks[P2M] == marks


def test_a_deferred_broadcast_of_the_hardware_follows_the_release() -> None:
    result = run({0: [begin(100), write(0), write(0), end(0)]}, Strategy(name="hardware, deferred", ipi="none"))
    assert [(b.under_lock, b.t_request_ns, b.t_done_ns) for b in result.broadcasts] == [(False, 121, 157)]


def test_marks_are_looked_at_before_an_entry() -> None:
    result = run({0: [vmenter(10, CREATED)]}, HARDWARE)
    assert [(x.where, x.cause) for x in result.invepts] == [("vmenter", "other")]


def test_who_never_broadcasts_does_not_do_so_by_hardware_either() -> None:
    assert run({0: one_write(100)}, NEVER).invepts == []
