"""What is encoded is decoded again: every event, in every layout of every release, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import eptreplay
from eptreplay.errors import UsageError
from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.encode import Trace, window_sizes, window_starts
from eptreplay.xentrace.record import CPU_CHANGE, MAX_PCPUS
from tests.compiled import COMPILED
from tests.xentrace.made_files import files, record, window
from tests.xentrace.made_traces import RELEASES, Entry, every_entry, traces

INPUT_BYTES = [64, 1000, 1 << 16]
many = settings(max_examples=60 if COMPILED else 15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def round_trip(data: bytes, folder: Path, input_bytes: int = 1 << 16) -> tuple[bytes, list[tuple[int, ...]]]:
    """Return the file exported from a dataset of ``data``, and (event, TSC or -1, words...) of the dataset's rows."""
    source, dataset, exported = folder / "made.xentrace", folder / "made.ds", folder / "again.xentrace"
    source.write_bytes(data)
    manifest = eptreplay.ingest([source], dataset, events="all", force=True, input_bytes=input_bytes)
    assert (manifest["bytes_decoded"], manifest["damage_total"]) == (len(data), 0)
    eptreplay.export(dataset, to="xentrace", output=exported, force=True)
    rows = eptreplay.scan(dataset).select("event", "timed", "tsc", "n", *(f"w{i}" for i in range(7))).collect().rows()
    return exported.read_bytes(), [
        (event, tsc if timed else -1, *words[:n]) for event, timed, tsc, n, *words in rows if event != CPU_CHANGE
    ]


@pytest.mark.parametrize("xen", RELEASES)
def test_every_event_of_a_release_comes_back(xen: str, tmp_path: Path) -> None:
    entries = every_entry(xen)
    trace = Trace(xen)
    for number, (event, layout, values, tsc) in enumerate(entries):
        if number % 100 == 0:
            trace.window(number % 700)
        trace.add_raw(event.id, layout.pack(values), tsc=tsc)

    exported, rows = round_trip(trace.bytes(), tmp_path)

    assert exported == trace.bytes()
    assert len(rows) == len(entries)
    for entry, (event_id, tsc, *words) in zip(entries, rows, strict=True):
        assert (event_id, tsc) == (entry.event.id, -1 if entry.tsc is None else entry.tsc)
        assert entry.layout.unpack(words) == entry.values


@many
@given(made=traces(), input_bytes=st.sampled_from(INPUT_BYTES))
def test_fields_that_are_put_in_come_out(made: tuple[Trace, list[Entry]], input_bytes: int, tmp_path: Path) -> None:
    trace, added = made

    exported, rows = round_trip(trace.bytes(), tmp_path, input_bytes)

    assert exported == trace.bytes()
    assert len(rows) == len(added)
    for entry, (event_id, tsc, *words) in zip(added, rows, strict=True):
        assert (event_id, tsc) == (entry.event.id, -1 if entry.tsc is None else entry.tsc)
        assert entry.layout.unpack(words) == entry.values


@many
@given(data=files(), input_bytes=st.sampled_from(INPUT_BYTES))
@example(data=window(3, b""), input_bytes=64)
@example(data=window(1, record(CPU_CHANGE, [1, 2, 3]) * 6) + window(2, b""), input_bytes=64)
@example(data=window(1, record(CPU_CHANGE, [1, 8], tsc=5) * 6), input_bytes=1000)
def test_files_with_unknown_events_come_back_byte_for_byte(data: bytes, input_bytes: int, tmp_path: Path) -> None:
    source, dataset, exported = tmp_path / "made.xentrace", tmp_path / "made.ds", tmp_path / "again.xentrace"
    source.write_bytes(data)
    manifest = eptreplay.ingest([source], dataset, events="all", force=True, input_bytes=input_bytes)
    eptreplay.export(dataset, to="xentrace", output=exported, force=True)

    if manifest["damage_total"] == 0:
        assert exported.read_bytes() == data
    # What is exported of a damaged file is a valid one with the same records.
    again = eptreplay.info(exported)
    assert (again["damage_total"], again["events"]) == (0, manifest["events"])


def test_an_optional_field_and_all_behind_it_may_be_absent() -> None:
    trace = Trace()
    trace.window(0)
    trace.add("PV_HYPERCALL_V2", tsc=1, op=0x10_001A, arg0=7)
    trace.add("PV_HYPERCALL_V2", tsc=2, op=3)
    assert trace.bytes() == window(0, record(0x20100D, [0x10_001A, 7], 1) + record(0x20100D, [3], 2))


def test_a_trace_is_written_in_the_layout_of_its_release() -> None:
    def written(xen: str) -> bytes:
        trace = Trace(xen)
        trace.window(2)
        trace.add("MEM_DECREASE_RESERVATION", gfn=0x1_2345_6789, domid=3, order=9)
        return trace.bytes()

    assert written("4.17") == window(2, record(0x10F005, [0x2345_6789, 1, 9 << 16 | 3, 0]))
    assert written("4.18") == window(2, record(0x10F005, [0x2345_6789, 1, 3, 9]))


def test_a_trace_refuses_what_no_record_can_hold() -> None:
    trace = Trace()
    with pytest.raises(ValueError, match="no window was begun"):
        trace.add("HVM_VMENTRY", tsc=1)
    for pcpu in (-1, MAX_PCPUS):
        with pytest.raises(ValueError, match="expected 0 to 16383"):
            trace.window(pcpu)
    trace.window(MAX_PCPUS - 1)
    with pytest.raises(UsageError, match="did you mean HVM_VMENTRY"):
        trace.add("HVM_VMENTRI")
    with pytest.raises(ValueError, match="no field gnf"):
        trace.add("MEM_DECREASE_RESERVATION", gnf=1)
    with pytest.raises(ValueError, match="order"):
        trace.add("MEM_SET_P2M_ENTRY", order=1 << 16)
    with pytest.raises(ValueError, match="28 bits"):
        trace.add_raw(1 << 28)
    for words in ([0] * 8, [1 << 32], [-1]):
        with pytest.raises(ValueError, match="7 words"):
            trace.add_raw(0x10F000, words)
    for tsc in (-1, 1 << 63):
        with pytest.raises(ValueError, match="TSC"):
            trace.add_raw(0x81001, tsc=tsc)
    assert trace.bytes() == window(MAX_PCPUS - 1, b"")


def test_only_what_starts_a_window_counts_as_its_start() -> None:
    event = np.array([CPU_CHANGE, CPU_CHANGE, CPU_CHANGE, by_name("HVM_VMENTRY").id], np.uint32)
    timed, n = np.array([False, True, False, True]), np.array([2, 2, 3, 2], np.uint8)
    assert window_starts(event, timed, n).tolist() == [0]


def test_window_sizes_go_on_over_cuts() -> None:
    size = np.array([8, 12, 100, 12, 12, 16])
    starts = np.array([1, 3, 4])
    assert window_sizes(starts, size, 20) == ([28, 100, 0], 16)
    assert window_sizes(starts[:0], size[:1], 20) == ([], 28)
