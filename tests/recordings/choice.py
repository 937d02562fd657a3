"""Which recordings a test runs for."""

from __future__ import annotations

from collections.abc import Collection

import pytest

EVERY = ["r01", "r04", "r06", "r08", "r11", "r12", "r14", "r16", "r20", "r22", "r25"]
WITH_SCHED = ["r06", "r08", "r12", "r14", "r20", "r22", "r25"]
WITH_LOST_RECORDS = ["r14", "r20"]
WITH_XENTRACE_FORMAT = ["r01", "r04", "r08", "r14", "r16", "r20"]
IN_TRACES = {"r04": [], "r12": [pytest.mark.compiled], "r22": [pytest.mark.compiled]}


def recordings(names: Collection[str] = EVERY) -> pytest.MarkDecorator:
    """Run a test for each of these in the folder of recordings, where there is one."""
    return _parametrize([pytest.param(("recordings", name), marks=pytest.mark.recordings, id=name) for name in names])


def recordings_and_traces(names: Collection[str] = EVERY) -> pytest.MarkDecorator:
    """Run a test as ``recordings`` does, and always for those that come with the repository."""
    traces = {name: marks for name, marks in IN_TRACES.items() if name in names}
    return _parametrize(
        [
            *(pytest.param(("traces", name), marks=marks, id=f"traces-{name}") for name, marks in traces.items()),
            *(pytest.param(("recordings", name), marks=pytest.mark.recordings, id=name) for name in names),
        ]
    )


def _parametrize(recordings: list[object]) -> pytest.MarkDecorator:
    # The session is the scope so that all tests of one recording follow each other and share what is derived from it.
    return pytest.mark.parametrize("recording", recordings, indirect=True, scope="session")
