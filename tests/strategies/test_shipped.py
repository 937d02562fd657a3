"""The strategies that ship: what each of them changes about the one that it grew out of."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import numba
import pytest

from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, Request, Strategy
from eptreplay.strategies.candidates import CANDIDATES, lazily
from eptreplay.strategies.history import HISTORY
from eptreplay.strategies.modern import MODERN
from eptreplay.strategies.npt import NPT
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.series import SERIES

TEXTS = {"name", "summary", "commit", "dates", "releases", "plausible"}
POD = {"sync_pod_superpage": True, "sync_pod_sweep": True, "sync_pod_decrease": True}
NO_POD = dict.fromkeys(POD, False)


def changes(name: str, other: str) -> dict[str, object]:
    """Return the switches in which a strategy differs from another, as the first has them."""
    one, two = STRATEGIES[name], STRATEGIES[other]
    names = [field.name for field in fields(Strategy) if field.name not in TEXTS]
    return {switch: getattr(one, switch) for switch in names if getattr(one, switch) != getattr(two, switch)}


def test_all_that_the_engine_can_replay_ship_in_order() -> None:
    assert " ".join(STRATEGIES) == (
        "eager eager-no-misconfig vmenter deferred deferred-free-list deferred-no-pod-sync deferred-xsa480"
        " deferred-xsa480-pml deferred-pml deferred-2026 npt-immediate npt-deferred never elide-upgrades kick-running"
        " hardware-broadcast lockless-call lazy-epoch"
    )


@pytest.mark.parametrize(
    ("name", "other", "changed"),
    [
        ("eager-no-misconfig", "eager", {"sync_misconfig": False}),
        ("vmenter", "eager-no-misconfig", {"ipi": "kick"}),
        ("deferred", "vmenter", {"broadcast": "unlock", "sync_table_free": True, **POD}),
        ("deferred-free-list", "deferred",
         {"ipi": "invept", "sync_table_free": False, "page_free": "unlock", **NO_POD}),
        ("deferred-no-pod-sync", "deferred", {"sync_table_free": False, "page_free": "tables", **NO_POD}),
        ("deferred-xsa480", "deferred", {"sync_table_free": False}),
        ("deferred-xsa480-pml", "deferred-xsa480", {"pml_drain": "batch"}),
        ("deferred-pml", "deferred", {"pml_drain": "batch"}),
        ("deferred-2026", "deferred-xsa480-pml", {"sync_table_free": True}),
        ("deferred-2026", "deferred-pml", {}),
        ("npt-immediate", "vmenter", {"sync_misconfig": True, "tables": "npt"}),
        ("npt-deferred", "deferred", {"sync_misconfig": True, "tables": "npt"}),
        ("elide-upgrades", "deferred-2026", {"upgrades": "elide"}),
        ("kick-running", "deferred-2026", {"kick": "running"}),
        ("hardware-broadcast", "deferred-2026", {"ipi": "none"}),
        ("lockless-call", "deferred-2026", {"call_lock": "lockless"}),
        ("lazy-epoch", "deferred-2026", {"page_free": "unlock", "decide": lazily}),
    ],
)  # fmt: skip
def test_each_changes_what_its_commit_or_idea_did(name: str, other: str, changed: dict[str, object]) -> None:
    assert changes(name, other) == changed


def test_steps_have_a_commit_and_dates_that_follow_on_each_other() -> None:
    steps = [STRATEGIES[name] for name in ("eager", "eager-no-misconfig", "vmenter", "deferred", "deferred-xsa480",
                                           "deferred-xsa480-pml", "deferred-2026")]  # fmt: skip
    dates = [re.findall(r"\d{4}-\d\d-\d\d", step.dates) for step in steps]
    assert [begin for begin, *_ in dates[1:]] == [ends[-1] for ends in dates[:-1]]
    begins = [begin for begin, *_ in dates[1:]]
    assert begins == sorted(set(begins))
    for strategy in (*HISTORY[1:], *MODERN, NPT[1]):
        assert re.fullmatch(r"[0-9a-f]{10}", strategy.commit)
    assert all(strategy.dates.endswith("proposed") and not strategy.commit for strategy in SERIES)


def test_what_speaks_for_a_candidate_is_said_and_of_no_other() -> None:
    assert {strategy.name for strategy in STRATEGIES.values() if strategy.plausible} == {c.name for c in CANDIDATES}
    assert all((candidate.dates, candidate.releases) == ("", "none") for candidate in CANDIDATES)
    # Others have not even been proposed.
    assert not any(candidate.commit for candidate in CANDIDATES)


def test_summaries_are_one_sentence_without_a_full_stop() -> None:
    for strategy in STRATEGIES.values():
        assert not strategy.summary.endswith(".")
        assert "\n" not in strategy.summary + strategy.plausible


UNKNOWN = Request(*[-1] * len(Request._fields))


def test_lazily_nobody_is_ever_interrupted() -> None:
    for what in range(8):
        decided = [lazily(UNKNOWN._replace(what=what, default=default)) for default in (NOTHING, MARK, DEFER, NOW)]
        assert decided == [NOTHING, MARK, MARK, MARK]


@pytest.mark.compiled
@pytest.mark.parametrize("name", [name for name, strategy in STRATEGIES.items() if strategy.decide])
def test_numba_compiles_what_decides(name: str) -> None:
    decide = STRATEGIES[name].decide
    assert decide
    compiled: Any = numba.njit(decide)  # its types do not know what a compiled function returns
    for default in (NOTHING, MARK, DEFER, NOW):
        request = UNKNOWN._replace(what=0, default=default)
        assert compiled(request) == decide(request)
