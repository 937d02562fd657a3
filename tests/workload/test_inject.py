"""What ``--inject`` adds: whose pCPU, which rows, when, and what is told about wrong specs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.errors import UsageError
from eptreplay.workload import inject as module
from eptreplay.workload import schema as s
from eptreplay.workload.inject import parse_injections, with_injections
from eptreplay.workload.times import longest_ns
from eptreplay.workload.workload import Workload
from tests.workload.lowering import Row, check, columns, lowered, outcome, rows_of, table
from tests.workload.test_edges import Host

MS = 1_000_000
START = 1000
"""Ticks at the first record, and so at time 0."""


def recording() -> Host:
    """Return a host with pCPUs 0, 2 and 3, and 50 ms: d0 writes twice to d7, and d7 three times to itself."""
    host = Host()
    host.runs(0, START, 0, 0)
    for number, (dom, running) in enumerate(((7, 0), (7, 0), (5, 5), (7, 7), (7, 7), (7, 7), (5, 5), (5, 5))):
        pcpu = 0 if running == 0 else 2
        host.runs(pcpu, START + 1000 * (number + 1), running, 1)
        host.writes(pcpu, START + 1000 * (number + 1) + 9, number, domid=dom)
        host.stops(pcpu, START + 1000 * (number + 1) + 99, running, 1)
    host.runs(3, START + 40 * MS, 7, 1)
    host.stops(3, START + 50 * MS, 7, 1)
    return host


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Return the workload of that recording."""
    return lowered(tmp_path_factory.mktemp("made"), recording().trace)


def injected(workload: Workload, *specs: str) -> Workload:
    """Return a workload with injections; the rest of it is as it was."""
    more, about = with_injections(workload, parse_injections(specs))
    check_injected(workload, more)
    assert len(about) == len(specs)
    return more


def check_injected(before: Workload, after: Workload) -> None:
    """Assert what holds for every workload, and that what was recorded is there as it was."""
    check(after)
    recorded = after.origin != s.SYNTHETIC
    old, new = table(before), [row for row, keep in zip(table(after), recorded, strict=True) if keep]
    assert len(old) == len(new)
    moved = np.flatnonzero(recorded)
    for row in old:
        for name in ("edge", "freed_by"):
            row[name] = None if row[name] is None else int(moved[row[name]])
    assert old == new
    assert set(before.pcpus.tolist()).isdisjoint(np.repeat(after.pcpus, np.diff(after.begin))[~recorded].tolist())
    assert (before.domains, before.facts, before.shares) == (after.domains, after.facts, after.shares)
    outcome(after)


def on(workload: Workload, pcpu: int) -> list[Row]:
    """Return the rows of a pCPU, each with its time as ``t``."""
    rows = zip(table(workload), workload.t_ns.tolist(), strict=True)
    return [{**row, "t": t} for row, t in rows if row["pcpu"] == pcpu]


# Lookups


def test_a_toolstack_looks_up_a_batch_and_then_maps_it(made: Workload) -> None:
    rows = on(injected(made, "lookups:batch=1024,every=10ms"), 1)
    assert columns(rows[:4], "op", "count", "preemptible", "p2m_dom", "p2m_view", "run_dom", "run_vcpu", "origin") == [
        ("WAKE", 1, True, None, None, None, None, "synthetic"),
        ("LOOKUP", 1024, False, 7, 0, 0, None, "synthetic"),
        ("LOOKUP", 1024, True, 7, 0, 0, None, "synthetic"),
        ("IDLE", 1, True, None, None, None, None, "synthetic"),
    ]
    assert [row["t"] for row in rows] == [10 * MS * (number // 4) for number in range(24)]
    assert [row["gap_ns"] for row in rows if row["gap_ns"]] == [10 * MS] * 5
    assert {row["op"] for row in rows if row["gap_ns"]} == {"WAKE"}


@pytest.mark.parametrize(("part", "counts"), [("map=0", [50]), ("map=1", [50, 50]), ("map=2", [50, 100])])
def test_each_entry_is_mapped_with_as_many_lookups_as_the_release_needs(
    made: Workload, part: str, counts: list[int]
) -> None:
    workload = injected(made, f"lookups:batch=50,every=1s,{part}")
    assert [row["count"] for row in rows_of(workload, "LOOKUP")] == counts


def test_the_last_batch_is_not_behind_the_end(made: Workload) -> None:
    assert made.t_ns.max() == 50 * MS
    for every, batches in (("25ms", 3), ("25.000001ms", 2), ("50ms", 2), ("50001us", 1)):
        assert len(rows_of(injected(made, f"lookups:every={every},map=0"), "LOOKUP")) == batches


def test_a_late_start_is_spent_idling(made: Workload) -> None:
    rows = on(injected(made, "lookups:every=20ms,start=5ms,map=0"), 1)
    assert columns(rows, "op", "t", "gap_ns") == [
        ("IDLE", 0, 0),
        ("WAKE", 5 * MS, 5 * MS), ("LOOKUP", 5 * MS, 0), ("IDLE", 5 * MS, 0),
        ("WAKE", 25 * MS, 20 * MS), ("LOOKUP", 25 * MS, 0), ("IDLE", 25 * MS, 0),
        ("WAKE", 45 * MS, 20 * MS), ("LOOKUP", 45 * MS, 0), ("IDLE", 45 * MS, 0),
    ]  # fmt: skip


def test_by_default_it_is_the_p2m_that_others_write_most(made: Workload, tmp_path: Path) -> None:
    assert {row["p2m_dom"] for row in rows_of(injected(made, "lookups:every=1s"), "LOOKUP")} == {7}
    assert {row["p2m_dom"] for row in rows_of(injected(made, "lookups:every=1s,dom=5"), "LOOKUP")} == {5}
    alone = Host()
    for number, dom in enumerate((5, 7, 7)):
        alone.runs(dom, START + 1000 * number, dom, 0)
        alone.writes(dom, START + 1000 * number + 1, number, domid=dom)
        alone.stops(dom, START + 1000 * number + 99, dom, 0)
    workload = lowered(tmp_path, alone.trace)
    assert {row["p2m_dom"] for row in rows_of(injected(workload, "lookups:every=1s"), "LOOKUP")} == {7}


# Calls


def test_calls_are_of_all_pcpus_or_of_one_in_turn(made: Workload) -> None:
    for spec in ("calls:every=10ms", "calls:every=10ms,targets=all"):
        rows = on(injected(made, spec), 1)
        assert columns(rows[:3], "op", "target", "p2m_dom", "run_dom", "cause", "hold") == [
            ("WAKE", None, None, None, None, None),
            ("CALL", None, None, 0, "other", None),
            ("IDLE", None, None, None, None, None),
        ]
        assert len(rows) == 18
    turns = [row["target"] for row in on(injected(made, "calls:every=10ms,targets=1"), 1) if row["op"] == "CALL"]
    assert turns == [0, 2, 3, 0, 2, 3]


# pCPUs


def test_each_has_the_lowest_pcpu_that_is_left(made: Workload) -> None:
    more = injected(made, "calls:every=1s", "calls:every=1s,pcpu=4", "lookups:every=1s", "calls:every=1s,pcpu=65535")
    assert more.pcpus.tolist() == [0, 1, 2, 3, 4, 5, 65535]
    assert {row["op"] for row in on(more, 5)} == {"WAKE", "LOOKUP", "IDLE"}


def test_what_was_added_is_said(made: Workload) -> None:
    specs = ("lookups:batch=1024,every=10ms", "calls:every=1ms,targets=1,pcpu=9")
    lookups, calls = with_injections(made, parse_injections(specs))[1]
    batches = "6 times 1,024 lookups in the p2m of d7 at one go and 1,024 to map them"
    assert lookups == f"lookups:batch=1024,every=10ms: {batches}, on pCPU 1"
    assert calls == "calls:every=1ms,targets=1,pcpu=9: 51 calls of one pCPU each, in turn, on pCPU 9"


def test_nothing_is_added_unless_wanted(made: Workload) -> None:
    assert with_injections(made, ()) == (made, ())


def test_references_of_recorded_rows_follow(tmp_path: Path) -> None:
    host = recording()
    host.on(0, START + 60 * MS, "PAGE_FREE", mfn=5, domid=7, order=0)
    host.on(3, START + 61 * MS, "PAGE_ALLOC", mfn=5, domid=7, order=0)
    workload = lowered(tmp_path, host.trace)
    assert (workload.edge >= 0).any()
    assert (workload.freed_by >= 0).any()
    assert (workload.target >= 0).any()
    injected(workload, "lookups:every=1ms", "calls:every=1ms,pcpu=40000")


@given(
    every=st.integers(1000, 60 * MS), start=st.integers(0, 50 * MS), targets=st.sampled_from(("1", "all")),
    pcpu=st.sampled_from((1, 4, 65535)),
)  # fmt: skip
def test_any_schedule_fills_the_recording(made: Workload, every: int, start: int, targets: str, pcpu: int) -> None:
    more, _ = with_injections(
        made, parse_injections([f"calls:every={every * 100}ns,start={start}ns,targets={targets},pcpu={pcpu}"])
    )
    check(more)
    times = [row["t"] for row in on(more, pcpu) if row["op"] == "WAKE"]
    assert times == list(range(start, 50 * MS + 1, every * 100))


# Errors

WRONG = {
    "lokups:every=1ms": "--inject lokups: expected one of lookups, calls; did you mean lookups?",
    "": "--inject : expected one of lookups, calls",
    "lookups": "--inject lookups: expected every=, as in lookups:batch=1024,every=10ms",
    "calls:targets=1": "--inject calls:targets=1: expected every=, as in calls:every=1ms",
    "lookups:bacth=5,every=1ms": "--inject lookups:bacth=5,every=1ms: bacth: expected one of batch, map, dom, every,"
    " pcpu, start; did you mean batch?",
    "calls:every=1ms,batch=5": "batch: expected one of targets, every, pcpu, start",
    "calls:every=1ms,": "calls:every=1ms,: : expected one of targets",
    "calls:every=1ms,every=2ms": "every: given twice",
    "calls:every=1": "every=1: expected a time with its unit, such as 10ms or 2.5us",
    "calls:every=": "every=: expected a time with its unit",
    "calls:every": "every=: expected a time with its unit",
    "calls:every=-1ms": "every=-1ms: expected a time with its unit",
    "calls:every=1e3ms": "every=1e3ms: expected a time with its unit",
    "calls:every=1msec": "unit msec: expected one of ns, us, ms, s; did you mean ms?",
    "calls:every=1MS": "unit MS: expected one of ns, us, ms, s",
    "calls:every=0ms": "every=0ms: expected whole nanoseconds, 1000 at least and ",
    "calls:every=999ns": "every=999ns: expected whole nanoseconds, 1000 at least and ",
    "calls:every=1000.5ns": "every=1000.5ns: expected whole nanoseconds",
    "calls:every=99999999999999999999s": "expected whole nanoseconds, 1000 at least and 1152921504606846976 at most",
    f"calls:every={'9' * 400}s": "expected a time with its unit",
    "calls:every=1ms,targets=2": "targets= 2: expected one of 1, all",
    "lookups:every=1ms,batch=0": "batch=0: expected a number from 1 to 1048576",
    "lookups:every=1ms,batch=1048577": "batch=1048577: expected a number from 1 to 1048576",
    "lookups:every=1ms,batch=1k": "batch=1k: expected a number from 1 to 1048576",
    "lookups:every=1ms,batch=٣": "batch=٣: expected a number",
    f"lookups:every=1ms,batch={'1' * 5000}": "expected a number from 1 to 1048576",
    "lookups:every=1ms,map=17": "map=17: expected a number from 0 to 16",
    "lookups:every=1ms,dom=32752": "dom=32752: expected a number from 0 to 32751",
    "lookups:every=1ms,pcpu=65536": "pcpu=65536: expected a number from 0 to 65535",
}


@pytest.mark.parametrize("spec", WRONG)
def test_what_is_wrong_with_a_spec_is_named(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_injections([spec])
    assert str(caught.value).startswith("--inject ")
    assert WRONG[spec] in str(caught.value)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["calls:every=1ms,pcpu=2"], "pcpu=2: expected one that neither the recording nor another --inject has"),
        (["calls:every=1ms,pcpu=9"] * 2, "pcpu=9: expected one that neither the recording nor another --inject has"),
        (["lookups:every=1ms,dom=6"], "dom=6: expected one of the recording's, 0, 5, 7"),
        (["lookups:every=1ms,start=1s"], "the recording ends after 50000000 ns, before start"),
    ],
)
def test_what_does_not_suit_the_recording_is_named(made: Workload, specs: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_injections(made, parse_injections(specs))
    assert str(caught.value) == f"--inject {specs[0]}: {message}"


def test_rows_are_limited_in_all(made: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 51 * 3 + 1 + 51 * 4 + 1)
    specs = ["calls:every=1ms", "lookups:every=1ms"]
    assert injected(made, *specs).rows - made.rows == 51 * 7
    with pytest.raises(UsageError, match=r"^--inject lookups:every=980us: expected 359 rows at most; in 50000000 ns"):
        injected(made, "calls:every=1ms", "lookups:every=980us")


def test_a_long_recording_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, START, 0, 0)
    host.stops(0, START + 10 * 365 * 86400 * 1_000_000_000, 0, 0)
    with pytest.raises(UsageError, match="expected 10,000,000 rows at most"):
        injected(lowered(tmp_path, host.trace), "calls:every=1us")


def test_without_times_or_a_p2m_there_is_nothing_to_go_by(tmp_path: Path) -> None:
    idle = Host()
    idle.runs(0, START, 3, 0)
    with pytest.raises(UsageError, match="no p2m is written or locked in the recording; name a domain with dom="):
        injected(lowered(tmp_path, idle.trace), "lookups:every=1ms")
    injected(lowered(tmp_path, idle.trace), "lookups:every=1ms,dom=3")
    for gfn in range(300):
        idle.trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=gfn, p2mt=0, domid=3, order=0)
    with pytest.raises(UsageError, match="next to no times"):
        injected(lowered(tmp_path, idle.trace), "calls:every=1ms")


def test_where_every_pcpu_is_taken_there_is_none_left(made: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HIGHEST_PCPU", 3)
    injected(made, "calls:every=1ms")
    with pytest.raises(UsageError, match="the recording has all pCPUs that there can be"):
        injected(made, "calls:every=1ms", "calls:every=2ms")


def test_times_that_cannot_be_counted_for_more_pcpus_are_told(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, START, 7, 0)
    host.writes(0, START + 9, 1, domid=7)
    host.on(0, (1 << 63) - 1, "HVM_VMENTRY")
    workload = lowered(tmp_path, host.trace)
    end = int(workload.t_ns[-1])
    assert end == longest_ns(1) > longest_ns(2)
    with pytest.raises(UsageError, match=rf"^--inject lookups:every=1000s: the recording ends after {end} ns; with so"):
        with_injections(workload, parse_injections(["lookups:every=1000s"]))
