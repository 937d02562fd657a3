"""Nothing is left out of the reference: verbs, options, events, columns, keys of documents, names of the Python API.

Generated pages are checked through the text of their generator, and for standing in their page; the others as written.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from _ext import pages
from _ext.golden import FOLDER as GOLDEN
from _ext.strategies import DESCRIPTIONS

import eptreplay
from eptreplay import commands, errors, strategies
from eptreplay.causes import CAUSES
from eptreplay.journey import report
from eptreplay.machine.profile import FIELDS, load_profile, profile_names
from eptreplay.p2m_types import TYPES
from eptreplay.replay.plan import DEFAULT_PRESETS
from eptreplay.replay.schema import RESULT_TABLES
from eptreplay.replay.unknown import GAPS
from eptreplay.strategies import Request, Strategy
from eptreplay.strategies.candidates import CANDIDATES
from eptreplay.strategies.decision import DECISIONS
from eptreplay.strategies.presets import PRESETS
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.strategy import CHOICES
from eptreplay.trace.dataset import MANIFEST
from eptreplay.trace.lacks import INVISIBLE, LACKS
from eptreplay.trace.p2m import KIND_NAMES
from eptreplay.trace.schema import TABLES
from eptreplay.workload.letters import LETTERS
from eptreplay.workload.rules import RULES
from eptreplay.workload.schema import OLD_KNOWN, OPS, WORKLOAD
from eptreplay.xentrace.catalogue import CLASSES, EVENTS
from eptreplay.xentrace.damage import NAMES
from eptreplay.xentrace.encode import Trace
from tests.conftest import ROOT, TRACES

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
DYNAMIC = {"events", "p2m.by_domain"}
"""Objects of the info document whose keys are ids."""


def page(name: str) -> str:
    """Return the text of a page of the documentation."""
    return (DOCS / f"{name}.md").read_text()


def section(text: str, heading: str) -> str:
    """Return a section of a page, up to the next of its level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def generated(name: str, generator: str) -> bool:
    """Tell whether a page has the text of a generator in it."""
    return f"```{{generated}} {generator}\n```" in page(name)


def in_code(text: str) -> set[str]:
    """Return all texts between backquotes that stand on one line."""
    return set(re.findall(r"`([^`\n]+)`", text))


def first_cells(text: str) -> set[str]:
    """Return the keys of Markdown tables: what stands between backquotes in the first cell of a row."""
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


@pytest.mark.parametrize("verb", sorted(pages.verbs()))
def test_every_verb_is_documented_with_all_its_options(verb: str) -> None:
    assert generated("reference/commands", f"verb {verb}")
    assert f"\n## {verb}\n" in page("reference/commands")
    named = in_code(pages.verb(verb))
    for parameter in pages.verbs()[verb].params:
        assert named & {*parameter.opts, str(getattr(parameter, "metavar", ""))}
        assert str(getattr(parameter, "help", None)) in pages.verb(verb), f"{verb} {parameter.name} explains itself"


def test_verbs_that_are_no_more_are_not_documented() -> None:
    assert set(re.findall(r"^## (.+)$", page("reference/commands"), re.MULTILINE)) == set(pages.verbs())


def test_options_of_the_command_itself_are_documented() -> None:
    usage = page("reference/commands").partition("\n## ")[0]
    shown = subprocess.run([sys.executable, "-m", "eptreplay", "--help"], capture_output=True, text=True, check=True)
    options = set(re.findall(r"(?<!\S)--?[a-z-]+", shown.stdout))
    assert "--version" in options
    assert {option for option in options if option not in usage} == set()


def test_every_event_is_documented_with_id_meaning_and_all_layouts() -> None:
    assert generated("reference/events", "events")
    text = pages.events()
    for event in EVENTS:
        row = re.search(rf"^\* - `0x{event.id:07x}`\n(.*?)(?=^\* - |^````$)", text, re.MULTILINE | re.DOTALL)
        assert row, f"{event.name} has no row"
        assert f"`{event.name}`\n\n    {event.about}" in row[1]
        assert all(f"`{layout.text}`" in row[1] for layout in event.layouts if layout.text)
    assert all(f"Class `{name}`" in text for name in CLASSES if name != "guest")


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented(table: str) -> None:
    assert generated("reference/tables", f"table {table}")
    text = pages.table(table)
    for column in TABLES[table]:
        assert f"- `{column.name}`\n" in text
        assert f"- {column.about}\n" in text


@pytest.mark.parametrize("table", [*RESULT_TABLES, "workload"])
def test_every_column_of_a_result_is_documented(table: str) -> None:
    assert generated("reference/results", f"result {table}")
    assert f"\n## {table}\n" in page("reference/results")
    text = pages.GENERATORS["result"](table)
    for column in WORKLOAD if table == "workload" else RESULT_TABLES[table]:
        assert re.search(rf"- `{column.name}`\n  - \w+\n  -( yes)?\n  - {re.escape(column.about)}\n", text)


@pytest.mark.compiled
def test_columns_that_nothing_fills_yet_are_named() -> None:
    """In a recording with times, runstates and VM entries a column is null only if the page says that it always is."""
    row = report(TRACES / "r12-migrate-live-4vcpu-mem-hvm-sched.xentrace.xz", presets=["xen-4.7"])["runs"][0]
    paragraph = section(page("reference/results"), "runs").partition("Null in every row")[2]
    patterns = [re.compile(name.replace("*", ".*")) for name in in_code(paragraph)]
    always = {name for name in row if any(pattern.fullmatch(name) for pattern in patterns)}
    assert always == {name for name, value in row.items() if value is None}


def test_every_gap_and_what_is_null_then_is_documented() -> None:
    assert generated("reference/results", "gaps")
    text = pages.GENERATORS["gaps"]()
    named = " ".join(in_code(text))
    for gap in GAPS:
        assert f"* - `{gap.name}`\n" in text
        assert f"  - {gap.consequence}\n" in text
        assert all(column.rstrip("_") in named for column in gap.columns)


def test_every_operation_evidence_cause_and_type_is_documented() -> None:
    for generator, names in (
        ("operations", tuple(OPS)), ("evidence", OLD_KNOWN), ("causes", CAUSES),
        ("p2m-types", tuple(kind.name for kind in TYPES)),
    ):  # fmt: skip
        assert generated("reference/tables" if generator == "p2m-types" else "reference/results", generator)
        assert set(names) <= in_code(pages.GENERATORS[generator]())
    assert all(f"  - {about}\n" in pages.GENERATORS["operations"]() for about in OPS.values())
    assert generated("background/workload", "evidence")


def test_every_letter_and_every_rule_is_documented() -> None:
    assert generated("reference/rules", "letters")
    text = pages.GENERATORS["letters"]()
    assert all(f"* - `{letter}`\n  - {about}\n" in text for letter, about in LETTERS.items())
    for vendor in ("svm", "vmx"):
        assert generated("reference/rules", f"rules {vendor}")
        text = pages.GENERATORS["rules"](vendor)
        for rule in (rule for rule in RULES if vendor in rule.vendors):
            assert f"* - `{rule.name}`\n  - `{rule.pattern}`\n" in text
            assert f"  - {rule.about}\n" in text


def test_every_value_of_kind_and_reason_is_documented() -> None:
    assert generated("reference/tables", "kinds")
    assert set(KIND_NAMES) <= in_code(pages.kinds())
    assert generated("reference/tables", "damage-reasons")
    assert set(NAMES) <= in_code(pages.damage_reasons())
    assert set(NAMES) <= first_cells(page("background/damage"))


def test_every_lack_is_explained() -> None:
    assert generated("background/lacks", "lacks")
    assert all(lack.consequence in pages.lacks() and f"`{lack.name}`" in pages.lacks() for lack in LACKS)
    assert generated("background/lacks", "invisible")
    assert all(line in pages.invisible() for lines in INVISIBLE.values() for line in lines)


def test_every_strategy_and_every_switch_is_documented() -> None:
    assert generated("reference/strategies", "strategies")
    text = pages.GENERATORS["strategies"]()
    for strategy in STRATEGIES.values():
        assert f"* - `{strategy.name}`\n  - {strategy.summary}\n  - {strategy.releases}" in text
        assert strategy.commit in text
        assert strategy.dates in text
    assert generated("reference/strategies", "side-by-side")
    head, *rows_ = re.split(r"^\* ", pages.GENERATORS["side-by-side"](), flags=re.MULTILINE)[1:]
    shown = [name for name in head.replace("`", "").split() if name != "-"]
    assert shown == ["strategy", *(field.name for field in fields(Strategy) if field.name not in DESCRIPTIONS)]
    assert [row.partition("`")[2].partition("`")[0] for row in rows_] == list(STRATEGIES)
    assert all(row.count("\n  - ") == len(shown) - 1 for row in rows_)
    assert generated("strategies", "switches")
    rows = set(re.findall(r"^\* - `(\w+)`$", pages.GENERATORS["switches"](), re.MULTILINE))
    assert rows == {field.name for field in fields(Strategy)}
    assert {f"{choice!r}" for choices in CHOICES.values() for choice in choices} <= in_code(
        pages.GENERATORS["switches"]()
    )


def test_every_candidate_is_documented_with_the_fact_that_speaks_for_it() -> None:
    assert generated("reference/strategies", "candidates")
    text = pages.GENERATORS["candidates"]()
    for strategy in CANDIDATES:
        assert f"* - `{strategy.name}`\n  - {strategy.summary}\n  - {strategy.plausible}\n" in text


def test_every_preset_is_documented() -> None:
    assert generated("reference/strategies", "presets")
    text = pages.GENERATORS["presets"]()
    for preset in PRESETS.values():
        assert f"* - `{preset.name}`\n  - `{preset.strategy}`\n  - `{preset.lock}`\n  - {preset.released}\n" in text
        assert f"\n- `{preset.lock}`: " in page("reference/strategies")
    defaults = [f"`{name}`" for name in DEFAULT_PRESETS]
    assert f"presets {', '.join(defaults[:-1])} and {defaults[-1]} are" in page("reference/commands")


def test_all_that_a_decision_function_gets_and_returns_is_documented() -> None:
    whats = tuple(name for name in strategies.__all__ if isinstance(getattr(strategies, name), int))
    whats = tuple(sorted(set(whats) - set(DECISIONS), key=lambda name: getattr(strategies, name)))
    for generator, names in (("request", Request._fields), ("decisions", DECISIONS), ("asked", whats)):
        assert generated("strategies", generator)
        assert re.findall(r"^\* - `(\w+)`$", pages.GENERATORS[generator](), re.MULTILINE) == list(names)


def test_every_profile_and_every_number_is_documented() -> None:
    assert generated("reference/profiles", "profile-fields")
    text = pages.GENERATORS["profile-fields"]()
    assert all(f"* - `{field.key}`\n  - {field.unit}\n  - {field.meaning}\n" in text for field in FIELDS)
    assert all(f"`{choice}`" in text for field in FIELDS for choice in field.choices)
    for name in profile_names():
        assert f"\n## {name}\n" in page("reference/profiles")
        assert generated("reference/profiles", f"profile {name}")
        shown = pages.GENERATORS["profile"](name)
        for number in load_profile(name).numbers.values():
            assert f"  - {number.value if isinstance(number.value, str) else f'{number.value:,}'}\n" in shown
            assert str(number.source or number.assumed) in shown


def keys(value: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401  (any JSON)
    """Yield the path of every key in a document, ``[]`` for the items of a list."""
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            yield below
            if below not in DYNAMIC:
                yield from keys(inner, below)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Return a small recording that is cut off, so that its documents have an entry in each list."""
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=0)
    for gfn in (1, 2):
        trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=2, p2mt=0, domid=3)
    (tmp_path / "cut.xentrace").write_bytes(trace.bytes()[:-2])
    return tmp_path / "cut.xentrace"


def test_every_key_of_the_info_document_is_documented_and_no_other(damaged: Path) -> None:
    assert set(keys(eptreplay.info(damaged))) == first_cells(page("reference/info"))


def test_every_key_of_the_manifest_is_documented_and_no_other(damaged: Path, tmp_path: Path) -> None:
    eptreplay.ingest([damaged], tmp_path / "cut.ds")
    manifest = json.loads((tmp_path / "cut.ds" / MANIFEST).read_text())
    own = first_cells(page("reference/manifest"))
    of_info = {
        key for key in first_cells(page("reference/info")) if not key.startswith(("p2m.rules", "calls", "tsc_skew"))
    }
    assert set(keys(manifest)) == own | of_info


COLUMNS = ("runs[].", "by_domain[].", "by_cause[].")
"""Keys of the report that are columns, which are documented as such."""


def test_every_key_of_a_result_and_of_the_report_is_documented_and_no_other(damaged: Path, tmp_path: Path) -> None:
    document = report([damaged], keep=tmp_path / "kept", recorded_as="eager", recorded_on="zero")
    manifest = json.loads((tmp_path / "kept" / "result" / MANIFEST).read_text())
    text = page("reference/results")
    both = first_cells(section(text, "The report as JSON").partition("In both")[2])
    own = first_cells(section(text, "The report as JSON").partition("In both")[0])
    of_info = first_cells(page("reference/info"))
    for found, documented in (
        (set(keys(manifest)), first_cells(section(text, "The manifest")) | both),
        ({key for key in keys(document) if not key.startswith(COLUMNS)}, own | both),
    ):
        assert {key for key in found - documented if not _is_of_info(key, of_info)} == set()
        assert documented - found == set()


def _is_of_info(key: str, of_info: set[str]) -> bool:
    """Tell whether a key is one of the info document, at the top or below ``trace`` and ``assumptions``."""
    return any(key.removeprefix(prefix) in of_info for prefix in ("", "trace.", "assumptions."))


def test_every_exit_code_is_documented() -> None:
    classes = [x for _, x in inspect.getmembers(errors, inspect.isclass) if issubclass(x, errors.EptreplayError)]
    codes = {str(value) for name, value in vars(commands).items() if name.startswith("EXIT_")}
    codes |= {"0", *(str(error.exit_code) for error in classes)}
    rows = re.findall(r"^\| (\d+) \|(.*)$", page("reference/exit-codes"), re.MULTILINE)
    assert {code for code, _ in rows} == codes
    for error in classes:
        if error is not errors.EptreplayError:
            assert any(code == str(error.exit_code) and f"`{error.__name__}`" in row for code, row in rows)


def test_every_environment_variable_is_documented() -> None:
    read = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()\s*["']([A-Z_]+)["']""")
    sources = [path for folder in (ROOT / "eptreplay", ROOT / "tests") for path in folder.rglob("*.py")]
    used = {name for path in sources for name in read.findall(path.read_text())}
    own = {name for name in used if not name.startswith(("PYTEST_", "PATH"))}
    assert {"EPTREPLAY_TRACEBACK", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"} <= own
    assert own - first_cells(page("reference/environment")) == set()


def test_every_public_name_is_documented() -> None:
    text = page("reference/api")
    for name in eptreplay.__all__:
        directive = "py:data:: " if name.startswith("__") else "autofunction:: eptreplay."
        assert f".. {directive}{name}\n" in text
    assert all(f".. autofunction:: eptreplay.{name}.{name}\n" in text for name in ("replay", "report"))
    assert ".. automodule:: eptreplay.errors\n   :members:\n   :undoc-members:\n" in text


def test_the_numbers_of_every_recording_are_in_a_page() -> None:
    text = page("background/recordings")
    headings = " ".join(re.findall(r"^## (.*)$", text, re.MULTILINE))
    for path in GOLDEN.glob("*.json"):
        name = path.stem.partition("-")[0]
        assert path.stem in headings
        assert generated("background/recordings", f"recorded-runs {name}")
        presets = re.findall(r"`(xen-[\d.]+)`", pages.GENERATORS["recorded-runs"](name))
        assert sorted(presets) == sorted(PRESETS)


def test_every_page_is_reachable() -> None:
    """Sphinx warns of a page in no table of contents; this says so without building."""
    listed = {"index"}
    for path in DOCS.rglob("index.md"):
        for body in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(), re.DOTALL):
            names = [line for line in body.splitlines() if line and not line.startswith(":")]
            listed |= {str((path.parent / name).relative_to(DOCS)) for name in names}
    assert {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")} == listed


def test_the_readme_links_to_files_that_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []
