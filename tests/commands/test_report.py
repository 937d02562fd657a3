"""``eptreplay report``: every format to every place, the sources that it takes, and what it leaves behind: nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest

from eptreplay.replay import replay
from eptreplay.replay.schema import RESULT_TABLES, RUNS
from tests.commands.conftest import Run
from tests.commands.running import PATIENCE_S, command, finish, hidden, started, wait_until, written
from tests.conftest import Unpack
from tests.replay.results import Guest
from tests.trace.made_recordings import GHZ, dataset, files_of, write
from tests.xentrace.made_files import record, window

FORMATS = ("table", "json", "csv", "parquet")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Return sources by name; the working directory is an empty one, and temporary files have a folder of their own."""
    made, work, scratch = tmp_path / "made", tmp_path / "work", tmp_path / "scratch"
    for folder in (made, work, scratch):
        folder.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    guest = Guest(0, 2).busy(0, 2).trace
    dataset_ = dataset(made, guest, events="ept", tsc_hz=GHZ)
    replay(dataset_, made / "result", detail="full")
    return {
        "recording": write(made, guest, "recording.xentrace"),
        "dataset": dataset_,
        "result": made / "result",
        "scratch": scratch,
        "made": made,
    }


def parts(line: str, places: dict[str, Path]) -> list[str]:
    """Return the arguments of a command line."""
    return [part.format(**places) for part in line.split()]


def names(folder: Path) -> list[str]:
    """Return what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def check(here: Run, places: dict[str, Path], line: str, code: int, message: str) -> None:
    """Assert that a command line ends so, with one line that says why, and leaves nothing behind."""
    before = files_of(places["made"].parent)
    done = here("report", *parts(line, places))
    assert (done.code, done.out) == (code, "")
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("eptreplay: ")
    assert message in done.err
    assert files_of(places["made"].parent) == before
    assert hidden(Path.cwd()) == names(places["scratch"]) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{dataset} --format jsn", "--format jsn: expected one of table, json, csv, parquet; did you mean json?"),
        ("{dataset} --format parquet", "--format parquet writes a folder of tables: name it with -o"),
        (
            "{dataset} -s eager -s deferred --baseline egaer",
            "--baseline egaer: expected one of eager, deferred; did you mean eager?",
        ),
        ("{dataset} --baseline xen-4.60", "--baseline xen-4.60: expected one of xen-4.6, xen-4.7, xen-4.22; did you"),
        ("{recording} --baseline eager", "--baseline eager: expected one of xen-4.6, xen-4.7, xen-4.22"),
        ("{result} --baseline never", "--baseline never: expected one of xen-4.6, xen-4.7, xen-4.22"),
        ("{dataset} --preset xen-4.222", "did you mean xen-4.22"),
        ("{dataset} -s xen-4.7", "-s xen-4.7: expected one of eager, "),
        ("{result} --preset xen-4.6", "is a result: --preset cannot change it"),
        ("{dataset} -s egaer", "did you mean eager"),
        ("{dataset} --profile two-sokcet", "did you mean two-socket?"),
        ("{dataset} --lock ticket", "--lock ticket: expected one of unfair, queue, percpu"),
        ("{dataset} --unseen no", "--unseen no: expected one of present, absent"),
        ("{dataset} --detail all", "--detail all: expected one of summary, full"),
        ("{dataset} --xen 4.17", "--xen and --tsc-hz were fixed when it was ingested"),
        ("{result} -s eager", "is a result: -s cannot change it"),
        ("{result} --seed 1", "is a result: --seed cannot change it"),
        ("{result} --seeds 2", "is a result: --seeds cannot change it"),
        ("{result} --recorded-as eager", "is a result: --recorded-as cannot change it"),
        ("{result} --recorded-on zero", "is a result: --recorded-on cannot change it"),
        ("{result} --inject calls:every=1ms", "is a result: --inject cannot change it"),
        ("{result} --think-scale 2", "is a result: --think-scale cannot change it"),
        ("{dataset} --think-scale -1", "--think-scale -1: expected a number above 0"),
        ("{dataset} --inject calls", "--inject calls: expected every=, as in calls:every=1ms"),
        ("{result} --strict", "is a result: --strict cannot change it"),
        ("{result} --unseen absent", "is a result: --unseen cannot change it"),
        ("{result} --detail full", "is a result: --detail cannot change it"),
        ("{result} --profile zero --lock queue", "is a result: --"),
        ("{result} --xen 4.17", "is a result: --xen cannot change it"),
        ("{result} --tsc-hz 1000000000", "is a result: --tsc-hz cannot change it"),
        ("{result} --keep kept", "is a result: --keep cannot change it"),
        ("nowhere --format json -o {recording}", "exists already"),
        ("nowhere --format parquet -o {made}", "exists already"),
        ("nowhere --format parquet -o {made} --force", "is not an output of eptreplay"),
        ("nowhere --keep {made} --force", "is not an output of eptreplay"),
    ],
)
def test_wrong_usage_is_2(here: Run, places: dict[str, Path], line: str, message: str) -> None:
    check(here, places, line, 2, message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere", "nowhere: no such file"),
        ("{dataset} {result}", "is a directory, expected a xentrace file"),
        ("{made}", "no dataset: manifest.json is missing"),
    ],
)
def test_bad_input_is_3(here: Run, places: dict[str, Path], line: str, message: str) -> None:
    check(here, places, line, 3, message)


@pytest.mark.parametrize("table", ["runs", "causes", "pcpus"])
def test_a_result_that_lost_a_file_is_told(here: Run, places: dict[str, Path], table: str) -> None:
    (places["result"] / f"{table}.parquet").unlink()
    check(here, places, "{result}", 3, f"{table}.parquet: missing, so the result is incomplete; replay again")


@pytest.mark.parametrize("table", ["runs", "holds", "workload"])
def test_a_result_with_a_file_that_is_none_is_told(here: Run, places: dict[str, Path], table: str) -> None:
    (places["result"] / f"{table}.parquet").write_bytes(b"PAR1 no more PAR1")
    check(here, places, "{result} --format parquet -o out", 3, f"{table}.parquet: cannot be read: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99, "eptreplay": "9.0"}, "schema 99, written by eptreplay 9.0; this version reads up to 1"),
        ({"schema": "new"}, "expected the manifest of a dataset with a schema number"),
        ({"tables": ["runs"]}, "expected a table causes; replay again"),
    ],
)
def test_a_result_that_this_version_cannot_read_is_told(
    here: Run, places: dict[str, Path], change: dict[str, object], message: str
) -> None:
    path = places["result"] / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    check(here, places, "{result}", 3, message)


@pytest.mark.parametrize("line", ["{dataset} --format json -o nowhere/out", "{dataset} -o /proc/out",
                                  "{dataset} --format parquet -o /proc/out", "{dataset} --keep /proc/out"])  # fmt: skip
def test_a_target_that_cannot_be_written_is_4(here: Run, places: dict[str, Path], line: str) -> None:
    check(here, places, line, 4, "cannot be written")


# Formats


@pytest.mark.parametrize("source", ["recording", "dataset", "result"])
def test_json_is_one_document_whatever_the_source(here: Run, places: dict[str, Path], source: str) -> None:
    options = ["--tsc-hz", GHZ] if source == "recording" else []
    done = here("report", places[source], "--format", "json", *options)
    assert done.code == 0
    document = json.loads(done.out)
    assert list(document)[:5] == ["schema", "version", "source", "sources", "trace"]
    assert document["schema"] == 1
    assert [list(row) for row in document["runs"]] == [[column.name for column in RUNS]] * 3
    names = [("xen-4.6", "eager"), ("xen-4.7", "deferred"), ("xen-4.22", "deferred-2026")]
    assert [(row["preset"], row["strategy"]) for row in document["runs"]] == names
    assert {row["p2m_dom"] for row in document["by_domain"]} == {3}
    assert document["runs"] == json.loads(here("report", places["result"], "--format", "json").out)["runs"]
    for row in document["runs"]:
        for key, by in (("by_domain", "p2m_dom"), ("by_cause", "cause")):
            own = [part for part in document[key] if part["run"] == row["run"]]
            assert len({part[by] for part in own}) == len(own)
            for name in ("holds", "p2m_sets", "syncs", "broadcasts", "ipis", "invepts", "guest_stolen_ns"):
                assert sum(part[name] for part in own) == row[name], name
    assert done.lines[0].startswith("eptreplay: TSC ")


def test_csv_has_the_runs_and_nothing_where_nothing_is_known(here: Run, places: dict[str, Path]) -> None:
    done = here("report", places["result"], "--format", "csv")
    [first, *_] = rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(first) == [column.name for column in RUNS]
    assert [row["strategy"] for row in rows] == ["eager", "deferred", "deferred-2026"]
    assert (first["preset"], first["violations_p1"]) == ("xen-4.6", "")
    assert int(first["p2m_sets"]) > 0


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_gets_what_standard_output_gets(here: Run, places: dict[str, Path], format_: str) -> None:
    done = here("report", places["result"], "--format", format_, "-o", "out")
    assert (done.code, done.out) == (0, "")
    assert done.lines[-1] == f"eptreplay: out: {format_} written"
    if format_ == "parquet":
        for path in places["result"].glob("*.parquet"):
            assert pl.read_parquet(path).equals(pl.read_parquet(Path("out") / path.name))
        assert len(list(Path("out").iterdir())) == len(RESULT_TABLES) + 1
    else:
        assert Path("out").read_text() == here("report", places["result"], "--format", format_).out
    assert here("report", places["result"], "--format", format_, "-o", "out").code == 2
    assert here("report", places["result"], "--format", format_, "-o", "out", "--force").code == 0
    assert hidden(Path.cwd()) == []


def test_the_table_says_what_matters_and_what_it_rests_on(here: Run, places: dict[str, Path]) -> None:
    done = here("report", places["dataset"], "-s", "eager", "-s", "deferred")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("deferred holds the p2m lock ")
    for text in ("under lock", "against eager", "by domain", "by cause", "d3", "logdirty_fault", "TSC 1000000000 Hz"):
        assert text in done.out


def test_a_baseline_may_be_any_row(here: Run, places: dict[str, Path]) -> None:
    done = here("report", places["result"], "--baseline", "xen-4.22")
    assert "against xen-4.22" in done.out
    assert "against xen-4.6" not in done.out
    document = json.loads(here("report", places["result"], "--baseline", "xen-4.22", "--format", "json").out)
    assert document["baseline"] == 2


def test_a_strategy_and_its_preset_are_two_rows(here: Run, places: dict[str, Path]) -> None:
    line = parts("report {dataset} --preset xen-4.6 -s deferred -s eager --baseline", places)
    for baseline, number in (("deferred", 0), ("eager", 1), ("xen-4.6", 2)):
        assert f"against {baseline}" in [part.strip() for part in here(*line, baseline).out.splitlines()]
        document = json.loads(here(*line, baseline, "--format", "json").out)
        assert document["baseline"] == number
        assert [row["preset"] for row in document["runs"]] == [None, None, "xen-4.6"]
    done = here(*line, "xen-4.6").out
    for table in ("against xen-4.6", "by domain", "by cause"):
        assert " eager " in done.partition(table)[2]
    assert all(" xen-4.6 " in done.partition(table)[2] for table in ("by domain", "by cause"))


def test_which_lock_a_preset_gets_is_said(here: Run, places: dict[str, Path]) -> None:
    presets = (("xen-4.6: eager", "unfair"), ("xen-4.7: deferred", "percpu"), ("xen-4.22: deferred-2026", "percpu"))
    own = [f"{name}, lock {lock}" for name, lock in presets]
    replaced = [f"{name}, lock queue in place of {lock}, as --lock says" for name, lock in presets]
    for options, lines in (([], own), (["--lock", "queue"], replaced)):
        done = here("report", places["dataset"], "--format", "json", *options)
        assert json.loads(done.out)["assumptions"]["presets"] == lines
        assert [line for line in done.lines if "preset" in line] == [f"eptreplay: preset {line}" for line in lines]
        out = here("report", places["dataset"], *options).out
        assert all(f"preset {line}\n" in out for line in lines)
    assert (
        json.loads(here("report", places["dataset"], "-s", "eager", "--format", "json").out)["assumptions"]["presets"]
        == []
    )


def test_a_recording_without_any_p2m_operation_is_no_error(here: Run, places: dict[str, Path]) -> None:
    idle = write(places["made"], window(0, record(0x81001, tsc=5) + record(0x81001, tsc=9)), "idle.xentrace")
    done = here("report", idle)
    assert done.code == 0
    assert " ".join(done.out.split()).startswith("No p2m write is in this recording, recorded or inferred")
    for row in json.loads(here("report", idle, "--format", "json").out)["runs"]:
        assert (row["p2m_sets"], row["holds"], row["broadcasts"]) == (0, 0, 0)
        assert (row["hold_ns_p50"], row["hold_ns_max"], row["op_latency_ns_max"]) == (None, None, None)


def test_a_recording_without_any_operation_at_all_is_none_either(here: Run, places: dict[str, Path]) -> None:
    empty = write(places["made"], window(0, record(0x82004, (3, 0))), "empty.xentrace")
    done = here("report", empty)
    assert (done.code, "No p2m write" in done.out) == (0, True)
    assert here("replay", empty, "-o", "out").code == 0


# What is left behind


def test_nothing_is_left_but_what_was_asked_for(here: Run, places: dict[str, Path]) -> None:
    before = files_of(places["made"])
    assert here("report", places["recording"]).code == 0
    assert names(places["scratch"]) == names(Path.cwd()) == []
    assert here("report", places["recording"], "--format", "json", "-o", "out").code == 0
    assert names(Path.cwd()) == ["out"]
    assert (names(places["scratch"]), files_of(places["made"])) == ([], before)


def test_what_is_kept_is_what_the_verbs_make_one_by_one(here: Run, places: dict[str, Path]) -> None:
    line = parts("report {recording} --tsc-hz 1000000000 --keep kept --detail full", places)
    done = here(*line)
    assert done.code == 0
    assert names(Path("kept")) == ["result", "trace"]
    assert here("ingest", places["recording"], "-o", "trace", "--tsc-hz", GHZ).code == 0
    assert here("replay", "trace", "-o", "result", "--detail", "full").code == 0
    assert files_of(Path("kept/trace")) == files_of(Path("trace"))
    assert files_of(Path("kept/result")) == files_of(Path("result"))
    assert here("report", "kept/result").out == done.out
    assert here(*line).code == 2
    assert here(*line, "--force").code == 0
    assert names(places["scratch"]) == []


def test_a_dataset_that_is_there_already_is_not_kept_again(here: Run, places: dict[str, Path]) -> None:
    assert here("report", places["dataset"], "--keep", "kept").code == 0
    assert names(Path("kept")) == ["result"]


@pytest.mark.parametrize(
    "line",
    [
        "{recording} --strict",
        pytest.param("{recording} -s {made}/uncompiled.py:MINE", marks=pytest.mark.compiled),
        "{recording} --keep kept --strict",
    ],
)
def test_nothing_is_left_after_an_error(here: Run, places: dict[str, Path], line: str) -> None:
    if "strict" in line:
        data = bytearray(places["recording"].read_bytes())
        data[-40:-36] = b"\xff" * 4
        places["recording"].write_bytes(data)
    (places["made"] / "uncompiled.py").write_text(
        "from eptreplay.strategies import Strategy\nMINE = Strategy(name='mine', decide=lambda request: request.none)\n"
    )
    done = here("report", *parts(line, places))
    assert done.code in (2, 3)
    assert names(places["scratch"]) == names(Path.cwd()) == []


ENDS = {signal.SIGINT: (130, "eptreplay: interrupted"), signal.SIGTERM: (143, "eptreplay: terminated")}


@pytest.mark.compiled
@pytest.mark.parametrize("sent", ENDS, ids=lambda sent: sent.name)
@pytest.mark.parametrize("keep", [False, True])
def test_nothing_is_left_after_a_signal(
    places: dict[str, Path], unpacked: Unpack, sent: signal.Signals, *, keep: bool
) -> None:
    """It comes while the trace dataset is being made, or once it has been, and the replay is under way."""
    options = ["--keep", "kept"] if keep else []
    env = {"TMPDIR": str(places["scratch"])}
    with started(
        "report", unpacked("r12"), "-s", "all", "--detail", "full", *options, measured=False, env=env
    ) as process:
        folder = Path.cwd() if keep else places["scratch"]
        wait_until(lambda: process.poll() is not None or written(folder, "/trace/manifest.json"))
        process.send_signal(sent)
        done = finish(process)
    assert (done.code, done.out, done.lines[-1]) == (ENDS[sent][0], "", ENDS[sent][1])
    assert names(places["scratch"]) == names(Path.cwd()) == []


def test_a_reader_who_has_seen_enough_is_no_error(places: dict[str, Path]) -> None:
    for format_ in ("table", "json", "csv"):
        with started("report", places["result"], "--format", format_) as process:
            assert process.stdout
            process.stdout.close()
            assert process.wait(PATIENCE_S) == 0
            assert process.stderr
            assert "Traceback" not in process.stderr.read().decode()


def test_standard_input_is_a_source(places: dict[str, Path]) -> None:
    done = command("report", "-", "--format", "csv", stdin=places["recording"].read_bytes())
    assert (done.code, len(done.out.splitlines())) == (0, 4)


def test_several_files_are_one_recording(here: Run, places: dict[str, Path]) -> None:
    data = places["recording"].read_bytes()
    second = write(places["made"], data[12 + int.from_bytes(data[8:12], "little") :], "second")
    first = write(places["made"], data[: 12 + int.from_bytes(data[8:12], "little")], "first")
    one = json.loads(here("report", first, second, "--format", "json").out)
    other = json.loads(here("report", places["recording"], "--format", "json").out)
    # Who runs is not carried over from file to file, but what is written is. Stores hang on when marks are resolved.
    for name in ("p2m_sets", "holds", "syncs", "broadcasts"):
        assert [row[name] for row in one["runs"]] == [row[name] for row in other["runs"]]
    assert [source["name"] for source in one["sources"]] == ["first", "second"]


def test_a_folder_of_tables_is_replaced_only_if_it_is_one(here: Run, places: dict[str, Path]) -> None:
    shutil.copytree(places["result"], "out")
    done = here("report", places["result"], "--format", "parquet", "-o", "out", "--force")
    assert (done.code, "is not an output of eptreplay" in done.err) == (2, True)
