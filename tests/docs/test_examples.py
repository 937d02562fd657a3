"""Every command and every Python session in README and docs prints what the page shows.

The blocks of a page are run in their order in one empty folder, where ``traces/`` is that of the repository, so a page
can go on with what it has made before.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT, TRACES
from tests.docs.examples import PROMPT, Block, blocks, commands, file_name, furnish, matches

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = ("make ", "xentrace ", "git ", ". ")
"""Commands that need a Xen host or change the working copy; a block that has one of them has no others."""
PROGRAM = re.compile(r"(?:^|[|&]\s)\s*([a-z]+)")
"""What a command line starts: at its beginning, behind a pipe, behind ``&&`` and ``||``."""
FIRST_RUN = "eptreplay: first run:"
TABLE_WIDTH = 100


def runnable(page: Path) -> list[Block]:
    """Return the blocks of a page that are run, or are files for those that are."""
    return [
        block
        for block in blocks(page)
        if block.language == "pycon" or (block.language == "console" and not skipped(block)) or file_name(block)
    ]


def skipped(block: Block) -> bool:
    """Tell whether a console block is only to be read."""
    return all(command.line.startswith(NOT_RUN) for command in commands(block.body))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder in which a page's examples run, with ``eptreplay`` and ``python`` on the search path."""
    programs, folder = furnish(tmp_path, TRACES)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("EPTREPLAY_TRACEBACK", raising=False)
    monkeypatch.chdir(folder)
    with pl.Config(tbl_width_chars=TABLE_WIDTH):
        yield folder


def missing_programs(page: Path) -> list[str]:
    """Return the programs that a page's commands start and this machine lacks."""
    lines = [
        command.line for block in runnable(page) for command in commands(block.body) if block.language == "console"
    ]
    started = {program for line in lines for program in PROGRAM.findall(line)} - {"echo"}
    return sorted(program for program in started if not shutil.which(program))


def printed_by(line: str) -> str:
    """Run a command line and return what it prints."""
    shell = shutil.which("bash")
    assert shell
    result = subprocess.run(
        [shell, "-o", "pipefail", "-c", line],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    # It works, whatever the page leaves out. What is to fail ends with `; echo $?`, which tells readers, too.
    assert result.returncode == 0, f"{line}: exit status {result.returncode}\n{result.stdout}"
    assert "internal error" not in result.stdout, result.stdout
    # Whether the kernels have been compiled before depends on who ran what.
    return "".join(line for line in result.stdout.splitlines(keepends=True) if not line.startswith(FIRST_RUN))


def run_console(block: Block) -> None:
    """Run the commands of a block, and compare what they print."""
    for command in commands(block.body):
        printed = printed_by(command.line)
        where = f"{block.page.relative_to(ROOT)}, block at line {block.line}, `{command.line}`"
        shown = "\n".join(command.output)
        assert matches(command.output, printed), f"{where}\n--- shown\n{shown}\n--- printed\n{printed}"


def run_session(block: Block, names: dict[str, object]) -> None:
    """Run a Python session with the names that earlier ones of the page have left."""
    where = f"{block.page.relative_to(ROOT)}"
    test = doctest.DocTestParser().get_doctest(block.body, names, where, where, block.line)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert not runner.failures, "".join(report)


@pytest.mark.compiled
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if runnable(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_examples_of_a_page_print_what_it_shows(page: Path) -> None:
    if missing := missing_programs(page):
        pytest.skip(f"not installed: {', '.join(missing)}")
    names: dict[str, object] = {}
    for block in runnable(page):
        if name := file_name(block):
            Path(name).write_text(block.body)
        elif block.language == "console":
            run_console(block)
        else:
            run_session(block, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_is_run_as_a_whole_or_not_at_all(page: Path) -> None:
    for block in blocks(page):
        if block.language == "console":
            assert block.body.startswith(PROMPT), f"{page}:{block.line}: a console block starts with a command"
            skip = [command.line.startswith(NOT_RUN) for command in commands(block.body)]
            assert all(skip) or not any(skip), f"{page}:{block.line}: commands that are run stand among others"


def test_an_output_matches_only_what_it_shows() -> None:
    printed = "first line\nsecond  \n\nfourth 4\n"
    assert matches(("first line", "second", "", "fourth 4"), printed)
    assert matches(("first line", "...", "fourth ..."), printed)
    assert matches(("...",), printed)
    assert matches((), "")
    assert not matches(("first line", "fourth 4"), printed)
    assert not matches(("first line", "..."), "another\n")
    assert not matches((), printed)


def test_the_readme_and_the_tutorial_have_examples_that_are_run() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "tutorial.md"):
        assert {block.language for block in runnable(page)} >= {"console", "pycon"}


@pytest.mark.usefixtures("workplace")
def test_an_example_that_fails_is_none_unless_it_shows_its_status() -> None:
    assert printed_by("false; echo $?") == "1\n"
    for line in ("false", "false | cat", "echo 'eptreplay: no such file'; exit 3"):
        with pytest.raises(AssertionError, match="exit status"):
            printed_by(line)
