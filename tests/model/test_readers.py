"""The three policies of a p2m lock: who is let in, who drains, who polls, and who is drawn."""

from __future__ import annotations

import pytest

from eptreplay.model import Lookups, Result, Row
from eptreplay.model.draw import mix
from tests.model.small import COSTS, P2M, TWO, begin, end, run, vmenter

AFTER = Row("WAIT", 1000)


def lookup(gap_ns: int, count: int = 1, *, preemptible: bool = False) -> Row:
    """Return lookups of domain 1."""
    return Row("LOOKUP", gap_ns, p2m=P2M, count=count, preemptible=preemptible)


def hold(gap_ns: int, lasts_ns: int, number: int) -> list[Row]:
    """Return a hold that writes nothing."""
    return [begin(gap_ns, number), end(lasts_ns, number)]


def elapsed(result: Result) -> dict[int, tuple[int, int]]:
    """Return by pCPU when its lookups began, and when they ended."""
    return {x.pcpu: (x.t_ns, x.t_ns + x.elapsed_ns) for x in result.lookups}


def acquired(result: Result) -> dict[int, int]:
    """Return by pCPU when it acquired the write side."""
    return {x.pcpu: x.t_acquire_ns for x in result.holds}


def test_lookups_of_a_row_follow_on_each_other_and_each_takes_the_lock() -> None:
    # 1 to acquire, 15 to look up, three times.
    result = run({0: [vmenter(10, TWO), lookup(90, 3), AFTER]})
    assert result.lookups == [Lookups(1, 0, P2M, 3, t_ns=100, wait_ns_total=3, wait_ns_max=1, elapsed_ns=48)]
    assert result.read_waits == [1, 1, 1]
    assert (result.modes[0]["spin"], result.modes[0]["guest"]) == (3, 90 + 45 + 1000)


def test_who_holds_the_lock_looks_up_without_asking_for_it() -> None:
    result = run({0: [begin(100), lookup(0, 2), end(0)]})
    assert result.lookups[0][5:] == (0, 0, 30)
    assert result.read_waits == [0, 0]
    assert result.holds[0].t_release_ns == 131
    assert result.held_ns[P2M] == 30


@pytest.mark.parametrize(("lock", "read_ns"), [("unfair", 1), ("queue", 1), ("percpu", 7)])
def test_readers_do_not_keep_each_other_out(lock: str, read_ns: int) -> None:
    costs = COSTS._replace(read_ns=7)
    result = run({0: [lookup(100)], 2: [lookup(105)]}, costs=costs, lock=lock)
    assert result.read_waits == [read_ns, read_ns]


def test_a_chain_of_readers_lets_one_in_after_the_other() -> None:
    # Released at 101. 0 to 1: there at 103, which lets 2 in, there at 123, which lets 3 in, there at 125.
    programs = {0: hold(0, 100, 1), 1: [lookup(10)], 2: [lookup(20)], 3: [lookup(30)]}
    assert elapsed(run(programs)) == {1: (10, 118), 2: (20, 138), 3: (30, 140)}


def test_a_writer_in_the_queue_ends_the_chain_and_drains_the_readers_before_it() -> None:
    # pCPU 1 is there at 103 and makes 2 the writer, which drains until 118, and is there 20 later; so on to 3, by 2.
    programs = {0: hold(0, 100, 1), 1: [lookup(10)], 2: hold(20, 5, 2), 3: [lookup(30)]}
    result = run(programs)
    assert acquired(result) == {0: 1, 2: 138}
    assert elapsed(result) == {1: (10, 118), 3: (30, 143 + 2 + 15)}


def test_a_writer_that_comes_in_drains_the_readers_that_are_there() -> None:
    # Read until 116; the last reader is on another core of the socket. Who comes later waits for the writer.
    programs = {0: [lookup(100)], 2: hold(105, 5, 1), 1: [lookup(106)]}
    for lock in ("unfair", "queue"):
        result = run(programs, lock=lock)
        assert acquired(result) == {2: 136}
        assert elapsed(result) == {0: (100, 116), 1: (106, 141 + 20 + 15)}


def test_the_last_reader_lets_the_writer_go_on() -> None:
    # The first reader is done at 116, the last, on the writer's core, at 125.
    result = run({0: [lookup(100)], 2: [lookup(109)], 3: hold(110, 5, 1)})
    assert acquired(result) == {3: 127}


def test_who_comes_behind_a_release_barges_where_the_lock_is_unfair() -> None:
    # Released at 101, to pCPU 4, a reader, which is there at 301: pCPU 1 is the writer at 150, and drains 4 until 316.
    programs = {0: hold(0, 100, 1), 4: [lookup(10)], 1: hold(150, 5, 2)}
    assert acquired(run(programs, lock="unfair"))[1] == 316 + 200
    programs = {0: hold(0, 100, 1), 4: [lookup(10)], 5: [lookup(20)], 1: hold(150, 5, 2)}
    # pCPU 5 waits behind 4, and pCPU 1 behind 5: 4 is there at 301, 5 at 303, which makes 1 the writer; 5 ends at 318.
    assert acquired(run(programs, lock="queue"))[1] == 318 + 200


def test_the_heir_is_drawn_by_weight_in_the_order_of_the_requests() -> None:
    # At 101, pCPU 0 passes on: 4 has asked first, with weight 3, then 2, weight 2, then 1, weight 1.
    programs = {0: hold(0, 100, 1), 4: hold(10, 5, 4), 2: hold(20, 5, 2), 1: hold(30, 5, 3)}
    costs = COSTS._replace(weight=(1, 2, 3))
    firsts = set()
    for seed in range(20):
        drawn = (mix(seed, 0, 0) >> 32) * 6 >> 32
        heir = 4 if drawn < 3 else 2 if drawn < 5 else 1
        result = run(programs, costs=costs, lock="unfair", seed=seed)
        handoff_ns = {4: 200, 2: 20, 1: 2}[heir]
        assert acquired(result)[heir] == 101 + handoff_ns == min(t for pcpu, t in acquired(result).items() if pcpu)
        firsts.add(heir)
    assert firsts == {1, 2, 4}


def test_the_hash_of_a_draw_is_that_of_the_page() -> None:
    # The finalizer of SplitMix64: its first output for the seed 0 adds the odd constant once.
    assert mix(1, 0, 0) == 0xE220A8397B1DCDAF
    assert mix(0, 0, 0) == 0


def test_of_one_who_waits_nothing_is_drawn() -> None:
    programs = {0: hold(0, 100, 1), 2: hold(20, 5, 2)}
    assert {acquired(run(programs, lock="unfair", seed=seed))[2] for seed in range(5)} == {121}


def test_a_writer_of_a_per_cpu_lock_polls_all_pcpus_that_are_online() -> None:
    costs = COSTS._replace(poll_ns=3)
    assert acquired(run({0: hold(100, 5, 1), 1: []}, costs=costs, lock="percpu")) == {0: 101 + 6}
    assert acquired(run({0: hold(100, 5, 1)}, costs=costs._replace(pcpus=10), lock="percpu")) == {0: 101 + 30}


def test_a_writer_of_a_per_cpu_lock_drains_the_readers_that_its_poll_finds() -> None:
    # Active at 101, polled until 121, by when pCPU 1 has read (116), but not pCPU 2 (100 + 1 + 40 = 141).
    costs = COSTS._replace(poll_ns=10)
    assert acquired(run({0: hold(100, 5, 1), 1: [lookup(100)]}, costs=costs, lock="percpu")) == {0: 121}
    costs = COSTS._replace(poll_ns=10, lookup_ns=40)
    assert acquired(run({0: hold(100, 5, 1), 2: [lookup(100)]}, costs=costs, lock="percpu")) == {0: 141 + 20}


def test_readers_of_a_per_cpu_lock_come_in_until_the_writer_is_active() -> None:
    # The writer takes 50 to be there, at 150: pCPU 2 comes in at 149, and pCPU 3 waits from 151 on.
    costs = COSTS._replace(acquire_ns=50)
    result = run({0: hold(100, 5, 1), 2: [lookup(149)], 3: [lookup(151)]}, costs=costs, lock="percpu")
    # Drained at 165, there at 185, released at 190.
    assert acquired(result) == {0: 185}
    assert elapsed(result) == {2: (149, 165), 3: (151, 190 + 20 + 15)}


def test_an_heir_of_a_per_cpu_lock_polls_as_well() -> None:
    costs = COSTS._replace(poll_ns=3)
    result = run({0: hold(100, 50, 1), 1: hold(110, 5, 2)}, costs=costs, lock="percpu")
    assert acquired(result) == {0: 107, 1: 107 + 50 + 2 + 6}
