"""Sync points: what is owed is broadcast before something is used otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eptreplay.causes import CAUSES
from eptreplay.model import Row
from eptreplay.strategies import (
    DEFER,
    FREE_TABLE,
    MARK,
    NOTHING,
    NOW,
    POD_DECREASE,
    POD_SUPERPAGE,
    POD_SWEEP,
    SET,
    Request,
    Strategy,
)
from tests.model.small import DEFERRED, EAGER, ONE, P2M, VMENTER, asked, begin, end, run, switch_in, write


def free_table(gap_ns: int, cause: str = "physmap") -> Row:
    """Return the end of a page of the p2m."""
    return Row("FREE_TABLE", gap_ns, p2m=P2M, hold=1, gfn=512, cause=cause)


def reclaim(gap_ns: int, order: int = 0, cause: str = "pod_reclaim") -> Row:
    """Return pages that go to the cache of populate-on-demand."""
    return Row("POD_RECLAIM", gap_ns, p2m=P2M, hold=1, gfn=512, order=order, cause=cause)


POINTS = [
    (free_table(5), "sync_table_free", FREE_TABLE),
    (reclaim(5, 9), "sync_pod_superpage", POD_SUPERPAGE),
    (reclaim(5, 0), "sync_pod_sweep", POD_SWEEP),
    (reclaim(5, 9, "decrease"), "sync_pod_decrease", POD_DECREASE),
    (reclaim(5, 0, "decrease"), "sync_pod_decrease", POD_DECREASE),
]


@pytest.mark.parametrize(("row", "switch", "what"), POINTS)
def test_what_is_owed_is_broadcast_at_once_and_under_the_lock(row: Row, switch: str, what: int) -> None:
    rows = [begin(100), write(0, cause="pod_fault"), row, end(7)]
    result = run({0: rows}, DEFERRED)
    # Stored 101, over 111; the sync point at 116, which costs a call lock; the release at 124 owes nothing any more.
    assert [(b.cause, b.under_lock, b.t_request_ns, b.t_done_ns) for b in result.broadcasts] == [
        ("pod_fault", True, 116, 117)
    ]
    assert result.holds[0][4:] == (100, 101, 124, 124, 1, 1)
    off = run({0: rows}, replace(DEFERRED, **{switch: False}))  # type: ignore[arg-type]
    assert [(b.under_lock, b.t_request_ns) for b in off.broadcasts] == [(False, 123)]
    assert what in {FREE_TABLE, POD_SUPERPAGE, POD_SWEEP, POD_DECREASE}


@pytest.mark.parametrize(("row", "switch", "what"), POINTS)
def test_a_sync_point_with_nothing_owed_takes_no_time_and_is_not_asked_about(row: Row, switch: str, what: int) -> None:
    rows = [begin(100), write(0, present=False), row, end(7)]
    assert run({0: rows}, DEFERRED).broadcasts == []
    assert run({0: rows}, DEFERRED).holds[0].t_release_ns == 101 + 10 + 5 + 7
    assert asked(rows, **{switch: True}) == []  # type: ignore[arg-type]
    assert what > SET


@pytest.mark.parametrize("strategy", [EAGER, VMENTER], ids=lambda x: x.name)
def test_strategies_that_owe_nothing_have_no_sync_points(strategy: Strategy) -> None:
    result = run({0: [begin(100), write(0), free_table(5), end(0)]}, strategy)
    assert [b.t_request_ns for b in result.broadcasts] == [111]


@pytest.mark.parametrize(("row", "switch", "what"), POINTS)
def test_what_a_decision_function_is_asked_at_a_sync_point(row: Row, switch: str, what: int) -> None:
    rows = [begin(100), write(0, cause="grant"), row, end(0)]
    request = asked(rows)[1]
    assert request == Request(
        what=what,
        default=NOW,
        cause=CAUSES.index(row.cause),
        old_type=-1,
        new_type=-1,
        order=row.order,
        upgrade=0,
        pending=1,
        sets=1,
        dirty=0,
        now_ns=116,
        held_ns=15,
        gfn=512,
        mfn=-1,
    )
    assert asked(rows, **{switch: False})[1].default == NOTHING  # type: ignore[arg-type]


@pytest.mark.parametrize("decision", [NOTHING, MARK, DEFER])
def test_at_a_sync_point_only_now_has_an_effect(decision: int) -> None:
    strategy = Strategy(name="later", decide=lambda request: DEFER if request.what == SET else decision)
    result = run({0: [begin(100), write(0), free_table(5), end(0)]}, strategy)
    assert [b.under_lock for b in result.broadcasts] == [False]
    assert result.measures[ONE, "grant"]["syncs"] == 1
    assert (ONE, "physmap") not in result.measures


def test_several_sync_points_in_a_row_cost_one_broadcast() -> None:
    rows = [begin(100), write(0), free_table(0), reclaim(0), free_table(0), end(0)]
    assert [b.under_lock for b in run({0: rows}, DEFERRED).broadcasts] == [True]


def test_a_broadcast_at_a_sync_point_has_the_cause_of_what_is_owed() -> None:
    rows = [begin(100), write(0, cause="decrease"), write(0, cause="pml"), free_table(0), end(0)]
    assert [b.cause for b in run({0: rows}, DEFERRED).broadcasts] == ["decrease"]


def test_with_invept_in_the_handler_the_broadcast_of_a_sync_point_marks_like_any_other() -> None:
    rows = [switch_in(0), begin(100), write(0), free_table(5), end(0)]
    result = run({0: rows, 1: []}, Strategy(name="deferred invept", ipi="invept"))
    assert result.marks[P2M] == {1}
    assert [x.where for x in result.invepts] == ["self"]


# Tables that a SET replaces.

REPLACE = [write(0, gfn=3, cause="grant"), write(0, gfn=0, order=9, mfn=0x200, cause="physmap")]


def test_a_write_that_replaces_a_table_broadcasts_what_is_owed_before_the_table_is_freed() -> None:
    result = run({0: [begin(100), *REPLACE, end(7)]}, DEFERRED)
    # Stored 101 and 111, over at 121. The debt is that of the first write; the second is part of it.
    assert [(b.cause, b.under_lock, b.t_request_ns) for b in result.broadcasts] == [("grant", True, 121)]
    assert result.measures[ONE, "physmap"]["syncs"] == 1


def test_without_the_switch_the_table_is_freed_first_as_in_xsa_480() -> None:
    result = run({0: [begin(100), *REPLACE, end(7)]}, replace(DEFERRED, sync_table_free=False))
    assert [(b.under_lock, b.t_request_ns) for b in result.broadcasts] == [(False, 128)]


def test_it_is_asked_about_the_table_after_it_was_asked_about_the_write() -> None:
    requests = asked([begin(100), *REPLACE, end(0)])
    assert [(r.what, r.pending, r.order, r.gfn, r.new_type, r.now_ns) for r in requests] == [
        (SET, 0, 0, 3, 0, 101),
        (SET, 1, 9, 0, 0, 111),
        (FREE_TABLE, 2, 9, 0, -1, 111),
    ]


def test_a_write_that_decides_now_leaves_nothing_to_pay_for_the_table() -> None:
    requests = asked([begin(100), *REPLACE, end(0)], broadcast="sync")
    assert [r.what for r in requests] == [SET, SET]
    assert len(run({0: [begin(100), *REPLACE, end(0)]}, VMENTER).broadcasts) == 2


def test_a_table_is_freed_even_if_the_row_says_that_nothing_was_there() -> None:
    rows = [begin(100), write(0, gfn=3), write(0, gfn=0, order=9, present=False), end(0)]
    assert [b.under_lock for b in run({0: rows}, DEFERRED).broadcasts] == [True]
