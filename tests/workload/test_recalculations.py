"""NPT recalculations and EPT misconfigurations: which frame each was about, and which of them EPT would have had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eptreplay.replay import tally as y
from eptreplay.replay.program import Reading
from eptreplay.workload.rules import CAUSE_NUMBERS
from tests.workload import ept_host
from tests.workload.lowering import Row, check, columns, lowered, outcome, rows_of, shares
from tests.workload.svm_host import INTERRUPT, LOGDIRTY, RAM_RW, VMMCALL, Host

HERE, ELSEWHERE = 0x1000, 0x2000
"""Two instructions."""


def mended(folder: Path, host: Host) -> list[Row]:
    """Return the MISCONFIG rows of a recording."""
    workload = lowered(folder, host.trace)
    check(workload)
    return rows_of(workload, "MISCONFIG")


def test_a_fault_with_neither_write_nor_npf_is_a_hold_that_mends_an_entry(tmp_path: Path) -> None:
    host = Host()
    host.recalculation()
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "HOLD_BEGIN", "MISCONFIG", "HOLD_END")
    assert columns(rows, "op", "p2m_dom", "run_dom", "cause", "gfn", "count", "old_known", "time_origin") == [
        ("HOLD_BEGIN", 3, 3, "misconfig", None, 1, None, "timed"),
        ("MISCONFIG", 3, 3, "misconfig", None, 1, "assumed", "timed"),
        ("HOLD_END", 3, 3, "misconfig", None, 1, None, "timed"),
    ]
    assert shares(workload) == {"recalculation": (1, 1)}


@pytest.mark.parametrize("sched", [True, False])
def test_the_fault_that_follows_tells_the_frame(tmp_path: Path, *, sched: bool) -> None:
    host = Host(sched=sched)
    host.recalculation(HERE)
    host.logdirty_fault(0x1234, HERE)
    assert columns(mended(tmp_path, host), "gfn", "order", "count", "old_known", "p2m_dom") == [
        (0x1234, 0, 1, "cause", 3)
    ]


def interrupted(host: Host) -> None:
    """Let an interrupt come before the instruction runs again."""
    host.recalculation(HERE)
    host.exit(INTERRUPT, HERE)
    host.logdirty_fault(5, HERE)


def test_an_interrupt_between_the_two_changes_nothing(tmp_path: Path) -> None:
    host = Host()
    interrupted(host)
    assert columns(mended(tmp_path, host), "gfn", "old_known") == [(5, "cause")]


def another_instruction(host: Host) -> None:
    """Let the fault that follows be of another instruction."""
    host.recalculation(HERE)
    host.logdirty_fault(5, ELSEWHERE)


def an_exit_elsewhere(host: Host) -> None:
    """Let the guest come back to the instruction later."""
    host.recalculation(HERE)
    host.exit(VMMCALL, ELSEWHERE)
    host.logdirty_fault(5, HERE)


def another_vcpu(host: Host) -> None:
    """Let another vCPU fault at the same instruction."""
    host.recalculation(HERE)
    host.on(0, vcpu=1)
    host.logdirty_fault(5, HERE)


def another_pcpu(host: Host) -> None:
    """Let another pCPU's records follow."""
    host.recalculation(HERE)
    host.on(1)
    host.logdirty_fault(5, HERE)


def populate_on_demand(host: Host) -> None:
    """Let the fault that follows give the entry a page."""
    host.recalculation(HERE)
    host.pod_fault(5, HERE)


def no_write(host: Host) -> None:
    """Let the fault that follows write nothing."""
    host.recalculation(HERE)
    host.spurious_fault(5, HERE)


def another_type(host: Host) -> None:
    """Let the fault that follows make the page log-dirty memory."""
    host.recalculation(HERE)
    host.logdirty_fault(5, HERE, LOGDIRTY)


@pytest.mark.parametrize(
    "story",
    [
        another_instruction, an_exit_elsewhere, another_vcpu, another_pcpu, populate_on_demand, no_write,
        another_type,
    ],
)  # fmt: skip
def test_nothing_else_tells_the_frame(tmp_path: Path, story: Callable[[Host], None]) -> None:
    host = Host()
    story(host)
    assert columns(mended(tmp_path, host), "gfn", "count", "old_known") == [(None, 1, "assumed")]


def test_of_two_recalculations_in_a_row_the_second_has_the_frame(tmp_path: Path) -> None:
    """An instruction may touch two pages: only what comes directly before the fault is about its page."""
    host = Host()
    host.recalculation(HERE)
    host.recalculation(HERE)
    host.logdirty_fault(5, HERE)
    assert columns(mended(tmp_path, host), "gfn", "old_known") == [(None, "assumed"), (5, "cause")]


def test_ept_has_one_exit_where_npt_has_one_for_each_page(tmp_path: Path) -> None:
    host = Host()
    for gfn in (0x200, 0x201, 0x3FF, 0x400, 0x1FF):
        host.recalculation(HERE)
        host.logdirty_fault(gfn, HERE)
    rows = mended(tmp_path, host)
    assert columns(rows, "gfn", "count") == [(0x200, 1), (0x201, 0), (0x3FF, 0), (0x400, 1), (0x1FF, 1)]
    assert {row["old_known"] for row in rows} == {"cause"}


def test_each_domain_has_tables_of_its_own(tmp_path: Path) -> None:
    host = Host()
    for gfn in (5, 6):
        for dom in (3, 4):
            host.dom = dom
            host.on(0)
            host.recalculation(HERE)
            host.logdirty_fault(gfn, HERE)
    assert columns(mended(tmp_path, host), "p2m_dom", "count") == [(3, 1), (4, 1), (3, 0), (4, 0)]


@pytest.mark.parametrize(
    ("change", "again"),
    [({}, 1), ({"first": 0, "last": 0xFFFF}, 0), ({"dom": 4}, 0)],
    ids=["everything", "a range", "another domain"],
)
def test_after_a_change_of_everything_they_are_to_be_mended_anew(
    tmp_path: Path, change: dict[str, int], again: int
) -> None:
    host = Host()
    for gfn in (5, 6):
        host.recalculation(HERE)
        host.logdirty_fault(gfn, HERE)
    host.global_change(**change)
    host.recalculation(HERE)
    host.logdirty_fault(7, HERE)
    assert columns(mended(tmp_path, host), "count") == [(1,), (0,), (again,)]


def test_so_are_they_after_a_clean_that_a_second_fault_implies(tmp_path: Path) -> None:
    """The recalculation before that fault is already one of the time after the clean."""
    host = Host()
    for gfn in (5, 6, 5, 6):
        host.recalculation(HERE)
        host.logdirty_fault(gfn, HERE)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "MISCONFIG", "GLOBAL_CHANGE", "SET")
    assert columns(rows, "op", "gfn", "count") == [
        ("GLOBAL_CHANGE", None, 1),
        ("MISCONFIG", 5, 1),
        ("SET", 5, 1),
        ("MISCONFIG", 6, 0),
        ("SET", 6, 1),
        ("GLOBAL_CHANGE", None, 1),
        ("MISCONFIG", 5, 1),
        ("SET", 5, 1),
        ("MISCONFIG", 6, 0),
        ("SET", 6, 1),
    ]


# Faults without a recalculation before them


def test_a_region_that_faults_at_once_was_recalculated_before(tmp_path: Path) -> None:
    """EPT would have had an exit there: the latest recalculation whose frame is unknown is taken for it."""
    host = Host()
    host.global_change()
    host.recalculation(ELSEWHERE)
    host.recalculation(ELSEWHERE)
    host.logdirty_fault(5, HERE)
    host.logdirty_fault(6, HERE)
    assert columns(mended(tmp_path, host), "gfn", "count", "old_known") == [(None, 1, "assumed"), (5, 1, "cause")]


def one_for_each(host: Host) -> None:
    """Let one recalculation, of an unknown frame, come before faults in two regions."""
    host.recalculation(ELSEWHERE)
    host.logdirty_fault(0x205, HERE)
    host.logdirty_fault(0x405, HERE)


def not_after(host: Host) -> None:
    """Let the fault come first."""
    host.logdirty_fault(0x205, HERE)
    host.recalculation(ELSEWHERE)


def not_before_a_change(host: Host) -> None:
    """Let everything change between the two."""
    host.recalculation(ELSEWHERE)
    host.global_change()
    host.logdirty_fault(0x205, HERE)


def not_where_one_is_known(host: Host) -> None:
    """Let the region have been mended already."""
    host.recalculation(ELSEWHERE)
    host.recalculation(HERE)
    host.logdirty_fault(0x205, HERE)
    host.logdirty_fault(0x206, HERE)


@pytest.mark.parametrize(
    ("story", "frames"),
    [
        (one_for_each, [0x205]),
        (not_after, [None]),
        (not_before_a_change, [None]),
        (not_where_one_is_known, [None, 0x205]),
    ],
)
def test_but_only_one_that_can_have_been_it(
    tmp_path: Path, story: Callable[[Host], None], frames: list[int | None]
) -> None:
    host = Host()
    host.global_change()
    story(host)
    assert [row["gfn"] for row in mended(tmp_path, host)] == frames


def test_one_of_the_same_pcpu_is_taken_before_one_of_another(tmp_path: Path) -> None:
    host = Host()
    host.global_change()
    host.recalculation(ELSEWHERE)
    host.on(1, vcpu=1)
    host.recalculation(ELSEWHERE)
    host.on(0)
    host.logdirty_fault(0x205, HERE)
    host.logdirty_fault(0x405, HERE)
    rows = mended(tmp_path, host)
    assert columns(rows, "pcpu", "gfn", "old_known") == [(0, 0x205, "cause"), (1, 0x405, "cause")]


# Replay


@pytest.mark.parametrize(
    ("reading", "holds"),
    [
        (Reading(), 1),
        (Reading(doubtful=True), 2),
        (Reading(tables="npt"), 3),
        (Reading(tables="npt", doubtful=True), 3),
    ],
    ids=["ept", "with doubtful ones", "npt", "npt, with doubtful ones"],
)
def test_what_only_npt_has_is_replayed_only_there(tmp_path: Path, reading: Reading, holds: int) -> None:
    host = Host()
    for gfn in (5, 6):
        host.recalculation(HERE)
        host.logdirty_fault(gfn, HERE)
    host.recalculation(ELSEWHERE)
    workload = lowered(tmp_path, host.trace)
    measure = outcome(workload, "eager", reading=reading).tally.measure
    assert measure[:, CAUSE_NUMBERS["misconfig"], y.HOLDS].sum() == holds
    assert measure[:, CAUSE_NUMBERS["logdirty_fault"], y.SETS].sum() == 2


def test_every_misconfig_exit_of_an_ept_host_is_one_that_ept_had(tmp_path: Path) -> None:
    host = ept_host.Host()
    for gfn in (5, 6):
        host.bare(ept_host.MISCONFIG)
        host.logdirty_fault(gfn)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "MISCONFIG"), "gfn", "count", "old_known") == [(None, 1, "cause")] * 2


@pytest.mark.parametrize("cause", ["misconfig", "other"])
def test_an_exit_that_led_to_a_recorded_hold_is_mended_in_it(tmp_path: Path, cause: str) -> None:
    host = ept_host.Host(patched=True)
    host.exit(ept_host.MISCONFIG, lambda: host.hold(cause, lambda: None))
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "HOLD_BEGIN", "MISCONFIG", "HOLD_END")
    assert columns(rows, "op", "cause", "origin", "gap_ns") == [
        ("HOLD_BEGIN", cause, "recorded", 1000),
        ("MISCONFIG", "misconfig", "recorded", 0),
        ("HOLD_END", cause, "recorded", 1000),
    ]


def test_a_recorded_hold_may_say_so_by_itself(tmp_path: Path) -> None:
    """In a recording of memory events alone there are no exits."""
    host = ept_host.Host(patched=True)
    host.hold("misconfig", lambda: None)
    host.hold("physmap", lambda: host.hold("misconfig", lambda: None, view=1))
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, "MISCONFIG"), "p2m_view", "hold", "old_known", "count") == [
        (0, 0, "cause", 1),
        (1, 2, "cause", 1),
    ]


def test_a_recorded_hold_in_which_more_is_done_is_never_left_out(tmp_path: Path) -> None:
    host = Host()
    host.timed("HVM_VMEXIT64", reason=0x400, rip=HERE)
    host.timed("P2M_HOLD_BEGIN", domid=3, view=0, cause=CAUSE_NUMBERS["misconfig"])
    host.wrote(5, RAM_RW)
    host.timed("P2M_HOLD_END", domid=3, view=0)
    host.timed("HVM_VMENTRY")
    assert columns(mended(tmp_path, host), "gfn", "old_known", "count") == [(None, "cause", 1)]
