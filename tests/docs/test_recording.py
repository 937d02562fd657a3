"""The page on recording: what it says of masks is what recordings under them show, and no trace point is left out."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from _ext import pages, recording

import eptreplay
from eptreplay.causes import CAUSES
from eptreplay.p2m_types import ACCESSES
from eptreplay.replay.unknown import GAPS
from eptreplay.trace.lacks import LACKS
from eptreplay.workload.lower import lower
from eptreplay.workload.schema import OPS
from eptreplay.xentrace.catalogue import CLASSES, by_name, extension
from eptreplay.xentrace.catalogue.document import catalogue_document
from eptreplay.xentrace.encode import Trace
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "recording.md").read_text()


def generated(generator: str) -> str:
    """Return the text of a generator, which must stand in the page."""
    assert f"```{{generated}} {generator}\n```" in PAGE
    return pages.GENERATORS[generator]()


def recorded_under(mask: int) -> Trace:
    """Return what a host with a stock Xen records under a mask: a vCPU runs, exits, faults, and its p2m is written."""
    trace = Trace()
    trace.window(0)
    tsc = 1000
    for gfn in range(50):
        for name, values in (
            ("RUNSTATE_RUNNABLE_TO_RUNNING", {"domid": 3, "vcpu": 0}),
            ("HVM_VMENTRY", {}),
            ("HVM_VMEXIT64", {"reason": 0x400, "rip": 0x1000}),
            ("MEM_SET_P2M_ENTRY", {"gfn": gfn, "mfn": gfn, "p2mt": 0, "domid": 3, "order": 0}),
            ("HVM_NPF", {"gpa": gfn << 12, "mfn": gfn, "qualification": 0, "p2mt": 0}),
            ("RUNSTATE_RUNNING_TO_BLOCKED", {"domid": 3, "vcpu": 0}),
            ("PM_IDLE_ENTRY", {}),
        ):
            event, tsc = by_name(name), tsc + 100
            if recording.passes(mask, event):
                trace.add(name, tsc=tsc if event.timed else None, **values)
    return trace


@pytest.mark.parametrize("mask", recording.MASKS, ids=hex)
def test_a_mask_lets_replay_know_what_the_page_says(mask: int, tmp_path: Path) -> None:
    (tmp_path / "made.xentrace").write_bytes(recorded_under(mask).bytes())
    eptreplay.ingest([tmp_path / "made.xentrace"], tmp_path / "made.ds", tsc_hz=1_000_000_000)
    assert lower(tmp_path / "made.ds").facts == recording.facts(mask)
    missing = [line.partition(":")[0] for line in eptreplay.info(tmp_path / "made.ds")["missing"]]
    row = re.search(rf"`0x{mask:08x}`.*?\n  - ([^\n]*)\n", generated("masks"), re.DOTALL)
    assert row
    assert re.findall(r"`(\w+)`", row[1]) == missing


def test_nothing_is_null_under_the_recommended_mask() -> None:
    assert not any(gap.lacks(recording.facts(recording.RECOMMENDED)) for gap in GAPS)
    named = set(re.findall(r"-e (0x\w+)", PAGE))
    assert named == {f"0x{recording.RECOMMENDED:08x}"}


def test_every_gap_is_met_under_some_mask() -> None:
    known = [recording.facts(mask) for mask in recording.MASKS]
    assert all(any(gap.lacks(facts) for facts in known) for gap in GAPS)
    words = set(re.findall(r"`([A-Z]+)`", generated("masks")))
    assert {lack.name for lack in LACKS} - words == {"SET"}


def test_masks_of_classes_are_right() -> None:
    rows = dict(re.findall(r"^\| ([A-Z0-9]+) \| `(0x\w+)` \|", PAGE, re.MULTILINE))
    assert rows
    assert rows == {name: f"0x{CLASSES[name.lower()] << 16 | 0xF000:08x}" for name in rows}


def test_every_trace_point_is_documented() -> None:
    text = generated("trace-points")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [event.name for event in extension.EVENTS]
    for event in extension.EVENTS:
        section = sections[event.name].replace("`", "")
        assert f"Where:** {event.where}." in section
        assert f"When:** {event.when}." in section
        assert f"0x{event.id:07x}, {event.about}." in section
        for field in event.layouts[0].fields:
            assert f"  - {field.name}\n  - {extension.about_field(event.name, field.name)}".replace("`", "") in section


def test_every_extension_event_has_its_row_of_a_workload_or_none() -> None:
    assert set(recording.REPLAYED) == {event.name for event in extension.EVENTS}
    assert {op for op, _ in recording.REPLAYED.values() if op} <= set(OPS)


def test_every_event_is_in_the_table_of_what_to_patch_first() -> None:
    table = PAGE.partition("\n### Which first\n")[2].partition("\n### ")[0]
    patterns = [name.replace("*", r"\w+") for name in re.findall(r"`([A-Z0-9_*]+)`", table)]
    assert all(any(re.fullmatch(pattern, event.name) for pattern in patterns) for event in extension.EVENTS)


def test_every_number_is_documented() -> None:
    text = generated("extension-numbers")
    named = {name: value for name, value in vars(extension).items() if name.isupper() and isinstance(value, int)}
    assert named
    assert all(f"* - `{name}`\n  - `{value:#x}`\n" in text for name, value in named.items())
    text = generated("cause-sites")
    assert all(f"* - {number}\n  - `{name}`\n" in text for number, name in enumerate(CAUSES))
    text = generated("accesses")
    assert all(f"* - {access.number}\n  - `{access.name}`\n" in text for access in ACCESSES)


def test_the_catalogue_as_json_says_where_trace_points_belong() -> None:
    documents = {event["name"]: event for event in catalogue_document()["events"]}
    assert {"where", "when"} <= {field.name for field in fields(type(extension.EVENTS[0]))}
    for event in extension.EVENTS:
        assert (documents[event.name]["where"], documents[event.name]["when"]) == (event.where, event.when)
    assert documents["HVM_VMENTRY"]["where"] is documents["HVM_VMENTRY"]["when"] is None
