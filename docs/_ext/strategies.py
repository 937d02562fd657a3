"""Generators on strategies and presets: those that ship, switches, what a decision function gets and returns."""

from __future__ import annotations

from dataclasses import MISSING, fields

from _ext.markdown import documented, list_table
from eptreplay.strategies import Request, Strategy, decision
from eptreplay.strategies.presets import PRESETS
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.strategy import CHOICES

DESCRIPTIONS = ("name", "summary", "commit", "dates", "releases", "plausible")
"""Fields of a strategy that are no switches."""

SHORT = {True: "yes", False: "no", None: "none"}


def shipped() -> str:
    """Return every strategy that ships: what it does, which releases had it, by which commit, and when."""
    rows = []
    for strategy in STRATEGIES.values():
        commit = f"`{strategy.commit}`" if strategy.commit else ""
        tree = "\n\n".join(part for part in (commit, strategy.dates) if part)
        rows.append((f"`{strategy.name}`", strategy.summary, strategy.releases, tree))
    return list_table(("strategy", "what it does", "releases of Xen", "commit, dates"), rows, (18, 40, 22, 20))


def side_by_side() -> str:
    """Return the switches of every strategy, one row each; values that are not those of ``deferred`` are bold."""
    names = [field.name for field in fields(Strategy) if field.name not in DESCRIPTIONS]
    defaults = {field.name: field.default for field in fields(Strategy)}
    rows = [
        (f"`{strategy.name}`", *(_cell(getattr(strategy, name), defaults[name]) for name in names))
        for strategy in STRATEGIES.values()
    ]
    return list_table(("strategy", *(f"`{name}`" for name in names)), rows, (16, *(6 for _ in names)))


def _cell(value: object, default: object) -> str:
    text = SHORT[value] if isinstance(value, bool | None) else f"`{getattr(value, '__name__', value)}`"
    return text if value == default else f"**{text}**"


def candidates() -> str:
    """Return the candidates, each with the fact that makes it plausible."""
    rows = [
        (f"`{strategy.name}`", strategy.summary, strategy.plausible)
        for strategy in STRATEGIES.values()
        if strategy.plausible
    ]
    return list_table(("candidate", "what it does", "why it is plausible"), rows, (18, 36, 46))


def presets() -> str:
    """Return the presets: strategy and lock of each release, and when it came out."""
    rows = [
        (f"`{preset.name}`", f"`{preset.strategy}`", f"`{preset.lock}`", preset.released, preset.summary)
        for preset in PRESETS.values()
    ]
    return list_table(("preset", "strategy", "lock", "released", "what it is"), rows, (14, 22, 12, 14, 40))


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


def asked() -> str:
    """Return the values of ``what``: where a decision function is asked."""
    texts = documented(decision)
    numbers = {
        name: value
        for name, value in vars(decision).items()
        if isinstance(value, int) and name in texts and name not in decision.DECISIONS
    }
    meanings = {name: texts[name].removeprefix("`Request.what`: ") for name in numbers}
    rows = [
        (f"`{name}`", str(value), f"{meanings[name][0].upper()}{meanings[name][1:]}") for name, value in numbers.items()
    ]
    return list_table(("what", "number", "meaning"), rows, (18, 8, 74))


def decisions() -> str:
    """Return what a decision function may return."""
    texts = documented(decision)
    return list_table(("decision", "meaning"), [(f"`{name}`", texts[name]) for name in decision.DECISIONS], (16, 84))
