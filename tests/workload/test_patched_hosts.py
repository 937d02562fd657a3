"""What a patched host says is done to its tables: changes of whole p2ms, tables that are freed, writes with their past.

Nothing of that counts without the lock that it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eptreplay.workload import schema as s
from eptreplay.xentrace.catalogue.extension import (
    LEVEL_UNKNOWN,
    SET_OLD_ABSENT,
    SET_OLD_PRESENT,
    SET_SPLIT,
    SET_TABLE_REPLACED,
)
from tests.workload.ept_host import INVALID, LOGDIRTY, MISCONFIG, NOWHERE, POD, RAM_RW, Host
from tests.workload.lowering import Row, check, columns, lowered, rows_of

PAGED = 10
HOLD = ("HOLD_BEGIN", "HOLD_END")


def patched() -> Host:
    """Return a host that records all that it does."""
    return Host(patched=True)


def acts(folder: Path, host: Host) -> list[Row]:
    """Return holds and what is done within them."""
    workload = lowered(folder, host.trace)
    check(workload)
    return rows_of(workload, *HOLD, *(s.OP_NAMES[op] for op in s.ACTS))


# Changes of whole p2ms


def test_a_change_of_everything_has_neither_first_nor_last_frame(tmp_path: Path) -> None:
    host = patched()
    host.hold("logdirty_global", partial(host.global_change, LOGDIRTY))
    rows = acts(tmp_path, host)
    names = ("op", "p2m_dom", "gfn", "last_gfn", "old_type", "new_type", "cause", "origin", "count", "gap_ns")
    assert columns(rows, *names)[1] == (
        "GLOBAL_CHANGE", 3, None, None, RAM_RW, LOGDIRTY, "logdirty_global", "recorded", 1, 1000,
    )  # fmt: skip
    assert [row["op"] for row in rows] == ["HOLD_BEGIN", "GLOBAL_CHANGE", "HOLD_END"]


def test_a_change_of_a_range_has_both(tmp_path: Path) -> None:
    host = patched()
    host.hold("other", partial(host.global_change, LOGDIRTY, first=0xF0000, last=0xF07FF))
    [_, change, _] = acts(tmp_path, host)
    assert (change["gfn"], change["last_gfn"], change["cause"]) == (0xF0000, 0xF07FF, "other")


@pytest.mark.parametrize("last", [NOWHERE, NOWHERE - 1])
def test_a_range_without_end_is_no_change_of_everything(tmp_path: Path, last: int) -> None:
    """It ends with the last frame that a guest can address."""
    host = patched()
    host.hold("other", partial(host.global_change, LOGDIRTY, first=5, last=last))
    [_, change, _] = acts(tmp_path, host)
    assert (change["gfn"], change["last_gfn"]) == (5, (1 << 52) - 1)


def test_where_only_memory_types_change_types_say_nothing(tmp_path: Path) -> None:
    host = patched()
    host.hold("other", partial(host.global_change, LOGDIRTY, memory=True))
    [_, change, _] = acts(tmp_path, host)
    assert (change["old_type"], change["new_type"], change["last_gfn"]) == (None, None, None)


@pytest.mark.parametrize("dom", [3, 4])
def test_a_change_without_a_hold_of_its_p2m_gets_one(tmp_path: Path, dom: int) -> None:
    host = patched()
    host.hold("physmap", lambda: host.wrote(5, RAM_RW, INVALID), dom=3)
    host.dom = dom
    host.global_change(LOGDIRTY)
    host.hold("physmap", partial(host.global_change, LOGDIRTY), dom=3)
    found = columns(acts(tmp_path, host)[3:], "op", "p2m_dom", "cause", "origin")
    alone = [
        ("HOLD_BEGIN", dom, "logdirty_global", "inferred"),
        ("GLOBAL_CHANGE", dom, "logdirty_global", "recorded"),
        ("HOLD_END", dom, "logdirty_global", "inferred"),
    ]
    begin, end = ("HOLD_BEGIN", 3, "physmap", "recorded"), ("HOLD_END", 3, "physmap", "recorded")
    within = [("GLOBAL_CHANGE", 3, "physmap", "recorded")] if dom == 3 else alone
    assert found == [*alone, begin, *within, end]


def test_views_change_by_themselves(tmp_path: Path) -> None:
    host = patched()
    host.hold("logdirty_global", partial(host.global_change, LOGDIRTY, view=2), view=2)
    host.hold("logdirty_global", partial(host.global_change, LOGDIRTY, view=2), view=1)
    assert columns(acts(tmp_path, host), "op", "p2m_view") == [
        ("HOLD_BEGIN", 2), ("GLOBAL_CHANGE", 2), ("HOLD_END", 2),
        ("HOLD_BEGIN", 1), ("HOLD_BEGIN", 2), ("GLOBAL_CHANGE", 2), ("HOLD_END", 2), ("HOLD_END", 1),
    ]  # fmt: skip


# Tables that are freed


def freed(host: Host, level: int, *, dom: int = 3, view: int = 0) -> None:
    """Record that a table goes back to the paging pool."""
    host.timed("PT_PAGE_FREE", domid=dom, view=view, level=level, mfn=0x5000 + level % 8)


def test_tables_are_freed_where_their_entry_is_replaced(tmp_path: Path) -> None:
    host = patched()

    def replace() -> None:
        host.wrote(0x40000, RAM_RW, RAM_RW, 18, flags=SET_TABLE_REPLACED)
        for level in (0, 0, 1):
            freed(host, level)

    host.hold("physmap", replace)
    rows = acts(tmp_path, host)
    # The order is that of the entry which pointed to the table.
    assert columns(rows, "op", "order", "mfn", "gfn", "cause", "hold")[1:-1] == [
        ("SET", 18, 0x99, 0x40000, "physmap", 0),
        ("FREE_TABLE", 9, 0x5000, None, "physmap", 0),
        ("FREE_TABLE", 9, 0x5000, None, "physmap", 0),
        ("FREE_TABLE", 18, 0x5001, None, "physmap", 0),
    ]


@pytest.mark.parametrize(("level", "order"), [(0, 9), (1, 18), (2, 27), (3, 36), (4, None), (LEVEL_UNKNOWN, None)])
def test_a_level_that_nobody_knows_has_no_order(tmp_path: Path, level: int, order: int | None) -> None:
    host = patched()
    host.hold("other", partial(freed, host, level))
    [_, free, _] = acts(tmp_path, host)
    assert free["order"] == order


def no_hold(host: Host) -> None:
    """Free a table outside of any hold."""
    freed(host, 0)


def another_domains(host: Host) -> None:
    """Free another domain's table in a hold."""
    host.hold("other", partial(freed, host, 0, dom=4))


def another_view(host: Host) -> None:
    """Free a table of another p2m of the domain in a hold."""
    host.hold("other", partial(freed, host, 0, view=1))


@pytest.mark.parametrize("free", [no_hold, another_domains, another_view])
def test_a_table_that_is_freed_without_the_lock_is_none(tmp_path: Path, free: Callable[[Host], None]) -> None:
    """What Xen owes to other pCPUs is owed within a hold: outside there is nothing to flush before."""
    host = patched()
    free(host)
    assert [row["op"] for row in acts(tmp_path, host)] in ([], list(HOLD))


def test_an_inner_hold_is_enough(tmp_path: Path) -> None:
    host = patched()
    host.hold("other", lambda: host.hold("other", partial(freed, host, 0, view=1), view=1))
    found = columns(acts(tmp_path, host), "op", "p2m_view", "hold")
    assert found == [
        ("HOLD_BEGIN", 0, 0), ("HOLD_BEGIN", 1, 1), ("FREE_TABLE", 1, 1), ("HOLD_END", 1, 1), ("HOLD_END", 0, 0)
    ]  # fmt: skip


def test_a_table_that_is_freed_in_a_fault_is_freed_in_its_hold(tmp_path: Path) -> None:
    host = patched()

    def handle() -> None:
        host.npf(0x10, LOGDIRTY, 0x182)
        host.wrote(0x10, LOGDIRTY, RAM_RW)
        freed(host, 0)

    host.exit(48, handle)
    rows = [row for row in acts(tmp_path, host) if row["cause"] == "logdirty_fault"]
    assert columns(rows, "op", "hold") == [("HOLD_BEGIN", 0), ("SET", 0), ("FREE_TABLE", 0), ("HOLD_END", 0)]


# Holds


def test_a_hold_of_no_domain_is_none(tmp_path: Path) -> None:
    """Numbers above 0x7fff name no domain; what lies between gets holds of its own."""
    host = patched()
    host.hold("misconfig", lambda: host.wrote(5, RAM_RW, INVALID), dom=0xFFFF)
    rows = acts(tmp_path, host)
    assert columns(rows, "op", "p2m_dom", "origin") == [
        ("HOLD_BEGIN", 3, "inferred"),
        ("SET", 3, "recorded"),
        ("HOLD_END", 3, "inferred"),
    ]


def test_an_exit_and_a_hold_that_it_did_not_lead_to_stay_apart(tmp_path: Path) -> None:
    host = patched()
    host.exit(MISCONFIG, lambda: host.hold("physmap", lambda: host.wrote(5, RAM_RW, INVALID), dom=4))
    found = columns(acts(tmp_path, host), "op", "p2m_dom", "cause")
    assert found[:3] == [("HOLD_BEGIN", 3, "misconfig"), ("MISCONFIG", 3, "misconfig"), ("HOLD_END", 3, "misconfig")]


# What a write says of the entry


def past(folder: Path, host: Host) -> list[tuple[Any, ...]]:
    """Return what writes say of the entry before and afterwards."""
    return columns(
        [row for row in acts(folder, host) if row["op"] == "SET"], "old_type", "old_present", "old_known", "access"
    )


@pytest.mark.parametrize(
    ("old", "flags", "kind", "present"),
    [
        (RAM_RW, 0, RAM_RW, True),
        (POD, 0, POD, False),
        (INVALID, 0, INVALID, False),
        (RAM_RW, SET_OLD_ABSENT, RAM_RW, False),
        (PAGED, SET_OLD_PRESENT, PAGED, True),
        (RAM_RW, SET_SPLIT, RAM_RW, True),
        (RAM_RW, SET_SPLIT | SET_OLD_PRESENT, RAM_RW, True),
        (0, SET_TABLE_REPLACED, None, True),
        (200, 0, 200, False),
    ],
)
def test_flags_say_whether_the_entry_granted_anything(
    tmp_path: Path, old: int, flags: int, kind: int | None, *, present: bool
) -> None:
    host = patched()
    host.wrote(5, old, RAM_RW, flags=flags)
    assert past(tmp_path, host) == [(kind, present, "recorded", 7)]


@pytest.mark.parametrize(
    ("access", "shown", "present"), [(7, 7, True), (1, 1, True), (0, 0, False), (9, 9, False), (0xFFFFFFFF, 127, True)]
)
def test_an_access_may_leave_a_page_without_rights(tmp_path: Path, access: int, shown: int, *, present: bool) -> None:
    """A stock record behind it says nothing of the entry before: that is what the one before has made of it."""
    host = patched()
    host.wrote(5, INVALID, RAM_RW, access=access)
    host.trace.add("MEM_SET_P2M_ENTRY", gfn=5, mfn=1, p2mt=RAM_RW, domid=3)
    assert past(tmp_path, host) == [(INVALID, False, "recorded", shown), (RAM_RW, present, "earlier", None)]
