"""Which writes need a sync, what strategies decide, and what is marked and owed."""

from __future__ import annotations

import pytest

from eptreplay.causes import CAUSES
from eptreplay.model import Row
from eptreplay.p2m_types import RAM_LOGDIRTY, RAM_RW
from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, Request, Strategy
from tests.model.small import (
    CREATED,
    DEFERRED,
    EAGER,
    NEVER,
    ONE,
    P2M,
    VMENTER,
    asked,
    begin,
    deciding,
    end,
    one_write,
    run,
    switch_in,
    vmenter,
    write,
)

UPGRADE = write(0, old_type=RAM_LOGDIRTY, new_type=RAM_RW)


@pytest.mark.parametrize("strategy", [EAGER, VMENTER, DEFERRED, deciding(NOW)], ids=lambda x: x.name)
def test_a_write_to_an_entry_that_was_not_present_needs_no_sync(strategy: Strategy) -> None:
    result = run({0: [switch_in(0), begin(0), write(0, present=False), end(0)], 1: [switch_in(0, vcpu=1)]}, strategy)
    assert result.measures[ONE, "grant"]["p2m_sets"] == 1
    assert result.measures[ONE, "grant"]["syncs"] == 0
    assert result.broadcasts == []
    assert result.marks[P2M] == set()


@pytest.mark.parametrize(
    ("strategy", "requested", "released"),
    [(EAGER, 111, 120), (VMENTER, 111, 120), (DEFERRED, 119, 119), (NEVER, None, 119)],
    ids=lambda x: x.name if isinstance(x, Strategy) else str(x),
)
def test_a_broadcast_comes_at_the_end_of_set_or_at_the_release(
    strategy: Strategy, requested: int | None, released: int
) -> None:
    # Acquired 101, set until 111, gap of 8; the empty broadcast takes 1.
    result = run({0: [begin(100), write(0), end(8)]}, strategy)
    assert [b.t_request_ns for b in result.broadcasts] == ([] if requested is None else [requested])
    assert result.holds[0].t_release_ns == released
    assert result.broadcasts_under_lock == (requested == 111)


@pytest.mark.parametrize(
    ("decision", "marks", "broadcasts", "syncs"),
    [(NOTHING, set(), 0, 0), (MARK, {0, 5}, 0, 1), (DEFER, {0, 5}, 1, 1), (NOW, {0, 5}, 1, 1)],
)
def test_what_each_decision_does(decision: int, marks: set[int], broadcasts: int, syncs: int) -> None:
    result = run({0: one_write(100), 5: []}, deciding(decision))
    assert result.marks[P2M] == marks
    assert result.measures[ONE, "grant"]["syncs"] == syncs
    assert [b.under_lock for b in result.broadcasts] == [decision == NOW] * broadcasts


@pytest.mark.parametrize(("decision", "marks"), [(NOTHING, set()), (MARK, {0, 1, 2}), (DEFER, {2}), (NOW, {2})])
def test_with_invept_in_the_handler_a_broadcast_leaves_the_dirty_mask_unmarked(decision: int, marks: set[int]) -> None:
    programs = {0: [switch_in(0), *one_write(100)], 1: [switch_in(0, vcpu=1)], 2: []}
    assert run(programs, deciding(decision, ipi="invept")).marks[P2M] == marks


@pytest.mark.parametrize("decision", [DEFER, NOW])
def test_with_invept_in_the_handler_a_broadcast_clears_older_marks_in_the_dirty_mask(decision: int) -> None:
    rows = [switch_in(0), begin(100), write(0), write(0), end(0)]
    result = run({0: rows, 1: []}, deciding(MARK, decision, ipi="invept"))
    assert result.marks[P2M] == {1}


def test_with_invept_in_the_handler_the_mask_is_that_of_the_request() -> None:
    # Requested at 111, locked at 112: pCPU 1 is switched to the domain on the stroke of 112, and not interrupted.
    result = run({2: one_write(100), 1: [switch_in(112)]}, EAGER)
    assert result.broadcasts[0].targets == 0
    assert [(x.pcpu, x.t_ns, x.where) for x in result.invepts] == [(1, 112, "switch")]


def test_with_invept_in_the_handler_now_marks_nobody_before_the_request() -> None:
    # Stored at 101, requested at 111; in between pCPU 1 is switched to the domain, and so is interrupted.
    result = run({0: one_write(100), 1: [switch_in(105)]}, EAGER)
    assert [(x.pcpu, x.where) for x in result.invepts] == [(1, "handler")]
    assert run({0: one_write(100), 1: [switch_in(105)]}, deciding(DEFER, ipi="invept")).invepts[0].where == "switch"


def test_marks_are_set_when_the_entry_is_stored() -> None:
    # Stored at 101. pCPU 1 enters at 100 and pCPU 2 at 101, the lower number going first; pCPU 3 at 101 too.
    programs = {2: one_write(100), 1: [vmenter(101)], 3: [vmenter(101)], 4: [vmenter(105)]}
    result = run(programs, deciding(MARK))
    assert [(x.pcpu, x.t_ns) for x in result.invepts] == [(3, 101), (4, 105)]
    assert result.marks[P2M] == {1, 2}


def test_the_debt_of_a_hold_is_one_broadcast_with_the_cause_of_the_first_write() -> None:
    rows = [begin(100), write(0, cause="decrease"), write(0, cause="pml"), end(0)]
    result = run({0: rows}, DEFERRED)
    assert [(b.hold, b.cause, b.under_lock) for b in result.broadcasts] == [(1, "decrease", False)]
    assert result.holds[0][4:] == (100, 101, 121, 122, 2, 1)


def test_now_pays_what_is_owed() -> None:
    rows = [begin(100), write(0, cause="decrease"), write(0, cause="pml"), end(0)]
    result = run({0: rows}, deciding(DEFER, NOW))
    assert [(b.cause, b.under_lock) for b in result.broadcasts] == [("pml", True)]


def test_what_is_deferred_behind_now_is_a_new_debt() -> None:
    rows = [begin(100), *(write(0, cause=cause) for cause in ("decrease", "pml", "grant", "foreign")), end(0)]
    result = run({0: rows}, deciding(DEFER, NOW, DEFER, DEFER))
    assert [(b.cause, b.under_lock) for b in result.broadcasts] == [("pml", True), ("grant", False)]
    assert result.holds[0].broadcasts == 2


def test_a_nested_release_pays_no_debt() -> None:
    rows = [begin(100), begin(0), write(0), end(0), Row("WAIT", 50), end(0)]
    result = run({0: rows}, DEFERRED)
    assert [b.t_request_ns for b in result.broadcasts] == [161]


def test_each_p2m_has_a_debt_of_its_own() -> None:
    view = (ONE, 1)
    rows = [begin(100), begin(0, 2, view), write(0), write(0, 2, view), end(0, 2, view), end(0)]
    result = run({0: rows}, DEFERRED)
    # 102 both acquired, 122 set; the view's broadcast until 123, with the host p2m's lock still held.
    assert [(b.p2m, b.hold, b.t_request_ns, b.under_lock) for b in result.broadcasts] == [
        (view, 2, 122, True),
        (P2M, 1, 123, False),
    ]


def test_another_pcpu_that_takes_the_lock_behind_a_release_owes_nothing() -> None:
    result = run({0: one_write(100), 1: [begin(105, 2), end(0, 2)]}, DEFERRED)
    assert [hold.broadcasts for hold in result.holds] == [1, 0]


def test_p2ms_of_created_domains_begin_marked() -> None:
    view = (CREATED, 1)
    result = run({0: [begin(0, 1, view), end(0, 1, view)], 1: []})
    assert {p2m for p2m, marks in result.marks.items() if marks == {0, 1}} == {(CREATED, 0), view}


@pytest.mark.parametrize(
    ("strategy", "marks"),
    [
        (NEVER, set()),
        (Strategy(name="kick", broadcast="none"), set()),
        (Strategy(name="decide", broadcast="none", decide=lambda _: NOTHING), {0}),
        (DEFERRED, {0}),
        (EAGER, {0}),
    ],
    ids=lambda x: x.name if isinstance(x, Strategy) else "",
)
def test_a_strategy_that_never_invalidates_begins_without_marks(strategy: Strategy, marks: set[int]) -> None:
    assert run({0: []}, strategy).marks[CREATED, 0] == marks


def test_the_default_decision_of_elide_upgrades_is_nothing_for_upgrades() -> None:
    elide = Strategy(name="elide", upgrades="elide")
    rows = [begin(0), UPGRADE, UPGRADE._replace(order=9), UPGRADE._replace(old_type=None), end(0)]
    rows += [begin(0, 2), UPGRADE._replace(old_type=RAM_RW, new_type=RAM_LOGDIRTY), end(0, 2)]
    assert run({0: rows}, elide).measures[ONE, "grant"]["syncs"] == 3
    assert run({0: rows}, DEFERRED).measures[ONE, "grant"]["syncs"] == 4


def test_a_decision_function_is_told_everything() -> None:
    row = UPGRADE._replace(gap_ns=20, gfn=0x123, mfn=0x456, cause="pml")
    assert asked([switch_in(0), begin(100), row, end(0)], {1: [switch_in(0, vcpu=1)], 2: [switch_in(0, vcpu=2)]}) == [
        Request(
            what=0,
            default=DEFER,
            cause=CAUSES.index("pml"),
            old_type=RAM_LOGDIRTY,
            new_type=RAM_RW,
            order=0,
            upgrade=1,
            pending=0,
            sets=1,
            dirty=2,
            now_ns=121,
            held_ns=20,
            gfn=0x123,
            mfn=0x456,
        )
    ]


def test_a_decision_function_is_asked_about_present_entries_alone_and_told_of_all() -> None:
    rows = [begin(100), write(0), write(0, present=False), write(0), write(0), end(0), *one_write(0, 2)]
    requests = asked(rows)
    assert [(r.sets, r.pending, r.old_type) for r in requests] == [(1, 0, -1), (3, 1, -1), (4, 2, -1), (1, 0, -1)]


def test_a_broadcast_under_the_lock_leaves_nothing_pending() -> None:
    requests = asked([begin(100), write(0), write(0), end(0)], broadcast="sync")
    assert [(r.default, r.pending) for r in requests] == [(NOW, 0), (NOW, 0)]


def test_the_default_that_a_decision_function_is_told_knows_upgrades() -> None:
    requests = asked([begin(0), UPGRADE, UPGRADE._replace(order=9), end(0)], upgrades="elide", broadcast="sync")
    assert [(r.default, r.upgrade) for r in requests] == [(NOTHING, 1), (NOW, 0)]


@pytest.mark.parametrize("answer", [-1, 4])
def test_a_decision_that_is_none_is_refused(answer: int) -> None:
    with pytest.raises(ValueError, match=f"strategy deciding: decide returned {answer}"):
        run({0: one_write(0)}, deciding(answer))
