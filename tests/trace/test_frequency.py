"""How fast the TSC ticks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.errors import UsageError
from eptreplay.trace.frequency import ASSUMED_HZ, MIN_SAMPLES, Frequency, estimate_frequency, given_frequency


def estimate(ticks: list[int], ns: list[int]) -> Frequency:
    return estimate_frequency(np.array([ticks, ns], np.int64))


def test_too_few_samples_are_no_estimate() -> None:
    few = [10**7] * (MIN_SAMPLES - 1)
    assert estimate(few, few) == Frequency(ASSUMED_HZ, "assumed", None)
    assert estimate([], []) == Frequency(ASSUMED_HZ, "assumed", None)


@given(st.integers(10**8, 10**10), st.lists(st.integers(10**5, 4 * 10**9), min_size=MIN_SAMPLES, max_size=50))
def test_exact_samples_give_the_frequency_and_next_to_no_spread(hz: int, ns: list[int]) -> None:
    ticks = [n * hz // 10**9 for n in ns]
    found = estimate(ticks, ns)
    whole_tick = hz / min(ticks) + 1
    assert found.how == "estimated"
    assert found.value == pytest.approx(hz, abs=whole_tick)
    assert found.spread is not None
    assert 0 <= found.spread <= 2 * whole_tick


def test_long_runtimes_say_more_than_short_ones() -> None:
    wrong, right = [300_000] * 30, [2_000_000_000] * 3
    found = estimate(wrong + right, [100_000] * 30 + [1_000_000_000] * 3)
    assert found.value == 2_000_000_000


def test_a_pair_that_does_not_belong_together_weighs_as_its_shorter_part() -> None:
    right = [2_000_000] * 20
    found = estimate([*right, 4_000_000_000], [*([1_000_000] * 20), 100_000])
    assert found == Frequency(2_000_000_000, "estimated", 0)


def test_the_spread_is_that_of_the_middle_half() -> None:
    found = estimate([1_000_000, 2_000_000, 3_000_000, 4_000_000] * 2, [1_000_000] * 8)
    assert found == Frequency(2_000_000_000, "estimated", 2_000_000_000)


def test_ticks_become_nanoseconds_rounded_down() -> None:
    assert Frequency(3_000_000_000, "given", None).to_ns(10) == 3
    assert Frequency(2_400_000_000, "assumed", None).to_ns(1 << 62) == (1 << 62) * 10 // 24


@pytest.mark.parametrize("hz", [1_000_000, 2_596_121_000, 100_000_000_000])
def test_a_frequency_may_be_given(hz: int) -> None:
    assert given_frequency(hz) == Frequency(hz, "given", None)


@pytest.mark.parametrize("hz", [-1, 0, 2400, 999_999, 100_000_000_001])
def test_a_frequency_that_no_tsc_has_is_a_usage_error(hz: int) -> None:
    with pytest.raises(UsageError, match=f"--tsc-hz {hz}: expected ticks per second between 1 MHz and 100 GHz"):
        given_frequency(hz)
