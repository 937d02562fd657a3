"""Where log-dirty is on: ``p2m->global_logdirty`` and ``p2m->logdirty_ranges``. Frames are guest frames."""

from __future__ import annotations

from typing import NamedTuple

Range = tuple[int, int]
"""First and last frame."""

NONE, SOME, ALL = range(3)
"""For how many of some frames log-dirty is on."""


class LogDirty(NamedTuple):
    """Where log-dirty is on."""

    everywhere: bool = False
    ranges: tuple[Range, ...] = ()
    """In ascending order; they neither overlap nor touch."""


def switch_range(log_dirty: LogDirty, first: int, last: int, *, on: bool) -> LogDirty:
    """Switch log-dirty on or off for a range: ``rangeset_add_range()``, ``rangeset_remove_range()``."""
    ranges: list[Range] = [(first, last)] if on else []
    for one, other in log_dirty.ranges:
        ranges += [(one, min(other, first - 1))] if one < first else []
        ranges += [(max(one, last + 1), other)] if other > last else []
    return log_dirty._replace(ranges=_joined(ranges))


def extent(log_dirty: LogDirty, first: int, last: int) -> int:
    """Return whether log-dirty is on for none, some or all frames of a range: ``p2m_is_logdirty_range()``."""
    if log_dirty.everywhere or any(one <= first and last <= other for one, other in log_dirty.ranges):
        return ALL
    return SOME if any(one <= last and first <= other for one, other in log_dirty.ranges) else NONE


def _joined(ranges: list[Range]) -> tuple[Range, ...]:
    """Return ranges in ascending order, those that touch made one."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = joined[-1][0], last
        else:
            joined.append((first, last))
    return tuple(joined)
