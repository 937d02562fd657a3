"""Runs the examples of README and docs, and writes down what they print now: ``make examples``.

What still matches is left alone. Where a page shows a part of an output, with one line of ``...`` in it, as many lines
before and behind it are shown as were. Whatever else does not match, or a session that raises, is named and left.

Usage: python -m tests.docs.refresh [PAGE...]
"""

from __future__ import annotations

import doctest
import os
import sys
import tempfile
from pathlib import Path

import polars as pl

from tests.conftest import ROOT, TRACES
from tests.docs.examples import ELISION, PROMPT, Block, commands, file_name, furnish, matches
from tests.docs.test_examples import PAGES, TABLE_WIDTH, printed_by, runnable


def main(names: list[str]) -> int:
    """Refresh the pages named, or all."""
    pages = [Path(name).resolve() for name in names] or PAGES
    left: list[str] = []
    for page in (page for page in pages if runnable(page)):
        with tempfile.TemporaryDirectory(prefix="eptreplay-docs-") as folder, pl.Config(tbl_width_chars=TABLE_WIDTH):
            programs, here = furnish(Path(folder), TRACES)
            os.chdir(here)
            os.environ |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
            left += _refresh(page)
        os.chdir(ROOT)
    for line in left:
        sys.stderr.write(f"{line}\n")
    return int(bool(left))


def _refresh(page: Path) -> list[str]:
    """Write a page anew where its outputs have changed; returns what could not be mended."""
    left: list[str] = []
    names: dict[str, object] = {}
    text = page.read_text()
    for block in runnable(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if name := file_name(block):
            Path(name).write_text(block.body)
            continue
        body, problems = _console(block) if block.language == "console" else _session(block, names)
        left += [f"{where}: {problem}" for problem in problems]
        text = text.replace(f"```{block.language}\n{block.body}```", f"```{block.language}\n{body}```")
    if text != page.read_text():
        page.write_text(text)
        sys.stderr.write(f"{page.relative_to(ROOT)}: written\n")
    return left


def _console(block: Block) -> tuple[str, list[str]]:
    lines: list[str] = []
    problems = []
    for command in commands(block.body):
        printed = printed_by(command.line)
        now = [line.rstrip() for line in printed.rstrip().splitlines()]
        shown = list(command.output)
        if not matches(command.output, printed):
            elisions = [number for number, line in enumerate(shown) if line.strip() == ELISION]
            if len(elisions) > 1 or any(ELISION in line and line.strip() != ELISION for line in shown):
                problems.append(f"`{command.line}` has changed in a way that has to be shown by hand")
            elif elisions:
                behind = len(shown) - elisions[0] - 1
                shown = [*now[: elisions[0]], ELISION, *now[len(now) - behind :]]
            else:
                shown = now
        lines += [PROMPT + command.line, *shown]
    return "".join(f"{line}\n" for line in lines), problems


def _session(block: Block, names: dict[str, object]) -> tuple[str, list[str]]:
    lines = block.body.splitlines()
    changes: list[tuple[int, int, str]] = []
    problems: list[str] = []

    class Runner(doctest.DocTestRunner):
        def report_failure(self, out: object, test: object, example: doctest.Example, got: str) -> None:  # noqa: ARG002
            start = example.lineno + example.source.count("\n")
            changes.append((start, start + example.want.count("\n"), got))

        def report_unexpected_exception(
            self, out: object, test: object, example: doctest.Example, exc_info: tuple[object, ...]  # noqa: ARG002
        ) -> None:  # fmt: skip
            problems.append(f"{example.source.strip()} raises {exc_info[1]!r}")

    test = doctest.DocTestParser().get_doctest(block.body, names, "page", None, 0)
    Runner(optionflags=doctest.ELLIPSIS, verbose=False).run(test, out=lambda _: None, clear_globs=False)
    names.update(test.globs)
    for start, end, got in reversed(changes):
        lines[start:end] = [line.rstrip() for line in got.splitlines()]
    return "".join(f"{line}\n" for line in lines), problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
