"""Strategies by name, and strategies out of a user's file: ``path.py:NAME``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.strategies.candidates import CANDIDATES
from eptreplay.strategies.controls import CONTROLS
from eptreplay.strategies.history import HISTORY
from eptreplay.strategies.modern import MODERN
from eptreplay.strategies.npt import NPT
from eptreplay.strategies.series import SERIES
from eptreplay.strategies.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for group in (HISTORY, SERIES, MODERN, NPT, CONTROLS, CANDIDATES) for strategy in group
}
"""All that ship with eptreplay, in the order in which ``-s all`` takes them."""

ALL = "all"
FILE_SUFFIX = ".py:"
"""What stands between the folder of a user's file and the name of a strategy in it."""


def find_strategies(names: Sequence[str]) -> list[Strategy]:
    """Return the strategies that the user named, in that order; ``all`` stands for every one that ships.

    Raises UsageError for an unknown name, a file that cannot be loaded or one without that strategy, and if two rows
    of a result would have the same name.
    """
    found: list[Strategy] = []
    for name in names:
        found += STRATEGIES.values() if name == ALL else [find_strategy(name)]
    refuse_twins("-s", [strategy.name for strategy in found])
    return found


def refuse_twins(option: str, names: Sequence[str]) -> None:
    """Raise UsageError if one of the names is there twice: rows of a result are told apart by it."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"{option} {name}: named twice; each row of a result needs a name of its own")


def find_strategy(name: str) -> Strategy:
    """Return one strategy, by its name or out of a user's file; raises UsageError."""
    if FILE_SUFFIX in name:
        path, _, attribute = name.rpartition(":")
        return _strategy_in(Path(path), attribute)
    if name not in STRATEGIES:
        raise unknown_choice("-s", name, [*STRATEGIES, ALL, "file.py:NAME"])
    return STRATEGIES[name]


def _strategy_in(path: Path, attribute: str) -> Strategy:
    module = _load(path)
    found = getattr(module, attribute, None)
    if isinstance(found, Strategy):
        return found
    names = [name for name, value in vars(module).items() if isinstance(value, Strategy)]
    if not names:
        raise UsageError(f"{path}: expected a module-level Strategy called {attribute}, found no Strategy at all")
    raise unknown_choice(f"{path}: strategy", attribute, names)


def _load(path: Path) -> ModuleType:
    """Run a user's file as a module; whatever goes wrong in it is told with its line.

    Compiled here rather than imported, so that the user's folder gets no ``__pycache__``, and a file that has changed
    within the second is not taken for the one before.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such strategy file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    module = ModuleType(f"eptreplay_user_{path.stem}")
    module.__file__ = str(path)
    # numba and dataclasses look a function's module up by its name.
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))  # noqa: S102 (running it is the task)
    except BaseException as error:
        del sys.modules[module.__name__]
        if isinstance(error, (Exception, SystemExit)):  # to end a file is not to end eptreplay
            raise UsageError(_complaint(path, error)) from None
        raise
    return module


def _complaint(path: Path, error: BaseException) -> str:
    """Return what went wrong in a user's file, and in which line of it."""
    if isinstance(error, SyntaxError):
        text = (error.text or "").strip()
        return f"{_at(error.filename or str(path), error.lineno)}: {error.msg}{f': {text}' if text else ''}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path) and frame.lineno]
    name = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
    return f"{_at(str(path), lines[-1] if lines else None)}: {name}{error}"


def _at(path: str, line: int | None) -> str:
    return f"{path}: line {line}" if line else path
