"""Generators on cost profiles: what numbers there are, and where those of a profile are from."""

from __future__ import annotations

from _ext.markdown import list_table
from eptreplay.machine.profile import FIELDS, Field, Number, load_profile


def fields() -> str:
    """Return every number that a profile has, by its place in the file, and what it may be."""
    rows = [(f"`{field.key}`", field.unit, field.meaning, _values(field)) for field in FIELDS]
    return list_table(("number", "unit", "what it is", "values"), rows, (26, 10, 44, 20))


def numbers(name: str) -> str:
    """Return the summary and every number of a profile that ships."""
    profile = load_profile(name)
    rows = [
        (f"`{name}`", _shown(number.value), _range(number), _reason(number)) for name, number in profile.numbers.items()
    ]
    table = list_table(("number", "value", "range", "where it is from"), rows, (24, 10, 16, 60))
    return f"{profile.summary[0].upper()}{profile.summary[1:]}.\n\n{table}"


def _values(field: Field) -> str:
    return ", ".join(f"`{choice}`" for choice in field.choices) or f"{field.least:,} to {field.most:,}"


def _shown(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _range(number: Number) -> str:
    return "{:,} to {:,}".format(*number.range) if number.range else ""


def _reason(number: Number) -> str:
    return f"{number.source}." if number.source else f"*assumed:* {number.assumed}."
