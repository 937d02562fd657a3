"""Write paths: each costs what its row of section 4 says, under every step of the series and of later releases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.causes import CAUSES
from eptreplay.model import replay
from eptreplay.p2m_types import RAM_LOGDIRTY, is_present
from eptreplay.strategies import Strategy
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.strategy import CHOICES
from eptreplay.workload.paths import (
    ERAS,
    NO_FRAME,
    PATHS,
    Era,
    Path,
    chunks,
    deferred_broadcasts,
    eager_broadcasts,
    logdirty,
    recalculation,
    removal_chunks,
)
from eptreplay.workload.paths.act import P2m
from tests.model.small import COSTS
from tests.replay.both import by_engine
from tests.workload.path_host import Cost, Replayer, by_model, cost_of, mapped, recording_of
from tests.workload.section4 import ROWS, Columns, Row

EAGER: dict[str, Any] = {
    "broadcast": "sync",
    "sync_table_free": False,
    "sync_pod_superpage": False,
    "sync_pod_sweep": False,
    "sync_pod_decrease": False,
}
S0 = Strategy(name="S0", ipi="invept", sync_misconfig=True, **EAGER)
S1 = Strategy(name="S1", ipi="invept", **EAGER)
S2 = Strategy(name="S2", **EAGER)
S3 = Strategy(name="S3")
S3_BAD = Strategy(name="S3-bad", sync_table_free=False)
S3_BATCH = Strategy(name="S3 +PMLb", pml_drain="batch")
"""As ``deferred-2026``."""
S3_BAD_BATCH = Strategy(name="S3-bad +PMLb", sync_table_free=False, pml_drain="batch")

AT_ONCE = (S0, S1, S2)
STEPS = (*AT_ONCE, S3, S3_BAD, S3_BATCH, S3_BAD_BATCH)


def cases() -> Iterator[tuple[Row, dict[str, Any], Strategy]]:
    """Yield rows with parameters and steps: those that rows tell apart with all of them, others once."""
    for row in ROWS:
        for number, parameters in enumerate(row.over):
            columns = columns_of(row, parameters)
            told_apart = columns.misconfigs or columns.batch or columns.bad
            for step in STEPS if number == 0 or told_apart else (S0, S3):
                yield row, parameters, step


def columns_of(row: Row, parameters: dict[str, Any]) -> Columns:
    """Return the columns of a row for parameters."""
    return row.columns if isinstance(row.columns, Columns) else row.columns(SimpleNamespace(**parameters))


@pytest.fixture(params=[by_model, by_engine], ids=["model", "engine"])
def replayed(request: pytest.FixtureRequest) -> Replayer:
    """Who replays: the executable specification, and the engine."""
    replayer: Replayer = request.param
    return replayer


def expected(columns: Columns, step: Strategy) -> Cost | None:
    """Return what a step is to cost by the columns of a row; None if the row does not say."""
    sets = columns.w if columns.sets is None else columns.sets
    if step in AT_ONCE:
        if columns.s0 is None:
            return None
        now = columns.s0 if step.sync_misconfig else columns.s0 - columns.misconfigs
        return Cost(columns.holds, sets, columns.w, points=now, after=0, beneath=0)
    holds, sent = columns.holds, columns.s3
    if columns.batch and step.pml_drain == "batch":
        holds, sent = columns.batch
    if columns.bad and not step.sync_table_free:
        sent = columns.bad
    return Cost(holds, sets, columns.w, *sent)


def case_id(value: object) -> str | None:
    """Return what a parameter of a test is called."""
    if isinstance(value, Row | Strategy | Path):
        return value.name
    return ", ".join(f"{name}={x!s:.30}" for name, x in value.items()) if isinstance(value, dict) else None


@pytest.mark.parametrize(("row", "parameters", "step"), list(cases()), ids=case_id)
def test_a_path_costs_what_its_row_says(
    row: Row, parameters: dict[str, Any], step: Strategy, replayed: Replayer
) -> None:
    cost = expected(columns_of(row, parameters), step)
    if cost is None:
        pytest.skip("the path came later than this step")
    own = {name: value for name, value in parameters.items() if not name.startswith("given_")}
    found = row.given(SimpleNamespace(**parameters)) if callable(row.given) else row.given
    assert cost_of(row.path(**own), chain.from_iterable(found), step, replayed) == cost


def test_changes_within_an_outer_hold_are_one_hold_and_one_broadcast(replayed: Replayer) -> None:
    changes = [*recalculation.change_type_one(gfn=1), *recalculation.change_type_one(gfn=2)]
    acts = P2m(1, "other").hold(changes)
    before = [*mapped(1), *mapped(2)]
    assert cost_of(acts, before, S3, replayed) == Cost(1, 2, 2, points=0, after=1, beneath=0)
    assert cost_of(acts, before, S0, replayed) == Cost(1, 2, 2, points=2, after=0, beneath=0)


TOLD_BY_RULES = [path for path in PATHS if not {"MISCONFIG", "GLOBAL_CHANGE", "CALL"} & {a.op for a in path.acts()}]
"""The rules take marks to be there; and a full log is another matter."""


@pytest.mark.parametrize("step", [S0, S1, S3, S3_BATCH], ids=case_id)
@pytest.mark.parametrize("path", TOLD_BY_RULES, ids=case_id)
def test_the_rules_count_as_replay_does_where_nothing_is_split_or_marked(
    path: Path, step: Strategy, replayed: Replayer
) -> None:
    acts = path.acts()
    cost = cost_of(acts, (), step, replayed)
    if step in AT_ONCE:
        assert (cost.points, cost.after) == (eager_broadcasts(acts), 0)
    elif path.name != "pml_full" or step is S3_BATCH:
        assert (cost.points, cost.after) == deferred_broadcasts(acts)


OPS = {
    "HOLD_BEGIN", "SET", "MISCONFIG", "GLOBAL_CHANGE", "FREE_TABLE", "POD_RECLAIM", "CALL", "HOLD_END", "PAUSE",
    "UNPAUSE",
}  # fmt: skip


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("path", PATHS, ids=case_id)
def test_acts_are_well_formed(path: Path, era: Era) -> None:
    acts = path.acts(era)
    assert {act.op for act in acts} <= OPS
    assert {act.cause for act in acts} <= set(CAUSES)
    for act in acts:
        if act.op == "SET" and act.gfn is not None:
            assert act.order in {0, 9, 18}
            assert act.gfn % (1 << act.order) == 0
    held: list[tuple[int, int]] = []
    for act in acts:
        if act.op == "HOLD_BEGIN":
            held.append((act.dom, act.view))
        elif act.op == "HOLD_END":
            assert held.pop() == (act.dom, act.view)
        elif act.op not in {"PAUSE", "UNPAUSE", "CALL"}:
            assert (act.dom, act.view) in held
    assert held == []
    assert [act.op for act in acts].count("PAUSE") == [act.op for act in acts].count("UNPAUSE")


@pytest.mark.parametrize("path", PATHS, ids=case_id)
def test_an_entry_is_present_if_its_type_has_rights(path: Path) -> None:
    for act in path.acts():
        if act.op == "SET" and act.old_type is not None and act.cause != "mem_access":
            assert act.present == is_present(act.old_type)


KNOWN = {"dom", "gfn", "mfn", "order", "gfns", "first", "last", "new", "access", "count"}
"""Parameters whose names say all."""


@pytest.mark.parametrize("path", PATHS, ids=case_id)
def test_a_path_explains_itself_and_its_parameters(path: Path) -> None:
    assert path.summary.endswith(".")
    assert path.xen
    text = f"{path.summary} {path.about}"
    assert [name for name in path.parameters if name not in KNOWN and f"``{name}``" not in text] == []


def test_names_of_paths_are_unique() -> None:
    assert len({path.name for path in PATHS}) == len(PATHS)


@given(gfn=st.integers(0, 2**20), mfn=st.integers(0, 2**20), order=st.integers(0, 12), shift=st.integers(0, 10))
def test_chunks_are_the_frames_one_after_the_other_each_aligned(gfn: int, mfn: int, order: int, shift: int) -> None:
    gfn, mfn = gfn << shift, mfn << shift
    done = 0
    for chunk in chunks(gfn, mfn, order):
        assert (chunk.gfn, chunk.mfn) == (gfn + done, mfn + done)
        assert (chunk.gfn | chunk.mfn) % (1 << chunk.order) == 0
        done += 1 << chunk.order
    assert done == 1 << order


@pytest.mark.parametrize(("order", "orders"), [(3, {0}), (9, {9}), (10, {9}), (18, {18}), (19, {18})])
def test_chunks_are_as_large_as_they_can_be(order: int, orders: set[int]) -> None:
    assert {chunk.order for chunk in chunks(1 << 20, NO_FRAME, order)} == orders
    assert {chunk.order for chunk in removal_chunks(1 << 20, order, "4.9")} == orders


def test_removals_of_4_6_are_page_by_page() -> None:
    assert removal_chunks(1 << 20, 9, "4.6") == [((1 << 20) + page, NO_FRAME, 0) for page in range(512)]


SHIPPED = {
    "eager": S0, "eager-no-misconfig": S1, "vmenter": S2, "deferred": S3, "deferred-xsa480": S3_BAD,
    "deferred-2026": S3_BATCH, "deferred-xsa480-pml": S3_BAD_BATCH,
}  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_the_steps_are_those_that_ship(name: str) -> None:
    shipped = STRATEGIES[name]
    step = replace(SHIPPED[name], name=shipped.name)
    assert {x: getattr(step, x) for x in SWITCHES} == {x: getattr(shipped, x) for x in SWITCHES}


SWITCHES = [*CHOICES, *(field.name for field in fields(Strategy) if field.name.startswith("sync_"))]


def test_a_write_in_a_page_of_1_gib_builds_513_tables() -> None:
    costs = COSTS._replace(set_ns=0, store_ns=1)
    before = mapped(1 << 18, leaf=18, kind=RAM_LOGDIRTY)
    result = replay(recording_of(before, logdirty.logdirty_fault(gfn=1 << 18)), S3, costs)
    assert result.holds[-1].t_release_ns - result.holds[-1].t_acquire_ns == 2 + 513 * 512 - 1
