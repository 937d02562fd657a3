"""What a Polars predicate says about single columns: ranges that rows outside of cannot pass.

Only comparisons of a column with a literal, joined by ``and``, are understood; anything else bounds nothing. That is
safe, since the predicate is applied to every row anyway: a bound only saves work.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True)
class Range:
    """Integers from ``low`` to ``high``, both included."""

    low: int = LOWEST
    high: int = HIGHEST

    def __and__(self, other: Range) -> Range:
        return Range(max(self.low, other.low), min(self.high, other.high))


EVERYTHING = Range()

_COMPARISONS = {
    "Eq": lambda x: Range(x, x),
    "Lt": lambda x: Range(high=x - 1),
    "LtEq": lambda x: Range(high=x),
    "Gt": lambda x: Range(low=x + 1),
    "GtEq": lambda x: Range(low=x),
}
_MIRRORED = {"Eq": "Eq", "Lt": "Gt", "LtEq": "GtEq", "Gt": "Lt", "GtEq": "LtEq"}
_CLOSED = {"Both": (0, 0), "Left": (0, -1), "Right": (1, 0), "None": (1, -1)}


def column_range(predicate: pl.Expr | None, column: str) -> Range:
    """Return the range that ``column`` must lie in for ``predicate`` to be true; everything where it does not tell."""
    if predicate is None:
        return EVERYTHING
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except (ValueError, pl.exceptions.PolarsError):
        return EVERYTHING
    return _bound(tree, column)


def _bound(node: object, column: str) -> Range:
    match node:
        case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
            return _bound(left, column) & _bound(right, column)
        case {"BinaryExpr": {"left": {"Column": name}, "op": op, "right": right}} if name == column:
            return _compare(op, _literal(right))
        case {"BinaryExpr": {"left": left, "op": op, "right": {"Column": name}}} if name == column:
            return _compare(_MIRRORED.get(op), _literal(left))
        case {
            "Function": {
                "input": [{"Column": name}, low, high],
                "function": {"Boolean": {"IsBetween": {"closed": closed}}},
            }
        }:
            first, last = _literal(low), _literal(high)
            if name == column and first is not None and last is not None and closed in _CLOSED:
                more, less = _CLOSED[closed]
                return Range(first + more, last + less)
    return EVERYTHING


def _compare(op: object, value: int | None) -> Range:
    if value is None or not isinstance(op, str) or op not in _COMPARISONS:
        return EVERYTHING
    return _COMPARISONS[op](value)


def _literal(node: object) -> int | None:
    """Return the integer that a node stands for, None if it is anything else; a float is no bound for integers."""
    match node:
        case {"Literal": {"Dyn": {"Int": value}}} if isinstance(value, int):
            return value
        case {"Literal": {"Scalar": scalar}} if isinstance(scalar, dict) and len(scalar) == 1:
            ((kind, value),) = scalar.items()
            return value if kind.startswith(("Int", "UInt")) and isinstance(value, int) else None
        case {"Cast": {"expr": inner, "dtype": {"Literal": str(kind)}, "options": "Strict" | "NonStrict"}}:
            # Cast to a boolean or to a float, a literal is compared as another number than its own.
            return _literal(inner) if kind.startswith(("Int", "UInt")) else None
    return None
