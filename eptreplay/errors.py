"""Every error that eptreplay raises on purpose, and the exit code that each one becomes.

    EptreplayError
    ├── UsageError       2   the request makes no sense: an existing target, a wrong option value
    ├── InputError       3   the bytes given are not what they should be
    │   └── DamageError  3   damage found under ``--strict``
    └── OutputError      4   the result could not be written

Anything else that escapes is a bug of ours and exits with 70.
"""

from __future__ import annotations


class EptreplayError(Exception):
    """Base of all expected errors; the message is one clear line for the user."""

    exit_code = 70


class UsageError(EptreplayError):
    """The command or call cannot be carried out as asked."""

    exit_code = 2


class InputError(EptreplayError):
    """An input file or dataset cannot be read."""

    exit_code = 3


class DamageError(InputError):
    """The input is damaged and the caller asked for strict reading."""


class OutputError(EptreplayError):
    """An output could not be written, for instance because the disk is full."""

    exit_code = 4
