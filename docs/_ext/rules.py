"""Generators on the rules that make operations of records: their alphabet and their patterns."""

from __future__ import annotations

from _ext.markdown import list_table
from eptreplay.workload.letters import LETTERS
from eptreplay.workload.rules import BOTH, RULES, Rule


def letters() -> str:
    """Return what each letter stands for."""
    return list_table(("letter", "record"), [(f"`{letter}`", about) for letter, about in LETTERS.items()], (10, 90))


def rules(vendor: str) -> str:
    """Return the rules of a vendor in the order in which they are tried."""
    rows = [
        (f"`{rule.name}`", f"`{rule.pattern}`", _makes(rule), f"`{rule.cause}`" if rule.cause else "", rule.about)
        for rule in RULES
        if vendor in rule.vendors
    ]
    return list_table(("rule", "pattern", "makes", "cause", "meaning"), rows, (18, 26, 16, 16, 40))


def _makes(rule: Rule) -> str:
    both = " (both vendors)" if rule.vendors == BOTH else ""
    return f"{rule.makes}{', infers writes' if rule.infers else ''}{both}"
