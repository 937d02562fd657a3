"""Strategies by name, and strategies out of a user's file: ``path.py:NAME``."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.strategies.controls import CONTROLS
from eptreplay.strategies.history import HISTORY
from eptreplay.strategies.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (*HISTORY, *CONTROLS)}
"""All that ship with eptreplay, in the order in which ``-s all`` takes them."""

ALL = "all"
_SUFFIX = ".py:"


def find_strategies(names: Sequence[str]) -> list[Strategy]:
    """Return the strategies that the user named, in that order; ``all`` stands for every one that ships.

    Raises UsageError for an unknown name, a file that cannot be loaded or one without that strategy, and if two rows
    of a result would have the same name.
    """
    found: list[Strategy] = []
    for name in names:
        found += STRATEGIES.values() if name == ALL else [find_strategy(name)]
    for number, strategy in enumerate(found):
        if strategy.name in {other.name for other in found[:number]}:
            raise UsageError(f"-s {strategy.name}: named twice; each row of a result needs a name of its own")
    return found


def find_strategy(name: str) -> Strategy:
    """Return one strategy, by its name or out of a user's file; raises UsageError."""
    if _SUFFIX in name:
        path, _, attribute = name.rpartition(":")
        return _strategy_in(Path(path), attribute)
    if name not in STRATEGIES:
        raise unknown_choice("-s", name, [*STRATEGIES, "file.py:NAME"])
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
    """Run a user's file as a module; whatever goes wrong in it is told with its line."""
    if not path.is_file():
        raise UsageError(f"{path}: no such strategy file")
    spec = importlib.util.spec_from_file_location(f"eptreplay_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    # numba and dataclasses look a function's module up by its name.
    sys.modules[module.__name__] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        text = (error.text or "").strip()
        raise UsageError(f"{error.filename or path}: line {error.lineno}: {error.msg}: {text}") from None
    except UsageError as error:
        raise UsageError(f"{path}: line {_line_in(path, error)}: {error}") from None
    except Exception as error:  # noqa: BLE001 (whatever a user's file raises is about that file)
        raise UsageError(f"{path}: line {_line_in(path, error)}: {type(error).__name__}: {error}") from None
    return module


def _line_in(path: Path, error: BaseException) -> int:
    """Return the last line of the user's file that an error passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return next((line for line in reversed(lines) if line), 0)
