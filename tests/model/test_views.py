"""More than one p2m of a domain: alternate and nested ones."""

from __future__ import annotations

import pytest

from eptreplay.model import Invept, Row
from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, Strategy
from tests.model.small import (
    CREATED,
    DEFERRED,
    EAGER,
    ONE,
    P2M,
    P2M_TWO,
    TWO,
    VMENTER,
    asked,
    begin,
    end,
    misconfig,
    one_write,
    run,
    switch_in,
    vmenter,
    write,
)

VIEW, OTHER_VIEW, NESTED = (ONE, 1), (ONE, 2), (ONE, 256)
MARKS = Strategy(name="marks", decide=lambda _: MARK)
DEFERS_INVEPT = Strategy(name="deferred invept", ipi="invept")


def call(gap_ns: int, p2m: tuple[int, int] = NESTED) -> Row:
    """Return the call of a nested p2m."""
    return Row("CALL", gap_ns, p2m=p2m, cause="mem_access")


# Alternate p2ms.


def test_an_entry_looks_at_the_marks_of_all_views_and_invalidates_once() -> None:
    programs = {
        0: [
            *one_write(0, 1, OTHER_VIEW, "foreign"),
            *one_write(0, 2, VIEW, "decrease"),
            *one_write(0, 3, P2M_TWO, "pml"),
        ],
        1: [vmenter(500)],
    }
    result = run(programs, MARKS)
    assert result.invepts == [Invept(1, 500, ONE, "vmenter", "decrease")]
    assert result.marks[VIEW] == result.marks[OTHER_VIEW] == {0}
    assert result.marks[P2M_TWO] == {0, 1}


def test_of_several_marks_that_of_the_host_p2m_is_charged() -> None:
    rows = [*one_write(0, 1, P2M, "physmap"), *one_write(0, 2, VIEW, "mem_access")]
    assert run({0: rows, 1: [vmenter(500)]}, MARKS).invepts[0].cause == "physmap"


def test_an_entry_of_a_domain_that_was_created_clears_the_first_marks_of_all_its_views() -> None:
    view = (CREATED, 3)
    result = run({0: [begin(0, 1, view), end(0, 1, view), vmenter(0, CREATED)], 1: []}, DEFERRED)
    assert result.marks[view] == result.marks[CREATED, 0] == {1}
    assert len(result.invepts) == 1


def test_a_switch_looks_at_the_host_p2m_alone() -> None:
    rows = [*one_write(0, 1, VIEW), *one_write(0, 2, P2M_TWO)]
    result = run({0: rows, 1: [switch_in(500), switch_in(50, TWO)]}, EAGER)
    assert [(x.dom, x.where) for x in result.invepts] == [(TWO, "switch")]


def test_where_no_entries_were_recorded_a_switch_looks_at_all_views() -> None:
    programs = {0: one_write(0, 1, VIEW), 1: [switch_in(500)]}
    assert [x.where for x in run(programs, DEFERRED, has_vm_entries=False).invepts] == ["vmenter"]


def test_the_broadcast_of_a_view_within_a_hold_of_the_host_p2m_is_under_that_lock() -> None:
    rows = [begin(100), begin(0, 2, VIEW), write(0, 2, VIEW), end(0, 2, VIEW), end(9)]
    result = run({0: rows}, DEFERRED)
    assert [(b.p2m, b.hold, b.under_lock, b.t_request_ns) for b in result.broadcasts] == [(VIEW, 2, True, 112)]
    assert [h[4:8] for h in result.holds] == [(100, 101, 122, 122), (101, 102, 112, 113)]
    assert result.broadcasts_under_lock == 1


# Nested p2ms.


@pytest.mark.parametrize("strategy", [VMENTER, DEFERRED, MARKS], ids=lambda x: x.name)
def test_a_write_to_a_nested_p2m_marks_the_host_p2m(strategy: Strategy) -> None:
    result = run({0: one_write(0, 1, NESTED, "foreign"), 1: [vmenter(500)]}, strategy)
    assert result.marks[NESTED] == set()
    assert result.marks[P2M] == {0}
    assert result.invepts == [Invept(1, 500, ONE, "vmenter", "foreign")]


def test_with_invept_in_the_handler_it_marks_a_mask_that_nobody_reads() -> None:
    result = run({0: one_write(0, 1, NESTED), 1: [switch_in(500)]}, EAGER)
    assert result.marks[NESTED] == {0, 1}
    assert result.invepts == []


def test_with_invept_in_the_handler_the_host_p2m_is_not_marked_for_it() -> None:
    assert run({0: one_write(0, 1, NESTED), 1: []}, DEFERS_INVEPT).marks[P2M] == set()


def test_an_entry_leaves_the_marks_of_nested_p2ms_alone() -> None:
    nested = (CREATED, 256)
    result = run({0: [begin(0, 1, nested), end(0, 1, nested), vmenter(0, CREATED)]}, DEFERRED)
    assert result.marks[nested] == {0}
    assert result.marks[CREATED, 0] == set()


@pytest.mark.parametrize("strategy", [VMENTER, DEFERRED, EAGER, DEFERS_INVEPT], ids=lambda x: x.name)
def test_its_debt_and_its_broadcast_are_its_own(strategy: Strategy) -> None:
    result = run({0: one_write(100, 1, NESTED), 1: [switch_in(0)]}, strategy)
    assert [(b.p2m, b.targets) for b in result.broadcasts] == [(NESTED, 1)]


# The call of a nested p2m.


def test_a_sync_of_the_host_p2m_calls_the_nested_ones() -> None:
    rows = [begin(100), write(0), call(5), end(0)]
    result = run({0: rows, 1: [switch_in(0)]}, DEFERRED)
    # Called at 116, locked 117, sent 125, delivered 129, acknowledged 179, done 185.
    nested = result.broadcasts[0]
    assert nested[1:] == (1, 0, NESTED, "mem_access", True, 116, 117, 125, 185, 1, 1)
    assert [b.p2m for b in result.broadcasts] == [NESTED, P2M]
    assert result.holds[0].broadcasts == 2
    measures = result.measures[ONE, "mem_access"]
    assert (measures["broadcasts"], measures["ipis"], measures["syncs"]) == (1, 1, 0)


@pytest.mark.parametrize("ipi", ["invept", "kick", "none"])
@pytest.mark.parametrize("kick", ["dirty", "running"])
def test_under_every_strategy_the_call_interrupts_whoever_is_dirty_and_nobody_invalidates(ipi: str, kick: str) -> None:
    marks = Strategy(name="marks", ipi=ipi, kick=kick, decide=lambda _: MARK)
    rows = [switch_in(0, vcpu=1), begin(100), write(0), call(5), end(0)]
    result = run({0: rows, 1: [switch_in(0)], 2: []}, marks)
    assert result.acks == [(0, 1, "xen", 129, 185)]
    assert result.invepts == []
    assert result.marks[P2M] == {0, 1, 2}
    assert result.marks[NESTED] == set()


def test_with_invept_in_the_handler_the_targets_are_those_dirty_at_the_call_lock() -> None:
    rows = [begin(100), write(0), call(5), end(0)]
    result = run({2: rows, 1: [switch_in(117)]}, Strategy(name="marks", ipi="invept", decide=lambda _: MARK))
    assert [ack.pcpu for ack in result.acks] == [1]


def test_a_guest_that_is_interrupted_by_the_call_looks_at_its_mark() -> None:
    rows = [begin(100), write(0), call(5), end(0)]
    result = run({0: rows, 1: [switch_in(0), vmenter(10)]}, MARKS)
    assert [(x.pcpu, x.where, x.cause) for x in result.invepts] == [(1, "vmenter", "grant")]


@pytest.mark.parametrize(
    "rows",
    [
        [begin(100), write(0, present=False), call(0), end(0)],
        [begin(100), call(0), write(0), end(0)],
        [begin(100), write(0), end(0), begin(0, 2), call(0), end(0, 2)],
        [begin(100), write(0), end(0), call(0)],
        [begin(100), write(0), call(0, (TWO, 256)), end(0)],
        [begin(100, 1, VIEW), write(0, 1, VIEW), call(0), end(0, 1, VIEW)],
        [begin(100, 1, NESTED), write(0, 1, NESTED), call(0), end(0, 1, NESTED)],
        [begin(100), write(0), call(0, VIEW), Row("WAIT", 0), end(0)],
    ],
    ids=[
        "no sync",
        "before it",
        "in an earlier hold",
        "without the lock",
        "of another domain",
        "of a view",
        "of itself",
        "of a view without its lock, and of no p2m",
    ],
)
def test_otherwise_there_is_no_call(rows: list[Row]) -> None:
    result = run({0: rows, 1: [switch_in(0), switch_in(50, TWO)]}, MARKS)
    assert result.broadcasts == []


@pytest.mark.parametrize(("decision", "calls"), [(NOTHING, 0), (MARK, 1), (DEFER, 1), (NOW, 1)])
def test_whatever_is_decided_but_nothing_is_a_sync(decision: int, calls: int) -> None:
    strategy = Strategy(name="decides", decide=lambda _: decision)
    result = run({0: [begin(100), misconfig(0), call(0), end(0)]}, strategy)
    assert [b.p2m for b in result.broadcasts].count(NESTED) == calls


def test_the_call_is_nothing_to_decide_about() -> None:
    assert len(asked([begin(100), write(0), call(0), end(0)])) == 1
