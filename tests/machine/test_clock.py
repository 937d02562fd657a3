"""The clock of a replay against the least of a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eptreplay.machine.clock import END, bits_for, end_of_time, new_clock, next_turn, set_time
from eptreplay.machine.fields import NEVER
from eptreplay.workload.times import longest_ns

Int64s = NDArray[np.int64]


def _turns(clock: Int64s, who: Int64s, when: Int64s, turns: Int64s) -> None:
    """Enter times one after the other, and write down whose turn it is after each."""
    for k in range(who.size):
        set_time(clock, who[k], when[k])
        turns[k, 0], turns[k, 1] = next_turn(clock)
    turns[who.size, 0] = end_of_time(clock)


turns_of = cast("Callable[..., None]", numba.njit()(_turns))
"""Not cached: what is kept would not notice that the kernels that it calls have changed."""

TIMES = st.integers(0, 40) | st.integers(0, 1 << 61) | st.just(int(NEVER))


@given(st.integers(1, 700).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), TIMES)))))
def test_the_earliest_has_its_turn_and_among_equals_the_lowest_number(made: tuple[int, list[tuple[int, int]]]) -> None:
    pcpus, changes = made
    turns = np.zeros((len(changes) + 1, 2), np.int64)
    who, when = (np.array([change[i] for change in changes], np.int64) for i in (0, 1))
    turns_of(new_clock(pcpus), who, when, turns)
    end = END >> bits_for(pcpus)
    assert turns[-1, 0] == end
    times = dict.fromkeys(range(pcpus), end)
    for (pcpu, time), turn in zip(changes, turns.tolist(), strict=False):
        times[pcpu] = min(time, end)
        assert turn == [*min((time, pcpu) for pcpu, time in times.items())]


@pytest.mark.parametrize("pcpus", [1, 2, 3, 8, 160, 161, 512, 513, 16384])
def test_a_replay_may_last_twice_as_long_as_a_recording(pcpus: int) -> None:
    assert END >> bits_for(pcpus) >= 2 * longest_ns(pcpus)
