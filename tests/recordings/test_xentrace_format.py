"""Every word that ``xentrace_format`` prints is ours."""

from __future__ import annotations

from polars.testing import assert_frame_equal

from tests.oracles.xentrace_format import expected_lines, read_lines
from tests.recordings.choice import WITH_XENTRACE_FORMAT, recordings
from tests.recordings.conftest import Recording


@recordings(WITH_XENTRACE_FORMAT)
def test_each_line_shows_our_record(recording: Recording) -> None:
    assert_frame_equal(expected_lines(recording.records), read_lines(recording.oracle("xentrace_format")))
