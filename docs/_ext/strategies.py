"""Generators on strategies: those that ship, their switches, and what a decision function gets and returns."""

from __future__ import annotations

from dataclasses import MISSING, fields

from _ext.markdown import documented, list_table
from eptreplay.strategies import Request, Strategy, decision
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.strategy import CHOICES

DESCRIPTIONS = ("name", "decide", "summary", "commit", "releases")
"""Fields of a strategy that are no switches."""


def shipped() -> str:
    """Return every strategy that ships: what it does, where it was, and the switches that are not at their default."""
    rows = []
    for strategy in STRATEGIES.values():
        commit = f" (`{strategy.commit}`)" if strategy.commit else ""
        changed = [
            f"`{field.name}={getattr(strategy, field.name)!r}`"
            for field in fields(Strategy)
            if field.name not in DESCRIPTIONS and getattr(strategy, field.name) != field.default
        ]
        rows.append(
            (f"`{strategy.name}`", strategy.summary, strategy.releases + commit, "\n\n".join(changed) or "all defaults")
        )
    return list_table(("strategy", "what it does", "releases of Xen", "switches"), rows, (14, 36, 20, 30))


def switches() -> str:
    """Return every field of a strategy with its values and its default."""
    texts = documented(Strategy)
    rows = []
    for field in fields(Strategy):
        if field.name in CHOICES:
            values = ", ".join(f"`{choice!r}`" for choice in CHOICES[field.name])
        else:
            values = {"bool": "`True`, `False`", "str": "text"}.get(str(field.type), "function")
        default = "(required)" if field.default is MISSING else f"`{field.default!r}`"
        rows.append((f"`{field.name}`", values, default, texts[field.name]))
    return list_table(("field", "values", "default", "meaning"), rows, (20, 26, 14, 60))


def request() -> str:
    """Return the fields of what a decision function is called with."""
    texts = documented(Request)
    return list_table(("field", "meaning"), [(f"`{name}`", texts[name]) for name in Request._fields], (16, 84))


def decisions() -> str:
    """Return what a decision function may return."""
    texts = documented(decision)
    return list_table(("decision", "meaning"), [(f"`{name}`", texts[name]) for name in decision.DECISIONS], (16, 84))
