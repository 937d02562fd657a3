"""The SimPy model that the engine's speed is compared with waits as long, and ends at the same nanosecond."""

from __future__ import annotations

import pytest

pytest.importorskip("simpy", reason="SimPy is not installed: extra `bench`")

from tests.benchmarks.against_simpy import Contest


@pytest.mark.parametrize("pcpus", [2, 8, 40])
def test_simpy_counts_what_the_engine_counts(pcpus: int) -> None:
    contest = Contest(pcpus, 20)
    contest.run_engine()
    contest.run_simpy()
    contest.check_equal()
    assert contest.ours["ipis"] == 20 * pcpus * (pcpus - 1)
    assert (contest.ours["write_wait_ns"] > 20 * pcpus * 31) == (pcpus > 2)  # more than taking a free lock takes
    contest.theirs["simulated_ns"] += 1
    with pytest.raises(AssertionError, match="SimPy says"):
        contest.check_equal()
