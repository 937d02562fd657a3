"""The engine says what the executable specification says, table for table, on random workloads."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.model import Costs, Recording
from eptreplay.replay.simulate import Manner
from eptreplay.strategies import Strategy
from tests.model.workloads import LOCKS, MACHINES, SEEDS, STRATEGIES_TO_TRY, recordings
from tests.replay.both import by_engine, by_model

WHATEVER = (HealthCheck.too_slow, HealthCheck.data_too_large)
MANNERS = st.builds(Manner, LOCKS, SEEDS, st.sampled_from((False, False, False, True)))
replays = given(recordings(), STRATEGIES_TO_TRY, MACHINES, MANNERS)
longer_replays = given(recordings(most=200), STRATEGIES_TO_TRY, MACHINES, MANNERS)


def compare(recording: Recording, strategy: Strategy, costs: Costs, manner: Manner) -> None:
    """Check that both say the same about everything; the first table that differs is shown alone."""
    theirs, ours = by_model(recording, strategy, costs, manner), by_engine(recording, strategy, costs, manner)
    for table, expected in theirs.items():
        assert ours[table] == expected, table


@pytest.mark.mutation
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=200, suppress_health_check=WHATEVER)
@replays
def test_every_table_is_that_of_the_specification(
    recording: Recording, strategy: Strategy, costs: Costs, manner: Manner
) -> None:
    compare(recording, strategy, costs, manner)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=10_000, suppress_health_check=WHATEVER)
@longer_replays
def test_every_table_is_that_of_the_specification_in_a_long_run(
    recording: Recording, strategy: Strategy, costs: Costs, manner: Manner
) -> None:
    compare(recording, strategy, costs, manner)
