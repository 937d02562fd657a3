"""Recordings of EPT hosts: what faults, exits and ballooning imply, and what a patched host says by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.errors import InputError
from eptreplay.workload import acts as workload_acts
from eptreplay.workload import schema as s
from tests.compiled import COMPILED
from tests.workload.ept_host import (
    ACTS,
    HLT,
    INVALID,
    LOGDIRTY,
    MISCONFIG,
    MMIO,
    NOWHERE,
    PML_FULL,
    POD,
    RAM_RW,
    READ,
    VIOLATION,
    WRITE,
    Act,
    Host,
    recorded,
)
from tests.workload.lowering import check, columns, holds_of, lowered, rows_of, shares

many = settings(max_examples=40 if COMPILED else 20, suppress_health_check=[HealthCheck.function_scoped_fixture])

Hold = tuple[Any, ...]
ACTS_OF_A_HOLD = tuple(s.OP_NAMES[op] for op in s.ACTS)


def told(folder: Path, host: Host) -> list[Hold]:
    """Return the holds of a recording without their pCPU and times: p2m, cause and writes.

    Those of log-dirty operations that faults imply are left out, see test_logdirty_operations.
    """
    workload = lowered(folder, host.trace)
    check(workload)
    return [(*hold[1:4], *hold[6:]) for hold in without_logdirty(holds_of(workload))]


def without_logdirty(holds: list[Hold]) -> list[Hold]:
    """Return holds but for those of log-dirty operations."""
    return [hold for hold in holds if hold[3] != "logdirty_global"]


def test_a_write_to_a_tracked_page_is_one_hold_with_one_write_that_is_inferred(tmp_path: Path) -> None:
    host = Host()
    host.logdirty_fault(0x1234)
    assert told(tmp_path, host) == [
        (3, 0, "logdirty_fault", (0x1234, 0, LOGDIRTY, RAM_RW, "logdirty_fault", "inferred"))
    ]


@pytest.mark.parametrize("order", [0, 9])
def test_a_fault_on_a_page_without_memory_gives_it_some(tmp_path: Path, order: int) -> None:
    host = Host()
    host.pod_fault(0x1234, order)
    gfn = 0x1234 >> order << order
    assert told(tmp_path, host) == [(3, 0, "pod_fault", (gfn, order, POD, RAM_RW, "pod_fault", "inferred"))]


def test_pages_that_are_taken_back_first_are_in_the_same_hold(tmp_path: Path) -> None:
    host = Host()
    host.pod_fault(0x40, reclaimed=(0x70, 0x71))
    taken = [(gfn, 0, RAM_RW, POD, "pod_reclaim", "inferred") for gfn in (0x70, 0x71)]
    assert told(tmp_path, host) == [(3, 0, "pod_fault", *taken, (0x40, 0, POD, RAM_RW, "pod_fault", "inferred"))]


def test_pages_that_are_taken_back_without_a_fault_have_a_hold_of_their_own(tmp_path: Path) -> None:
    host = Host()
    host.decrease(0x200)
    host.reclaim(0x70)
    host.reclaim(0x71)
    taken = [(gfn, 0, RAM_RW, POD, "pod_reclaim", "inferred") for gfn in (0x70, 0x71)]
    assert told(tmp_path, host)[1:] == [(3, 0, "pod_reclaim", *taken)]


@pytest.mark.parametrize(("p2mt", "qualification"), [(RAM_RW, WRITE), (MMIO, WRITE), (MMIO, READ), (LOGDIRTY, READ)])
def test_any_other_violation_takes_the_lock_and_writes_nothing(tmp_path: Path, p2mt: int, qualification: int) -> None:
    host = Host()
    host.exit(VIOLATION, lambda: host.npf(5, p2mt, qualification))
    assert told(tmp_path, host) == [(3, 0, "spurious")]


def test_a_violation_without_npf_tells_nothing(tmp_path: Path) -> None:
    host = Host()
    host.bare(VIOLATION)
    assert told(tmp_path, host) == []


def test_a_misconfigured_entry_is_mended_in_a_hold_of_its_own(tmp_path: Path) -> None:
    host = Host()
    host.bare(MISCONFIG)
    host.bare(MISCONFIG | 1 << 31)  # flags above the reason do not change it
    host.bare(HLT)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    names = ("op", "run_dom", "p2m_dom", "p2m_view", "cause", "gfn", "count", "old_known", "origin")
    assert columns(rows_of(workload, "HOLD_BEGIN", *ACTS_OF_A_HOLD, "HOLD_END"), *names) == 2 * [
        ("HOLD_BEGIN", 3, 3, 0, "misconfig", None, 1, None, "inferred"),
        # Which frame it was is not recorded, but EPT had this exit.
        ("MISCONFIG", 3, 3, 0, "misconfig", None, 1, "cause", "recorded"),
        ("HOLD_END", 3, 3, 0, "misconfig", None, 1, None, "inferred"),
    ]
    assert shares(workload) == {"misconfig": (2, 2)}


@pytest.mark.parametrize("order", [0, 1, 9])
def test_every_page_that_leaves_has_a_hold_of_its_own(tmp_path: Path, order: int) -> None:
    host = Host()
    host.decrease(0x200, order)
    gone = [(0x200 + page, 0, RAM_RW, INVALID, "decrease", "inferred") for page in range(1 << order)]
    assert told(tmp_path, host) == [(3, 0, "decrease", page) for page in gone]


@pytest.mark.parametrize("orders", [[21], [20, 20], [30] * 40])
def test_a_few_records_do_not_fill_the_memory(tmp_path: Path, orders: list[int]) -> None:
    host = Host()
    for order in orders:
        host.trace.add("MEM_DECREASE_RESERVATION", gfn=0, domid=3, order=order)
    host.bare(VIOLATION)
    with pytest.raises(InputError, match=rf"DECREASE_RESERVATION of {sum(1 << order for order in orders)} pages in"):
        lowered(tmp_path, host.trace)


def test_guests_may_balloon_as_much_as_they_like_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload_acts, "MAX_UNSEEN_PAGES", 3)
    host = Host()
    for gfn in range(20):
        host.decrease(gfn)
    host.decrease(0x200, 2)
    assert len(told(tmp_path, host)) == 24


def test_without_runstates_the_only_domain_that_is_named_is_the_one_that_faults(tmp_path: Path) -> None:
    host = Host(sched=False)
    host.logdirty_fault(0x10)
    host.pod_fault(0x20, reclaimed=(0x70,))
    host.other_fault(0x30, MMIO)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "HOLD_BEGIN", "SET", "HOLD_END")
    assert set(columns(rows, "p2m_dom", "run_dom", "run_vcpu")) == {(3, 3, None)}
    assert [hold[3] for hold in without_logdirty(holds_of(workload))] == ["logdirty_fault", "pod_fault", "spurious"]


def test_where_nothing_names_a_domain_none_is_made_up(tmp_path: Path) -> None:
    host = Host(sched=False)
    host.logdirty_fault(0x10)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert set(columns(rows_of(workload, "HOLD_BEGIN", "SET"), "p2m_dom", "run_dom")) == {(None, None)}
    assert workload.domains == ()


# Recordings that end in the midst of a fault


def lost(host: Host) -> None:
    """Lose records; the same vCPU runs on."""
    host.timed("LOST_RECORDS", count=5, domid=host.dom, vcpu=0, first_tsc=host.tsc)


def test_a_fault_that_is_cut_off_does_not_swallow_the_one_before(tmp_path: Path) -> None:
    """The VM entry after the last exit was lost, so that nothing but the exit parts the two."""
    for first in ("logdirty_fault", "pod_fault", "spurious"):
        for second in ("logdirty_fault", "pod_fault"):
            host = Host()
            if first == "logdirty_fault":
                host.logdirty_fault(1)
            elif first == "pod_fault":
                host.pod_fault(1)
            else:
                host.other_fault(1, MMIO)
            host.timed("HVM_VMEXIT64", reason=VIOLATION, rip=0)
            host.npf(2, LOGDIRTY if second == "logdirty_fault" else POD, WRITE)
            lost(host)
            assert [hold[2] for hold in told(tmp_path, host)] == [first, second]


# A patched host


def test_recorded_writes_say_what_the_entry_was(tmp_path: Path) -> None:
    host = Host(patched=True)
    host.logdirty_fault(0x10)
    host.pod_fault(0x20, reclaimed=(0x70,))
    host.decrease(0x30)
    host.wrote(0x40, 3, 14)
    assert told(tmp_path, host) == [
        (3, 0, "logdirty_fault", (0x10, 0, LOGDIRTY, RAM_RW, "logdirty_fault", "recorded")),
        (
            3,
            0,
            "pod_fault",
            (0x70, 0, RAM_RW, POD, "pod_reclaim", "recorded"),
            (0x20, 0, POD, RAM_RW, "pod_fault", "recorded"),
        ),
        (3, 0, "decrease", (0x30, 0, RAM_RW, INVALID, "decrease", "recorded")),
        (3, 0, "foreign", (0x40, 0, 3, 14, "foreign", "recorded")),
    ]
    workload = lowered(tmp_path, host.trace)
    assert {row["old_known"] for row in rows_of(workload, "SET")} == {"recorded"}


def test_recorded_holds_keep_their_times_and_their_causes(tmp_path: Path) -> None:
    host = Host(patched=True)
    begin = host.tsc + 1000

    def think() -> None:
        host.tsc += 5_000_000
        host.wrote(0x10, RAM_RW, LOGDIRTY)
        host.tsc += 3_000_000
        host.wrote(0x11, RAM_RW, LOGDIRTY)

    host.hold("mem_access", think)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    [(pcpu, dom, view, cause, t0, t1, *writes)] = holds_of(workload)
    assert (pcpu, dom, view, cause) == (0, 3, 0, "mem_access")
    assert writes == [(gfn, 0, RAM_RW, LOGDIRTY, "mem_access", "recorded") for gfn in (0x10, 0x11)]
    assert (t0, t1 - t0) == (begin - 1_001_000, 8_000_000 + 3 * 1000)
    rows = rows_of(workload, "HOLD_BEGIN", "SET", "HOLD_END")
    assert columns(rows, "op", "gap_ns", "origin", "time_origin") == [
        ("HOLD_BEGIN", 1000, "recorded", "timed"),
        ("SET", 5_001_000, "recorded", "timed"),
        ("SET", 3_001_000, "recorded", "timed"),
        ("HOLD_END", 1000, "recorded", "timed"),
    ]


def test_a_recorded_hold_of_a_fault_is_the_hold_of_the_fault(tmp_path: Path) -> None:
    host = Host(patched=True)

    def handle() -> None:
        host.npf(0x10, LOGDIRTY, WRITE)
        host.hold("logdirty_fault", lambda: host.wrote(0x10, LOGDIRTY, RAM_RW))

    host.exit(VIOLATION, handle)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    assert shares(workload) == {"recorded_hold": (1, 5)}
    [hold] = [row for row in rows_of(workload, "HOLD_BEGIN") if row["cause"] != "logdirty_global"]
    [write] = rows_of(workload, "SET")
    assert (hold["cause"], hold["origin"], write["origin"]) == ("logdirty_fault", "recorded", "recorded")


def test_holds_within_holds_stay_within(tmp_path: Path) -> None:
    host = Host(patched=True)

    def inner() -> None:
        host.wrote(0x10, RAM_RW, INVALID, view=1)

    def outer() -> None:
        host.wrote(0x10, RAM_RW, INVALID)
        host.hold("physmap", inner, view=1)
        host.wrote(0x11, RAM_RW, INVALID)

    host.hold("physmap", outer)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    rows = rows_of(workload, "HOLD_BEGIN", "SET", "HOLD_END")
    assert columns(rows, "op", "p2m_view", "hold") == [
        ("HOLD_BEGIN", 0, 0),
        ("SET", 0, 0),
        ("HOLD_BEGIN", 1, 1),
        ("SET", 1, 1),
        ("HOLD_END", 1, 1),
        ("SET", 0, 0),
        ("HOLD_END", 0, 0),
    ]
    times = [t for row, t in zip(range(workload.rows), workload.t_ns.tolist(), strict=True) if workload.hold[row] >= 0]
    assert times == list(range(times[0], times[0] + 7000, 1000))


def test_holds_that_lack_an_end_are_none(tmp_path: Path) -> None:
    host = Host(patched=True)
    host.timed("P2M_HOLD_END", domid=3, view=0)
    host.timed("P2M_HOLD_BEGIN", domid=3, view=0, cause=0)
    host.hold("grant", lambda: host.wrote(1, RAM_RW, INVALID), dom=4)
    host.timed("P2M_HOLD_BEGIN", domid=3, view=2, cause=0)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    recorded_holds = [row for row in rows_of(workload, "HOLD_BEGIN") if row["origin"] == "recorded"]
    assert columns(recorded_holds, "p2m_dom", "p2m_view", "cause") == [(4, 0, "grant")]


@pytest.mark.parametrize(("dom", "view"), [(4, 0), (3, 1), (3, 0)])
def test_a_write_whose_lock_is_not_held_gets_a_hold_of_its_own(tmp_path: Path, dom: int, view: int) -> None:
    host = Host(patched=True)
    host.hold("physmap", lambda: host.wrote(0x10, RAM_RW, INVALID, view=view), dom=dom)
    workload = lowered(tmp_path, host.trace)
    check(workload)
    found = [(hold[1], hold[2], len(hold) - 6) for hold in holds_of(workload)]
    assert found == ([(3, 0, 1)] if (dom, view) == (3, 0) else [(dom, 0, 0), (3, view, 1)])


def test_views_are_p2ms_of_their_own(tmp_path: Path) -> None:
    host = Host(patched=True)
    host.wrote(0x10, RAM_RW, INVALID, view=2)
    host.wrote(0x10, LOGDIRTY, RAM_RW, view=0)
    assert [hold[:2] for hold in told(tmp_path, host)] == [(3, 2), (3, 0)]


def test_causes_that_no_list_has_are_other_ones(tmp_path: Path) -> None:
    host = Host(patched=True)
    host.timed("P2M_HOLD_BEGIN", domid=3, view=0, cause=(1 << 32) - 1)
    host.timed("P2M_HOLD_END", domid=3, view=0)
    assert [hold[2] for hold in told(tmp_path, host)] == ["other"]


@many
@given(acts=st.lists(ACTS, max_size=25), sched=st.booleans())
def test_what_faults_imply_does_not_hang_on_recorded_writes(tmp_path: Path, acts: list[Act], *, sched: bool) -> None:
    """A patched host's recording without its P2M_SETs is a stock host's, and tells of the same holds and writes."""
    found = []
    acts = [Act("decrease", (0x9999, 0)), *acts]  # without runstates something has to name the domain
    for patched in (True, False):
        workload = lowered(tmp_path, recorded(acts, patched=patched, sched=sched))
        check(workload)
        writes = [
            [(gfn, order, new, cause) for gfn, order, _, new, cause, _ in hold[6:]] for hold in holds_of(workload)
        ]
        found.append((writes, [hold[:4] for hold in holds_of(workload)]))
    assert found[0] == found[1]


@many
@given(acts=st.lists(ACTS, max_size=25))
def test_each_act_leaves_the_holds_that_it_should(tmp_path: Path, acts: list[Act]) -> None:
    workload = lowered(tmp_path, recorded(acts, patched=False))
    expected: list[tuple[str, int]] = []
    for act in sorted(acts_by_pcpu(acts), key=lambda pair: pair[0]):
        match act[1].method:
            case "logdirty_fault":
                expected.append(("logdirty_fault", 1))
            case "pod_fault":
                reclaimed = act[1].arguments[2]
                assert isinstance(reclaimed, tuple)
                expected.append(("pod_fault", 1 + len(reclaimed)))
            case "other_fault":
                expected.append(("spurious", 0))
            case "decrease":
                expected.append(("decrease", 1))
            case "bare" if act[1].arguments[0] == MISCONFIG:
                expected.append(("misconfig", 0))
            case "bare" if act[1].arguments[0] == PML_FULL:
                expected.append(("pml", 1))
    assert [(hold[3], len(hold) - 6) for hold in without_logdirty(holds_of(workload))] == expected


def acts_by_pcpu(acts: list[Act]) -> list[tuple[int, Act]]:
    """Return each act with the pCPU that it happens on."""
    pcpu, found = 0, []
    for act in acts:
        if act.method == "on":
            [moved] = act.arguments
            assert isinstance(moved, int)
            pcpu = moved
        found.append((pcpu, act))
    return found


def test_frames_without_memory_have_no_machine_frame(tmp_path: Path) -> None:
    host = Host()
    host.decrease(1)
    host.reclaim(2)
    host.logdirty_fault(3)
    workload = lowered(tmp_path, host.trace)
    assert columns(rows_of(workload, "SET"), "mfn") == [(NOWHERE,), (NOWHERE,), (0x88,)]
