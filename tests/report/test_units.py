"""How numbers are written for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.report.units import UNKNOWN, count, difference, duration, span

SIZES = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


@pytest.mark.parametrize(
    ("ns", "written"),
    [
        (None, "-"),
        (0, "0 ns"),
        (1, "1 ns"),
        (999, "999 ns"),
        (1000, "1.00 us"),
        (9_994, "9.99 us"),
        (9_996, "10.0 us"),
        (99_940, "99.9 us"),
        (99_960, "100 us"),
        (999_400, "999 us"),
        (999_500, "1.00 ms"),
        (17_300, "17.3 us"),
        (1_234_567_890, "1.23 s"),
        (3_600_000_000_000, "3,600 s"),
        (-1500, "-1.50 us"),
    ],
)
def test_durations_have_three_digits_that_count(ns: int | None, written: str) -> None:
    assert duration(ns) == written


@given(st.integers(0, 10**15))
def test_a_duration_is_right_to_half_a_percent(ns: int) -> None:
    value, unit = duration(ns).split()
    number = float(value.replace(",", ""))
    assert abs(number * SIZES[unit] - ns) <= 0.00501 * ns
    assert number < 1000 or unit == "s"
    assert number >= 1 or ns == 0


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_longer_durations_are_never_written_shorter(one: int, other: int) -> None:
    def nanoseconds(ns: int) -> float:
        value, unit = duration(ns).split()
        return float(value.replace(",", "")) * SIZES[unit]

    assert nanoseconds(min(one, other)) <= nanoseconds(max(one, other))


def test_counts_have_separators() -> None:
    assert [count(number) for number in (None, 0, 999, 1000, 1234567)] == ["-", "0", "999", "1,000", "1,234,567"]


@pytest.mark.parametrize(
    ("low", "value", "high", "written"),
    [
        (5, 5, 5, "5"),
        (None, 5, None, "5"),
        (0, 5, 1000, "5 [0, 1,000]"),
        (4, 5, 5, "5 [4, 5]"),
        (None, None, None, "-"),
        (1, None, 2, "-"),
    ],
)
def test_a_range_is_shown_where_there_is_one(
    low: int | None, value: int | None, high: int | None, written: str
) -> None:
    assert span(low, value, high) == written


@pytest.mark.parametrize(
    ("value", "base", "written"),
    [
        (None, 5, UNKNOWN),
        (5, None, UNKNOWN),
        (0, 0, "same"),
        (7, 7, "same"),
        (7, 0, "+7"),
        (1000, 0, "+1,000"),
        (0, 7, "-100 %"),
        (150, 100, "+50 %"),
        (50, 100, "-50 %"),
        (1005, 1000, "+0.5 %"),
        (3000, 1000, "+200 %"),
    ],
)
def test_differences_are_per_cent_of_the_base(value: int | None, base: int | None, written: str) -> None:
    assert difference(value, base) == written
