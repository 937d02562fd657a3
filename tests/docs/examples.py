"""Examples in Markdown pages: which blocks there are, and whether an output is the one that a page shows.

Two kinds of blocks are run. In a ``console`` block every line that starts with ``$ `` is a command (a backslash
continues it), and what follows is what the command prints on standard output and standard error together. A ``pycon``
block is a Python session, which :mod:`doctest` understands. In both, ``...`` stands for whatever is left out: as a line
of its own for any number of lines, within a line for any text.

A ``python`` block that begins with a comment such as ``# mine.py`` is a file that later blocks of its page can use.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(?P<language>[a-z]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# (\w+\.py)\b")
PROMPT = "$ "
ELISION = "..."


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is where its fence stands, from 1."""

    page: Path
    line: int
    language: str
    body: str


@dataclass(frozen=True)
class Command:
    """A command line, and the lines that it is shown to print."""

    line: str
    output: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page that name a language."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match["language"], match["body"])


def commands(body: str) -> Iterator[Command]:
    """Yield the commands of a ``console`` block."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = next((i for i, line in enumerate(lines) if not line.endswith("\\")), 0)
        yield Command("\n".join(lines[: end + 1]), tuple(lines[end + 1 :]))


def matches(shown: tuple[str, ...], printed: str) -> bool:
    """Tell whether ``printed`` is what a page shows; blanks that end a line, or the whole output, do not count."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ELISION else r".*".join(map(re.escape, line.rstrip().split(ELISION))) + r"\n"
        for line in shown
    )
    lines = [line.rstrip() for line in printed.rstrip().splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def file_name(block: Block) -> str | None:
    """Return the name of the file that a block is, if it is one."""
    found = FILE_NAME.match(block.body) if block.language == "python" else None
    return found[1] if found else None


def furnish(folder: Path, traces: Path) -> tuple[Path, Path]:
    """Make a folder for examples to run in, beside one with ``eptreplay`` and ``python``; returns these two."""
    programs, here = folder / "programs", folder / "here"
    programs.mkdir()
    (programs / "eptreplay").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m eptreplay "$@"\n')
    (programs / "eptreplay").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    here.mkdir()
    (here / "traces").symlink_to(traces)
    return programs, here
