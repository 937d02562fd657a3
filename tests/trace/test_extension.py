"""Extension events from file to dataset and back: each by name, its row in ``p2m``, and what xenalyze makes of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

import eptreplay
from eptreplay.causes import CAUSES
from eptreplay.p2m_types import MAP_FOREIGN, RAM_LOGDIRTY, RAM_RW, RWX
from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.catalogue.extension import (
    ALTP2M_VIEWS,
    CLEAN,
    EVENTS,
    GLOBAL_MEMORY_TYPES,
    GLOBAL_RANGE,
    HOST_VIEW,
    INVEPT_ALL,
    INVEPT_SINGLE,
    LEVEL_UNKNOWN,
    NESTED_VIEWS,
    PEEK,
    SET_OLD_PRESENT,
    SET_SPLIT,
)
from eptreplay.xentrace.encode import Trace
from tests.trace.made_recordings import dataset, tables, write

EVERYTHING = (1 << 64) - 1
"""Last frame of a change of a whole p2m, and machine frame of an entry that has none."""


class Record(NamedTuple):
    """A record of an extension event, and its row in ``p2m``: domain, gfn, order, mfn, type."""

    name: str
    fields: dict[str, int]
    row: tuple[int | None, int | None, int | None, int | None, int | None]


def p2m(domid: int, view: int = HOST_VIEW) -> dict[str, int]:
    """Return the fields that name a p2m."""
    return {"domid": domid, "view": view}


# fmt: off
RECORDS = (
    Record("P2M_HOLD_BEGIN", {**p2m(3), "cause": CAUSES.index("logdirty_global")}, (3, None, None, None, None)),
    Record("P2M_SET",
           {**p2m(3), "gfn": 0x1_2345_6789, "mfn": 0x2_8765_4321, "old_type": RAM_LOGDIRTY, "new_type": RAM_RW,
            "order": 0, "flags": SET_OLD_PRESENT | SET_SPLIT, "access": RWX},
           (3, 0x1_2345_6789, 0, 0x2_8765_4321, RAM_RW)),
    Record("P2M_SET",
           {**p2m(3, ALTP2M_VIEWS + 2), "gfn": 0x200, "mfn": EVERYTHING, "old_type": MAP_FOREIGN, "new_type": 1,
            "order": 9, "flags": SET_OLD_PRESENT, "access": 0},
           (3, 0x200, 9, EVERYTHING, 1)),
    Record("P2M_GLOBAL_CHANGE",
           {**p2m(3), "old_type": RAM_RW, "new_type": RAM_LOGDIRTY, "flags": 0, "first_gfn": 0, "last_gfn": EVERYTHING},
           (3, None, None, None, RAM_LOGDIRTY)),
    Record("P2M_GLOBAL_CHANGE",
           {**p2m(3), "old_type": RAM_RW, "new_type": RAM_LOGDIRTY, "flags": GLOBAL_RANGE, "first_gfn": 0xF0000,
            "last_gfn": 0xF0FFF},
           (3, 0xF0000, None, None, RAM_LOGDIRTY)),
    Record("P2M_GLOBAL_CHANGE",
           {**p2m(3), "old_type": 0, "new_type": 0, "flags": GLOBAL_MEMORY_TYPES, "first_gfn": 0,
            "last_gfn": EVERYTHING},
           (3, None, None, None, None)),
    Record("PT_PAGE_FREE", {**p2m(3), "level": 0, "mfn": 0x1_0000_0077}, (3, None, None, 0x1_0000_0077, None)),
    Record("PT_PAGE_FREE", {**p2m(3, NESTED_VIEWS + 9), "level": LEVEL_UNKNOWN, "mfn": 0x78},
           (3, None, None, 0x78, None)),
    Record("P2M_HOLD_END", p2m(3), (3, None, None, None, None)),
    Record("PAGE_FREE", {"mfn": 0x3_0000_0001, "domid": 3, "order": 9}, (None, None, 9, 0x3_0000_0001, None)),
    Record("PAGE_ALLOC", {"mfn": 0x3_0000_0001, "domid": 4, "order": 9}, (None, None, 9, 0x3_0000_0001, None)),
    Record("POD_CACHE_ADD", {"mfn": 0x4400, "domid": 3, "order": 9}, (3, None, 9, 0x4400, None)),
    Record("FOREIGN_LOOKUP", {"gfn": 0x1_0000_0000, "count": 1024, "domid": 3, "preemptible": 0},
           (3, 0x1_0000_0000, None, None, None)),
    Record("PML_DRAIN", {"domid": 3, "vcpu": 15, "count": 512}, (3, None, None, None, None)),
    Record("LOGDIRTY_CLEAN_BEGIN", {"domid": 3, "op": CLEAN}, (3, None, None, None, None)),
    Record("LOGDIRTY_CLEAN_END", {"domid": 3, "op": PEEK}, (3, None, None, None, None)),
    Record("DOMAIN_PAUSE", {"domid": 3, "reserved": 0}, (3, None, None, None, None)),
    Record("DOMAIN_UNPAUSE", {"domid": 3, "reserved": 0}, (3, None, None, None, None)),
    Record("BCAST_BEGIN", {**p2m(3), "targets": 15}, (3, None, None, None, None)),
    Record("BCAST_END", p2m(3), (3, None, None, None, None)),
    Record("INVEPT", {**p2m(3), "type": INVEPT_SINGLE}, (3, None, None, None, None)),
    Record("INVEPT", {**p2m(3), "type": INVEPT_ALL}, (3, None, None, None, None)),
)
# fmt: on


def patched_recording() -> Trace:
    """Return all RECORDS, recorded on three pCPUs in turn."""
    trace = Trace()
    for number, record in enumerate(RECORDS):
        if number % 4 == 0:
            trace.window(number // 4 % 3)
            trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000 + 10 * number, domid=0, vcpu=number // 4)
        trace.add(record.name, tsc=1001 + 10 * number, **record.fields)
    return trace


def extension_records(events: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of ``events`` that are of extension events."""
    return events.filter(pl.col("event").is_in([event.id for event in EVENTS])).to_dicts()


def test_the_records_are_of_all_extension_events() -> None:
    assert {record.name for record in RECORDS} == {event.name for event in EVENTS}
    for record in RECORDS:
        (layout,) = by_name(record.name).layouts
        assert set(record.fields) == {field.name for field in layout.fields}


def test_every_field_that_is_put_in_comes_out(tmp_path: Path) -> None:
    found = extension_records(tables(dataset(tmp_path, patched_recording()))["events"])
    assert len(found) == len(RECORDS)
    for number, (record, row) in enumerate(zip(RECORDS, found, strict=True)):
        event = by_name(record.name)
        (layout,) = event.layouts
        assert (row["event"], row["timed"], row["tsc"]) == (event.id, True, 1001 + 10 * number)
        assert layout.unpack([row[f"w{word}"] for word in range(row["n"])]) == record.fields


def test_every_record_has_its_row_in_p2m(tmp_path: Path) -> None:
    found = tables(dataset(tmp_path, patched_recording()))["p2m"]
    kinds = ["set" if record.name == "P2M_SET" else record.name.lower() for record in RECORDS]
    assert found["kind"].to_list() == kinds
    assert found.select("p2m_dom", "gfn", "order", "mfn", "p2mt").rows() == [record.row for record in RECORDS]
    assert found["qualification"].is_null().all()
    assert found["run_dom"].to_list() == [0] * len(RECORDS)


@pytest.mark.parametrize("events", ["ept", "all"])
def test_ingest_keeps_them_all(tmp_path: Path, events: str) -> None:
    folder = dataset(tmp_path, patched_recording(), events=events)
    assert len(extension_records(tables(folder)["events"])) == len(RECORDS)


def test_the_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    trace = patched_recording()
    eptreplay.export(dataset(tmp_path, trace), to="xentrace", output=tmp_path / "again.xentrace")
    assert (tmp_path / "again.xentrace").read_bytes() == trace.bytes()


def test_info_counts_writes_and_does_not_miss_them(tmp_path: Path) -> None:
    document = eptreplay.info(write(tmp_path, patched_recording()))
    assert (document["damage_total"], document["bytes_skipped"]) == (0, 0)
    assert (document["p2m"]["recorded"], document["p2m"]["by_domain"]) == (2, {"3": 2})
    assert {line.partition(":")[0] for line in document["missing"]} == {"HVM"}


def test_xenalyze_counts_them(tmp_path: Path, xenalyze: Path) -> None:
    volumes = re.findall(r"^ mem +: +(\d+)$", run_xenalyze(xenalyze, "-s", tmp_path), re.MULTILINE)
    words = [by_name(record.name).layouts[0].max_words for record in RECORDS]
    assert sum(map(int, volumes)) == sum(4 * (1 + 2 + count) for count in words)


def test_xenalyze_prints_them_word_by_word(tmp_path: Path, xenalyze: Path) -> None:
    lines = re.findall(r" d0v\d+ +(10f0[45].)\(10:f:..\) (\d) \[ (.*?) *\]", run_xenalyze(xenalyze, "-a", tmp_path))
    assert lines == [
        (f"{by_name(record.name).id:x}", str(len(words)), " ".join(f"{word:x}" for word in words))
        for record in RECORDS
        for words in [by_name(record.name).layouts[0].pack(record.fields)]
    ]


def run_xenalyze(program: Path, option: str, folder: Path) -> str:
    """Return what xenalyze prints of the recording; it must find nothing wrong."""
    path = write(folder, patched_recording())
    done = subprocess.run([program, option, path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert not re.search(r"error|warn|strange|unknown|invalid", done.stdout + done.stderr, re.IGNORECASE)
    return done.stdout
