"""Where log-dirty is on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.model.logdirty import ALL, NONE, SOME, LogDirty, extent, switch_range

SMALL = st.integers(0, 12)
SWITCHES = st.lists(st.tuples(SMALL, SMALL, st.booleans()), max_size=8)


def test_nowhere_at_first() -> None:
    assert extent(LogDirty(), 0, 1 << 35) == NONE


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(0, 9, NONE), (0, 10, SOME), (10, 10, ALL), (10, 19, ALL), (15, 20, SOME), (0, 30, SOME), (20, 30, NONE)],
)
def test_a_range_counts_for_its_frames(first: int, last: int, expected: int) -> None:
    assert extent(switch_range(LogDirty(), 10, 19, on=True), first, last) == expected


def test_everywhere_is_everywhere_whatever_the_ranges() -> None:
    assert extent(switch_range(LogDirty(everywhere=True), 0, 3, on=False), 0, 7) == ALL


def test_ranges_that_touch_are_one() -> None:
    both = switch_range(switch_range(LogDirty(), 0, 4, on=True), 5, 9, on=True)
    assert both.ranges == ((0, 9),)
    assert switch_range(both, 3, 4, on=False).ranges == ((0, 2), (5, 9))


@given(SWITCHES, SMALL, SMALL)
def test_ranges_are_sets_of_frames(switches: list[tuple[int, int, bool]], one: int, other: int) -> None:
    log_dirty, frames = LogDirty(), set[int]()
    for first, last, on in switches:
        first, last = min(first, last), max(first, last)  # noqa: PLW2901
        log_dirty = switch_range(log_dirty, first, last, on=on)
        frames = frames | set(range(first, last + 1)) if on else frames - set(range(first, last + 1))
    wanted = set(range(min(one, other), max(one, other) + 1))
    expected = ALL if wanted <= frames else SOME if wanted & frames else NONE
    assert extent(log_dirty, min(wanted), max(wanted)) == expected
