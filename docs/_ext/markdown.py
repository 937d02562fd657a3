"""Markdown for generated text: tables, and the texts that stand below names in the source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import ModuleType


def list_table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Return a table as a MyST ``list-table``; a blank line in a cell separates paragraphs."""
    lines = ["````{list-table}", ":header-rows: 1", f":widths: {' '.join(map(str, widths))}", ""]
    for row in (head, *rows):
        for number, cell in enumerate(row):
            first, *others = cell.split("\n")
            lines.append(f"{'* ' if number == 0 else '  '}- {first}".rstrip())
            lines += [f"    {line}".rstrip() for line in others]
    return "\n".join([*lines, "````", ""])


def documented(owner: type | ModuleType) -> dict[str, str]:
    """Return the text below each name that a class or module assigns or annotates, as Markdown."""
    tree = ast.parse(inspect.getsource(owner))
    body = (
        tree.body if isinstance(owner, ModuleType) else next(x.body for x in tree.body if isinstance(x, ast.ClassDef))
    )
    texts = {}
    for statement, below in pairwise(body):
        target = _target(statement)
        if target and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[target] = inspect.cleandoc(str(below.value.value)).replace("\n", " ").replace("``", "`")
    return texts


def _target(statement: ast.stmt) -> str | None:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return None
