"""Kernels in a process that compiles nothing, as coverage and debuggers need it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
Objects = list[SimpleNamespace]
Pairs = list[tuple["np.recarray[Any, Any]", Objects]]


def interpreted(kernel: F) -> F:
    """Return a kernel that is given Python objects for arrays of records, and whose changes to them are copied back.

    numpy takes 30 times as long to read a field of a record as to read an item of an array. No array may be given
    twice, and what a kernel that raises has changed is lost.
    """

    @wraps(kernel)
    def call(*arguments: object) -> object:
        pairs: Pairs = []
        result = kernel(*(_with_objects(argument, pairs) for argument in arguments))
        for records, objects in pairs:
            for name in records.dtype.names or ():
                records[name] = [getattr(one, name) for one in objects]
        return result

    return cast("F", call)


def _with_objects(argument: Any, pairs: Pairs) -> Any:  # noqa: ANN401 (whatever kernels are given)
    """Return an argument with objects for records, those of a tuple of arrays as well; enters both in ``pairs``."""
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return type(argument)(*(_with_objects(value, pairs) for value in argument))
    if not isinstance(argument, np.recarray):
        return argument
    names = argument.dtype.names or ()
    objects = [SimpleNamespace(**dict(zip(names, values, strict=True))) for values in argument.tolist()]
    pairs.append((argument, objects))
    return objects
