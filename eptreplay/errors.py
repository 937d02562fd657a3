"""Every error that eptreplay raises on purpose, and the exit code that each one becomes.

    EptreplayError
    ├── UsageError       2   the request makes no sense: an existing target, a wrong option value
    ├── InputError       3   the bytes given are not what they should be
    │   └── DamageError  3   damage found under ``--strict``
    └── OutputError      4   the result could not be written

Anything else that escapes is a bug of ours and exits with 70.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED_CHOICES = 30
"""Lists that are longer are not printed; near names have to do."""


class EptreplayError(Exception):
    """Base of all expected errors; the message is one clear line for the user."""

    exit_code = 70


class UsageError(EptreplayError):
    """The command or call cannot be carried out as asked."""

    exit_code = 2


def unknown_choice(option: str, value: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a value that is none of ``choices``, with near names."""
    known = list(choices)
    near = difflib.get_close_matches(value, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    listed = f"expected one of {', '.join(known)}" if len(known) <= LISTED_CHOICES else "there is no such"
    return UsageError(f"{option} {value}: {listed}{hint}")


class InputError(EptreplayError):
    """An input file or dataset cannot be read."""

    exit_code = 3


class DamageError(InputError):
    """The input is damaged and the caller asked for strict reading."""


class OutputError(EptreplayError):
    """An output could not be written, for instance because the disk is full."""

    exit_code = 4
