"""Facts about a recording or a dataset, without writing anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from eptreplay.errors import DamageError, UsageError
from eptreplay.trace.dataset import dataset_among, read_manifest
from eptreplay.trace.schema import SCHEMA_VERSION
from eptreplay.trace.summary import Assumptions, DamageLog, Document, summarise
from eptreplay.xentrace.decode import KEEP_EPT, KEEP_NONE
from eptreplay.xentrace.reader import Batch, Progress, Reader

LARGE_BYTES = 1_000_000_000
"""From this size on the hash of a raw file, which costs more than reading it, and its p2m counts are left out."""
_MANIFEST_ONLY = ("kind", "eptreplay", "options", "parts")


Sink = Callable[[Batch], None]
"""Gets every batch of a recording that is read, before it is recycled."""


def read_info(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    full: bool = False,
    strict: bool = False,
    xen: str | None = None,
    tsc_hz: int | None = None,
    progress: Progress | None = None,
    sink: Sink | None = None,
) -> Document:
    """Return what is known of a xentrace file (or several that are one recording), of standard input, or of a dataset.

    The document is that of ``eptreplay info --format json``, see the reference, without what is inferred. ``full``: do
    not leave out ``sha256`` and ``p2m`` for large files. ``sink`` gets the records of class ept, unless the files are
    large. Raises InputError, DamageError if ``strict``, and UsageError for ``xen`` or ``tsc_hz`` with a dataset, where
    they are fixed.
    """
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not paths:
        raise UsageError("nothing to read: name a xentrace file, - for standard input, or a dataset")
    assumptions = Assumptions.given(xen, tsc_hz)
    if dataset := dataset_among(paths, xen=xen, tsc_hz=tsc_hz):
        return _of_dataset(dataset, strict=strict)
    complete = full or not any(_is_large(path) for path in paths)
    wanted = sink if complete else None
    keep = KEEP_EPT if wanted else KEEP_NONE
    reader, log = Reader(paths, keep=keep, strict=strict, digest=complete, progress=progress), DamageLog()
    for batch in reader:
        log.add(batch)
        if wanted:
            wanted(batch)
        reader.recycle(batch)
    return summarise(reader, log, assumptions, with_p2m=complete)


def _of_dataset(folder: str | os.PathLike[str], *, strict: bool) -> Document:
    manifest = read_manifest(folder)
    if strict and manifest["damage"]:
        raise DamageError(f"{folder}: {manifest['damage'][0]['message']}")
    return {"schema": SCHEMA_VERSION, **{k: v for k, v in manifest.items() if k not in ("schema", *_MANIFEST_ONLY)}}


def _is_large(path: str | os.PathLike[str]) -> bool:
    try:
        return Path(path).stat().st_size >= LARGE_BYTES
    except OSError:
        return False  # opening it says what is wrong
