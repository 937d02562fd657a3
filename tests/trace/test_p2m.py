"""Rows of ``p2m``: every memory event by its name, read as the release that wrote it lays it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.trace.p2m import FIELDS, KIND_NAMES, KINDS, MEMORY_EVENTS, NO_TABLE
from eptreplay.xentrace.catalogue import EVENTS, class_of
from eptreplay.xentrace.catalogue.extension import GLOBAL_MEMORY_TYPES, GLOBAL_RANGE
from eptreplay.xentrace.encode import Trace
from tests.compiled import COMPILED
from tests.trace.made_recordings import busy_recording, dataset, tables
from tests.xentrace.made_traces import RELEASES, Entry, entries

many = settings(max_examples=60 if COMPILED else 15, suppress_health_check=[HealthCheck.function_scoped_fixture])
LIMITS = {"p2m_dom": 1 << 16, "order": 1 << 16, "p2mt": 1 << 8}
"""What some layouts have more bits for than the column, and no record means."""
DETAILS = ["p2m_dom", "gfn", "order", "mfn", "p2mt", "qualification"]


def rows(recording: Trace, folder: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Return rows of ``p2m``, for all columns but those of every record if none are named."""
    return tables(dataset(folder, recording))["p2m"].select("kind", *(columns or DETAILS)).rows()


def test_each_kind_has_its_row(tmp_path: Path) -> None:
    none = None
    assert rows(busy_recording(), tmp_path) == [
        ("npf", none, 0x1234, none, 0x88, 2, 0x182),
        ("decrease", 2, 0x200, 9, none, none, none),
        ("set", 2, 0x300, 0, 0x301, 0, none),
        ("set", 1, 0x1_0000_0001, 9, (1 << 64) - 1, 1, none),
        ("npf", 1, 0x1_0000_0001, none, 0x99, 0, 0),
        ("pod_populate", 1, 0x42, 9, 0x43, none, none),
        ("pod_zero", 1, 0x44, 0, 0x45, none, none),
        ("grant_map", none, none, none, none, none, none),
        ("grant_unmap", none, none, none, none, none, none),
        ("grant_transfer", none, none, none, none, none, none),
        ("npf", 1, 0x5, none, 0x5, 0, 0),
        ("set", 1, 7, 0, 8, 0, none),
        ("page_free", none, none, 0, 9, none, none),
        ("splinter", 1, 0x600, none, none, none, none),
    ]


def test_rows_say_where_and_when_they_were_recorded_and_who_ran(tmp_path: Path) -> None:
    found = tables(dataset(tmp_path, busy_recording()))
    record = ["source", "offset", "pcpu", "tsc", "run_dom", "run_vcpu"]
    expected = found["events"].filter(pl.col("event").is_in([event.id for event in MEMORY_EVENTS]))
    assert found["p2m"].select(record).rows() == expected.select(record).rows()


@pytest.mark.parametrize("xen", ["4.17", "4.18"])
def test_orders_are_read_from_where_the_release_puts_them(tmp_path: Path, xen: str) -> None:
    trace = Trace(xen)
    trace.window(0)
    trace.add("MEM_DECREASE_RESERVATION", gfn=1, domid=0x7FF0, order=9)
    trace.add("MEM_POD_POPULATE", gfn=2, mfn=3, domid=0x7FF0, order=18)
    trace.add("MEM_POD_ZERO_RECLAIM", gfn=4, mfn=5, domid=0x7FF0, order=0)
    if xen == "4.18":
        trace.add("MEM_POD_SUPERPAGE_SPLINTER", gfn=6, domid=0x7FF0, order=9)
    else:
        trace.add("MEM_POD_SUPERPAGE_SPLINTER", gfn=6, domid=0x7FF0)
    folder = dataset(tmp_path, trace)
    found = tables(folder)["p2m"].select("kind", "p2m_dom", "order").rows()
    assert found[:3] == [("decrease", 0x7FF0, 9), ("pod_populate", 0x7FF0, 18), ("pod_zero", 0x7FF0, 0)]
    assert found[3:] == [("splinter", 0x7FF0, 9 if xen == "4.18" else None)]


def test_a_given_release_is_believed(tmp_path: Path) -> None:
    trace = Trace("4.17")
    trace.window(0)
    trace.add("MEM_DECREASE_RESERVATION", gfn=1, domid=3, order=9)
    found = tables(dataset(tmp_path, trace, xen="4.18"))["p2m"]
    # Both halves of the word are the domain then, and no domain has such a number.
    assert found.select("p2m_dom", "order").rows() == [(None, 0)]


def test_the_p2m_of_a_fault_is_that_of_who_ran(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    trace.add("HVM_NPF", gpa=0x1000, mfn=0, p2mt=4)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=5, domid=9, vcpu=3)
    trace.add("HVM_NPF", gpa=0x2FFF, mfn=0, p2mt=4)
    trace.add("RUNSTATE_RUNNING_TO_RUNNABLE", tsc=6, domid=9, vcpu=3)
    trace.add("HVM_NPF", gpa=0x3000, mfn=0, p2mt=4)
    assert rows(trace, tmp_path, "p2m_dom", "gfn") == [("npf", None, 1), ("npf", 9, 2), ("npf", None, 3)]


def test_every_memory_event_has_a_kind() -> None:
    assert {e.id for e in MEMORY_EVENTS} == {e.id for e in EVENTS if class_of(e.id) == "mem"} | {0x82021}
    assert set(KINDS) <= {e.name for e in MEMORY_EVENTS}
    assert {KINDS.get(e.name, e.name.lower()) for e in MEMORY_EVENTS} == set(KIND_NAMES)
    assert {"set", "npf", "pod_populate", "pod_zero", "splinter", "decrease", "grant_map", "grant_unmap"} < set(
        KIND_NAMES
    )


def expected_row(entry: Entry, xen: str) -> tuple[Any, ...]:
    """Return what a row should say of a record, worked out field by field."""
    found: dict[str, int | None] = dict.fromkeys(DETAILS)
    words = entry.layout.pack(entry.values)
    layout = [x for x in entry.event.layouts_in(xen) if x.min_words <= len(words) <= x.max_words][-1]
    for name, value in layout.unpack(words).items():
        column = FIELDS.get(name)
        if column and not (column == "p2m_dom" and entry.event.name in NO_TABLE):
            found[column] = value >> 12 if name == "gpa" else value
    if entry.event.name == "P2M_GLOBAL_CHANGE":
        found["gfn"] = found["gfn"] if entry.values["flags"] & GLOBAL_RANGE else None
        found["p2mt"] = None if entry.values["flags"] & GLOBAL_MEMORY_TYPES else found["p2mt"]
    for column, highest in (("p2m_dom", 0x7FFF), ("order", 30), ("p2mt", 0xFF)):
        seen = found[column]
        if seen is not None and seen > highest:
            found[column] = None
    return (KINDS.get(entry.event.name, entry.event.name.lower()), *found.values())


@many
@given(data=st.data(), written=st.sampled_from(RELEASES), read=st.sampled_from(RELEASES))
def test_fields_are_those_of_the_layout(tmp_path: Path, data: st.DataObject, written: str, read: str) -> None:
    chosen = data.draw(st.lists(entries(written, MEMORY_EVENTS), max_size=12))
    trace = Trace(written)
    trace.window(0)
    for entry in chosen:
        trace.add(entry.event.name, tsc=entry.tsc, **entry.values)
    found = tables(dataset(tmp_path, trace, xen=read))["p2m"].select("kind", *DETAILS).rows()
    assert found == [expected_row(entry, read) for entry in chosen]
