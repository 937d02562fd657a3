"""The catalogue knows every event that a real Xen 4.17 wrote, with that many words, and with or without a TSC."""

from __future__ import annotations

from eptreplay.xentrace.catalogue import by_id
from tests.oracles.hist import read_histogram
from tests.recordings.choice import recordings
from tests.recordings.conftest import Recording

XEN = "4.17"


@recordings()
def test_the_catalogue_has_a_layout_for_each_event_of_each_length(recording: Recording) -> None:
    unknown = []
    for shape in read_histogram(recording.oracle("hist").decode()).shapes:
        event = by_id(shape.event)
        layouts = event.layouts_in(XEN) if event else ()
        if not any(layout.min_words <= shape.words <= layout.max_words for layout in layouts):
            unknown.append(shape)

    assert unknown == []


@recordings()
def test_the_catalogue_says_which_events_have_a_tsc(recording: Recording) -> None:
    wrong = []
    for shape in read_histogram(recording.oracle("hist").decode()).shapes:
        event = by_id(shape.event)
        if event is None or event.timed not in {None, shape.timed}:
            wrong.append(shape)

    assert wrong == []
