"""The replay in C that the engine's speed is compared with counts what the engine counts, crowded or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eptreplay.machine.profile import load_profile
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import simulate
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload import schema as s
from tests.benchmarks.mix import GROUP, SHARE_OF_STINTS, make_mix
from tests.benchmarks.peer import NoCompilerError, Peer, check_equal, compiler

ROWS = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the peer is compiled, once."""
    return tmp_path_factory.mktemp("peer")


@pytest.mark.compiled
@pytest.mark.parametrize(("pcpus", "hurry"), [(8, 1), (8, 300), (72, 30), (72, 300)])
def test_the_peer_in_c_counts_what_the_engine_counts(pcpus: int, hurry: int, folder: Path) -> None:
    """The smaller the gaps, the more wait for locks, edges and each other's answers."""
    try:
        compiler()
    except NoCompilerError as error:
        pytest.skip(str(error))
    mix = make_mix(pcpus, ROWS)
    mix = mix._replace(workload=mix.workload._replace(gap_ns=mix.workload.gap_ns // hurry))
    program, numbers = number_workload(mix.workload, Reading())
    costs = {**load_profile("two-socket").costs(), "apic": "x2apic-physical"}
    outcome = simulate(mix.workload, program, numbers, STRATEGIES["deferred"], costs)
    peer = Peer(mix, program, numbers, costs, folder)
    peer.run()
    assert peer.counts is not None
    sums = check_equal(peer.counts, outcome.tally, outcome.host, numbers.holds.size)
    assert all(sums[name] > 0 for name in ("broadcasts", "ipis", "vmenter_invepts", "call_wait"))
    changed = peer.counts.hold.copy()
    changed[-1, -1] += 1
    with pytest.raises(AssertionError, match="of holds"):
        check_equal(peer.counts._replace(hold=changed), outcome.tally, outcome.host, numbers.holds.size)


def test_a_mix_has_the_rows_of_its_recording() -> None:
    workload = make_mix(GROUP, 200_000).workload
    share = np.bincount(workload.op, minlength=len(s.OP_NAMES)) / workload.rows
    in_r12 = {s.VMENTER: 0.252, s.SWITCH_IN: 0.027, s.IDLE: 0.021, s.HOLD_BEGIN: 0.133, s.SET: 0.128}
    for op, expected in in_r12.items():
        assert share[op] == pytest.approx(expected, rel=0.1), s.OP_NAMES[op]
    assert sum(SHARE_OF_STINTS) == pytest.approx(1)


def test_a_mix_is_the_same_each_time_and_its_edges_lead_forward() -> None:
    one, other = make_mix(2 * GROUP, ROWS).workload, make_mix(2 * GROUP, ROWS).workload
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("op", "gap_ns", "edge", "gfn"))
    waits = np.flatnonzero(one.edge >= 0)
    assert waits.size
    assert (one.t_ns[one.edge[waits]] <= one.t_ns[waits]).all()


def test_pcpus_that_groups_do_not_fill_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a multiple of 8"):
        make_mix(12, ROWS)
