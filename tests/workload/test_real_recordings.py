"""What the rules make of recordings of real hosts, against what is known of how each was made."""

from __future__ import annotations

import lzma
import struct
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import eptreplay
from eptreplay.replay import tally as y
from eptreplay.workload import schema as s
from eptreplay.workload.rules import CAUSE_NUMBERS
from tests.conftest import Unpack
from tests.oracles import ballooning, recalculations
from tests.oracles.hist import read_readme
from tests.oracles.migration import SET_P2M_ENTRY, records
from tests.oracles.recalculations import Recalculations
from tests.recordings.choice import EVERY
from tests.workload.conftest import Lower
from tests.workload.lowering import check, outcome, shares

DECREASE, POPULATE, ZERO_RECLAIM = 0x10F005, 0x10F010, 0x10F011
CPU_CHANGE = 0x1F003
INVALID, LOGDIRTY, POD = 1, 2, 6

every = pytest.mark.parametrize(
    "name",
    [
        "r04",
        pytest.param("r22", marks=pytest.mark.compiled),
        *(pytest.param(name, marks=pytest.mark.recordings) for name in EVERY),
    ],
)


def find(folder: Path, name: str) -> Path:
    """Return the file of a recording."""
    [path] = folder.glob(f"{name}-*.xentrace.xz")
    return path


@every
def test_it_is_a_workload(real: Lower, name: str) -> None:
    check(real(name))


@pytest.mark.recordings
@pytest.mark.parametrize("name", EVERY)
def test_every_recorded_write_is_a_write_of_the_workload(real: Lower, recordings: Path, name: str) -> None:
    row = read_readme((recordings / "README.md").read_text())[find(recordings, name).name.partition(".")[0]]
    workload = real(name)
    recorded = (workload.op == s.SET) & (workload.origin == s.FROM_RECORD)
    assert recorded.sum() == row["P2M"]
    assert Counter(workload.p2m_dom[recorded].tolist()) == row.p2m.doms
    assert Counter(workload.new_type[recorded].tolist()) == row.p2m.types
    assert Counter(workload.order[recorded].tolist()) == row.p2m.orders
    # An AMD host traces every write, each of one entry: nothing is left to infer.
    assert not ((workload.op == s.SET) & (workload.origin == s.INFERRED)).any()
    assert (workload.count[recorded] == 1).all()


@pytest.mark.recordings
@pytest.mark.parametrize("name", EVERY)
def test_a_replay_counts_the_writes_of_the_readme(real: Lower, recordings: Path, name: str) -> None:
    row = read_readme((recordings / "README.md").read_text())[find(recordings, name).name.partition(".")[0]]
    found = outcome(real(name), "eager")
    sets = found.tally.measure[:, :, y.SETS].sum(axis=1)
    by_domain = dict(zip(found.numbers.domains, sets.tolist(), strict=False))  # r11 names no domain at all
    assert {dom: n for dom, n in by_domain.items() if n} == row.p2m.doms
    assert sets.sum() == row["P2M"]


@every
def test_rules_take_each_record_once(real: Lower, traces: Path, request: pytest.FixtureRequest, name: str) -> None:
    folder = traces if name in ("r04", "r22") else request.getfixturevalue("recordings")
    found = eptreplay.scan_xentrace(find(folder, name)).select("event", "w0").collect()
    about = [SET_P2M_ENTRY, DECREASE, POPULATE, ZERO_RECLAIM, 0x10F012, 0x82021]
    faults = pl.col("event").is_in([0x81002, 0x81102]) & (pl.col("w0") == 0x400)
    texts = found.filter(pl.col("event").is_in(about) | faults).height
    assert sum(taken for _, taken in shares(real(name)).values()) == texts


def test_a_guest_that_was_cleaned_six_times_was_cleaned_six_times(real: Lower) -> None:
    """What libxenctrl did to r04: log-dirty mode on, six times clean, 300 ms apart, peek, off."""
    workload = real("r04")
    cleans = workload.op == s.LOGDIRTY_CLEAN
    assert cleans.sum() == 6
    # Each clean changes the whole p2m, and so did switching log-dirty on.
    changes = workload.op == s.GLOBAL_CHANGE
    assert changes.sum() == 1 + 6
    assert set(workload.cause[changes].tolist()) == {CAUSE_NUMBERS["logdirty_global"]}
    assert (workload.new_type[changes] == LOGDIRTY).all()
    assert (workload.hold[changes] >= 0).all()
    assert set(workload.origin[cleans].tolist()) == {s.INFERRED}
    low, high = np.sort(workload.not_before_ns[cleans]), np.sort(workload.not_after_ns[cleans])
    assert (low <= high).all()
    # Each happened somewhere between two times, and the next one a pause of 300 ms after it had ended.
    for number in range(5):
        assert high[number + 1] - low[number] > 300_000_000
        assert low[number + 1] - high[number] < 400_000_000


# Recalculations

RECALCULATED = [
    "r04",
    pytest.param("r12", marks=pytest.mark.compiled),
    pytest.param("r16", marks=pytest.mark.recordings),
    pytest.param("r20", marks=pytest.mark.recordings),
]


@pytest.fixture(scope="module")
def recalculated(unpacked: Unpack) -> Callable[[str], Recalculations]:
    """Return a function that counts the recalculations of a recording by a loop."""
    return cache(lambda name: recalculations.find(unpacked(name).read_bytes()))


@pytest.mark.parametrize("name", RECALCULATED)
def test_recalculations_are_those_that_a_loop_finds(
    real: Lower,
    recalculated: Callable[[str], Recalculations],
    name: str,
    record_property: Callable[[str, object], None],
) -> None:
    workload, counted = real(name), recalculated(name)
    mended = workload.op == s.MISCONFIG
    known, doubtful = mended & (workload.gfn != s.NO_GFN), mended & (workload.old_known == s.ASSUMED)
    of_npt = mended & (workload.count == 0)
    record_property(
        "measured",
        f"{name}: {mended.sum()} recalculations, {known.sum()} with their frame, {of_npt.sum()} of them for NPT only,"
        f" {doubtful.sum()} doubtful",
    )
    assert mended.sum() == len(counted.known) + counted.unknown
    assert (mended == known | doubtful).all()
    assert not (known & doubtful).any()
    assert not (of_npt & doubtful).any()
    # What the next fault tells is kept; others must have preceded a fault that lacks one.
    assert Counter(counted.known) <= Counter(workload.gfn[known].tolist())
    assert (workload.op == s.LOGDIRTY_CLEAN).sum() == counted.cleans
    assert set(workload.hold[mended].tolist()).isdisjoint(workload.hold[workload.op == s.SET].tolist())


@pytest.mark.parametrize("name", RECALCULATED[:3])
def test_ept_would_have_had_one_exit_for_each_region_and_clean(
    real: Lower, recalculated: Callable[[str], Recalculations], name: str
) -> None:
    """Not so sure for r20: where records were lost, a clean is put where the toolstack ran, not where it must be."""
    workload, counted = real(name), recalculated(name)
    mended = workload.op == s.MISCONFIG
    assert (workload.count[mended] == 0).sum() == counted.of_npt
    assert (workload.gfn[mended] != s.NO_GFN).sum() == len(counted.known) + counted.taken
    assert (workload.old_known[mended] == s.ASSUMED).sum() == counted.unknown - counted.taken


def test_few_recalculations_of_r04_tell_their_frame(recalculated: Callable[[str], Recalculations]) -> None:
    counted = recalculated("r04")
    assert (len(counted.known), counted.unknown) == (499, 8436)
    assert (counted.cleans, counted.of_npt, counted.taken) == (6, 408, 86)


# Populate-on-demand and ballooning


@pytest.mark.parametrize(
    ("name", "timed", "expected"),
    [
        pytest.param("r01", False, (18492, 4735), marks=pytest.mark.recordings),
        pytest.param("r16", True, (555, 712), marks=pytest.mark.recordings),
        pytest.param("r22", True, (17695, 4233), marks=pytest.mark.compiled),
        pytest.param("r25", True, (17893, 2556), marks=pytest.mark.recordings),
    ],
)
def test_flushes_of_populate_on_demand_are_where_a_loop_finds_them(
    real: Lower, unpacked: Unpack, name: str, expected: tuple[int, int], *, timed: bool
) -> None:
    """Without times the records of different pCPUs are in file order."""
    workload = real(name)
    assert workload.facts.has_times == timed
    causes = Counter(workload.cause[workload.op == s.POD_RECLAIM].tolist())
    found = causes[CAUSE_NUMBERS["pod_reclaim"]], causes[CAUSE_NUMBERS["decrease"]]
    assert causes.total() == sum(found)
    counted = ballooning.sync_points(unpacked(name).read_bytes(), timed=timed)
    assert found == (counted["looked into"], counted["stolen"]) == expected


@pytest.mark.compiled
def test_each_flush_stands_behind_its_write_in_the_same_hold(real: Lower) -> None:
    workload = real("r22")
    points = np.flatnonzero(workload.op == s.POD_RECLAIM)
    before = points - 1
    assert (workload.op[before] == s.SET).all()
    for column in ("hold", "p2m_dom", "gfn", "cause", "t_ns"):
        values = getattr(workload, column)
        assert (values[before] == values[points]).all(), column
    stolen = workload.cause[points] == CAUSE_NUMBERS["decrease"]
    assert (workload.new_type[before] == np.where(stolen, INVALID, POD)).all()
    assert (workload.old_present[before][stolen] == 1).all()


@pytest.mark.recordings
def test_a_removal_that_failed_writes_nothing(real: Lower) -> None:
    workload = real("r16")
    assert shares(workload)["removal_without_write"] == (1, 1)
    assert shares(workload)["removal"][0] == 1944
    removed = (workload.op == s.SET) & (workload.cause == CAUSE_NUMBERS["decrease"])
    assert removed.sum() == 1944


@pytest.mark.recordings
def test_records_of_a_populate_on_demand_boot_are_folded(real: Lower, recordings: Path) -> None:
    pairs = pairs_of(lzma.decompress(find(recordings, "r01").read_bytes()))
    assert pairs == {"removal": 32708, "removal around a reclaim": 60, "populate": 16354, "reclaim": 17898}
    workload = real("r01")
    causes = Counter(workload.cause[workload.op == s.SET].tolist())
    holds = Counter(workload.cause[workload.op == s.HOLD_BEGIN].tolist())
    assert shares(workload)["removal"] == (32768, 2 * 32708 + 4 * 60)
    assert holds[CAUSE_NUMBERS["decrease"]] == causes[CAUSE_NUMBERS["decrease"]] == 32768
    assert shares(workload)["pod_fault"][0] == holds[CAUSE_NUMBERS["pod_fault"]] == 16354
    assert causes[CAUSE_NUMBERS["pod_fault"]] == 16354
    # Pages that were taken back, and those that were unmapped, looked at, and put back.
    reclaimed = (workload.op == s.SET) & (workload.cause == CAUSE_NUMBERS["pod_reclaim"])
    restored = reclaimed & (workload.new_type != POD)
    assert reclaimed.sum() == 17898 + 2 * restored.sum()


def pairs_of(data: bytes) -> Counter[str]:
    """Count records that tell of one operation, by hand: those of a pCPU directly behind each other, of one frame."""
    found: Counter[str] = Counter()
    last: dict[int, list[tuple[int, int, int]]] = {}
    for pcpu, event, words in records(data):
        if event == CPU_CHANGE:
            continue
        gfn = words[0] | words[1] << 32 if len(words) > 1 else 0
        kind = words[4] if event == SET_P2M_ENTRY else -1
        order = words[5] >> 16 if event == SET_P2M_ENTRY else 0
        before = [*last.get(pcpu, []), (event, gfn >> order << order, kind)]
        match before[-4:]:
            case [*_, (e1, g1, _), (e2, g2, t2)] if (e1, e2, t2) == (DECREASE, SET_P2M_ENTRY, INVALID) and g1 == g2:
                found["removal"] += 1
            case [(e1, g1, _), (_, _, t2), (e3, _, _), (e4, g4, t4)] if (e1, t2, e3) == (DECREASE, POD, ZERO_RECLAIM):
                assert (e4, g4, t4) == (SET_P2M_ENTRY, g1, INVALID)
                found["removal around a reclaim"] += 1
        match before[-2:]:
            case [(e1, g1, t1), (e2, g2, _)] if e1 == SET_P2M_ENTRY:
                if e2 == POPULATE and t1 == 0:
                    assert 0 <= g2 - g1 < 512
                    found["populate"] += 1
                elif e2 == ZERO_RECLAIM and t1 == POD:
                    assert g1 == g2
                    found["reclaim"] += 1
        last[pcpu] = before[-3:]
    return found


def test_the_words_of_a_write_are_where_the_hand_count_looks() -> None:
    words = struct.pack("<6I", 5, 1, 7, 0, POD, 9 << 16 | 3)
    header = struct.pack("<I", SET_P2M_ENTRY | 6 << 28)
    [(pcpu, event, found)] = records(header + words)
    assert (pcpu, event) == (-1, SET_P2M_ENTRY)
    assert (found[0] | found[1] << 32, found[4], found[5] >> 16, found[5] & 0xFFFF) == ((1 << 32) + 5, POD, 9, 3)
