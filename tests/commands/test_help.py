"""Help is there for every verb, with examples, and costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eptreplay
from tests.commands.conftest import Run
from tests.commands.running import command

VERBS = ["ingest", "info", "events", "export", "replay", "report", "strategies", "presets", "profiles"]
HEAVY = ["polars", "pyarrow", "numba", "numpy", "rich", "zstandard"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(here: Run, verb: str, flag: str) -> None:
    done = here(verb, flag)
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    assert f"{verb} [OPTIONS]" in text
    assert f"eptreplay {verb} " in text.partition("Example")[2]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_verb(here: Run, flag: str) -> None:
    done = here(flag)
    assert (done.code, done.err) == (0, "")
    assert all(f"\n  {verb} " in done.out for verb in VERBS)
    assert "Example" in done.out


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("ingest", ["-o", "--output", "--events", "--xen", "--tsc-hz", "--strict", "--force", "SRC..."]),
        ("info", ["--format", "--full", "--xen", "--tsc-hz", "--strict"]),
        ("events", ["--format"]),
        ("export", ["-o", "--output", "--to", "--force", "DIR"]),
        ("replay", ["-o", "-s", "--preset", "--lock", "--profile", "--seed", "--seeds", "--unseen", "--detail"]),
        ("replay", ["--recorded-as", "--recorded-on", "--paths", "--inject", "--think-scale"]),
        ("report", ["-o", "-s", "--preset", "--lock", "--profile", "--seed", "--seeds", "--baseline", "--keep"]),
        ("report", ["--recorded-as", "--recorded-on", "--paths", "--inject", "--think-scale"]),
        ("strategies", ["--format"]),
        ("presets", ["--format"]),
        ("profiles", ["--format", "NAME"]),
    ],
)
def test_help_explains_every_option_of_the_contract(here: Run, verb: str, options: list[str]) -> None:
    out = here(verb, "--help").out
    assert [option for option in options if option not in out] == []


def test_the_version_is_printed(here: Run) -> None:
    assert here("--version") == (0, f"eptreplay {eptreplay.__version__}\n", "")


def test_the_module_is_the_command() -> None:
    done = command("--version")
    assert done == (0, f"eptreplay {eptreplay.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["ingest", "--help"], ["profiles", "--help"], ["--version"], ["inof"], ["ingest", "x"]],
)
def test_what_needs_no_data_loads_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from eptreplay.commands import run; run(sys.argv[1:]);"
        f" print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_public_functions_are_loaded_when_they_are_used() -> None:
    script = f"import sys, eptreplay; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PATH": ""})
    assert done.stdout == "[]\n"
    assert dir(eptreplay) == sorted(eptreplay.__all__)
    assert all(getattr(eptreplay, name) for name in eptreplay.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'ingset'"):
        _ = eptreplay.ingset
