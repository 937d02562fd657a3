"""Option values out of a list: the one place that says so when a value is none of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from eptreplay.errors import UsageError


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Raise UsageError, with near names, unless ``value`` is one of ``choices``."""
    if value in choices:
        return
    near = difflib.get_close_matches(value, choices, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{option} {value}: expected one of {', '.join(choices)}{hint}")
