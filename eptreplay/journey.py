"""The main job in one go: recordings in, report out, nothing left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eptreplay.errors import UsageError
from eptreplay.replay.plan import Plan, plan
from eptreplay.replay.results import is_replaceable_result, is_result
from eptreplay.replay.runs import Step, as_dataset, replay_dataset
from eptreplay.report.summary import Document, check_baseline, summarise_result
from eptreplay.trace.atomic import staged
from eptreplay.trace.dataset import is_replaceable_dataset
from eptreplay.workload.entries import PATHS
from eptreplay.workload.think import UNSCALED
from eptreplay.xentrace.reader import Progress

TRACE, RESULT = "trace", "result"
"""Names of the two datasets below ``--keep``."""

PathName = str | os.PathLike[str]


def report(
    source: PathName | Sequence[PathName],
    *,
    baseline: str | None = None,
    keep: PathName | None = None,
    force: bool = False,
    **options: Any,  # noqa: ANN401 (those of replay, checked there)
) -> Document:
    """Return the report on xentrace files (several are one recording), a trace dataset, or a result dataset.

    ``baseline``: the preset or strategy that the others are compared with. ``keep``: a folder for the datasets that are
    made on the way; without it they are temporary. Other options are those of ``eptreplay.replay``; a result dataset
    takes none. Raises UsageError, InputError, DamageError, OutputError.
    """
    with reported(source, baseline=baseline, keep=keep, force=force, **options) as (document, _):
        return document


@contextmanager
def reported(
    source: PathName | Sequence[PathName],
    *,
    baseline: str | None = None,
    keep: PathName | None = None,
    force: bool = False,
    **options: Any,  # noqa: ANN401 (those of replay, checked there)
) -> Iterator[tuple[Document, Path]]:
    """Yield the report and the result dataset that it is about, which may be gone afterwards."""
    paths = [source] if isinstance(source, str | os.PathLike) else list(source)
    if len(paths) == 1 and is_result(paths[0]):
        given = [_OPTIONS.get(name, f"--{name}") for name, value in options.items() if _is_given(name, value)]
        if given or keep is not None:
            names = ", ".join(given or ["--keep"])
            raise UsageError(f"{paths[0]} is a result: {names} cannot change it; report the recording or its dataset")
        yield summarise_result(paths[0], baseline), Path(paths[0])
        return
    if keep is not None:
        with staged(Path(keep), force=force, replaceable=_is_replaceable_pair, folder=True) as folder:
            document = _in_folder(paths, folder, Path(keep), baseline, force=force, **options)
        # What becomes of the report does not matter to what is kept.
        yield document, Path(keep) / RESULT
        return
    with tempfile.TemporaryDirectory(prefix="eptreplay-") as scratch:
        yield _in_folder(paths, Path(scratch), Path(scratch), baseline, force=force, **options), Path(scratch) / RESULT


_OPTIONS = {
    "strategies": "-s",
    "presets": "--preset",
    "locks": "--lock",
    "profiles": "--profile",
    "tsc_hz": "--tsc-hz",
    "recorded_as": "--recorded-as",
    "recorded_on": "--recorded-on",
    "think_scale": "--think-scale",
}
"""How options are called on the command line, where that is not their name."""
_DEFAULTS: dict[str, object] = {
    "seed": 0,
    "seeds": 1,
    "detail": "summary",
    "paths": PATHS[-1],
    "strict": False,
    "think_scale": UNSCALED,
}
_HARMLESS = ("progress", "step", "threads")


def _is_given(name: str, value: object) -> bool:
    """Tell whether the user asked for something that a result that exists cannot do."""
    if name in _HARMLESS:
        return False
    return value != _DEFAULTS[name] if name in _DEFAULTS else bool(value)


def _in_folder(
    sources: list[PathName],
    folder: Path,
    target: Path,
    baseline: str | None,
    *,
    force: bool,
    xen: str | None = None,
    tsc_hz: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
    step: Step | None = None,
    threads: int | None = None,
    **wanted: Any,  # noqa: ANN401 (those of plan, checked there)
) -> Document:
    """Ingest where that is needed, replay, and report; both datasets are made in ``folder``."""
    chosen: Plan = plan(**wanted)
    check_baseline(baseline, chosen.labels)
    dataset = as_dataset(sources, folder / TRACE, xen=xen, tsc_hz=tsc_hz, strict=strict, progress=progress)
    result = folder / RESULT
    result.mkdir()
    replay_dataset(dataset, result, target / RESULT, chosen, force=force, threads=threads, step=step)
    return summarise_result(result, baseline)


def _is_replaceable_pair(path: Path) -> bool:
    """Tell whether a folder holds nothing but the two datasets of an earlier ``--keep``."""
    if not path.is_dir() or path.is_symlink():
        return False
    kinds = {TRACE: is_replaceable_dataset, RESULT: is_replaceable_result}
    return all(entry.name in kinds and kinds[entry.name](entry) for entry in path.iterdir())
