"""Page-modification logging: the drain of a full log, one hold for each write or one for all (060e9ab6e4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eptreplay.model import Hold, Row
from tests.model.small import DEFERRED, NEVER, ONE, P2M, P2M_TWO, VMENTER, asked, begin, end, run, write

BATCH = replace(DEFERRED, pml_drain="batch")
VIEW = (ONE, 1)


def drain(*rows: Row) -> list[Row]:
    """Return the drain of a full log."""
    return [begin(100, cause="pml"), *rows, end(7)]


def times(rows: list[Row], others: dict[int, list[Row]] | None = None) -> list[tuple[int, ...]]:
    """Return number, request, acquisition, release, end, writes and broadcasts of each hold of pCPU 0."""
    result = run({0: rows, **(others or {})}, DEFERRED)
    return [(h.hold, *h[4:]) for h in result.holds if h.pcpu == 0]


def test_in_batch_a_drain_is_one_hold() -> None:
    result = run({0: drain(write(0), write(3), write(0))}, BATCH)
    assert result.holds == [Hold(1, 0, P2M, "pml", 100, 101, 141, 142, sets=3, broadcasts=1)]


def test_by_entry_each_write_of_a_drain_is_a_hold() -> None:
    # Released at 111, broadcast until 112; then the lock is asked for again, and the gap of 3 is in the new hold.
    assert times(drain(write(0), write(3))) == [
        (1, 100, 101, 111, 112, 1, 1),
        (2, 112, 113, 133, 134, 1, 1),
    ]


def test_so_is_each_repetition_of_a_write() -> None:
    assert times(drain(write(0, gfn=None, count=3), write(0))) == [
        (1, 100, 101, 111, 112, 1, 1),
        (2, 112, 113, 123, 124, 1, 1),
        (3, 124, 125, 135, 136, 1, 1),
        (4, 136, 137, 154, 155, 1, 1),
    ]
    assert [(r.sets, r.pending, r.held_ns) for r in asked(drain(write(0, gfn=None, count=3)))] == [(1, 0, 0)] * 3


def test_all_holds_of_a_drain_have_its_cause() -> None:
    result = run({0: drain(write(0, cause="other"), write(0, cause="other"))}, DEFERRED)
    assert [h.cause for h in result.holds] == ["pml", "pml"]
    assert result.measures[ONE, "pml"]["holds"] == 2


def test_where_nothing_is_owed_release_and_request_are_one_step() -> None:
    result = run({0: drain(write(0, present=False), write(0, present=False)), 1: [begin(105, 9), end(50, 9)]}, DEFERRED)
    # pCPU 1 has asked at 105, and gets the lock at 111, when pCPU 0 asks again.
    assert [h[4:8] for h in result.holds] == [(100, 101, 111, 111), (111, 165, 182, 182), (105, 113, 163, 163)]
    assert [h.hold for h in result.holds] == [1, 2, 9]


def test_broadcasts_under_the_lock_stay_so() -> None:
    result = run({0: drain(write(0), write(0))}, VMENTER)
    assert [(b.hold, b.under_lock, b.t_request_ns) for b in result.broadcasts] == [(1, True, 111), (2, True, 123)]
    assert [h[4:8] for h in result.holds] == [(100, 101, 112, 112), (112, 113, 131, 131)]


def test_the_row_ends_when_the_lock_has_been_acquired() -> None:
    # The WAKE of pCPU 2 waits for the second write, which is carried out 3 behind the acquisition.
    result = run({0: drain(write(0), write(3)), 2: [Row("WAKE", 0, edge=2)]}, DEFERRED)
    assert result.drift_ns[2] == 116


def test_the_lock_is_kept_behind_the_last_write_and_if_something_else_comes_next() -> None:
    rows = drain(write(0), Row("WAIT", 0), write(0))
    assert [h[0] for h in times(rows)] == [1]


@pytest.mark.parametrize(
    "rows",
    [
        [begin(100), write(0), write(0), end(0)],
        [begin(100), begin(0, 1, cause="pml"), write(0), write(0), end(0), end(0)],
        [begin(100, 9, P2M_TWO), begin(0, 1, cause="pml"), write(0), write(0), end(0), end(0, 9, P2M_TWO)],
        [begin(100, 1, cause="pml"), begin(0, 1, cause="pml"), write(0), write(0), end(0), end(0)],
    ],
    ids=["other cause", "within a hold", "within a hold of another p2m", "entered twice"],
)
def test_other_holds_are_left_as_they_are(rows: list[Row]) -> None:
    assert len([h for h in run({0: rows}, DEFERRED).holds if h.p2m == P2M]) == 1


def test_while_another_lock_is_held_within_it_a_drain_is_not_interrupted() -> None:
    inner = [begin(0, 9, VIEW), write(0), write(0), write(0, 9, VIEW), write(0, 9, VIEW), end(0, 9, VIEW)]
    result = run({0: drain(write(0), *inner, write(0), write(0))}, NEVER)
    assert [(h.hold, h.sets) for h in result.holds] == [(1, 4), (2, 1), (9, 2)]
