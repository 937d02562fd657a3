"""Facts about a recording or a dataset, with what the rules make of its records; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from eptreplay.trace.dataset import dataset_among
from eptreplay.trace.info import read_info
from eptreplay.trace.p2m import are_memory_records, p2m_batch
from eptreplay.trace.schema import arrow_schema
from eptreplay.trace.summary import Document
from eptreplay.trace.tables import events_batch
from eptreplay.workload import records as r
from eptreplay.workload.lower import infer_writes
from eptreplay.workload.workload import shares_document
from eptreplay.xentrace.columns import Columns, columns_of, rows_of
from eptreplay.xentrace.reader import Batch, Progress


def info(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    full: bool = False,
    strict: bool = False,
    xen: str | None = None,
    tsc_hz: int | None = None,
    progress: Progress | None = None,
) -> Document:
    """Return what is known of a xentrace file (or several that are one recording), of standard input, or of a dataset.

    The document is that of ``eptreplay info --format json``, see the reference. ``full``: do not leave out ``sha256``
    and ``p2m`` for large files. Raises InputError, DamageError if ``strict``, and UsageError for ``xen`` or ``tsc_hz``
    with a dataset, where they are fixed.
    """
    gathered = _Gathered()
    document = read_info(source, full=full, strict=strict, xen=xen, tsc_hz=tsc_hz, progress=progress, sink=gathered.add)
    if document["p2m"] is None:
        return {**document, "calls": None, "tsc_skew": None}
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    dataset = dataset_among(paths, xen=xen, tsc_hz=tsc_hz)
    records = r.read_records(dataset)[0] if dataset else gathered.records(document["xen"]["layout"])
    inference = infer_writes(records, document)
    p2m = {
        **document["p2m"],
        "sets": document["p2m"]["recorded"] + inference.inferred,
        "inferred": inference.inferred,
        "rules": shares_document(inference.shares),
    }
    calls, skew = inference.calls, inference.skew
    return {**document, "p2m": p2m, "calls": calls and calls._asdict(), "tsc_skew": skew and skew.document()}


@dataclass
class _Gathered:
    """The records that rules look at, out of the batches of a file."""

    parts: list[Columns] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Keep what rules look at."""
        columns = columns_of(batch)
        rows = np.flatnonzero(r.what_records_are(columns.event) != r.OTHER)
        if rows.size:
            self.parts.append(rows_of(columns, rows))

    def records(self, xen: str) -> r.Records:
        """Return all of them, read as release ``xen`` writes them."""
        events = [events_batch(part) for part in self.parts]
        memory = [rows_of(part, np.flatnonzero(are_memory_records(part))) for part in self.parts]
        p2m = [p2m_batch(part, xen) for part in memory if part.event.size]
        return r.records_of(
            pa.Table.from_batches(events, arrow_schema("events")), pa.Table.from_batches(p2m, arrow_schema("p2m"))
        )
