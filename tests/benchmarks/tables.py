"""The engine's EPT tables: splits, resolving marks, freeing tables, and how much memory a guest of 1 TiB takes.

``main`` replays that guest once, in a process of its own.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.machine.profile import load_profile
from eptreplay.p2m_types import INVALID, PRESENT, RAM_LOGDIRTY, RAM_RW
from eptreplay.replay import tally as y
from eptreplay.replay.decisions import compiled_decision
from eptreplay.replay.engine import run
from eptreplay.replay.program import Reading, number_workload
from eptreplay.replay.simulate import Detail, _new_host, _new_tally
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload import schema as s
from eptreplay.workload.workload import Domain, Facts, Workload
from tests.benchmarks.measure import Run

PAGES_2M, PAGES_1G, PAGES_1T = 1 << 9, 1 << 18, 1 << 28
SMALL_PAGES = 4 << 20
"""Of the guest of 1 TiB, 16 GiB are mapped by entries of 4 KiB."""


class Acts(NamedTuple):
    """What is done to one p2m, in order: each in a hold of its own, or all in one."""

    op: NDArray[np.uint8]
    gfn: NDArray[np.uint64]
    order: NDArray[np.int32]
    old: NDArray[np.int16]
    new: NDArray[np.int16]

    def then(self, other: Acts) -> Acts:
        """Return both, one after the other."""
        return Acts(*(np.concatenate([ours, theirs]) for ours, theirs in zip(self, other, strict=True)))


def acts(op: int, gfn: NDArray[np.int64], order: int, old: int, new: int) -> Acts:
    """Return the same thing for each frame."""
    size = gfn.size
    return Acts(
        np.full(size, op, np.uint8),
        gfn.astype(np.uint64),
        np.full(size, order, np.int32),
        np.full(size, old, np.int16),
        np.full(size, new, np.int16),
    )


def workload_of(chosen: Acts) -> Workload:
    """Return the workload of one pCPU that does these things within one hold, to a domain that begins empty."""
    size = chosen.op.size + 2

    def column(kind: type, value: int, inside: NDArray[Any] | None = None) -> NDArray[Any]:
        whole: NDArray[Any] = np.full(size, value, kind)
        if inside is not None:
            whole[1:-1] = inside
        return whole

    op = column(np.uint8, s.HOLD_BEGIN, chosen.op)
    op[-1] = s.HOLD_END
    zeros, unknown = np.zeros(size, np.int64), np.full(size, -1, np.int64)
    columns: dict[str, Any] = {
        "pcpus": np.zeros(1, np.int64),
        "begin": np.array([0, size]),
        "t_ns": zeros,
        "gap_ns": zeros,
        "op": op,
        "run_dom": column(np.int32, 0),
        "run_vcpu": column(np.int32, 0),
        "p2m_dom": column(np.int32, 1),
        "p2m_view": column(np.int32, 0),
        "hold": zeros,
        "gfn": column(np.uint64, 0, chosen.gfn),
        "order": column(np.int32, 0, chosen.order),
        "mfn": column(np.uint64, 0, chosen.gfn),
        "old_type": column(np.int16, INVALID, chosen.old),
        "old_known": column(np.int8, s.CREATED),
        "new_type": column(np.int16, -1, chosen.new),
        "cause": column(np.int8, CAUSES.index("misconfig")),
        "origin": column(np.int8, s.SYNTHETIC),
        "time_origin": column(np.int8, s.TIMED),
        "count": np.ones(size, np.int64),
        "edge": unknown,
        "last_gfn": column(np.uint64, s.NO_GFN),
        "access": column(np.int8, -1),
        "old_present": column(np.int8, 0, np.isin(chosen.old, sorted(PRESENT))),
        "preemptible": column(np.int8, -1),
        "not_before_ns": unknown,
        "not_after_ns": unknown,
    }
    domains = (Domain(0, False, True, False), Domain(1, True, False, True))  # noqa: FBT003 (a table of facts)
    return Workload(**columns, domains=domains, facts=Facts(True, True, True), shares=())  # noqa: FBT003


def splits(count: int) -> Acts:
    """Map 2 MiB at a time, and write one page of each: every second act splits a leaf."""
    gfn = np.arange(count) * PAGES_2M
    mapped = acts(s.SET, gfn, 9, INVALID, RAM_RW)
    return mapped.then(acts(s.SET, gfn + 7, 0, RAM_RW, RAM_LOGDIRTY))


def resolutions(count: int) -> Acts:
    """Track a guest in pages of 4 KiB, and resolve what makes each 2 MiB of it misconfigured."""
    pages = acts(s.SET, np.arange(count * PAGES_2M), 0, INVALID, RAM_RW)
    change = acts(s.GLOBAL_CHANGE, np.array([s.NO_GFN], np.uint64).view(np.int64), 0, -1, RAM_LOGDIRTY)
    return pages.then(change).then(acts(s.MISCONFIG, np.arange(count) * PAGES_2M, 0, -1, -1))


def frees(count: int) -> Acts:
    """Write a page of each 2 MiB, and then all of it: every second act frees a table."""
    gfn = np.arange(count) * PAGES_2M
    return acts(s.SET, gfn, 0, INVALID, RAM_RW).then(acts(s.SET, gfn, 9, -1, RAM_RW))


def large_guest() -> Acts:
    """Map 1 TiB: 16 GiB in pages, 512 GiB by 2 MiB, the rest by 1 GiB; then split some of each and track it all."""
    small = acts(s.SET, np.arange(SMALL_PAGES), 0, INVALID, RAM_RW)
    middle = acts(s.SET, np.arange(SMALL_PAGES, PAGES_1T // 2, PAGES_2M), 9, INVALID, RAM_RW)
    large = acts(s.SET, np.arange(PAGES_1T // 2, PAGES_1T, PAGES_1G), 18, INVALID, RAM_RW)
    change = acts(s.GLOBAL_CHANGE, np.array([s.NO_GFN], np.uint64).view(np.int64), 0, -1, RAM_LOGDIRTY)
    written = np.arange(0, PAGES_1T, PAGES_1T // 4096) + 5
    return small.then(middle).then(large).then(change).then(acts(s.SET, written, 0, RAM_LOGDIRTY, RAM_RW))


class Changing:
    """Acts on tables, to be replayed any number of times."""

    def __init__(self, chosen: Acts) -> None:
        self.workload = workload_of(chosen)
        self.program, self.numbers = number_workload(self.workload, Reading())
        self.acts = int(chosen.op.size)
        self.stores = 0

    def run(self) -> Run:
        """Replay once; only the kernel is measured."""
        strategy = STRATEGIES["deferred"]
        host = _new_host(self.workload, self.numbers, self.program, strategy, load_profile("two-socket").costs())
        tally = _new_tally(self.numbers, self.program, Detail())
        decide = compiled_decision(strategy)
        cpu, wall = time.process_time(), time.perf_counter()
        run(host, tally, self.program, decide)
        measured = Run(time.perf_counter() - wall, time.process_time() - cpu)
        self.stores = int(tally.measure[:, :, y.STORES].sum())
        assert int(tally.total[y.STATUS]) == y.FINE
        return measured


def main(_arguments: list[str] | None = None) -> None:
    """Replay the guest of 1 TiB once."""
    guest = Changing(large_guest())
    measured = guest.run()
    print(f"{guest.acts} acts, {guest.stores} stores in {measured.wall:.2f} s")
