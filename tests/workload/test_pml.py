"""Full logs of page modification: a row that announces the drain, and a hold that may be cut into its writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from eptreplay.replay import tally as y
from eptreplay.workload.rules import CAUSE_NUMBERS
from tests.workload.ept_host import LOGDIRTY, MISCONFIG, PML_FULL, RAM_RW, VMCALL, Host
from tests.workload.lowering import check, columns, holds_of, lowered, outcome, rows_of

ENTRIES = 512


@pytest.mark.parametrize("sched", [True, False])
def test_a_full_log_is_a_hold_with_as_many_writes_as_it_has_entries(tmp_path: Path, *, sched: bool) -> None:
    host = Host(sched=sched)
    host.decrease(0x9999)  # without runstates something has to name the domain
    host.bare(PML_FULL)
    host.bare(PML_FULL | 1 << 31)  # flags above the reason do not change it
    workload = lowered(tmp_path, host.trace)
    check(workload)
    names = ("op", "run_dom", "p2m_dom", "gfn", "mfn", "count", "old_type", "old_present", "new_type", "origin")
    rows = [row for row in rows_of(workload, "PML_DRAIN", "HOLD_BEGIN", "SET", "HOLD_END") if row["cause"] == "pml"]
    assert columns(rows, *names) == 2 * [
        ("PML_DRAIN", 3, 3, None, None, ENTRIES, None, None, None, "inferred"),
        ("HOLD_BEGIN", 3, 3, None, None, 1, None, None, None, "inferred"),
        ("SET", 3, 3, None, (1 << 64) - 1, ENTRIES, LOGDIRTY, True, RAM_RW, "inferred"),
        ("HOLD_END", 3, 3, None, None, 1, None, None, None, "inferred"),
    ]
    assert [row["hold"] for row in rows] == [None, 1, 1, 1, None, 1 + ENTRIES, 1 + ENTRIES, 1 + ENTRIES]


def test_a_drain_leaves_room_for_the_holds_that_it_may_be_cut_into(tmp_path: Path) -> None:
    host = Host()
    host.bare(PML_FULL)
    host.bare(MISCONFIG)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "HOLD_BEGIN"), "cause", "hold") == [("pml", 0), ("misconfig", ENTRIES)]
    for strategy, holds in (("deferred", ENTRIES), ("deferred-pml", 1)):
        measure = outcome(workload, strategy).tally.measure[:, CAUSE_NUMBERS["pml"]]
        assert measure[:, y.HOLDS].sum() == holds
        assert measure[:, y.SETS].sum() == ENTRIES


@pytest.mark.parametrize(("count", "entries"), [(1, 1), (77, 77), (512, 512), (0, 1), (513, 512), (0xFFFFFFFF, 512)])
def test_how_many_entries_there_were_is_what_a_patched_host_says(tmp_path: Path, count: int, entries: int) -> None:
    host = Host()
    host.exit(PML_FULL, lambda: host.timed("PML_DRAIN", domid=3, vcpu=0, count=count))
    host.bare(PML_FULL)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "SET"), "count") == [(entries,), (ENTRIES,)]
    # What was recorded is not announced besides.
    assert columns(rows_of(workload, "PML_DRAIN"), "count", "origin") == [(entries, "recorded")]


def test_a_drain_that_another_exit_led_to_tells_nothing_of_this_one(tmp_path: Path) -> None:
    host = Host()
    host.bare(PML_FULL)
    host.exit(VMCALL, lambda: host.timed("PML_DRAIN", domid=3, vcpu=0, count=7))
    host.on(1)
    host.bare(PML_FULL)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "SET"), "count") == [(ENTRIES,)] * 2


def test_writes_that_are_recorded_are_those_of_the_log(tmp_path: Path) -> None:
    host = Host(patched=True)

    def drain() -> None:
        host.timed("PML_DRAIN", domid=3, vcpu=0, count=2)
        for gfn in (5, 6):
            host.wrote(gfn, LOGDIRTY, RAM_RW)

    host.exit(PML_FULL, drain)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    [hold] = holds_of(workload)
    assert hold[3] == "pml"
    assert hold[6:] == tuple((gfn, 0, LOGDIRTY, RAM_RW, "pml", "recorded") for gfn in (5, 6))


def test_so_are_those_in_a_hold_that_is_recorded_too(tmp_path: Path) -> None:
    host = Host(patched=True)

    def writes() -> None:
        for gfn in (5, 6, 7):
            host.wrote(gfn, LOGDIRTY, RAM_RW)

    host.exit(PML_FULL, lambda: host.hold("pml", writes))
    host.bare(MISCONFIG)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    # A recorded drain may be cut as well: three writes take three numbers.
    assert columns(rows_of(workload, "HOLD_BEGIN"), "cause", "hold") == [("pml", 0), ("misconfig", 3)]
    assert columns(rows_of(workload, "SET"), "gfn", "origin") == [(gfn, "recorded") for gfn in (5, 6, 7)]


def test_whatever_else_follows_the_exit_the_writes_are_in_the_hold(tmp_path: Path) -> None:
    """The hold begins with the first record behind the exit."""
    host = Host()
    host.exit(PML_FULL, lambda: host.npf(5, RAM_RW))
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert [hold[3:4] + hold[6:] for hold in holds_of(workload)] == [
        ("pml", (None, 0, LOGDIRTY, RAM_RW, "pml", "inferred"))
    ]


def test_pages_that_were_logged_imply_no_clean(tmp_path: Path) -> None:
    """Which pages they are is not recorded, and a log holds each page once."""
    host = Host()
    for _ in range(3):
        host.bare(PML_FULL)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert rows_of(workload, "LOGDIRTY_CLEAN", "GLOBAL_CHANGE") == []
