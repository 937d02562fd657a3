"""Reports do not change unless somebody means them to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import TRACES
from tests.golden.reports import FOLDER, SUFFIX, golden_file, report_on

SHIPPED = sorted(TRACES.glob(f"*{SUFFIX}"))


@pytest.mark.compiled
@pytest.mark.parametrize("recording", SHIPPED, ids=lambda path: path.name)
def test_the_report_is_the_golden_one(recording: Path) -> None:
    assert report_on(recording) == json.loads(golden_file(recording).read_text())


@pytest.mark.recordings
def test_the_reports_on_all_recordings_are_the_golden_ones(recordings: Path) -> None:
    found = sorted(recordings.glob(f"*{SUFFIX}"))
    assert {golden_file(path) for path in found} == set(FOLDER.glob("*.json"))
    for recording in found:
        assert report_on(recording) == json.loads(golden_file(recording).read_text()), recording.name


def test_every_golden_report_is_explained() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.glob("*.json"):
        assert f"## {path.stem}\n" in text
