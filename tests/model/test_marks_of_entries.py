"""MISCONFIG and GLOBAL_CHANGE: marks of entries are made and resolved, and strategies decide about that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from eptreplay.causes import CAUSES
from eptreplay.model import Row
from eptreplay.model.ept import Seen, look_up
from eptreplay.p2m_types import GRANT_MAP_RW, RAM_LOGDIRTY, RAM_RW
from eptreplay.strategies import DEFER, GLOBAL_CHANGE, MARK, MISCONFIG, NOTHING, NOW, Request, Strategy
from tests.model.small import (
    CREATED,
    DEFERRED,
    EAGER,
    ONE,
    P2M,
    VMENTER,
    asked,
    begin,
    change,
    end,
    misconfig,
    run,
    switch_in,
    vmenter,
    write,
)

NEW = (CREATED, 0)
SYNCS_MISCONFIG = Strategy(name="deferred, but for misconfig", sync_misconfig=True)


def hold(*rows: Row) -> list[Row]:
    """Return a hold."""
    return [begin(100), *rows, end(0)]


# GLOBAL_CHANGE.


def test_a_global_change_of_a_domain_below_512_gib_is_one_store() -> None:
    result = run({0: hold(write(0), change(0)), 1: []}, DEFERRED)
    measures = result.measures[ONE, "logdirty_global"]
    assert {name: measures[name] for name in ("p2m_sets", "ept_stores", "syncs", "broadcasts")} == {
        "p2m_sets": 0,
        "ept_stores": 1,
        "syncs": 1,
        "broadcasts": 0,
    }
    assert result.holds[0][4:] == (100, 101, 121, 122, 1, 1)
    assert result.marks[P2M] == {0, 1}


def test_a_global_change_that_marks_nothing_needs_no_sync() -> None:
    result = run({0: hold(change(0), end(0), begin(0, 2), change(0, hold=2))}, EAGER)
    assert [b.hold for b in result.broadcasts] == [1]
    empty = [begin(100, 1, NEW), change(0, p2m=NEW), end(0, 1, NEW)]
    assert run({0: empty}, EAGER).broadcasts == []
    assert run({0: empty}, EAGER).holds[0].t_release_ns == 111


def test_memory_types_are_marked_with_1_and_p2m_types_with_2() -> None:
    memory = run({0: hold(change(0, None))}).tables[P2M]
    assert look_up(memory, 0, 3) == Seen("table", -1, -1, 1)
    both = run({0: hold(change(0, None), change(0, RAM_RW), change(0, None))}, EAGER)
    assert look_up(both.tables[P2M], 0, 3) == Seen("table", -1, -1, 2)
    assert len(both.broadcasts) == 2


@pytest.mark.parametrize(
    ("new_types", "found"),
    [
        ([RAM_LOGDIRTY], RAM_LOGDIRTY),
        ([RAM_LOGDIRTY, RAM_RW], RAM_RW),
        ([RAM_LOGDIRTY, None], RAM_LOGDIRTY),
        ([RAM_LOGDIRTY, GRANT_MAP_RW], RAM_RW),
        ([None], RAM_RW),
    ],
)
def test_log_dirty_of_all_is_as_the_last_new_type_says(new_types: list[int | None], found: int) -> None:
    rows = [write(0, gfn=5), *(change(0, new_type) for new_type in new_types), misconfig(0, 5)]
    result = run({0: hold(*rows)})
    assert look_up(result.tables[P2M], 5) == Seen("leaf", found, 8, 0)


def test_a_range_is_log_dirty_until_it_ceases_to_be() -> None:
    rows = [write(0, gfn=512, order=9, mfn=0x400), change(0, frames=(512, 1023)), misconfig(0, 512)]
    result = run({0: hold(*rows)})
    assert look_up(result.tables[P2M], 512, 1) == Seen("leaf", RAM_LOGDIRTY, 0x400, 0)
    rows += [change(0, RAM_RW, (512, 520)), misconfig(0, 512)]
    result = run({0: hold(*rows)})
    assert [look_up(result.tables[P2M], gfn) for gfn in (512, 520, 521)] == [
        Seen("leaf", RAM_RW, 0x400, 0),
        Seen("leaf", RAM_RW, 0x408, 0),
        Seen("leaf", RAM_LOGDIRTY, 0x409, 0),
    ]


def test_a_range_of_unknown_memory_is_the_tables_around_it() -> None:
    # Tables are taken to be there for the first and the last frame; the entry of 2 MiB is marked.
    result = run({0: hold(change(0, frames=(512, 1023)))}, DEFERRED)
    assert look_up(result.tables[P2M], 512, 1) == Seen("table", -1, -1, 2)
    assert result.measures[ONE, "logdirty_global"]["ept_stores"] == 1
    wide = run({0: hold(change(0, frames=(5, (1 << 18) + 600)))}, DEFERRED)
    assert look_up(wide.tables[P2M], 0, 2) == look_up(wide.tables[P2M], 1 << 18, 2) == Seen("table", -1, -1, 0)
    rows = [begin(100, 1, NEW), change(0, frames=(512, 1023), p2m=NEW), end(0, 1, NEW)]
    assert look_up(run({0: rows}).tables[NEW], 512, 3) is None


@pytest.mark.parametrize(("gfn", "new_type"), [(None, RAM_RW), (5, None)])
def test_a_range_has_a_first_frame_and_a_type(gfn: int | None, new_type: int | None) -> None:
    with pytest.raises(ValueError, match="GLOBAL_CHANGE of a range without its first frame, its last, or a new type"):
        run({0: hold(change(0)._replace(gfn=gfn, last_gfn=9, new_type=new_type))})


def test_a_split_for_a_range_takes_its_time() -> None:
    rows = [write(0, gfn=0, order=9, present=False), change(0, frames=(5, 6))]
    # The split: 512 built, 1 store; the two entries.
    assert run({0: hold(*rows)}).holds[0].t_release_ns == 101 + 10 + (10 + 512 + 1 + 2 - 1)


# MISCONFIG.


def test_an_exit_resolves_the_marks_of_its_frame() -> None:
    rows = [write(0, gfn=5), change(0), misconfig(0, 5)]
    result = run({0: hold(*rows)}, DEFERRED)
    # 2 stores on each of three levels, and the leaf.
    measures = result.measures[ONE, "misconfig"]
    assert (measures["p2m_sets"], measures["ept_stores"], measures["syncs"]) == (0, 7, 0)
    assert result.holds[0].t_release_ns == 101 + 10 + 10 + (10 + 6)
    assert look_up(result.tables[P2M], 5) == Seen("leaf", RAM_LOGDIRTY, 8, 0)


def test_the_frame_of_an_exit_was_ordinary_memory() -> None:
    result = run({0: hold(misconfig(0, 5))}, DEFERRED)
    assert look_up(result.tables[P2M], 5) == Seen("leaf", RAM_RW, 0, 0)
    assert (ONE, "misconfig") not in result.measures  # neither stores nor syncs


def test_an_exit_at_an_unknown_frame_stores_nothing_and_takes_its_time() -> None:
    result = run({0: hold(change(0), misconfig(0, None))}, DEFERRED)
    assert (ONE, "misconfig") not in result.measures
    assert result.holds[0].t_release_ns == 101 + 10 + 10


@pytest.mark.parametrize("gfn", [5, None])
def test_every_exit_is_a_sync_up_to_4_6_and_none_is_since(gfn: int | None) -> None:
    rows = hold(misconfig(0, gfn), misconfig(0, gfn))
    assert run({0: rows}, EAGER).measures[ONE, "misconfig"]["syncs"] == 2
    assert len(run({0: rows}, EAGER).broadcasts) == 2
    assert run({0: rows}, VMENTER).broadcasts == []
    assert [b.under_lock for b in run({0: rows}, SYNCS_MISCONFIG).broadcasts] == [False]


def test_marks_that_an_exit_decides_on_are_set_when_it_is_carried_out() -> None:
    # Carried out at 101.
    marks = Strategy(name="marks", decide=lambda _: MARK)
    result = run({1: hold(misconfig(0)), 0: [vmenter(101)], 2: [vmenter(101)], 3: [switch_in(50)]}, marks)
    assert [(x.pcpu, x.t_ns, x.cause) for x in result.invepts] == [(2, 101, "misconfig")]
    assert result.marks[P2M] == {0, 1, 3}


def test_with_npt_an_exit_stores_the_entry_of_its_frame_alone() -> None:
    npt = replace(DEFERRED, tables="npt")
    rows = [write(0, gfn=5), write(0, gfn=6), change(0, frames=(5, 6)), misconfig(0, 5)]
    assert run({0: hold(*rows)}, npt).measures[ONE, "misconfig"]["ept_stores"] == 1
    assert run({0: hold(*rows)}, DEFERRED).measures[ONE, "misconfig"]["ept_stores"] == 2
    assert run({0: hold(misconfig(0, None))}, npt).measures[ONE, "misconfig"]["ept_stores"] == 1


def test_marks_that_xen_itself_resolves_are_no_sync_under_any_strategy() -> None:
    rows = hold(write(0, gfn=5, present=False), change(0), misconfig(0, 5)._replace(cause="logdirty_global"))
    result = run({0: rows}, EAGER)
    assert look_up(result.tables[P2M], 5) == Seen("leaf", RAM_LOGDIRTY, 8, 0)
    assert result.measures[ONE, "logdirty_global"]["syncs"] == 1  # the change
    assert [r.what for r in asked(rows)] == [GLOBAL_CHANGE]


# Syncs without a write: CALL of a p2m that is held.


def ept_sync(gap_ns: int) -> Row:
    """Return a sync of the host p2m."""
    return Row("CALL", gap_ns, p2m=P2M, new_type=None, cause="logdirty_global")


@pytest.mark.parametrize(
    ("strategy", "times"), [(DEFERRED, (False, 123, 123)), (VMENTER, (True, 116, 124)), (EAGER, (True, 116, 124))]
)
def test_a_sync_without_a_write_takes_no_time_of_its_own(strategy: Strategy, times: tuple[bool, int, int]) -> None:
    rows = [begin(100), write(0, present=False), ept_sync(5), end(7)]
    result = run({0: rows, 1: []}, strategy)
    under_lock, requested, released = times
    assert [(b.under_lock, b.t_request_ns, b.cause) for b in result.broadcasts] == [
        (under_lock, requested, "logdirty_global")
    ]
    assert result.holds[0].t_release_ns == released
    assert result.marks[P2M] == {0, 1}
    measures = result.measures[ONE, "logdirty_global"]
    assert (measures["p2m_sets"], measures["ept_stores"], measures["syncs"]) == (0, 0, 1)


def test_a_sync_without_a_write_is_asked_about_like_a_global_change() -> None:
    expected = {"default": DEFER, "cause": CAUSES.index("logdirty_global"), "new_type": -1, "pending": 0, "sets": 0}
    expected |= {"dirty": 0, "now_ns": 121, "held_ns": 20, "gfn": -1}
    assert asked(hold(ept_sync(20))) == [Request(what=GLOBAL_CHANGE, **expected, **UNKNOWN)]


@pytest.mark.parametrize("rows", [[ept_sync(0)], [begin(0, 2, (ONE, 1)), ept_sync(0), end(0, 2, (ONE, 1))]])
def test_without_the_lock_there_is_no_sync(rows: list[Row]) -> None:
    assert run({0: rows}, EAGER).broadcasts == []


# Decision functions.

UNKNOWN = {"old_type": -1, "order": -1, "upgrade": 0, "mfn": -1}


@pytest.mark.parametrize(
    ("row", "new_type", "gfn"),
    [(change(20), RAM_LOGDIRTY, -1), (change(20, None), -1, -1), (change(20, RAM_RW, (3, 9)), RAM_RW, 3)],
    ids=["everything", "memory types", "range"],
)
def test_what_a_decision_function_is_asked_about_a_global_change(row: Row, new_type: int, gfn: int) -> None:
    rows = hold(write(0, gfn=3), row)
    cause = CAUSES.index("logdirty_global")
    expected = {"default": DEFER, "cause": cause, "new_type": new_type, "pending": 1, "sets": 1, "dirty": 0}
    expected |= {"now_ns": 131, "held_ns": 30, "gfn": gfn}
    assert asked(rows)[1] == Request(what=GLOBAL_CHANGE, **expected, **UNKNOWN)


@pytest.mark.parametrize("gfn", [5, None])
@pytest.mark.parametrize(("switch", "default"), [(False, NOTHING), (True, NOW)])
def test_what_a_decision_function_is_asked_about_an_exit(gfn: int | None, switch: bool, default: int) -> None:  # noqa: FBT001
    requests = asked(hold(misconfig(20, gfn)), broadcast="sync", sync_misconfig=switch)
    expected = {"default": default, "cause": CAUSES.index("misconfig"), "new_type": -1, "pending": 0, "sets": 0}
    expected |= {"dirty": 0, "now_ns": 121, "held_ns": 20, "gfn": -1 if gfn is None else gfn}
    assert requests == [Request(what=MISCONFIG, **expected, **UNKNOWN)]


@pytest.mark.parametrize("op", ["MISCONFIG", "GLOBAL_CHANGE", "FREE_TABLE", "POD_RECLAIM"])
def test_only_who_holds_the_lock_changes_tables(op: str) -> None:
    with pytest.raises(ValueError, match=f"{op} of p2m .1, 0. without holding its lock"):
        run({0: [Row(op, 0, p2m=P2M, hold=1)]})
