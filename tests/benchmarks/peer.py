"""The engine's peer in C, ``c/replay.c``: compiled here, given the engine's own arrays, its counts checked to be equal.

``NEW_RULES``: whether the peer follows all rules of docs/background/timing.md that the mix exercises, and counts what
the engine counts besides: time buckets, stalls, rows that waited, writes, how long locks are held.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.machine import fields as f
from eptreplay.replay import tally as y
from eptreplay.replay.host import Host
from eptreplay.replay.program import Numbers, Program
from eptreplay.workload.schema import CALL
from tests.benchmarks.measure import Run
from tests.benchmarks.mix import Mix

SOURCES = Path(__file__).with_name("c")
FLAGS = ("-O3", "-march=native", "-std=c17", "-Wall", "-Wextra", "-shared", "-fPIC")
COMPILERS = ("cc", "gcc", "clang")
NEW_RULES = True

COSTS = (
    "acquire_ns", "handoff_core_ns", "handoff_socket_ns", "handoff_remote_ns", "set_ns", "store_ns", "setup_ns",
    "icr_ns", "deliver_core_ns", "deliver_socket_ns", "deliver_remote_ns", "ack_core_ns", "ack_socket_ns",
    "ack_remote_ns", "handler_ns", "exit_ns", "entry_ns", "wake_ns", "invept_ns", "refill_ns", "cores_per_socket",
    "threads_per_core",
)  # fmt: skip
NEW_COSTS = ("irqoff_ns", "wake_deep_ns", "deep_after_ns", "unexplained_ns", "timeout_ns", "online", "shorthand")
"""Numbers of a profile in the order of ``struct costs``."""

MODES = ("guest", "xen", "spin", "idle", "unknown", "irqoff")
"""In the order of ``enum mode``."""
STATUSES = ("fine", "stuck", "a row that only the engine knows", "more EPT tables than planned")

Costs = Mapping[str, int | str]

ACT = np.dtype(
    {
        "names": ["gfn", "entry", "count", "old_type", "cause", "level", "present"],
        "formats": [np.int64, np.uint64, np.int32, np.int16, np.uint8, np.uint8, np.uint8],
        "offsets": [0, 8, 16, 20, 22, 23, 24],
        "itemsize": 32,
    }
)
"""``struct act``."""
NAMES = {"old_type": "old"}
"""Fields of it that the engine calls otherwise."""

_POINTERS = (
    "begin", "gap", "edge", "op", "arg", "item", "edge_owner", "target", "act", "number", "domain_of", "unknown",
    "marked", "hold_cause",
)  # fmt: skip
_SIZES = ("pcpus", "p2ms", "domains", "vcpus", "holds", "tables", "causes", "other_cause")
BUCKETS = 256
TOTALS = (
    "vmenters", "vmenter_invepts", "under_lock", "call_wait", "post_unlock", "simulated", "status", "status_row",
    "other_calls", "other_ipis", "icr_writes", "longest_stall", "watchdog_at",
)  # fmt: skip
"""In the order of ``struct totals``."""
HOLD_FIELDS = (y.H_CAUSE, y.H_REQUEST, y.H_ACQUIRE, y.H_RELEASE, y.H_END, y.H_SETS, y.H_BROADCASTS, y.H_DONE)
"""In the order of ``struct hold``."""


class _Program(ctypes.Structure):
    """``struct program``."""

    _fields_ = (*((name, ctypes.c_int32) for name in _SIZES), *((name, ctypes.c_void_p) for name in _POINTERS))


class _Costs(ctypes.Structure):
    """``struct costs``."""

    _fields_ = tuple((name, ctypes.c_int64) for name in (*COSTS, *NEW_COSTS))


class Counts(NamedTuple):
    """What a replay counted.

    ``measure``: [domain, cause, what]; ``mode``: [pCPU, mode]; ``cpu``: [pCPU, drift, rows that waited, how long];
    ``hold``: [hold, field]; ``lock``: how long each was held, the call lock first; ``bucket``: [bucket, what].
    """

    measure: NDArray[np.int64]
    total: dict[str, int]
    mode: NDArray[np.int64]
    cpu: NDArray[np.int64]
    hold: NDArray[np.int64]
    lock: NDArray[np.int64]
    bucket: NDArray[np.int64]


class NoCompilerError(Exception):
    """There is no C compiler, so that there is nothing to compare with."""


def compiler() -> str:
    """Return the C compiler. Raises NoCompilerError."""
    for name in COMPILERS:
        if path := shutil.which(name):
            return path
    raise NoCompilerError(f"no C compiler found: looked for {', '.join(COMPILERS)}")


def compiler_line() -> str:
    """Return which compiler makes the peer, and how."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join([version.partition("\n")[0], *_options()])


def _options() -> list[str]:
    return [*FLAGS, f"-DNEW_RULES={int(NEW_RULES)}"]


@lru_cache(maxsize=1)
def library(folder: Path) -> ctypes.CDLL:
    """Compile the peer into a folder and load it. Raises NoCompilerError."""
    built = folder / "replay.so"
    subprocess.run([compiler(), *_options(), "-o", built, SOURCES / "replay.c"], check=True)
    loaded = ctypes.CDLL(str(built))
    loaded.replay_new.restype = ctypes.c_void_p
    loaded.replay_new.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    loaded.replay_run.restype = ctypes.c_int64
    loaded.replay_run.argtypes = [ctypes.c_void_p]
    loaded.replay_counts.argtypes = [ctypes.c_void_p] * 8
    loaded.replay_free.argtypes = [ctypes.c_void_p]
    return loaded


class Peer:
    """A mix as the peer wants it, to be replayed any number of times; ``counts``: those of the last replay."""

    def __init__(self, mix: Mix, program: Program, numbers: Numbers, costs: Costs, folder: Path) -> None:
        self._library = library(folder)
        self._causes, self._domains = len(CAUSES), len(numbers.domains)
        self._kept: dict[str, NDArray[Any]] = {
            "begin": numbers.begin,
            "gap": program.rows.gap,
            "edge": program.edge,
            "op": program.rows.op,
            "arg": program.rows.arg,
            "item": program.rows.which,
            "edge_owner": program.edge_owner,
            "target": mix.target.astype(np.int32),
            "act": _acts(program),
            "number": numbers.pcpus,
            "hold_cause": numbers.hold_cause,
            **_p2ms(mix, numbers),
        }
        self._kept = {name: np.ascontiguousarray(array) for name, array in self._kept.items()}
        sizes = {
            "pcpus": numbers.pcpus.size,
            "p2ms": len(numbers.p2ms),
            "domains": len(numbers.domains),
            "vcpus": len(numbers.vcpus),
            "holds": numbers.holds.size,
            "tables": numbers.nodes,
            "causes": len(CAUSES),
            "other_cause": CAUSES.index("other"),
        }
        addresses = {name: array.ctypes.data for name, array in self._kept.items()}
        self._program = _Program(**sizes, **addresses)
        if NEW_RULES and costs["apic"] != "x2apic-physical":
            raise AssertionError("the peer in C sends a message, of one write, to each target: x2apic-physical")
        values = {**costs, "online": max(int(costs.get("pcpus", 0)), numbers.pcpus.size)}
        self._costs = _Costs(*(values[name] for name in COSTS), *(values.get(name, 0) for name in NEW_COSTS))
        self.counts: Counts | None = None

    def run(self) -> Run:
        """Replay once; only the loop is measured."""
        host = self._library.replay_new(ctypes.byref(self._program), ctypes.byref(self._costs))
        cpu, wall = time.process_time(), time.perf_counter()
        status = self._library.replay_run(host)
        measured = Run(time.perf_counter() - wall, time.process_time() - cpu)
        self.counts = self._counted(host)
        self._library.replay_free(host)
        if status:
            raise AssertionError(f"the peer in C stopped at row {self.counts.total['status_row']}: {STATUSES[status]}")
        return measured

    def _counted(self, host: int) -> Counts:
        measure = np.zeros((self._domains, self._causes, len(MEASURES)), np.int64)
        total = np.zeros(len(TOTALS), np.int64)
        mode = np.zeros((self._program.pcpus, len(MODES)), np.int64)
        cpu = np.zeros((self._program.pcpus, 3), np.int64)
        hold = np.zeros((self._program.holds, len(HOLD_FIELDS)), np.int64)
        lock = np.zeros(1 + self._program.p2ms, np.int64)
        buckets = np.zeros(1 + BUCKETS * len(MEASURES), np.int64)
        arrays = (measure, total, mode, cpu, hold, lock, buckets)
        self._library.replay_counts(host, *(array.ctypes.data for array in arrays))
        totals = {**dict(zip(TOTALS, total.tolist(), strict=True)), "bucket_width": int(buckets[0])}
        return Counts(measure, totals, mode, cpu, hold, lock, buckets[1:].reshape(BUCKETS, -1))


def _acts(program: Program) -> NDArray[Any]:
    acts = np.zeros(program.acts.shape[0], ACT)
    for name in ACT.names or ():
        acts[name] = program.acts[NAMES.get(name, name)]
    return acts


def _p2ms(mix: Mix, numbers: Numbers) -> dict[str, NDArray[Any]]:
    """Return of each p2m its domain, and whether that was there before the recording, or all pCPUs are marked."""
    calls = mix.workload.op == CALL
    if any(view for _, view in numbers.p2ms) or (mix.workload.p2m_dom[calls] >= 0).any():
        raise AssertionError("the peer in C knows no p2ms but those of hosts, and calls of no p2m only")
    created = {domain.number: domain.created for domain in mix.workload.domains}
    marked = np.array([created[number] for number, _ in numbers.p2ms], np.uint8)
    domain_of = np.array([numbers.domains.index(number) for number, _ in numbers.p2ms], np.int32)
    return {"domain_of": domain_of, "marked": marked, "unknown": 1 - marked}


MEASURES = (
    ("holds", y.HOLDS),
    ("hold_ns", y.HOLD_NS),
    ("p2m_sets", y.SETS),
    ("ept_stores", y.STORES),
    ("syncs", y.SYNCS),
    ("broadcasts", y.BROADCASTS),
    ("ipis", y.IPIS),
    ("invepts", y.INVEPTS),
    ("guest_stolen_ns", y.STOLEN),
)
"""What both count for each domain and cause: name, and place in the engine's array."""
ENGINE_TOTALS = {
    "vmenters": y.VMENTERS,
    "vmenter_invepts": y.VMENTER_INVEPTS,
    "under_lock": y.UNDER_LOCK,
    "call_wait": y.CALL_WAIT,
    "post_unlock": y.POST_UNLOCK,
    "simulated": y.SIMULATED,
}


NEW_TOTALS = {
    "other_calls": y.OTHER_CALLS,
    "other_ipis": y.OTHER_IPIS,
    "icr_writes": y.ICR_WRITES,
    "longest_stall": y.STALL,
    "bucket_width": y.BUCKET_WIDTH,
}


def check_equal(counts: Counts, tally: y.Tally, host: Host, holds: int) -> dict[str, int]:
    """Raise AssertionError unless engine and peer have counted the same everywhere; returns the sums."""
    sums: dict[str, int] = {}
    for i, (name, at) in enumerate(MEASURES):
        ours = tally.measure[:, :, at]
        _same(name, counts.measure[:, :, i], ours)
        sums[name] = int(ours.sum())
    for name, at in ENGINE_TOTALS.items():
        _same(name, np.int64(counts.total[name]), tally.total[at])
        sums[name] = int(tally.total[at])
    for i, name in enumerate(MODES):
        ours = tally.mode[:, f.MODES.index(name)] if name in f.MODES else np.zeros(tally.mode.shape[0], np.int64)
        _same(f"time in mode {name}", counts.mode[:, i], ours)
    for name, at in NEW_TOTALS.items():
        _same(name, np.int64(counts.total[name]), tally.total[at])
        sums[name] = int(tally.total[at])
    _same("rows that waited", counts.cpu[:, 1], tally.cpu[:, y.C_EDGES])
    _same("how long rows waited", counts.cpu[:, 2], tally.cpu[:, y.C_EDGE_NS])
    _same("how long locks were held", counts.lock, host.lock.held[: counts.lock.size])
    for i, (name, at) in enumerate(MEASURES):
        _same(f"{name} by time", counts.bucket[:, i], tally.bucket[:, at])
    _same("drift", counts.cpu[:, 0], tally.cpu[:, y.C_DRIFT])
    for i, at in enumerate(HOLD_FIELDS):
        _same(f"field {at} of holds", counts.hold[:, i], tally.hold[:holds, at])
    return sums


def _same(what: str, theirs: NDArray[np.int64] | np.int64, ours: NDArray[np.int64] | np.int64) -> None:
    if not np.array_equal(theirs, ours):
        raise AssertionError(f"{what}: the peer in C says {np.sum(theirs)} in all, the engine {np.sum(ours)}")
