"""What holds for every result, on recordings that were made for it and on real ones."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import eptreplay
from eptreplay.errors import InputError
from eptreplay.replay import replay
from tests.conftest import TRACES, Unpack
from tests.replay.results import STRATEGIES, Guest, Tables, replayed, run, tables_of
from tests.trace.made_recordings import GHZ, dataset, files_of

PROFILES = ("zero", "two-socket")
MODES = ["guest_ns", "xen_ns", "irqoff_ns", "spin_ns", "idle_ns", "unknown_ns"]
RECORDINGS = [
    pytest.param("r04", marks=pytest.mark.compiled),
    "made",
    "made without entries",
    pytest.param("r12", marks=pytest.mark.compiled),
    pytest.param("r22", marks=pytest.mark.slow),
]


class Results:
    """Results of all strategies under two profiles, each replayed once."""

    def __init__(self, unpacked: Unpack, folder: Path) -> None:
        self.unpacked, self.folder = unpacked, folder
        self.of = cache(self._of)

    def _of(self, name: str) -> Tables:
        made = self.folder / f"{name}.ds"
        if name.startswith("made"):
            inside = self.folder / name
            inside.mkdir()
            guest = Guest(0, 2, 3, entries="without" not in name).busy(0, 2, 3, faults=40)
            made = dataset(inside, guest.trace, events="ept", tsc_hz=GHZ)
        else:
            eptreplay.ingest([self.unpacked(name)], made)
        target = self.folder / f"{name}.result"
        replay(made, target, strategies=STRATEGIES, profiles=PROFILES, detail="full", threads=2)
        return tables_of(target)


@pytest.fixture(scope="module")
def results(unpacked: Unpack, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return results by the name of the recording."""
    return Results(unpacked, tmp_path_factory.mktemp("laws"))


every = pytest.mark.parametrize("name", RECORDINGS)


def mended_before(tables: Tables) -> pl.DataFrame:
    """Return the recalculations of NPT that EPT would not have had, or that it may not have had."""
    return tables["workload"].filter(
        (pl.col("op") == "MISCONFIG") & ((pl.col("count") == 0) | (pl.col("old_known") == "assumed"))
    )


@every
def test_whoever_never_invalidates_sends_nothing(results: Results, name: str) -> None:
    for row in results.of(name)["runs"].filter(strategy="never").to_dicts():
        assert (row["syncs"], row["broadcasts"], row["broadcasts_max"], row["broadcasts_under_lock"]) == (0, 0, 0, 0)
        assert {row["ipis"], row["invepts"], row["vmenter_invepts"]} <= {0, None}


@every
def test_counts_of_broadcasts_do_not_hang_on_costs(results: Results, name: str) -> None:
    runs = results.of(name)["runs"]
    counts = ["strategy", "p2m_sets", "ept_stores", "holds", "syncs", "broadcasts", "broadcasts_min", "broadcasts_max",
              "broadcasts_under_lock", "assumed_rows", "interpolated_rows"]  # fmt: skip
    zero, dear = (runs.filter(profile=profile).select(counts) for profile in PROFILES)
    assert_frame_equal(zero, dear)


@every
def test_without_costs_a_hold_lasts_as_long_as_was_thought_in_it(results: Results, name: str) -> None:
    tables = results.of(name)
    rows = tables["workload"].with_columns(t=pl.col("gap_ns").cum_sum().over("pcpu"))
    begins = rows.filter(op="HOLD_BEGIN").select("hold", "t", "origin")
    recorded = begins.join(rows.filter(op="HOLD_END").select("hold", end="t"), on="hold")
    for number in tables["runs"].filter(profile="zero")["run"]:
        held = tables["holds"].filter(run=number)
        if held["t_release_ns"].null_count():
            assert name == "r04"
            assert held["t_release_ns"].null_count() == held.height
            continue
        both = held.join(recorded, on="hold")
        assert both.height == held.height > 0
        lasted = both["t_release_ns"] - both["t_acquire_ns"]
        assert (lasted == both["end"] - both["t"]).all()
        assert (lasted.filter(both["origin"] == "inferred") == 0).all()
        assert ((both["origin"] == "recorded").any()) == name.startswith("made")
        assert (both["t_request_ns"] <= both["t_acquire_ns"]).all()


@every
def test_sums_over_causes_are_those_of_the_run(results: Results, name: str) -> None:
    tables = results.of(name)
    measures = ["holds", "hold_ns_total", "p2m_sets", "p2m_sets_recorded", "p2m_sets_inferred", "ept_stores", "syncs",
                "broadcasts", "ipis", "invepts", "guest_stolen_ns"]  # fmt: skip
    for row in tables["runs"].to_dicts():
        causes = tables["causes"].filter(run=row["run"])
        assert causes.select("p2m_dom", "cause").is_unique().all()
        for measure in measures:
            column = causes[measure]
            assert (None if column.null_count() else column.sum()) == row[measure], measure


@every
def test_writes_and_holds_are_those_of_the_workload(results: Results, name: str) -> None:
    tables = results.of(name)
    sets = tables["workload"].filter(op="SET")
    by_cause = sets.group_by("p2m_dom", pl.col("cause").cast(pl.String)).agg(pl.len().cast(pl.Int64).alias("p2m_sets"))
    for row in tables["runs"].to_dicts():
        assert row["p2m_sets"] == sets.height
        assert row["p2m_sets_recorded"] == sets.filter(origin="recorded").height
        assert row["holds"] == tables["workload"].filter(op="HOLD_BEGIN").height - mended_before(tables).height
        found = tables["causes"].filter(pl.col("run") == row["run"], pl.col("p2m_sets") > 0)
        assert_frame_equal(
            found.select("p2m_dom", "cause", "p2m_sets"), by_cause, check_row_order=False, check_column_order=False
        )


@every
def test_modes_of_a_pcpu_add_up_to_the_time_that_was_simulated(results: Results, name: str) -> None:
    tables = results.of(name)
    for row in tables["runs"].to_dicts():
        pcpus = tables["pcpus"].filter(run=row["run"])
        assert pcpus["pcpu"].to_list() == sorted(set(tables["workload"]["pcpu"]))
        if row["simulated_ns"] is None:
            assert all(pcpus[mode].null_count() == pcpus.height for mode in MODES)
        else:
            assert (pcpus.select(pl.sum_horizontal(MODES)).to_series() == row["simulated_ns"]).all()


@every
def test_details_add_up_to_the_sums(results: Results, name: str) -> None:
    tables = results.of(name)
    for row in tables["runs"].to_dicts():
        holds, broadcasts, invepts, pcpus = (
            tables[table].filter(run=row["run"]) for table in ("holds", "broadcasts", "invepts", "pcpus")
        )
        assert (holds.height, holds["sets"].sum()) == (row["holds"], row["p2m_sets"])
        assert holds["broadcasts"].sum() == broadcasts.height == row["broadcasts"]
        assert broadcasts["under_lock"].sum() == row["broadcasts_under_lock"]
        assert broadcasts["broadcast"].to_list() == list(range(broadcasts.height))
        per_hold = broadcasts.group_by("hold").agg(pl.len().cast(pl.Int64).alias("broadcasts"))
        assert_frame_equal(
            holds.filter(pl.col("broadcasts") > 0).select("hold", "broadcasts"), per_hold, check_row_order=False
        )
        if row["ipis"] is not None:
            assert broadcasts["targets"].sum() == pcpus["ipis_received"].sum() == row["ipis"]
        if row["invepts"] is not None:
            assert invepts.height == pcpus["invepts"].sum() == row["invepts"]
        if row["vmenter_invepts"] is not None:
            assert invepts.filter(where="vmenter").height == row["vmenter_invepts"]
        if row["hold_ns_total"] is not None:
            lasted = (holds["t_release_ns"] - holds["t_acquire_ns"]).sort()
            assert (lasted.sum(), lasted.max()) == (row["hold_ns_total"], row["hold_ns_max"])
            for name_, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
                # Nearest rank: the smallest that so many do not exceed.
                value = row[f"hold_ns_{name_}"]
                assert (lasted <= value).mean() >= share - 1e-12
                assert (lasted < value).mean() < share


@every
def test_invalidations_before_entries_are_no_more_than_marks(results: Results, name: str) -> None:
    tables = results.of(name)
    pcpus = tables["workload"]["pcpu"].n_unique()
    domains = tables["workload"].filter(op="SET")["p2m_dom"].n_unique() + 2
    for row in tables["runs"].filter(pl.col("vmenter_invepts").is_not_null()).to_dicts():
        assert row["vmenter_invepts"] <= min(row["vmenters"], (row["syncs"] + domains) * pcpus)


@every
def test_who_broadcasts_when(results: Results, name: str) -> None:
    tables = results.of(name)
    for profile in PROFILES:
        eager, vmenter, deferred = (run(tables, x, profile=profile) for x in ("eager", "vmenter", "deferred"))
        exits = tables["workload"].filter(op="MISCONFIG").height - mended_before(tables).height
        assert eager["broadcasts"] == eager["broadcasts_under_lock"] == eager["syncs"]
        assert vmenter["broadcasts"] == vmenter["broadcasts_under_lock"] == vmenter["syncs"]
        assert eager["broadcasts"] - exits == vmenter["broadcasts"]
        # Memory that becomes populate-on-demand is flushed at once, as nobody may write to it while it is checked.
        reclaimed = tables["workload"].filter(op="POD_RECLAIM")
        assert deferred["broadcasts_under_lock"] == reclaimed.height
        assert deferred["broadcasts"] <= deferred["syncs"] == vmenter["syncs"]
        locked = tables["broadcasts"].filter((pl.col("run") == deferred["run"]) & pl.col("under_lock"))
        assert Counter(locked["cause"]) == Counter(reclaimed["cause"])


@pytest.mark.compiled
def test_a_real_recording_has_something_to_compare(results: Results) -> None:
    assert run(results.of("made"), "eager", profile="zero")["broadcasts"] > 10
    assert run(results.of("made"), "vmenter", profile="zero")["vmenter_invepts"] > 10
    assert run(results.of("r04"), "eager", profile="zero")["broadcasts"] == 1464


# What recordings cannot tell


@pytest.mark.compiled
def test_without_runstates_nobody_knows_whom_a_broadcast_meets(results: Results) -> None:
    tables = results.of("r04")
    assert tables["workload"]["run_vcpu"].null_count() == tables["workload"].height
    for row in tables["runs"].to_dicts():
        for column in ("ipis", "invepts", "vmenter_invepts", "guest_stolen_ns", "simulated_ns"):
            assert row[column] is None, column
        for column in ("holds", "p2m_sets", "syncs", "broadcasts", "broadcasts_min", "broadcasts_max", "vmenters"):
            assert row[column] is not None, column
        assert (row["holds"], row["p2m_sets"], row["vmenters"] >= 31069) == (1487, 1280, True)
    never, eager = (run(tables, x, profile="two-socket") for x in ("never", "eager"))
    assert (eager["hold_ns_total"], eager["op_latency_ns_p50"]) == (None, None)
    assert never["hold_ns_total"] > 0
    assert not tables["invepts"].height
    assert tables["broadcasts"]["targets"].null_count() == tables["broadcasts"].height > 0


@pytest.mark.recordings
def test_without_times_there_are_no_durations(results: Results) -> None:
    tables = results.of("r01")
    for table, frame in tables.items():
        if table == "workload":
            continue
        for column in frame.columns:
            if "_ns" in column:
                assert frame[column].null_count() == frame.height, (table, column)
    for row in tables["runs"].to_dicts():
        assert (row["p2m_sets"], row["holds"]) == (68420, 49334)
        assert (row["broadcasts"] > 0) == (row["strategy"] != "never")


@pytest.mark.recordings
def test_without_vm_entries_they_cannot_be_counted(results: Results) -> None:
    tables = results.of("r06")
    for row in tables["runs"].to_dicts():
        assert (row["vmenters"], row["vmenter_invepts"]) == (None, None)
        assert row["ipis"] is not None
        assert (row["invepts"] is None) == (row["strategy"] in {"vmenter", "deferred", "never"})


# Entries of which nothing is known


def assumed() -> Guest:
    """Return a recording with four writes to entries of which nothing tells what they were, and four others."""
    guest = Guest(0, 1)
    for gfn in range(4):
        guest.fault(gfn % 2, gfn, tracked=False)
        guest.fault(gfn % 2, gfn, tracked=False)
    return guest


@pytest.mark.parametrize(("unseen", "broadcasts"), [(None, 8), ("present", 8), ("absent", 4)])
def test_broadcasts_are_counted_for_both_assumptions(tmp_path: Path, unseen: str | None, broadcasts: int) -> None:
    tables = replayed(tmp_path, assumed().trace, unseen=unseen)
    for strategy in ("eager", "vmenter", "deferred"):
        row = run(tables, strategy)
        assert (row["broadcasts_min"], row["broadcasts"], row["broadcasts_max"]) == (4, broadcasts, 8)
        assert row["assumed_rows"] == 4
    assert run(tables, "never")["broadcasts_max"] == 0


# Byte for byte


@pytest.mark.parametrize("recording", [pytest.param("r04", marks=pytest.mark.compiled), "made"])
def test_results_are_the_same_whatever_the_number_of_threads(tmp_path: Path, unpacked: Unpack, recording: str) -> None:
    if recording == "made":
        made = dataset(tmp_path, Guest(0, 1, 2).busy(0, 1, 2).trace, events="ept", tsc_hz=GHZ)
    else:
        made = tmp_path / "ds"
        eptreplay.ingest([unpacked(recording)], made)
    for number, threads in enumerate((1, 2, 2)):
        replay(made, tmp_path / f"result{number}", strategies=STRATEGIES, profiles=PROFILES, seeds=2, detail="full",
               threads=threads)  # fmt: skip
    first, second, third = (files_of(tmp_path / f"result{number}") for number in range(3))
    assert len(first) == 12
    assert first == second == third


def test_a_file_and_its_dataset_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "made.xentrace"
    path.write_bytes(Guest(0, 1).busy(0, 1).trace.bytes())
    eptreplay.ingest([path], tmp_path / "ds", tsc_hz=GHZ)
    replay(tmp_path / "ds", tmp_path / "a")
    replay(path, tmp_path / "b", tsc_hz=GHZ)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


# Names of pCPUs


def test_other_numbers_of_pcpus_change_nothing_but_the_numbers(tmp_path: Path) -> None:
    """At distinct times and without costs nothing hangs on who is whose neighbour."""
    names = {0: 9, 2: 1, 3: 4}
    one = replayed(tmp_path, Guest(*names).busy(*names, faults=30).trace, profiles=["zero"])
    other = replayed(tmp_path, Guest(*names.values()).busy(*names.values(), faults=30).trace, profiles=["zero"])
    assert_frame_equal(one["runs"], other["runs"])
    assert_frame_equal(one["causes"], other["causes"])
    for table in ("pcpus", "invepts"):
        renamed = one[table].with_columns(pl.col("pcpu").replace(names))
        assert_frame_equal(renamed, other[table], check_row_order=False)
    times = ["run", "pcpu", "cause", "t_request_ns", "t_acquire_ns", "t_release_ns", "sets", "broadcasts"]
    renamed = one["holds"].with_columns(pl.col("pcpu").replace(names)).select(times)
    assert_frame_equal(renamed, other["holds"].select(times), check_row_order=False)


@pytest.mark.parametrize("profile", PROFILES)
def test_one_more_pcpu_that_idles_changes_nothing(tmp_path: Path, profile: str) -> None:
    guest, beside = (Guest(0, 2).busy(0, 2, faults=30) for _ in range(2))
    beside.trace.window(7)
    beside.trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=2000, domid=32767, vcpu=7)
    one, other = (replayed(tmp_path, x.trace, profiles=[profile]) for x in (guest, beside))
    assert other["pcpus"]["pcpu"].unique().to_list() == [0, 2, 7]
    assert_frame_equal(one["runs"], other["runs"])
    for table in ("causes", "holds", "broadcasts", "invepts"):
        assert_frame_equal(one[table], other[table])
    assert_frame_equal(one["pcpus"], other["pcpus"].filter(pl.col("pcpu") != 7))
    assert set(other["pcpus"].filter(pcpu=7)["guest_ns"]) == {0}


@pytest.mark.compiled
def test_more_tables_than_a_host_can_have_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("eptreplay.replay.simulate.MOST_NODES", 3)
    with pytest.raises(InputError, match=r"the writes lie all over the guests' memory: .* expected at most 3"):
        replay(next(TRACES.glob("r04*")), tmp_path / "result")
    assert not (tmp_path / "result").exists()
