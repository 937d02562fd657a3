"""Strategies out of users' files: whatever is wrong in one is a line that says where."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eptreplay.errors import UsageError
from eptreplay.strategies import DEFER, MARK, Request
from eptreplay.strategies.registry import find_strategies, find_strategy

HEAD = "from eptreplay.strategies import MARK, Request, Strategy\n"
MINE = "MINE = Strategy(name='mine')\n"

Complaint = Callable[..., str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder: most users name a file that lies where they are."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(text: str | bytes, wanted: str = "mine.py:MINE") -> str:
    """Return what is wrong with a file of strategies."""
    Path("mine.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as caught:
        find_strategies([wanted])
    return str(caught.value)


def test_a_file_holds_any_number_of_strategies(folder: Path) -> None:
    Path("mine.py").write_text(f"{HEAD}{MINE}OTHER = Strategy(name='other', ipi='invept')\n")
    mine, other, eager = find_strategies(["mine.py:MINE", "./mine.py:OTHER", "eager"])
    assert (mine.name, other.name, other.ipi, eager.name) == ("mine", "other", "invept", "eager")
    assert find_strategy(f"{folder}/mine.py:MINE") == mine


def test_a_file_leaves_nothing_behind(folder: Path) -> None:
    Path("mine.py").write_text(HEAD + MINE)
    find_strategy("mine.py:MINE")
    assert [path.name for path in folder.iterdir()] == ["mine.py"]


def test_a_file_that_has_changed_is_read_again() -> None:
    for commit in ("1", "2"):
        Path("mine.py").write_text(f"{HEAD}MINE = Strategy(name='mine', commit='{commit}')\n")
        assert find_strategy("mine.py:MINE").commit == commit


def test_a_file_is_ordinary_python() -> None:
    Path("mine.py").write_text(
        f"{HEAD}from dataclasses import dataclass\n"
        "@dataclass\nclass Own:\n    number: 'int' = 1\n"
        f"assert Own().number and __file__ == 'mine.py'\n{MINE}"
    )
    assert find_strategy("mine.py:MINE").name == "mine"


def test_a_decision_function_comes_with_its_file() -> None:
    Path("mine.py").write_text(
        f"{HEAD}MOST = 8\n"
        "def decide(request: Request) -> int:\n"
        "    return MARK if request.dirty > MOST else request.default\n"
        "MINE = Strategy(name='mine', decide=decide)\n"
    )
    decide = find_strategy("mine.py:MINE").decide
    assert decide
    unknown = Request(*[-1] * len(Request._fields))._replace(default=DEFER)
    assert decide(unknown._replace(dirty=9)) == MARK
    assert decide(unknown._replace(dirty=8)) == DEFER
    assert inspect.getsource(decide).startswith("def decide(request: Request)")


WRONG: dict[str, tuple[str | bytes, str]] = {
    "syntax": (f"{HEAD}MINE = Strategy(name='mine'\n", "mine.py: line 2: '(' was never closed: MINE = "),
    "indentation": (f"{HEAD}\n  {MINE}", "mine.py: line 3: unexpected indent: MINE = Strategy(name='mine')"),
    "null bytes": (HEAD + MINE + "\0", "mine.py: "),
    "latin-1": ("# für\nMINE = 'ü'".encode("latin-1"), "mine.py: "),
    "no strategy": ("MINE = 1\n", "mine.py: expected a module-level Strategy called MINE, found no Strategy at all"),
    "empty": ("", "mine.py: expected a module-level Strategy called MINE, found no Strategy at all"),
    "class": (HEAD + "MINE = Strategy\n", "mine.py: expected a module-level Strategy called MINE, found no Strategy"),
    "import": ("import nonesuch\n", "mine.py: line 1: ModuleNotFoundError: No module named 'nonesuch'"),
    "raises": ("def f():\n    return 1 / 0\n\nf()\n", "mine.py: line 2: ZeroDivisionError: division by zero"),
    "elsewhere": ("import json\n\njson.loads('{')\n", "mine.py: line 3: JSONDecodeError: "),
    "exit": ("import sys\nsys.exit(0)\n", "mine.py: line 2: SystemExit: 0"),
    "switch": (
        f"{HEAD}MINE = Strategy(name='mine',\n  ipi='kik')\n",
        "mine.py: line 2: strategy mine: ipi kik: expected ",
    ),
    "keyword": (
        f"{HEAD}MINE = Strategy(name='mine', ip='')\n",
        "mine.py: line 2: TypeError: Strategy.__init__() got an",
    ),
    "name": (f"{HEAD}MINE = Strategy(name=5)\n", "mine.py: line 2: a strategy's name must be a printable text, not 5"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_with_its_line(what: str) -> None:
    text, expected = WRONG[what]
    before = set(sys.modules)
    message = complaint(text)
    assert message.startswith(expected)
    assert "\n" not in message
    if "found no" not in expected:
        assert {name for name in sys.modules if name.startswith("eptreplay_user_")} <= before


def test_names_that_are_not_in_the_file_come_with_near_ones() -> None:
    both = HEAD + MINE + "OTHER = Strategy(name='other')\nNUMBER = 1\n"
    assert complaint(both, "mine.py:MIEN") == "mine.py: strategy MIEN: expected one of MINE, OTHER; did you mean MINE?"
    assert complaint(both, "mine.py:NUMBER") == "mine.py: strategy NUMBER: expected one of MINE, OTHER"
    assert complaint(both, "mine.py:") == "mine.py: strategy : expected one of MINE, OTHER"


def test_a_name_that_ships_is_taken_only_beside_its_namesake() -> None:
    Path("mine.py").write_text(f"{HEAD}MINE = Strategy(name='eager', summary='another')\n")
    assert find_strategies(["mine.py:MINE"])[0].summary == "another"
    with pytest.raises(UsageError, match=r"^-s eager: named twice"):
        find_strategies(["eager", "mine.py:MINE"])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("other.py:MINE", "other.py: no such strategy file"),
        ("nowhere/mine.py:MINE", "nowhere/mine.py: no such strategy file"),
        ("mine.py/mine.py:MINE", "mine.py/mine.py: cannot be read: Not a directory"),
        ("folder.py:MINE", "folder.py: cannot be read: Is a directory"),
        (f"{'a' * 300}.py:MINE", f"{'a' * 300}.py: cannot be read: File name too long"),
    ],
)
def test_files_that_cannot_be_read_are_told(wanted: str, expected: str) -> None:
    Path("folder.py").mkdir()
    assert complaint(MINE, wanted) == expected


def test_ctrl_c_while_a_file_runs_is_still_ctrl_c() -> None:
    Path("mine.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        find_strategy("mine.py:MINE")
