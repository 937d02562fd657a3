"""SET: what it stores and builds, how long that takes, and when it needs a sync."""

from __future__ import annotations

import pytest

from eptreplay.model import Result, Row
from eptreplay.model.ept import Seen, look_up
from eptreplay.p2m_types import INVALID, POPULATE_ON_DEMAND, RAM_LOGDIRTY, RAM_RW
from eptreplay.strategies import DEFER, NOTHING, Strategy
from tests.model.small import (
    CREATED,
    DEFERRED,
    EAGER,
    NEVER,
    ONE,
    P2M,
    TWO,
    asked,
    begin,
    change,
    end,
    one_write,
    run,
    switch_in,
    write,
)

NEW = (CREATED, 0)
GIB = 1 << 18
MISCONFIG_SYNCS = Strategy(name="4.6, deferred", sync_misconfig=True)


def hold(*rows: Row) -> list[Row]:
    """Return a hold of a p2m of which nothing is known."""
    return [begin(100), *rows, end(0)]


def new_hold(*rows: Row) -> list[Row]:
    """Return a hold of the p2m of a domain that was created."""
    return [begin(100, 1, NEW), *(row._replace(p2m=NEW) for row in rows), end(0, 1, NEW)]


def stores(result: Result, dom: int = ONE) -> int:
    """Return how many entries were stored."""
    return sum(measures["ept_stores"] for (of, _), measures in result.measures.items() if of == dom)


def lasted(result: Result) -> int:
    """Return how long the first hold lasted."""
    return result.holds[0].t_release_ns - result.holds[0].t_acquire_ns


# Stores and time.


def test_a_write_of_a_p2m_that_was_there_before_stores_one_entry() -> None:
    result = run({0: hold(write(0, present=False))}, NEVER)
    assert (stores(result), lasted(result)) == (1, 10)
    assert look_up(result.tables[P2M], 7) == Seen("leaf", RAM_RW, 8, 0)


def test_the_first_write_of_a_new_p2m_links_its_tables() -> None:
    result = run({0: new_hold(write(0, present=False), write(0, present=False, gfn=8))}, NEVER)
    assert (stores(result, CREATED), lasted(result)) == (4 + 1, 10 + 3 + 10)


def test_a_split_takes_as_long_as_its_tables_take_to_build() -> None:
    rows = [write(0, gfn=0, order=9, present=False), write(0, gfn=3)]
    result = run({0: hold(*rows)}, NEVER)
    assert (stores(result), lasted(result)) == (1 + 2, 10 + (10 + 512 + 1))
    result = run({0: hold(write(0, gfn=0, order=18, present=False), write(0, gfn=3))}, NEVER)
    assert lasted(result) == 10 + (10 + 512 * 513 + 1)


def test_marks_that_a_write_resolves_take_their_time_too() -> None:
    # The root's entry; then 2 + 2 + 2 stores on the way, 1 for the leaf, and the write itself.
    result = run({0: hold(change(0), write(0))}, NEVER)
    assert stores(result) == 1 + 8
    assert lasted(result) == 10 + (10 + 7)


def test_a_removal_is_one_store() -> None:
    result = run({0: hold(write(0, new_type=INVALID))}, NEVER)
    assert stores(result) == 1
    assert look_up(result.tables[P2M], 7) is None


def test_an_entry_that_was_present_is_entered_before_anything_else_is_done() -> None:
    # A leaf of 2 MiB of which the row says that it was there, is replaced, not split.
    result = run({0: hold(write(0, gfn=512, order=9, mfn=0x400, old_type=RAM_LOGDIRTY), write(0, gfn=513))}, NEVER)
    assert look_up(result.tables[P2M], 512) == Seen("leaf", RAM_RW, 0x400, 0)
    assert look_up(result.tables[P2M], 513) == Seen("leaf", RAM_RW, 8, 0)


def test_access_decides_whether_a_leaf_is_present_and_so_is_marked_later() -> None:
    rows = [write(0, gfn=0, access=0), write(0, gfn=512), change(0, frames=(0, 0)), change(0, frames=(512, 512))]
    result = run({0: hold(*rows)}, NEVER)
    assert look_up(result.tables[P2M], 0) == Seen("leaf", RAM_RW, 8, 0)
    assert look_up(result.tables[P2M], 512) == Seen("leaf", RAM_RW, 8, 2)


@pytest.mark.parametrize("order", [1, 8, 10, 27])
def test_an_order_that_no_entry_has_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match=f"SET of order {order}, which no entry has"):
        run({0: hold(write(0, order=order))})


def test_a_write_has_a_type() -> None:
    with pytest.raises(ValueError, match="SET without a new type"):
        run({0: hold(write(0)._replace(new_type=None))})


# Syncs.


def test_a_write_that_splits_needs_a_sync_present_or_not() -> None:
    rows = [
        write(0, gfn=0, order=9, new_type=POPULATE_ON_DEMAND, present=False),
        write(0, gfn=3, present=False, old_type=POPULATE_ON_DEMAND),
    ]
    assert [r.what for r in asked(hold(*rows))] == [0]
    assert run({0: hold(*rows)}, EAGER).measures[ONE, "grant"]["syncs"] == 1


def test_a_write_that_splits_is_no_upgrade() -> None:
    rows = [
        write(0, gfn=0, order=9, new_type=RAM_LOGDIRTY, present=False),
        write(0, gfn=3, old_type=RAM_LOGDIRTY),
        write(0, gfn=4, old_type=RAM_LOGDIRTY),
    ]
    assert [(r.default, r.upgrade) for r in asked(hold(*rows), upgrades="elide")] == [(DEFER, 0), (NOTHING, 1)]


@pytest.mark.parametrize(("strategy", "syncs"), [(MISCONFIG_SYNCS, 1), (DEFERRED, 0)], ids=["until 4.6", "since"])
def test_that_something_was_resolved_needs_a_sync_until_cea357ba4b(strategy: Strategy, syncs: int) -> None:
    result = run({0: hold(change(0), write(0, present=False))}, strategy)
    assert result.measures[ONE, "grant"]["syncs"] == syncs


def test_what_was_there_is_as_the_row_says_whatever_the_tables_say() -> None:
    result = run({0: hold(write(0, present=False), write(0, present=False))}, DEFERRED)
    assert result.measures[ONE, "grant"]["syncs"] == 0


# Writes at unknown frames.


def test_a_write_at_an_unknown_frame_changes_no_table_and_stores_one_entry() -> None:
    result = run({0: hold(write(0, gfn=None))}, DEFERRED)
    assert stores(result) == 1
    assert result.measures[ONE, "grant"]["syncs"] == 1
    assert result.tables == run({0: []}).tables


def test_repeated_writes_are_at_unknown_frames_whatever_the_row_says() -> None:
    result = run({0: hold(write(0, gfn=7, count=2))}, DEFERRED)
    assert result.tables == run({0: []}).tables
    assert {(r.gfn, r.mfn) for r in asked(hold(write(0, gfn=7, count=2)))} == {(-1, -1)}


def test_repeated_writes_are_carried_out_one_after_the_other_without_a_gap() -> None:
    result = run({0: hold(write(0, gfn=None, count=3))}, DEFERRED)
    assert (stores(result), lasted(result)) == (3, 30)
    measures = result.measures[ONE, "grant"]
    assert (measures["p2m_sets"], measures["syncs"], result.holds[0].sets) == (3, 3, 3)
    assert [b.t_request_ns for b in result.broadcasts] == [131]
    requests = asked(hold(write(0, gfn=None, count=3)))
    assert [(r.sets, r.pending, r.now_ns, r.gfn, r.mfn) for r in requests] == [
        (1, 0, 101, -1, -1),
        (2, 1, 111, -1, -1),
        (3, 2, 121, -1, -1),
    ]


def test_repeated_writes_wait_for_the_broadcast_of_the_one_before() -> None:
    result = run({0: hold(write(0, gfn=None, count=2))}, EAGER)
    # Requested at 111, done at 112, stored again, requested at 122.
    assert [b.t_request_ns for b in result.broadcasts] == [111, 122]


def test_an_interrupt_delays_the_repetition_that_it_meets() -> None:
    # Delivered at 124, in the third; the handler takes 50.
    programs = {1: [switch_in(0), begin(90), write(0, gfn=None, count=4), end(0)], 0: one_write(100, 2, (TWO, 0))}
    programs[1][0] = switch_in(0, TWO)
    result = run(programs, DEFERRED)
    assert [(ack.pcpu, ack.mode, ack.t_deliver_ns) for ack in result.acks] == [(1, "xen", 124)]
    assert [h.t_release_ns for h in result.holds if h.pcpu == 1] == [91 + 40 + 50]
