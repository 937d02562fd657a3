"""``eptreplay replay``: what it writes, and what is wrong, in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.commands.conftest import Run
from tests.commands.running import command, hidden
from tests.replay.results import Guest
from tests.trace.made_recordings import dataset, files_of, leftovers, write

HEAD = "from eptreplay.strategies import Strategy\n"

USAGE = {
    "-s egaer": "-s egaer: expected one of eager, ",
    "-s defered": "did you mean deferred",
    "-s eager -s eager": "-s eager: named twice",
    "--preset xen-4.60": "did you mean xen-4.6",
    "--preset eager": "--preset eager: expected one of xen-4.6, xen-4.7, xen-4.17.0, xen-4.21.0, xen-4.22",
    "--preset xen-4.7 --preset xen-4.7": "--preset xen-4.7: named twice",
    "--preset xen-4.6 --lock unfiar": "--lock unfiar: expected one of unfair, queue, percpu; did you mean unfair?",
    "--recorded-as xen-4.6": "--recorded-as xen-4.6: expected --recorded-on as well",
    "--recorded-as xen-46 --recorded-on zero": "did you mean xen-4.6",
    "--recorded-as eager --recorded-on zeor": "did you mean zero?",
    "--inject lokups:every=1ms": "did you mean lookups?",
    "--inject calls:evry=1ms": "did you mean every?",
    "--inject calls:every=1ms,pcpu=0": "pcpu=0: expected one that neither the recording nor another --inject has",
    "--think-scale 0": "--think-scale 0: expected a number above 0, 1000 at most",
    "--think-scale nan": "--think-scale nan: expected a number above 0, 1000 at most",
    "--think-scale much": "valid number",
    "--preset xen-4.6 -s {release}:MINE": "-s xen-4.6: there is a preset of that name, too",
    "--profile two-sokcet": "did you mean two-socket?",
    "--profile nowhere.toml": "nowhere.toml: no such profile file",
    "--profile {broken}": "broken.toml: ",
    "--lock quueue": "--lock quueue: expected one of unfair, queue, percpu; did you mean queue?",
    "--unseen prsent": "--unseen prsent: expected one of present, absent; did you mean ",
    "--detail ful": "--detail ful: expected one of summary, full; did you mean full?",
    "--seed -1": "expected seeds from 0 to",
    "--seeds 0": "expected seeds from 0 to",
    "--seed many": "valid integer",
    "--xen 4.17": "--xen and --tsc-hz were fixed when it was ingested",
    "--tsc-hz 1000000000": "--xen and --tsc-hz were fixed when it was ingested",
    "-s {syntax}:MINE": "syntax.py: line 2: '(' was never closed",
    "-s {nameless}:MINE": "nameless.py: expected a module-level Strategy called MINE, found no Strategy at all",
    "-s {other}:MNIE": "strategy MNIE: expected one of MINE; did you mean MINE?",
    "-s nowhere.py:MINE": "nowhere.py: no such strategy file",
    "-s {lock}:MINE": "call_lock",
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Return things to read, by name; the working directory is an empty one."""
    made, work = tmp_path / "made", tmp_path / "work"
    made.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    guest = Guest(0, 2).busy(0, 2).trace
    strategies = {
        "syntax": f"{HEAD}MINE = Strategy(name='mine'\n",
        "nameless": "MINE = 1\n",
        "other": f"{HEAD}MINE = Strategy(name='mine')\n",
        "release": f"{HEAD}MINE = Strategy(name='xen-4.6')\n",
        "lock": f"{HEAD}MINE = Strategy(name='mine', call_lock='none')\n",
        "uncompiled": f"{HEAD}def decide(request):\n    return len(open('x').read())\n"
        "MINE = Strategy(name='mine', decide=decide)\n",
    }
    places = {name: write(made, text.encode(), f"{name}.py") for name, text in strategies.items()}
    dataset_ = dataset(made, guest, events="ept")
    torn, newer = made / "torn.ds", made / "newer.ds"
    for copy in (torn, newer):
        shutil.copytree(dataset_, copy)
    (torn / "p2m.parquet").unlink()
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps({**manifest, "schema": 99, "eptreplay": "9.0"}))
    return {
        **places,
        "recording": write(made, guest, "recording.xentrace"),
        "dataset": dataset_,
        "torn": torn,
        "newer": newer,
        "broken": write(made, b"summary = [\n", "broken.toml"),
    }


def check(here: Run, places: dict[str, Path], line: str, code: int, message: str) -> None:
    """Assert that a command line ends so, with one line that says why, and changes nothing."""
    before = files_of(places["dataset"].parents[1])
    done = here(*(part.format(**places) for part in line.split()))
    assert (done.code, done.out) == (code, "")
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("eptreplay: ")
    assert message in done.err
    assert files_of(places["dataset"].parents[1]) == before
    assert hidden(Path.cwd()) == []


@pytest.mark.parametrize("options", USAGE)
def test_wrong_usage_is_2(here: Run, places: dict[str, Path], options: str) -> None:
    check(here, places, f"replay {{dataset}} -o out {options}", 2, USAGE[options])


@pytest.mark.compiled
def test_a_function_that_does_not_compile_is_2_with_its_line(here: Run, places: dict[str, Path]) -> None:
    check(
        here,
        places,
        "replay {dataset} -o out -s {uncompiled}:MINE",
        2,
        "uncompiled.py: line 3: strategy mine: decide does not compile: ",
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{torn}", "p2m.parquet: missing, so the dataset is incomplete; ingest the recording again"),
        ("{newer}", "schema 99, written by eptreplay 9.0; this version reads up to 1: use a newer eptreplay"),
        ("nowhere", "nowhere: no such file"),
        (".", "no dataset: manifest.json is missing"),
        ("{syntax}", "no xentrace record"),
    ],
)
def test_bad_input_is_3(here: Run, places: dict[str, Path], source: str, message: str) -> None:
    check(here, places, f"replay {source} -o out", 3, message)


def test_an_existing_target_is_2_and_is_told_first(here: Run, places: dict[str, Path]) -> None:
    (Path.cwd() / "out").write_text("mine")
    check(here, places, "replay nowhere -o out", 2, "out: exists already; choose another name, or --force to replace")
    check(here, places, "replay nowhere -o out --force", 2, "is not an output of eptreplay")


def test_a_target_that_cannot_be_written_is_4(here: Run, places: dict[str, Path]) -> None:
    check(here, places, "replay {dataset} -o nowhere/out", 4, "nowhere/out: cannot be written")
    check(here, places, "replay {dataset} -o /proc/out", 4, "/proc/out: cannot be written")


def test_what_it_rests_on_is_said_and_what_it_wrote(here: Run, places: dict[str, Path]) -> None:
    done = here("replay", places["recording"], "-o", "out", "--tsc-hz", 10**9, "--detail", "full")
    assert (done.code, done.out) == (0, "")
    assert done.lines[0].startswith("eptreplay: TSC 1000000000 Hz (given), layouts of Xen ")
    assert "p2m lock unfair, percpu, profile two-socket (" in done.lines[0]
    assert done.lines[-1] == (
        "eptreplay: out: acks, broadcasts, causes, holds, invepts, lookups, modes, pcpus, runs, timeline, workload;"
        " eptreplay report out shows what"
        " they say"
    )
    assert any("assumed: " in line and "count as to present ones" in line for line in done.lines)


def test_a_result_is_replaced_only_if_that_is_wanted(here: Run, places: dict[str, Path]) -> None:
    assert here("replay", places["dataset"], "-o", "out", "-s", "eager").code == 0
    before = files_of(Path.cwd())
    assert here("replay", places["dataset"], "-o", "out", "-s", "never").code == 2
    assert files_of(Path.cwd()) == before
    assert here("replay", places["dataset"], "-o", "out", "-s", "never", "--force").code == 0
    assert json.loads((Path.cwd() / "out" / "manifest.json").read_text())["options"]["strategies"] == ["never"]
    assert leftovers(Path.cwd()) == []


def test_rows_are_in_the_order_of_the_command_line(here: Run, places: dict[str, Path]) -> None:
    line = "replay {dataset} -o out -s never -s eager --profile two-socket --profile zero --seed 5 --seeds 2"
    assert here(*(part.format(**places) for part in line.split())).code == 0
    csv = here("report", "out", "--format", "csv").out.splitlines()
    names = csv[0].split(",")
    rows = [dict(zip(names, row.split(","), strict=True)) for row in csv[1:]]
    assert [(row["run"], row["strategy"], row["profile"], row["seed"]) for row in rows] == [
        ("0", "never", "two-socket", "5"),
        ("1", "never", "two-socket", "6"),
        ("2", "never", "zero", "5"),
        ("3", "never", "zero", "6"),
        ("4", "eager", "two-socket", "5"),
        ("5", "eager", "two-socket", "6"),
        ("6", "eager", "zero", "5"),
        ("7", "eager", "zero", "6"),
    ]


def test_presets_come_after_strategies_and_keep_their_name(here: Run, places: dict[str, Path]) -> None:
    line = "replay {dataset} -o out --preset xen-4.7 --preset xen-4.6 -s deferred --seeds 2"
    done = here(*(part.format(**places) for part in line.split()))
    assert done.code == 0
    assert "eptreplay: preset xen-4.6: eager, lock unfair" in done.lines
    runs = pl.read_parquet("out/runs.parquet")
    assert runs.select("run", "preset", "strategy", "lock", "seed").rows() == [
        (0, None, "deferred", "queue", 0),
        (1, None, "deferred", "queue", 1),
        (2, "xen-4.7", "deferred", "percpu", 0),
        (3, "xen-4.7", "deferred", "percpu", 1),
        (4, "xen-4.6", "eager", "unfair", 0),
        (5, "xen-4.6", "eager", "unfair", 1),
    ]
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["options"]["strategies"] == ["deferred"]
    assert manifest["options"]["presets"] == ["xen-4.7", "xen-4.6"]
    assert manifest["options"]["locks"] == ["queue", "percpu", "unfair"]


def test_what_is_added_and_taken_away_is_said_and_kept(here: Run, places: dict[str, Path]) -> None:
    line = (
        "replay {recording} -o out -s eager --tsc-hz 1000000000 --inject lookups:every=1us,dom=3 --inject"
        " calls:every=1us,targets=1 --think-scale 1.5 --recorded-as xen-4.6 --recorded-on zero"
    )
    done = here(*(part.format(**places) for part in line.split()))
    assert done.code == 0
    said = "\n".join(done.lines)
    assert "eptreplay: recorded as xen-4.6: eager, lock unfair, profile zero; " in said
    assert "eptreplay: think time: gaps are multiplied by 1.5, but not those of idle pCPUs\n" in said
    assert "eptreplay: injected: lookups:every=1us,dom=3: " in said
    assert "eptreplay: injected: calls:every=1us,targets=1: " in said
    assert "missing: LOOKUP" not in said
    manifest = json.loads(Path("out/manifest.json").read_text())
    given = {name: manifest["options"][name] for name in ("inject", "think_scale", "recorded_as", "recorded_on")}
    assert given == {
        "inject": ["lookups:every=1us,dom=3", "calls:every=1us,targets=1"],
        "think_scale": 1.5,
        "recorded_as": "xen-4.6",
        "recorded_on": "zero",
    }
    workload = pl.read_parquet("out/workload.parquet")
    assert set(workload.filter(origin="synthetic")["op"].unique()) == {"WAKE", "LOOKUP", "CALL", "IDLE"}


def test_a_preset_is_its_strategy_by_another_name(here: Run, places: dict[str, Path]) -> None:
    line = "replay {dataset} -o out -s eager --preset xen-4.6 --lock queue"
    assert here(*(part.format(**places) for part in line.split())).code == 0
    for table in ("runs", "causes", "pcpus"):
        rows = pl.read_parquet(f"out/{table}.parquet")
        one, other = (rows.filter(run=run).drop("run", "preset", strict=False) for run in (0, 1))
        assert_frame_equal(one, other)
        assert one.height


@pytest.mark.compiled
def test_the_note_on_compiling_is_for_people(
    here: Run, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eptreplay.jit.is_compiled", lambda _: False)
    for verb in ("replay {dataset} -o out -s egaer", "report {dataset} -s egaer"):
        assert len(here(*(part.format(**places) for part in verb.split())).lines) == 1


def test_damage_is_a_warning_or_with_strict_an_error(here: Run, places: dict[str, Path]) -> None:
    data = bytearray(places["recording"].read_bytes())
    data[40:44] = b"\xff" * 4
    damaged = write(places["recording"].parent, bytes(data), "damaged.xentrace")
    done = here("replay", damaged, "-o", "out")
    assert done.code == 0
    assert sum("warning: " in line for line in done.lines) == 1
    assert here("replay", damaged, "-o", "again", "--strict").code == 3
    assert not Path("again").exists()


def test_standard_input_is_a_source(places: dict[str, Path]) -> None:
    done = command("replay", "-", "-o", "out", "-s", "never", stdin=places["recording"].read_bytes())
    assert done.code == 0
    assert (Path("out") / "manifest.json").exists()
