"""The engine alone: a workload in memory, many times over, through strategies; neither lowering nor tables count."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from eptreplay.machine.profile import load_profile
from eptreplay.replay import tally as y
from eptreplay.replay.decisions import compiled_decision
from eptreplay.replay.engine import run
from eptreplay.replay.program import OP, Numbers, Program, Reading, number_workload
from eptreplay.replay.simulate import Detail, _new_host, _new_tally
from eptreplay.strategies import Request, Strategy
from eptreplay.trace.ingest import ingest
from eptreplay.workload.lower import lower
from eptreplay.workload.schema import ACTS, CALL, HOLD_BEGIN, HOLD_END, SWITCH_IN
from eptreplay.workload.workload import Workload
from tests.benchmarks.measure import Run


def like_deferred(request: Request) -> int:
    """Decide as ``deferred`` does but for small changes, so that a function has to be called for each sync."""
    if request.what != 0:
        return request.default
    pending = request.pending
    if pending > 1000:
        return 3
    if request.upgrade == 1 and request.dirty == 0:
        return 1
    if request.held_ns > 1_000_000_000:
        return 3
    return 2


OWN = Strategy(name="own", decide=like_deferred)


def workload_of(recording: Path, folder: Path) -> Workload:
    """Return the workload of a recording."""
    dataset = folder / "replay.ds"
    ingest([recording], dataset, force=True)
    return lower(dataset)


def tiled(workload: Workload, times: int) -> tuple[Program, Numbers]:
    """Return a workload ``times`` over: each pCPU carries its program out again and again."""
    program, numbers = number_workload(workload, Reading())
    begin, length = numbers.begin[:-1], np.diff(numbers.begin)
    rows = np.concatenate([np.tile(np.arange(b, b + n), times) for b, n in zip(begin, length, strict=True)])
    copy = np.concatenate([np.repeat(np.arange(times), n) for n in length])
    new_begin = np.append(begin * times, rows.size)
    owner = program.edge_owner[rows]
    shift = np.where(owner >= 0, new_begin[owner] - begin[owner] + copy * length[owner], 0)
    many_rows = program.rows[rows]
    op, acts = many_rows.op & OP, program.acts.size
    many_rows.which += copy * np.where(np.isin(op, (HOLD_BEGIN, HOLD_END)), numbers.holds.size, 0)
    many_rows.which += copy * np.where(np.isin(op, (*ACTS, CALL)), acts, 0)
    table = np.tile(program.acts, times).view(np.recarray)
    # The paths to the last frames of ranges stand behind those of all acts, and are the same in every copy.
    table.last_path[table.last >= 0] += acts * (times - 1)
    assert (many_rows.which[op == SWITCH_IN] < len(numbers.vcpus)).all()
    many = Program(
        rows=many_rows,
        edge=np.where(owner >= 0, program.edge[rows] + shift, -1),
        edge_owner=owner,
        acts=table,
        path=np.concatenate([np.tile(program.path[:acts], (times, 1)), program.path[acts:]]),
        first=new_begin[:-1],
        reads=program.reads,
        cut=program.cut,
    )
    holds = numbers.holds.size * times
    return many, numbers._replace(
        begin=new_begin, holds=np.arange(holds), hold_cause=np.tile(numbers.hold_cause, times)
    )


class Replaying:
    """A tiled workload, to be replayed any number of times. ``targets``: of all broadcasts of the last replay."""

    def __init__(self, workload: Workload, times: int) -> None:
        self.workload = workload
        self.program, self.numbers = tiled(workload, times)
        self.rows = int(self.program.rows.size)
        self.p2m_share = float(np.isin(self.program.rows.op & OP, (HOLD_BEGIN, *ACTS, HOLD_END)).mean())
        self.targets = 0

    def run(self, strategy: Strategy, profile: str) -> Run:
        """Replay once; only the kernel is measured."""
        host = _new_host(self.workload, self.numbers, self.program, strategy, load_profile(profile).costs())
        tally = _new_tally(self.numbers, self.program, Detail())
        decide = compiled_decision(strategy)
        cpu, wall = time.process_time(), time.perf_counter()
        run(host, tally, self.program, decide)
        measured = Run(time.perf_counter() - wall, time.process_time() - cpu)
        self.targets = int(tally.measure[:, :, y.IPIS].sum())
        assert int(tally.total[y.STATUS]) == y.FINE
        return measured
