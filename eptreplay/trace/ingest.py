"""From recordings to a trace dataset.

The main thread decodes; a pool of threads encodes and compresses parts of the table ``events`` meanwhile. Two things
are known only at the end, and are mended then where they turn out to matter: the first TSC of a pCPU, which records
before its first timed one get, and the Xen release, by which memory records are read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eptreplay import __version__
from eptreplay.errors import UsageError, unknown_choice
from eptreplay.trace.atomic import staged, writing
from eptreplay.trace.dataset import MANIFEST, TRACE_KIND, is_replaceable_dataset, part_file
from eptreplay.trace.p2m import MEMORY_EVENTS, are_memory_records, p2m_batch, present_events
from eptreplay.trace.schema import SCHEMA_VERSION, arrow_schema
from eptreplay.trace.summary import Assumptions, DamageLog, Document, summarise
from eptreplay.trace.tables import (
    TableWriter,
    columns_of_events,
    damage_batch,
    events_batch,
    windows_batch,
    write_table,
)
from eptreplay.xentrace.catalogue.layout import Layout
from eptreplay.xentrace.columns import Columns, append, new_columns, rows_of
from eptreplay.xentrace.decode import KEEP_ALL, KEEP_EPT
from eptreplay.xentrace.reader import INPUT_BYTES, Batch, Progress, Reader, batch_rows
from eptreplay.xentrace.release import Release, infer_release
from eptreplay.xentrace.state import Pcpus

SELECTIONS = {"ept": KEEP_EPT, "all": KEEP_ALL}
"""Values of ``--events``."""
PART_BATCHES = 8
"""Batches in one part file: 16 MiB of input make a row group of a few hundred thousand rows."""
ENCODERS = 2
PARTS_UNDER_WAY = 2
MEND_ROWS = 1 << 18


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
        raise unknown_choice("--events", events, SELECTIONS)
    if not sources:
        raise UsageError("nothing to read: name at least one xentrace file, or - for standard input")
    assumptions = Assumptions.given(xen, tsc_hz)
    reader = Reader(list(sources), keep=SELECTIONS[events], strict=strict, progress=progress, input_bytes=input_bytes)
    target = Path(output)
    with staged(target, force=force, replaceable=is_replaceable_dataset, folder=True) as folder:
        writer = _Writer(folder, target, reader, assumptions.xen)
        summary = summarise(reader, writer.write(), assumptions)
        writer.mend(summary["xen"]["layout"])
        with writing(target):
            manifest = {
                "schema": SCHEMA_VERSION,
                "kind": TRACE_KIND,
                "eptreplay": __version__,
                "options": {"events": events, "xen": xen, "tsc_hz": tsc_hz, "strict": strict},
                "parts": writer.parts,
                **{name: summary[name] for name in summary if name != "schema"},
            }
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


@dataclass(frozen=True)
class _Part:
    """A part of ``events``: its file, and the pCPUs of rows in it that have no TSC yet."""

    path: Path
    untimed: frozenset[int]


class _Writer:
    """Writes the tables of a dataset while a reader is read."""

    def __init__(self, folder: Path, target: Path, reader: Reader, given: Release | None) -> None:
        self._folder, self._target, self._reader, self._given = folder, target, reader, given
        capacity = PART_BATCHES * batch_rows(reader.input_bytes)
        self._free = [new_columns(capacity) for _ in range(PARTS_UNDER_WAY + 1)]
        self._rows = self._batches = 0
        self._memory: list[NDArray[np.int64]] = []
        self._parts: list[_Part] = []
        self._waiting: list[tuple[Columns, Future[pa.RecordBatch | None]]] = []
        self._layouts: dict[int, set[tuple[Layout, ...]]] = {}

    def write(self) -> DamageLog:
        """Read all and write all tables."""
        log = DamageLog()
        with (
            writing(self._target),
            ThreadPoolExecutor(ENCODERS, "encode") as pool,
            TableWriter(self._folder / "windows.parquet", arrow_schema("windows")) as windows,
            TableWriter(self._folder / "damage.parquet", arrow_schema("damage")) as damage,
            TableWriter(self._folder / "p2m.parquet", arrow_schema("p2m")) as p2m,
        ):
            part_file(self._folder, 0).parent.mkdir()
            for batch in self._reader:
                log.add(batch)
                if batch.windows.offset.size:
                    windows.write(windows_batch(batch.source, batch.windows))
                if batch.damages.offset.size:
                    damage.write(damage_batch(batch.source, batch.damages))
                self._gather(batch)
                self._reader.recycle(batch)
                if self._batches == PART_BATCHES:
                    self._encode(pool, p2m)
            if self._rows or not self._parts:
                self._encode(pool, p2m)
            self._wait(p2m, 0)
        return log

    @property
    def parts(self) -> int:
        """Number of files that ``events`` consists of."""
        return len(self._parts)

    def _gather(self, batch: Batch) -> None:
        if batch.buffer is None or batch.count == 0:
            return
        if batch.memory:
            self._memory.append(batch.buffer.rows.memory[: batch.memory] + np.int64(self._rows))
        self._rows = append(self._free[-1], self._rows, batch)
        self._batches += 1

    def _encode(self, pool: ThreadPoolExecutor, p2m: TableWriter) -> None:
        """Hand what has gathered to the pool as the next part."""
        buffer = self._free.pop()
        columns = rows_of(buffer, slice(0, self._rows))
        memory = rows_of(columns, np.concatenate(self._memory)) if self._memory else None
        xen = (self._given or infer_release(self._reader.tally)).layout
        for event in present_events(memory) if memory else ():
            self._layouts.setdefault(event.id, set()).add(event.layouts_in(xen))
        path = part_file(self._folder, len(self._parts))
        self._parts.append(_Part(path, frozenset(np.unique(columns.pcpu[~columns.tsc_known]).tolist())))
        self._waiting.append((buffer, pool.submit(_encode_part, path, columns, memory, xen)))
        self._rows, self._batches, self._memory = 0, 0, []
        self._wait(p2m, PARTS_UNDER_WAY)

    def _wait(self, p2m: TableWriter, most: int) -> None:
        """Wait until at most so many parts are under way; an error in one of them is raised here."""
        while len(self._waiting) > most:
            buffer, part = self._waiting.pop(0)
            rows = part.result()
            self._free.append(buffer)
            if rows is not None:
                p2m.write(rows)

    def mend(self, xen: str) -> None:
        """Fill in first TSCs, and read memory records again if they were read as another release's."""
        pcpus = self._reader.pcpus
        timed = {int(p) for p in np.flatnonzero(pcpus.timed)}
        late = [part for part in self._parts if part.untimed & timed]
        misread = any(self._layouts.get(e.id, set()) - {e.layouts_in(xen)} for e in MEMORY_EVENTS)
        with writing(self._target):
            for part in late:
                write_table(part.path, list(_with_first_tsc(part.path, pcpus)), arrow_schema("events"))
            if late or misread:
                with TableWriter(self._folder / "p2m.parquet", arrow_schema("p2m")) as p2m:
                    for part in self._parts:
                        for columns in _memory_columns(part.path):
                            p2m.write(p2m_batch(columns, xen))


def _encode_part(path: Path, columns: Columns, memory: Columns | None, xen: str) -> pa.RecordBatch | None:
    """Write a part of ``events``; returns the rows of ``p2m`` that belong to it."""
    write_table(path, [events_batch(columns)], arrow_schema("events"))
    return p2m_batch(memory, xen) if memory else None


def _with_first_tsc(path: Path, pcpus: Pcpus) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part; those without a TSC get the first one of their pCPU, if it has any."""
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(MEND_ROWS):
            pcpu = rows["pcpu"].to_numpy()
            first = pa.array(pcpus.first[pcpu], mask=pcpus.timed[pcpu] == 0)
            at = rows.schema.get_field_index("tsc")
            yield rows.set_column(at, "tsc", rows["tsc"].fill_null(first)).cast(arrow_schema("events"))


def _memory_columns(path: Path) -> Iterator[Columns]:
    """Yield the memory records of a part."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(MEND_ROWS):
            columns = columns_of_events(batch)
            rows = np.flatnonzero(are_memory_records(columns))
            if rows.size:
                yield rows_of(columns, rows)
