"""The verdict, the assumptions, and sums with unknown parts."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from eptreplay.errors import UsageError
from eptreplay.replay.schema import MEASURES, RUNS
from eptreplay.report.assumed import assumption_lines, is_rough
from eptreplay.report.compare import base_of, name_of
from eptreplay.report.files import runs_as_csv
from eptreplay.report.summary import check_baseline, sums
from eptreplay.report.terminal import print_report
from eptreplay.report.verdict import NO_WRITES, verdict

Row = dict[str, Any]
MS = 1_000_000


def row(run: int, strategy: str, held: int | None = 5 * MS, **others: object) -> Row:
    """Return a row of ``runs``."""
    values: Row = {column.name: None for column in RUNS}
    values |= {"run": run, "strategy": strategy, "lock": "queue", "profile": "two-socket", "seed": 0}
    values |= {"p2m_sets": 10, "holds": 8, "syncs": 6, "broadcasts": 6, "broadcasts_min": 6, "broadcasts_max": 6}
    values |= {"broadcasts_under_lock": 6, "hold_ns_total": held, "hold_ns_max": None if held is None else held // 2}
    values |= {"op_latency_ns_p50": 1000, "op_latency_ns_p99": 2000, "p2m_sets_inferred": 0}
    return {**values, **others}


def test_one_run_is_told_by_itself() -> None:
    assert verdict([row(0, "eager")], 0) == (
        "eager: held 5.00 ms in all and 2.50 ms at most, an operation took 1.00 us in the median, 2.00 us at the 99th"
        " percentile, 6 of 6 broadcasts under it."
    )


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (4 * MS, "deferred holds the p2m lock 20 % less than eager. deferred: held 4.00 ms"),
        (6 * MS, "deferred holds the p2m lock 20 % longer than eager. deferred: held 6.00 ms"),
        (5 * MS, "deferred holds the p2m lock as long as eager. "),
    ],
)
def test_two_runs_are_compared_by_how_long_the_lock_is_held(held: int, said: str) -> None:
    assert verdict([row(0, "eager"), row(1, "deferred", held)], 0).startswith(said)


def test_the_best_one_is_compared_but_no_control_that_never_sends_anything() -> None:
    rows = [row(0, "eager"), row(1, "vmenter", 4 * MS), row(2, "deferred", 3 * MS), row(3, "never", 0, broadcasts=0)]
    assert verdict(rows, 0).startswith("deferred holds the p2m lock 40 % less than eager.")
    assert verdict([rows[0], rows[3]], 0).startswith("never holds the p2m lock 100 % less than eager.")


def test_a_baseline_that_holds_nothing() -> None:
    assert verdict([row(0, "eager", 0), row(1, "deferred", 5)], 0).startswith("deferred holds the p2m lock longer than")


@pytest.mark.parametrize(
    ("under", "said"), [(0, "fewer broadcasts"), (9, "more broadcasts"), (6, "as many broadcasts")]
)
def test_where_no_time_is_known_broadcasts_under_the_lock_are_compared(under: int, said: str) -> None:
    rows = [row(0, "eager", None), row(1, "deferred", None, broadcasts_under_lock=under)]
    text = verdict(rows, 0)
    assert text.startswith(f"deferred sends {said} under the p2m lock ")
    assert text.count("hold times unknown") == 2


def test_unknown_latency_is_said_to_be() -> None:
    assert "operation latency unknown" in verdict([row(0, "eager", op_latency_ns_p50=None, op_latency_ns_p99=None)], 0)


def test_what_differs_besides_the_strategy_is_named() -> None:
    rows = [row(0, "eager", seed=4), row(1, "eager", seed=5), row(2, "deferred", 4 * MS, seed=4)]
    assert verdict(rows, 0).startswith("deferred seed 4 holds the p2m lock 20 % less than eager seed 4.")


def test_rows_are_called_by_preset_if_they_have_one() -> None:
    rows = [row(0, "eager"), row(1, "eager", preset="xen-4.6"), row(2, "deferred", 4 * MS, preset="xen-4.7")]
    assert verdict(rows, 1).startswith("xen-4.7 holds the p2m lock 20 % less than xen-4.6. xen-4.7: held 4.00 ms")
    assert verdict(rows, 0).startswith("xen-4.7 holds the p2m lock 20 % less than eager.")
    assert [name_of(one, rows) for one in rows] == ["eager", "xen-4.6", "xen-4.7"]


def numbers(rows: list[Row], baseline: int) -> list[int | None]:
    """Return with which run each is compared."""
    bases = [base_of(one, rows, baseline) for one in rows]
    return [base["run"] if base else None for base in bases]


def test_a_row_is_compared_with_the_one_that_is_the_same_in_all_else() -> None:
    several = [
        row(number, strategy, lock=lock, seed=seed)
        for number, (strategy, lock, seed) in enumerate(
            (strategy, lock, seed)
            for strategy in ("eager", "deferred")
            for lock in ("queue", "percpu")
            for seed in (0, 1)
        )
    ]
    assert numbers(several, 0) == [0, 1, 2, 3, 0, 1, 2, 3]
    assert numbers(several[:5], 4) == [4, None, 4, None, 4]  # with seed 1 there is none to compare with


def test_presets_are_compared_though_each_has_its_own_lock() -> None:
    rows = [
        row(0, "eager", preset="xen-4.6", lock="unfair"),
        row(1, "deferred", preset="xen-4.7", lock="percpu"),
        row(2, "eager", lock="queue"),
        row(3, "eager", lock="percpu"),
    ]
    assert numbers(rows[:2], 0) == [0, 0]
    assert numbers(rows[:3], 0) == [0, 0, 0]
    assert verdict(rows[:2], 0).startswith("xen-4.7 holds the p2m lock as long as xen-4.6.")
    assert name_of(rows[3], rows) == "eager percpu"
    assert name_of(rows[0], rows) == "xen-4.6"
    assert numbers(rows, 2) == [None, 3, 2, 3]  # with which of two locks it is to be compared nobody knows


def test_nothing_written_is_said() -> None:
    nothing = {"p2m_sets": 0, "holds": 0}
    assert verdict([row(0, "eager", **nothing), row(1, "deferred", **nothing)], 0) == NO_WRITES
    assert verdict([row(0, "eager", p2m_sets=0)], 0) != NO_WRITES  # a hold without a write still takes the lock
    assert verdict([], 0) == "Nothing was replayed."


def test_what_is_unknown_in_part_is_unknown_in_the_sum() -> None:
    measures = {column.name: [1, 2, 4, 8] for column in MEASURES} | {"ipis": [1, None, 4, 8]}
    causes = pl.DataFrame({"run": [0, 0, 0, 1], "p2m_dom": [3, 3, None, 3], "cause": ["a", "b", "a", "a"], **measures})
    by_domain = sums(causes, ("run", "p2m_dom"))
    assert by_domain.select("run", "p2m_dom", "holds", "ipis").rows() == [
        (0, 3, 3, None),
        (0, None, 4, 4),
        (1, 3, 8, 8),
    ]
    assert sums(causes, ("run", "cause"))["ipis"].to_list() == [5, None, 8]
    assert by_domain.columns == ["run", "p2m_dom", *(column.name for column in MEASURES)]


def test_what_was_compared_stands_above_the_differences() -> None:
    rows = [row(0, "eager"), row(1, "eager", preset="xen-4.6"), row(2, "deferred", preset="xen-4.7")]
    text = printed({**DOCUMENT, "runs": rows, "baseline": 1})
    differences = text.partition("against xen-4.6")[2].splitlines()
    assert [line.split()[0] for line in differences if line.strip()][2:4] == ["eager", "xen-4.7"]


def test_near_names_of_baselines() -> None:
    check_baseline(None, [])
    check_baseline("eager", ["deferred", "eager"])
    with pytest.raises(UsageError, match=r"^--baseline egaer: expected one of eager, deferred; did you mean eager\?$"):
        check_baseline("egaer", ["eager", "deferred", "eager"])


ASSUMPTIONS: Row = {
    "tsc_hz": {"value": 2_400_000_000, "how": "assumed", "spread": None},
    "tsc_skew": {"moves": 9, "contradictions": 0, "max_ticks": 0, "pcpus": None},
    "xen": {"layout": "4.17", "how": "inferred"},
    "presets": [],
    "locks": ["queue"],
    "profiles": [{"name": "zero", "sourced": 0, "assumed": 19}],
    "seeds": [0],
    "recorded": None,
    "think_scale": 1.0,
    "injected": [],
    "calls": {"vmcs_clears": 0, "calibrations": 0},
    "misconfigs": {"ept": 0, "npt_only": 0, "doubtful": 0},
    "paths": "4.21",
    "unseen": {"as": "present", "how": "assumed", "rows": 0},
    "domains": [],
    "interpolated_share": 0.1,
    "consequences": [],
    "missing": [],
    "not_modelled": [],
}


DOCUMENT: Row = {
    "lookups": [],
    "baseline": 0,
    "verdict": "",
    "by_domain": [],
    "by_cause": [],
    "assumptions": ASSUMPTIONS,
}


def printed(document: Row) -> str:
    """Return a report as it is printed where there is much room."""
    text = io.StringIO()
    print_report(document, Console(file=text, width=400))
    return text.getvalue()


def lines(**changes: object) -> list[str]:
    """Return the assumptions in words, without those that are always there."""
    first, *others = assumption_lines({**ASSUMPTIONS, **changes})
    assert first.startswith(
        "TSC 2400000000 Hz (assumed), layouts of Xen 4.17 (inferred), paths of Xen 4.21, p2m lock queue"
    )
    return others


def test_assumptions_in_words() -> None:
    assert lines() == []
    assert lines(unseen={"as": "absent", "how": "given", "rows": 1234}) == [
        (
            "assumed: 1,234 writes to entries of which nothing tells what they were count as to absent ones (given);"
            " [ ] shows the broadcasts either way"
        )
    ]
    domains = [
        {"domain": 0, "guest_mode": False, "how": "assumed"},
        {"domain": 3, "guest_mode": True, "how": "seen"},
        {"domain": 4, "guest_mode": True, "how": "assumed"},
    ]
    assert lines(domains=domains) == ["assumed: d0 PV, d4 HVM"]
    own = "xen-4.6: eager, lock queue in place of unfair, as --lock says"
    assert lines(presets=[own]) == [f"preset {own}"]
    assert lines(consequences=["SCHED: who knows"], not_modelled=["much"]) == [
        "missing: SCHED: who knows",
        "not modelled: much",
    ]


def test_what_was_added_and_taken_away_in_words() -> None:
    recorded = {"as": "xen-4.6", "strategy": "eager", "lock": "unfair", "profile": "zero", "kicks_removed": 1234,
                "shortened_rows": 2000, "shortened_ns": 3_000_000, "clamped_rows": 12, "clamped_ns": 500}  # fmt: skip
    assert lines(recorded=recorded, think_scale=0.25, injected=["calls: 5"]) == [
        (
            "recorded as xen-4.6: eager, lock unfair, profile zero; what that cost, 3.00 ms, is taken out of 2,000"
            " gaps, of which 12 were too short, by 500 ns; 1,234 of its interrupts are left out"
        ),
        "think time: gaps are multiplied by 0.25, but not those of idle pCPUs",
        "injected: calls: 5",
    ]
    assert lines(calls={"vmcs_clears": 2297, "calibrations": 0}) == [
        "inferred: 2,297 calls to clear a VMCS, 0 to calibrate the time"
    ]


def test_lookups_are_not_missing_where_some_are_injected() -> None:
    missing = ["LOOKUP: nobody traces them", "LOST: 5 records", "HVM: elsewhere"]
    told = ["missing: LOOKUP: nobody traces them", "missing: LOST: 5 records"]
    assert lines(missing=missing) == told
    assert lines(missing=missing, injected=["calls:every=1ms: 5"]) == ["injected: calls:every=1ms: 5", *told]
    assert lines(missing=missing, injected=["lookups: 5"]) == ["injected: lookups: 5", told[1]]


def test_seeds_are_a_number_or_a_range() -> None:
    [first] = assumption_lines({**ASSUMPTIONS, "seeds": [3, 4, 5]})
    assert first.endswith("seed 3 to 5")


@pytest.mark.parametrize(("share", "rough"), [(0.1, False), (0.1001, True)])
def test_quantiles_over_many_interpolated_rows_are_marked(share: float, *, rough: bool) -> None:
    assumptions = {**ASSUMPTIONS, "interpolated_share": share}
    assert is_rough(assumptions) == rough
    rows = [row(0, "eager", hold_ns_p50=1500, hold_ns_p99=None)]
    text = printed({**DOCUMENT, "runs": rows, "assumptions": assumptions})
    assert ("~1.50 us" in text) == rough
    assert "~-" not in text


def test_csv_cells() -> None:
    text = runs_as_csv({"runs": [row(0, "a, b", watchdog_fired=True, lock_utilisation=0.5)]})
    head, line = text.splitlines()
    assert head.split(",")[:3] == ["run", "preset", "strategy"]
    assert line.startswith('0,,"a, b",queue,')
    assert ",true," in line
    assert ",0.5," in line
