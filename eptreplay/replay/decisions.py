"""Decision functions as numba wants them: one signature, so that the engine is compiled once for all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import numba
from numba.core.errors import NumbaError

from eptreplay.errors import UsageError
from eptreplay.jit import COMPILES
from eptreplay.strategies.decision import Decide, Request
from eptreplay.strategies.strategy import Strategy

DecideType = Callable[..., int]

_INT = numba.int64
SIGNATURE = _INT(*[_INT] * len(Request._fields))


def _default(*request: int) -> int:
    """Stand in where a strategy has no function of its own; it is never called."""
    return request[1]


def compiled_decision(strategy: Strategy) -> DecideType:
    """Return a strategy's decision function for the engine.

    Raises UsageError if it does not compile: with its file, its line, and what numba has to say.
    """
    if not COMPILES:
        return _flat(strategy.decide)
    if strategy.decide is None:
        return _compiled_default()
    try:
        return _compiled(strategy.decide)
    except NumbaError as error:
        raise _explained(strategy, error) from None


def _flat(decide: Decide | None) -> DecideType:
    if decide is None:
        return _default
    return lambda *numbers: int(decide(Request._make(numbers)))


@lru_cache(maxsize=64)
def _compiled(decide: Decide) -> DecideType:
    return _compile(cast("Decide", numba.njit(decide, error_model="numpy")))


@lru_cache(maxsize=1)
def _compiled_default() -> DecideType:
    return _compile(cast("Decide", numba.njit(lambda request: request.default)))


def _compile(decide: Decide) -> DecideType:
    @numba.cfunc(SIGNATURE)
    def flat(
        what: int, default: int, cause: int, old_type: int, new_type: int, order: int, upgrade: int, pending: int,
        sets: int, dirty: int, now_ns: int, held_ns: int, gfn: int, mfn: int,
    ) -> int:  # fmt: skip
        return decide(
            Request(
                what, default, cause, old_type, new_type, order, upgrade, pending, sets, dirty, now_ns, held_ns, gfn,
                mfn,
            )
        )  # fmt: skip

    return flat


def _explained(strategy: Strategy, error: NumbaError) -> UsageError:
    """Return the error for a function that does not compile: numba's reason, and the user's line."""
    source = strategy.decide
    file = inspect.getsourcefile(source) or "?" if source else "?"
    first = source.__code__.co_firstlineno if source else 0
    line = next(
        (where.line for where in (getattr(error, "loc", None),) if where is not None and where.filename == file), first
    )
    lines = [text.strip() for text in str(error).splitlines() if text.strip()]
    for text in lines:
        if text.startswith("File ") and ", line " in text and file.rpartition("/")[2] in text:
            line = int(text.rpartition("line ")[2].rstrip(":"))
    reason = next((text for text in lines if not text.startswith(("Failed in", "File ", "^", "-"))), "unknown reason")
    return UsageError(f"{file}: line {line}: strategy {strategy.name}: decide does not compile: {reason}")
