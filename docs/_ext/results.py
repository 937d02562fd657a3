"""Generators on results: their tables, the workload's, the names in them, and what is null when."""

from __future__ import annotations

from collections.abc import Sequence

from _ext.columns import columns_table
from _ext.markdown import list_table
from eptreplay.causes import CAUSES
from eptreplay.p2m_types import TYPES
from eptreplay.replay.schema import RESULT_TABLES
from eptreplay.replay.unknown import GAPS, Gap, is_unknown
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload.rules import RULES
from eptreplay.workload.schema import OLD_KNOWN, OPS, WORKLOAD

EVIDENCE = {
    "recorded": "an extension record of the write has it",
    "cause": "what the write was for tells: a log-dirty fault, populate-on-demand, pages taken back, ballooning",
    "earlier": "a write before it, of the same entry or of a larger one around it",
    "created": "the domain was created in the recording, and nothing was written there before: no entry",
    "assumed": "nothing tells; counts as present, or as `--unseen` says",
}
"""What each value of ``old_known`` means."""


def table(name: str) -> str:
    """Return the columns of one table of a result, or of the workload."""
    return columns_table(WORKLOAD if name == "workload" else RESULT_TABLES[name])


def operations() -> str:
    """Return the operations of a workload."""
    return list_table(("`op`", "meaning"), [(f"`{name}`", about) for name, about in OPS.items()], (20, 80))


def evidence() -> str:
    """Return the values of ``old_known``, best evidence first."""
    rows = [(f"`{name}`", EVIDENCE[name]) for name in OLD_KNOWN]
    return list_table(("`old_known`", "how the entry's state before is known"), rows, (16, 84))


def causes() -> str:
    """Return the causes by number, and the rules that give them."""
    rows = []
    for number, name in enumerate(CAUSES):
        given = dict.fromkeys(rule.name for rule in RULES if rule.cause == name)
        rows.append((str(number), f"`{name}`", ", ".join(f"`{rule}`" for rule in given)))
    return list_table(("number", "cause", "rules that name it"), rows, (10, 24, 60))


def p2m_types() -> str:
    """Return Xen's types of p2m entries, and the rights that an EPT entry of each grants."""
    rows = [(str(kind.number), f"`{kind.name}`", f"`{kind.rights}`" if kind.rights else "none") for kind in TYPES]
    return list_table(("number", "type", "rights"), rows, (10, 30, 14))


def gaps() -> str:
    """Return what a recording may lack, and which columns of results are null then."""
    rows = [(f"`{gap.name}`", _concerned(gap), _null_columns(gap.columns), gap.consequence) for gap in GAPS]
    return list_table(("lacking", "strategies", "null", "what the report says"), rows, (10, 16, 40, 40))


def _concerned(gap: Gap) -> str:
    names = [strategy.name for strategy in STRATEGIES.values() if gap.concerns(strategy)]
    others = [name for name in STRATEGIES if name not in names]
    if not others:
        return "all"
    all_but = len(others) < len(names)
    listed = ", ".join(f"`{name}`" for name in (others if all_but else names))
    return f"all but {listed}" if all_but else listed


def _null_columns(prefixes: Sequence[str]) -> str:
    """Return the columns by table; those that a beginning stands for as that beginning and a star."""
    parts = []
    for name, columns in RESULT_TABLES.items():
        own = [column.name for column in columns if is_unknown(column.name, tuple(prefixes))]
        short = dict.fromkeys(
            next((f"{p.rstrip('_')}_*" for p in prefixes if c != p and is_unknown(c, (p,))), c) for c in own
        )
        if short:
            parts.append(f"{name}: {', '.join(f'`{column}`' for column in short)}")
    return "\n\n".join(parts)
