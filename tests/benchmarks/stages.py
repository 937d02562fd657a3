"""Where the time of ``ingest --events ept`` goes: processor time of each step during a real run, thread by thread.

Three kinds of threads overlap: one reads and hashes ahead; the main thread decodes and gathers columns; two make Arrow
batches, encode and compress.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.trace import atomic
from eptreplay.trace import ingest as ingesting
from eptreplay.xentrace.reader import Reader
from eptreplay.xentrace.source import Source
from tests.benchmarks.measure import EPTREPLAY, alternate, called, command, table
from tests.benchmarks.tile import Tiled

STEPS: tuple[tuple[str, str, object, str], ...] = (
    ("read", "reader", Source, "_fill_raw"),
    ("read and SHA-256", "reader", Source, "readinto"),
    ("decode", "main", Reader, "_decode"),
    ("gather columns", "main", ingesting, "append"),
    ("Arrow batches", "encoders", ingesting, "events_batch"),
    ("p2m rows", "encoders", ingesting, "p2m_batch"),
    ("Parquet: encode, compress, write", "encoders", ingesting, "write_table"),
    ("sync to disk", "main, at the end", atomic, "_sync"),
)
"""Steps: name, thread, and the function that is the step. SHA-256 and reading share a call and are told apart below."""

Seconds = dict[str, float]
P = ParamSpec("P")
R = TypeVar("R")


def _timed(function: Callable[P, R], name: str, cpu: Seconds, wall: Seconds) -> Callable[P, R]:
    def timed(*arguments: P.args, **options: P.kwargs) -> R:
        start, since = time.thread_time(), time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            cpu[name] += time.thread_time() - start
            wall[name] += time.perf_counter() - since

    return timed


@contextmanager
def watched() -> Iterator[tuple[Seconds, Seconds]]:
    """Yield processor seconds and clock seconds by step, counted while the block runs."""
    cpu, wall = (dict.fromkeys([name for name, *_ in STEPS], 0.0) for _ in range(2))
    with ExitStack() as stack:
        for name, _, owner, attribute in STEPS:
            timed = _timed(getattr(owner, attribute), name, cpu, wall)
            stack.enter_context(patch.object(owner, attribute, timed))
        yield cpu, wall


@contextmanager
def uncompressed() -> Iterator[None]:
    """Write Parquet without compression, to tell encoding and compressing apart."""
    original = pq.ParquetWriter

    def plain(path: Path, schema: pa.Schema, **options: object) -> pq.ParquetWriter:
        return original(path, schema, **{**options, "compression": "none", "compression_level": None})

    with patch.object(pq, "ParquetWriter", plain):
        yield


def print_stages(made: Tiled, tiny: Tiled, folder: Path, rounds: int) -> None:
    """Print what each step costs, the whole, and ``tiny``, which is nearly all start; removes ``folder``."""

    def whole() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        ingesting.ingest([made.path], folder)

    imports = "from eptreplay import commands, ingest"
    started = [*EPTREPLAY, "ingest", str(tiny.path), "-o", str(folder), "--force"]
    inside, loaded, start = alternate(rounds, called(whole), command([sys.executable, "-c", imports]), command(started))
    with uncompressed(), watched() as (plain, _):
        whole()
    with watched() as (cpu, wall):
        whole()
    shutil.rmtree(folder)
    cpu["SHA-256"] = cpu.pop("read and SHA-256") - cpu["read"]
    parquet, encode = cpu.pop("Parquet: encode, compress, write"), plain["Parquet: encode, compress, write"]
    cpu["Parquet: encode and write"], cpu["Parquet: compress (zstd 1)"] = encode, parquet - encode
    threads = {name: thread for name, thread, *_ in STEPS}
    threads |= {"SHA-256": "reader", "Parquet: encode and write": "encoders", "Parquet: compress (zstd 1)": "encoders"}
    total = sum(cpu.values())
    table(
        ["step, in --events ept", "thread", "CPU s", "share"],
        *([name, threads[name], f"{seconds:.3f}", f"{seconds / total:.0%}"] for name, seconds in cpu.items()),
        ["all steps", "", f"{total:.3f}", ""],
    )
    table(
        ["", "best s", "MB/s", "cores"],
        [
            "ingest() in a warm process",
            f"{inside.best:.3f}",
            f"{made.bytes / inside.best / 1e6:.0f}",
            f"{inside.cores:.2f}",
        ],
        ["Python, imports", f"{loaded.best:.3f}", "", f"{loaded.cores:.2f}"],
        [f"eptreplay ingest of {tiny.bytes / 1e6:.1f} MB", f"{start.best:.3f}", "", f"{start.cores:.2f}"],
        ["sync to disk, by the clock", f"{wall['sync to disk']:.3f}", "", ""],
    )
    print("    Reading, decoding and encoding overlap; imports come first, the sync last.")
