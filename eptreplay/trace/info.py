"""Facts about a recording or a dataset, without writing anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from eptreplay.trace.dataset import read_manifest
from eptreplay.trace.schema import SCHEMA_VERSION
from eptreplay.trace.summary import Assumptions, DamageLog, Document, summarise
from eptreplay.xentrace.reader import Progress, Reader

LARGE_BYTES = 1_000_000_000
"""From this size on the hash of a raw file, which costs more than reading it, and its p2m counts are left out."""
_MANIFEST_ONLY = ("kind", "eptreplay", "options")


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
    and ``p2m`` for large files. Raises InputError, and DamageError if ``strict``.
    """
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    if len(paths) == 1 and Path(paths[0]).is_dir():
        manifest = read_manifest(paths[0])
        return {"schema": SCHEMA_VERSION, **{k: v for k, v in manifest.items() if k not in ("schema", *_MANIFEST_ONLY)}}
    assumptions = Assumptions.given(xen, tsc_hz)
    complete = full or not any(_is_large(path) for path in paths)
    reader, log = Reader(paths, strict=strict, digest=complete, progress=progress), DamageLog()
    for batch in reader:
        log.add(batch)
        reader.recycle(batch)
    return summarise(reader, log, assumptions, with_p2m=complete)


def _is_large(path: str | os.PathLike[str]) -> bool:
    return Path(path).is_file() and Path(path).stat().st_size >= LARGE_BYTES
