"""Rows outside of holds that only a patched host's records make: lookups, pages, drains, cleans and pauses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eptreplay.xentrace.encode import Trace
from tests.workload.ept_host import INVALID, RAM_RW, Host
from tests.workload.lowering import check, columns, lowered, outcome, rows_of, table

FIRST_RESERVED = 0x7FF0


def dom0() -> Host:
    """Return a host on which dom0 runs on pCPU 0."""
    return Host(patched=True, dom=0)


@pytest.mark.parametrize("preemptible", [0, 1])
def test_lookups_say_how_many_they_are_and_whether_xen_may_turn_to_something_else(
    tmp_path: Path, preemptible: int
) -> None:
    host = dom0()
    host.timed("FOREIGN_LOOKUP", gfn=0x1000, count=1024, domid=3, preemptible=preemptible)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    names = ("run_dom", "p2m_dom", "p2m_view", "gfn", "mfn", "count", "preemptible", "hold", "origin", "time_origin")
    assert columns(rows_of(workload, "LOOKUP"), *names) == [
        (0, 3, 0, 0x1000, None, 1024, bool(preemptible), None, "recorded", "timed")
    ]


def test_no_lookup_is_no_row(tmp_path: Path) -> None:
    host = dom0()
    host.timed("FOREIGN_LOOKUP", gfn=0x1000, count=0, domid=3, preemptible=0)
    assert rows_of(lowered(tmp_path, host.trace), "LOOKUP") == []


@pytest.mark.parametrize("op", ["PAGE_FREE", "PAGE_ALLOC"])
def test_pages_have_a_frame_of_the_machine_and_an_owner(tmp_path: Path, op: str) -> None:
    host = dom0()
    host.timed(op, mfn=0x8000, domid=3, order=9)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert columns(rows_of(workload, op), "run_dom", "p2m_dom", "gfn", "mfn", "order", "count", "hold") == [
        (0, 3, None, 0x8000, 9, 1, None)
    ]


def test_pages_that_are_freed_in_a_hold_lie_among_its_rows_and_are_none_of_its_acts(tmp_path: Path) -> None:
    host = dom0()

    def remove() -> None:
        host.wrote(5, RAM_RW, INVALID)
        host.timed("PAGE_FREE", mfn=0x8000, domid=0, order=0)

    host.hold("decrease", remove)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "HOLD_BEGIN", "SET", "PAGE_FREE", "HOLD_END")
    assert columns(rows, "op", "hold", "cause") == [
        ("HOLD_BEGIN", 0, "decrease"), ("SET", 0, "decrease"), ("PAGE_FREE", None, None), ("HOLD_END", 0, "decrease"),
    ]  # fmt: skip


def test_owners_of_pages_that_are_no_guests_are_no_domains(tmp_path: Path) -> None:
    """DOMID_IO and DOMID_XEN own pages, but have neither vCPUs nor a p2m."""
    host = dom0()
    for domid in (3, FIRST_RESERVED, 0x7FF1, 0x7FF2, 0xFFFF):
        host.timed("PAGE_FREE", mfn=0x8000, domid=domid, order=0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert [domain.number for domain in workload.domains] == [0, 3]


# Pauses


def pauses(folder: Path, trace: Trace) -> list[tuple[object, ...]]:
    """Return the pauses of a recording, and replay it, which ends."""
    workload = lowered(folder, trace)
    check(workload)
    outcome(workload, "deferred")
    return columns(rows_of(workload, "PAUSE", "UNPAUSE"), "pcpu", "op", "run_dom")


def paused(host: Host, body: Callable[[], None] = lambda: None, dom: int = 3) -> None:
    """Let the toolstack pause a domain while it does something."""
    host.timed("DOMAIN_PAUSE", domid=dom, reserved=0)
    body()
    host.timed("DOMAIN_UNPAUSE", domid=dom, reserved=0)


def runs(host: Host, dom: int, name: str = "RUNSTATE_RUNNABLE_TO_RUNNING") -> None:
    """Let a vCPU of a domain run on pCPU 1; the toolstack goes on on pCPU 0."""
    host.trace.window(1)
    host.timed(name, domid=dom, vcpu=0)
    host.trace.window(0)


PAIR = [(0, "PAUSE", 3), (0, "UNPAUSE", 3)]


def test_a_pause_lasts_until_the_same_pcpu_ends_it(tmp_path: Path) -> None:
    host = dom0()
    runs(host, 3)
    runs(host, 3, "RUNSTATE_RUNNING_TO_BLOCKED")
    paused(host)
    runs(host, 3)
    assert pauses(tmp_path, host.trace) == PAIR


def test_pauses_count_so_that_they_may_lie_in_each_other(tmp_path: Path) -> None:
    host = dom0()
    paused(host, lambda: paused(host, lambda: paused(host, dom=4)))
    assert pauses(tmp_path, host.trace) == [
        (0, op, dom)
        for op, dom in (("PAUSE", 3), ("PAUSE", 3), ("PAUSE", 4), ("UNPAUSE", 4), ("UNPAUSE", 3), ("UNPAUSE", 3))
    ]


def test_another_domain_may_run_meanwhile(tmp_path: Path) -> None:
    host = dom0()
    paused(host, lambda: runs(host, 4))
    assert pauses(tmp_path, host.trace) == PAIR


def ended_elsewhere(host: Host) -> None:
    """Let another pCPU end the pause."""
    host.timed("DOMAIN_PAUSE", domid=3, reserved=0)
    host.on(1)
    host.timed("DOMAIN_UNPAUSE", domid=3, reserved=0)


def never_ended(host: Host) -> None:
    """Lose the end of the pause."""
    host.timed("DOMAIN_PAUSE", domid=3, reserved=0)


def never_begun(host: Host) -> None:
    """Lose the begin of the pause."""
    host.timed("DOMAIN_UNPAUSE", domid=3, reserved=0)


def it_runs(host: Host) -> None:
    """Let a vCPU of the domain run in between: there were two pauses, and the end of one was lost."""
    paused(host, lambda: runs(host, 3))


def it_goes_on(host: Host) -> None:
    """Let a vCPU of the domain go on running in between."""
    paused(host, lambda: runs(host, 3, "SCHED_CONTINUE_RUNNING"))


def it_is_entered(host: Host) -> None:
    """Let a vCPU of the domain be entered in between."""
    runs(host, 3)

    def enter() -> None:
        host.trace.window(1)
        host.timed("HVM_VMENTRY")
        host.trace.window(0)

    paused(host, enter)


def it_runs_behind_a_loss(host: Host) -> None:
    """Let a vCPU of the domain be running when records come again."""

    def lose() -> None:
        host.trace.window(1)
        host.timed("LOST_RECORDS", count=5, domid=3, vcpu=0, first_tsc=host.tsc)
        host.trace.window(0)

    paused(host, lose)


def somebody_is_entered(host: Host) -> None:
    """Let nobody know whose vCPU is entered in between."""

    def enter() -> None:
        host.trace.window(1)
        host.timed("HVM_VMENTRY")
        host.trace.window(0)

    paused(host, enter)


def it_runs_while_the_clock_steps_back(host: Host) -> None:
    """Let a vCPU of the domain run on the pausing pCPU, by a clock that says that it was before."""

    def run() -> None:
        host.trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=host.tsc - 50, domid=3, vcpu=0)

    paused(host, run)


def it_pauses_itself(host: Host) -> None:
    """Let the domain run on the pCPU that pauses it."""
    host.timed("RUNSTATE_RUNNABLE_TO_RUNNING", domid=3, vcpu=0)
    paused(host)


@pytest.mark.parametrize(
    "story",
    [
        ended_elsewhere, never_ended, never_begun, it_runs, it_goes_on, it_is_entered, it_runs_behind_a_loss,
        somebody_is_entered, it_runs_while_the_clock_steps_back, it_pauses_itself,
    ],
)  # fmt: skip
def test_a_pause_that_something_contradicts_is_none(tmp_path: Path, story: Callable[[Host], None]) -> None:
    host = dom0()
    story(host)
    assert pauses(tmp_path, host.trace) == []


def test_a_pause_waits_for_what_the_domain_did_before(tmp_path: Path) -> None:
    host = dom0()
    for pcpu in (1, 2):
        host.trace.window(pcpu)
        host.timed("RUNSTATE_RUNNABLE_TO_RUNNING", domid=3, vcpu=pcpu)
        host.timed("RUNSTATE_RUNNING_TO_RUNNABLE", domid=3, vcpu=pcpu)
    host.trace.window(0)
    for _ in range(2):
        paused(host)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = table(workload)
    sources = [rows[row["edge"]] for row in rows if row["edge"] is not None]
    # The second pause finds nothing new, as its pCPU has waited already.
    assert columns(sources, "pcpu", "op") == [(1, "SWITCH_OUT"), (2, "SWITCH_OUT")]
    assert [row["op"] for row in rows if row["edge"] is not None] == ["WAIT", "PAUSE"]


def test_many_pauses_of_a_domain_on_many_pcpus_take_few_rows(tmp_path: Path) -> None:
    host = dom0()
    for pcpu in range(1, 50):
        host.trace.window(pcpu)
        host.timed("RUNSTATE_RUNNABLE_TO_RUNNING", domid=3, vcpu=pcpu)
        host.timed("RUNSTATE_RUNNING_TO_RUNNABLE", domid=3, vcpu=pcpu)
    host.trace.window(0)
    for _ in range(500):
        paused(host)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert len(rows_of(workload, "WAIT")) == 48
