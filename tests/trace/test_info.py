"""What is said about a recording: the same of a file and of its dataset, and complete."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eptreplay
from eptreplay.errors import DamageError, InputError, UsageError
from eptreplay.trace import info as module
from eptreplay.trace import summary
from eptreplay.trace.lacks import INVISIBLE, LACKS, missing_classes
from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.trace.made_recordings import busy_recording, dataset, long_recording, scheduled_recording, write
from tests.xentrace.made_files import files, record, window
from tests.xentrace.mutants import mutate

many = settings(max_examples=40 if COMPILED else 12, suppress_health_check=[HealthCheck.function_scoped_fixture])

CONTRACT = {
    "source", "records", "windows", "pcpus", "events", "span_ticks", "span_ns", "tsc_hz", "xen", "vendor",
    "bytes_decoded", "bytes_skipped", "damage", "lost_records", "p2m", "missing", "sources",
}  # fmt: skip


def one_record(name: str = "HVM_VMENTRY", **values: int) -> Trace:
    """Return a recording of a single record."""
    trace = Trace()
    trace.window(0)
    trace.add(name, tsc=5, **values)
    return trace


def test_the_document_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    document = eptreplay.info(write(tmp_path, busy_recording()))
    assert document.keys() > CONTRACT
    assert set(document["source"]) == {"name", "bytes", "sha256"}
    assert set(document["tsc_hz"]) == {"value", "how", "spread"}
    assert set(document["xen"]) == {"layout", "how"}
    assert set(document["p2m"]) == {"sets", "by_domain", "recorded", "inferred", "invisible", "rules"}


def test_everything_is_counted(tmp_path: Path) -> None:
    data = busy_recording().bytes()
    document = eptreplay.info(write(tmp_path, data))
    assert (document["records"], document["windows"], document["pcpus"]) == (28, 6, [0, 3, 300])
    assert sum(document["events"].values()) == 28
    assert document["events"]["0x001f003"] == 6
    assert document["events"]["0x010f004"] == 2
    assert list(document["events"]) == sorted(document["events"])
    assert (document["bytes_decoded"], document["bytes_skipped"]) == (len(data), 0)
    assert (document["first_tsc"], document["span_ticks"], document["timed_records"]) == (1000, 2100, 12)
    assert document["tsc_steps_back"] == {"count": 1, "max_ticks": 100}
    assert document["lost_records"] == 17
    p2m = document["p2m"]
    assert (p2m["recorded"], p2m["sets"], p2m["by_domain"], p2m["inferred"]) == (3, 3, {"1": 2, "2": 1}, 0)


def test_a_pcpu_of_empty_windows_only_has_no_records(tmp_path: Path) -> None:
    document = eptreplay.info(write(tmp_path, window(7, b"") + window(1, record(0x8200B))))
    assert document["pcpus"] == [1]


@many
@given(
    data=files(),
    rng=st.one_of(st.none(), st.randoms(use_true_random=False)),
    events=st.sampled_from(["ept", "all"]),
    tsc_hz=st.sampled_from([None, 1_000_000_000]),
    xen=st.sampled_from([None, "4.18"]),
)
def test_a_file_and_its_dataset_tell_the_same(
    tmp_path: Path, data: bytes, rng: Random | None, events: str, tsc_hz: int | None, xen: str | None
) -> None:
    source = write(tmp_path, mutate(rng, data) if rng else data)
    try:
        document = eptreplay.info(source, tsc_hz=tsc_hz, xen=xen)
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(str(error))):
            eptreplay.ingest([source], tmp_path / "ds", force=True)
        return
    eptreplay.ingest([source], tmp_path / "ds", events=events, tsc_hz=tsc_hz, xen=xen, force=True)
    assert eptreplay.info(tmp_path / "ds") == document
    assert document["bytes_decoded"] + document["bytes_skipped"] == source.stat().st_size


def test_several_files_are_one_recording(tmp_path: Path) -> None:
    paths = [write(tmp_path, busy_recording(), "a"), write(tmp_path, long_recording(10), "b")]
    document = eptreplay.info(paths)
    assert [x["name"] for x in document["sources"]] == ["a", "b"]
    assert document["source"]["name"] == "a"
    assert document["records"] == sum(eptreplay.info(path)["records"] for path in paths)


def test_files_of_1_gb_and_more_are_neither_hashed_nor_searched_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = busy_recording().bytes()
    small, large = write(tmp_path, window(0, b""), "small"), write(tmp_path, data, "large")
    complete = eptreplay.info(large)
    assert module.LARGE_BYTES == 1_000_000_000
    monkeypatch.setattr(module, "LARGE_BYTES", len(data))
    unknown = dict.fromkeys(("p2m", "calls", "tsc_skew"))
    expected = {**complete, **unknown, "source": {**complete["source"], "sha256": None}}
    assert eptreplay.info(large) == {**expected, "sources": [expected["source"]]}
    assert eptreplay.info(large, full=True) == complete
    assert eptreplay.info(small)["p2m"] is not None
    assert [x["sha256"] for x in eptreplay.info([small, large])["sources"]] == [None, None]
    monkeypatch.setattr(module, "LARGE_BYTES", len(data) + 1)
    assert eptreplay.info(large) == complete


def test_damage_is_listed_up_to_a_point_and_counted_beyond_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = record(0x81001, tsc=5)
    source = write(tmp_path, window(2, (entry * 9 + b"\xff" * 20) * 5 + entry * 9) + window(1, b"", 7))
    monkeypatch.setattr(summary, "DAMAGE_LISTED", 3)
    document = eptreplay.info(source)
    assert document["damage_total"] == 6
    assert [spot["offset"] for spot in document["damage"]] == [120, 248, 376]
    assert document["damage"][0] == {
        "source": 0,
        "offset": 120,
        "bytes": 20,
        "pcpu": 2,
        "reason": "bad-record",
        "message": "byte 120: expected the header of a record of a known class with records behind it,"
        " found ff ff ff ff",
    }
    with pytest.raises(DamageError, match=r"made.xentrace: byte 120"):
        eptreplay.info(source, strict=True)
    with pytest.raises(DamageError, match=r"ds: byte 120"):
        eptreplay.info(dataset(tmp_path, source.read_bytes()), strict=True)


def test_damage_whose_pcpu_is_unknown_says_so(tmp_path: Path) -> None:
    document = eptreplay.info(write(tmp_path, window(2, b"") + b"rubbish." + window(2, b"")))
    assert [(spot["reason"], spot["pcpu"]) for spot in document["damage"]] == [("no-window", None)]


def test_without_a_tsc_there_is_no_span(tmp_path: Path) -> None:
    document = eptreplay.info(write(tmp_path, window(0, record(0x8200B))))
    assert [document[key] for key in ("first_tsc", "span_ticks", "span_ns", "timed_records")] == [None, None, None, 0]


@pytest.mark.parametrize("hz", [1_000_000_000, 2_596_121_000, 3_999_999_999])
def test_the_frequency_is_estimated_given_or_assumed_and_that_is_said(tmp_path: Path, hz: int) -> None:
    source = write(tmp_path, scheduled_recording(hz))
    estimated = eptreplay.info(source)
    assert estimated["tsc_hz"]["how"] == "estimated"
    assert estimated["tsc_hz"]["value"] == pytest.approx(hz, rel=1e-5)
    assert 0 <= estimated["tsc_hz"]["spread"] < hz / 1000
    assert estimated["span_ns"] == estimated["span_ticks"] * 10**9 // estimated["tsc_hz"]["value"]
    given_ = eptreplay.info(source, tsc_hz=2_000_000_000)
    assert given_["tsc_hz"] == {"value": 2_000_000_000, "how": "given", "spread": None}
    assert given_["span_ns"] == given_["span_ticks"] // 2
    assumed = eptreplay.info(write(tmp_path, one_record(), "other"))
    assert assumed["tsc_hz"] == {"value": 2_400_000_000, "how": "assumed", "spread": None}


def test_a_loss_of_records_between_two_runs_spoils_no_estimate(tmp_path: Path) -> None:
    runs, trace = scheduled_recording(2_000_000_000, 30).bytes()[12:], Trace()
    trace.window(0)
    trace.add("LOST_RECORDS", tsc=900_000_000, count=5, domid=1, vcpu=0, first_tsc=800_000_000)
    lost = trace.bytes()[12:]
    late = scheduled_recording(1_000_000_000, 3).bytes()[12:]
    document = eptreplay.info(write(tmp_path, window(0, runs + lost + runs + late)))
    assert document["tsc_hz"]["value"] == pytest.approx(2_000_000_000, rel=1e-3)


# What is missing


def test_each_lack_is_said_until_one_of_its_events_is_there(tmp_path: Path) -> None:
    every = eptreplay.info(write(tmp_path, one_record("SCHED_CTL")))["missing"]
    assert [line.partition(":")[0] for line in every] == [lack.name for lack in LACKS]
    for lack in LACKS:
        for event in lack.events:
            found = missing_classes({by_name(event).id: 1}, timed=1, lost=0)
            assert lack.name not in {line.partition(":")[0] for line in found}


def test_next_to_no_tscs_are_a_lack(tmp_path: Path) -> None:
    def lines(timed: int, untimed: int) -> list[str]:
        wraps = record(0x1F002, [0] * 5) * 500  # padding does not count
        data = window(0, record(0x81001, tsc=5) * timed + record(0x8200B) * untimed + wraps)
        missing = eptreplay.info(write(tmp_path, data))["missing"]
        return [line for line in missing if line.startswith("TSC:")]

    assert lines(1, 99) == []
    assert lines(1, 100) == ["TSC: 1 of 101 records carry a TSC (under 1 %): durations cannot be known"]
    assert lines(0, 1) == ["TSC: 0 of 1 records carry a TSC (under 1 %): durations cannot be known"]


def test_lost_records_are_a_lack(tmp_path: Path) -> None:
    missing = eptreplay.info(write(tmp_path, busy_recording()))["missing"]
    assert missing[-1].startswith("LOST: Xen dropped 17 records")


@pytest.mark.parametrize(
    ("records", "vendor", "first"),
    [
        (record(0x8200F), "svm", "recalculated entries"),
        (record(0x8200F, [5]), "vmx", "all writes of EPT entries"),
        (record(0x8200F, [5]) + record(0x10F042, [0] * 7, 9), "vmx", "resolved misconfigurations"),
        (record(0x81001, tsc=5), None, "global and range type changes"),
    ],
)
def test_invisible_writes_depend_on_the_vendor_and_on_a_patched_xen(
    tmp_path: Path, records: bytes, vendor: str | None, first: str
) -> None:
    document = eptreplay.info(write(tmp_path, window(0, records)))
    assert document["vendor"] == vendor
    assert document["p2m"]["invisible"][0].startswith(first)
    assert set(document["p2m"]["invisible"]) <= set(INVISIBLE[vendor])


# Wrong requests


def test_wrong_requests_are_errors(tmp_path: Path) -> None:
    folder = dataset(tmp_path, busy_recording())
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        ([], {}, UsageError, "nothing to read"),
        (tmp_path / "nowhere", {}, InputError, "no such file"),
        (tmp_path, {}, InputError, "manifest.json is missing"),
        ([folder, folder], {}, InputError, "is a directory"),
        (folder, {"xen": "4.18"}, UsageError, "fixed when it was ingested"),
        (folder, {"tsc_hz": 10**9}, UsageError, "fixed when it was ingested"),
        (folder, {"tsc_hz": 1}, UsageError, "--tsc-hz 1"),
        (tmp_path / ("a" * 300), {}, InputError, "File name too long"),
    ]
    for source, options, error, message in wrong:
        with pytest.raises(error, match=message):
            eptreplay.info(source, **options)
