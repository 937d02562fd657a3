"""How numbers are written for people: durations, counts, differences. The one place that does."""

from __future__ import annotations

UNKNOWN = "-"

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))


def duration(ns: int | None) -> str:
    """Return nanoseconds with three digits that count: ``17.3 us``."""
    if ns is None:
        return UNKNOWN
    for size, unit in _UNITS:
        # 999.95 us is 1.00 ms once it is rounded.
        if abs(ns) >= size * 0.9995:
            value = ns / size
            digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
            return f"{value:,.{digits}f} {unit}"
    return f"{ns} ns"


def count(number: int | None) -> str:
    """Return a number with thousands separators."""
    return UNKNOWN if number is None else f"{number:,}"


def span(low: int | None, value: int | None, high: int | None) -> str:
    """Return a count with its range, where that is not the count itself."""
    if value is None or (low, high) in {(value, value), (None, None)}:
        return count(value)
    return f"{value:,} [{count(low)}, {count(high)}]"


def difference(value: int | None, base: int | None) -> str:
    """Return how much more or less than ``base`` a number is, in per cent."""
    if value is None or base is None:
        return UNKNOWN
    if value == base:
        return "same"
    if base == 0:
        return f"+{value:,}"
    share = 100 * (value - base) / base
    return f"{share:+.0f} %" if abs(share) >= 1 else f"{share:+.1f} %"


def share(value: float | None) -> str:
    """Return a share in per cent, with two digits that count."""
    if value is None:
        return UNKNOWN
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.2g} %"
