"""From recordings to a trace dataset.

The main thread decodes; a pool of threads encodes and compresses parts of the table ``events`` meanwhile. Rows of
``p2m`` can be read only once the whole recording has told which Xen release wrote it, and the first records of a pCPU
get their TSC only once its first timed one has come: the former wait uncompressed in a file, the latter are filled in
at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eptreplay import __version__
from eptreplay.errors import UsageError
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import MANIFEST, TRACE_KIND, is_replaceable_dataset
from eptreplay.trace.p2m import p2m_batch
from eptreplay.trace.schema import SCHEMA_VERSION, arrow_schema
from eptreplay.trace.summary import Assumptions, DamageLog, Document, summarise
from eptreplay.trace.tables import TableWriter, damage_batch, events_batch, windows_batch, write_table
from eptreplay.xentrace.columns import columns_of
from eptreplay.xentrace.decode import KEEP_ALL, KEEP_EPT
from eptreplay.xentrace.reader import INPUT_BYTES, Batch, Progress, Reader

SELECTIONS = {"ept": KEEP_EPT, "all": KEEP_ALL}
"""Values of ``--events``."""
PART_BATCHES = 8
"""Batches in one part file: 16 MiB of input make a row group of a few hundred thousand rows."""
ENCODERS = 2
PARTS_UNDER_WAY = 3
FILL_ROWS = 1 << 16


def ingest(
    sources: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    events: str = "ept",
    xen: str | None = None,
    tsc_hz: int | None = None,
    strict: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    input_bytes: int = INPUT_BYTES,
) -> Document:
    """Read xentrace files (several are one recording, in order; ``-`` is standard input) into a new dataset.

    ``events``: ``ept`` keeps what later steps need, ``all`` every record, so that the file can be made again from it.
    ``xen`` and ``tsc_hz`` (ticks per second) say what would otherwise be inferred. Returns the manifest. Raises
    UsageError if the output exists and ``force`` is False, InputError if a source holds no record, DamageError on
    damage if ``strict``, OutputError if the dataset cannot be written.
    """
    if events not in SELECTIONS:
        raise UsageError(f"--events {events}: expected one of {', '.join(SELECTIONS)}")
    if not sources:
        raise UsageError("nothing to read: name at least one xentrace file, or - for standard input")
    assumptions = Assumptions.given(xen, tsc_hz)
    reader = Reader(list(sources), keep=SELECTIONS[events], strict=strict, progress=progress, input_bytes=input_bytes)
    target = Path(output)
    with staged(target, force=force, replaceable=is_replaceable_dataset, folder=True) as folder:
        log = _Writer(folder, target).write(reader)
        summary = summarise(reader, log, assumptions)
        with writing(target):
            _write_p2m(folder, reader, summary["xen"]["layout"])
            manifest = {
                "schema": SCHEMA_VERSION,
                "kind": TRACE_KIND,
                "eptreplay": __version__,
                "options": {"events": events, "xen": xen, "tsc_hz": tsc_hz, "strict": strict},
                **{name: summary[name] for name in summary if name != "schema"},
            }
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


@dataclass(frozen=True)
class _Part:
    """A part file that holds rows without a TSC, and the pCPUs that they are of."""

    path: Path
    pcpus: frozenset[int]


class _Writer:
    """Writes the tables of a dataset while a reader is read."""

    def __init__(self, folder: Path, target: Path) -> None:
        self._folder, self._target = folder, target
        self._batches: list[pa.RecordBatch] = []
        self._untimed: set[int] = set()
        self._parts: list[_Part] = []
        self._waiting: list[Future[None]] = []

    def write(self, reader: Reader) -> DamageLog:
        """Read all, write ``events``, ``windows`` and ``damage``, and the rows that ``p2m`` will be made of."""
        log = DamageLog()
        with (
            writing(self._target),
            ThreadPoolExecutor(ENCODERS, "encode") as pool,
            TableWriter(self._folder / "windows.parquet", arrow_schema("windows")) as windows,
            TableWriter(self._folder / "damage.parquet", arrow_schema("damage")) as damage,
            pa.OSFile(str(self._folder / "p2m.rows"), "wb") as spill,
            pa.ipc.new_stream(spill, arrow_schema("events")) as memory,
        ):
            (self._folder / "events").mkdir()
            for batch in reader:
                log.add(batch)
                if batch.windows.offset.size:
                    windows.write(windows_batch(batch.source, batch.windows))
                if batch.damages.offset.size:
                    damage.write(damage_batch(batch.source, batch.damages))
                self._add(batch, memory, pool)
                reader.recycle(batch)
            self._encode(pool)
            self._wait(0)
            self._fill_times(reader)
        return log

    def _add(self, batch: Batch, memory: pa.RecordBatchWriter, pool: ThreadPoolExecutor) -> None:
        if batch.buffer is None or batch.count == 0:
            return
        columns = columns_of(batch)
        rows = events_batch(batch.source, columns)
        if batch.memory:
            memory.write_batch(rows.take(pa.array(batch.buffer.rows.memory[: batch.memory])))
        if batch.untimed:
            self._untimed.update(np.unique(columns.pcpu[~columns.tsc_known]).tolist())
        self._batches.append(rows)
        if len(self._batches) == PART_BATCHES:
            self._encode(pool)

    def _encode(self, pool: ThreadPoolExecutor) -> None:
        """Hand what has gathered to the pool as the next part; at least one part is written, if empty."""
        if not self._batches and self._parts:
            return
        part = _Part(self._folder / "events" / f"part-{len(self._parts):05}.parquet", frozenset(self._untimed))
        self._waiting.append(pool.submit(write_table, part.path, self._batches, arrow_schema("events")))
        self._parts.append(part)
        self._batches, self._untimed = [], set()
        self._wait(PARTS_UNDER_WAY)

    def _wait(self, most: int) -> None:
        """Wait until at most so many parts are under way; an error in one of them is raised here."""
        while len(self._waiting) > most:
            self._waiting.pop(0).result()

    def _fill_times(self, reader: Reader) -> None:
        """Give the records before a pCPU's first timed one that first TSC, in the parts that hold such records."""
        timed = {int(p) for p in np.flatnonzero(reader.pcpus.timed)}
        for part in self._parts:
            if part.pcpus & timed:
                with pq.ParquetFile(part.path) as file:
                    rows = [_fill_time(rows, reader) for rows in file.iter_batches(FILL_ROWS)]
                write_table(part.path, rows, arrow_schema("events"))


def _fill_time(rows: pa.RecordBatch, reader: Reader) -> pa.RecordBatch:
    pcpu = rows["pcpu"].to_numpy()
    known = reader.pcpus.timed[pcpu] > 0
    first = pa.array(reader.pcpus.first[pcpu], mask=~known)
    return rows.set_column(rows.schema.get_field_index("tsc"), "tsc", pc.coalesce(rows["tsc"], first)).cast(rows.schema)


def _write_p2m(folder: Path, reader: Reader, xen: str) -> None:
    """Turn the memory events that were put aside into the table ``p2m``."""
    spill = folder / "p2m.rows"
    with (
        pa.OSFile(str(spill), "rb") as file,
        pa.ipc.open_stream(file) as stream,
        TableWriter(folder / "p2m.parquet", arrow_schema("p2m")) as writer,
    ):
        for rows in stream:
            writer.write(p2m_batch(_fill_time(rows, reader), xen))
    spill.unlink()
