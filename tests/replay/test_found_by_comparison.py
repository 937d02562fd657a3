"""Where the engine and the specification once differed."""

from __future__ import annotations

import pytest

from eptreplay.model import Domain, Recording, Row
from eptreplay.p2m_types import RAM_LOGDIRTY
from eptreplay.strategies import Request, Strategy
from eptreplay.strategies.decision import MARK, NOW
from eptreplay.strategies.registry import STRATEGIES
from tests.model.small import FREE as SMALL
from tests.replay.both import by_engine, by_model

FREE = SMALL._replace(cores_per_socket=1, threads_per_core=1)
GUEST = Domain(1, has_guest_mode=True, created=False)


def test_a_domain_that_is_paused_again_at_once_does_not_go_on_in_between() -> None:
    pauses = (Row("PAUSE", 10, 1), Row("UNPAUSE", 5, 1), Row("PAUSE", 0, 1), Row("UNPAUSE", 7, 1))
    guest = (Row("SWITCH_IN", 0, 1, 0), Row("VMENTER", 1, 1, 0), Row("VMEXIT", 100, 1, 0))
    recording = Recording({0: (0, pauses), 1: (4, guest)}, {1: GUEST}, has_vm_entries=True)
    tables = by_engine(recording, STRATEGIES["deferred"], FREE)
    assert tables == by_model(recording, STRATEGIES["deferred"], FREE)
    assert tables["totals"][0] == 2  # the row VMENTER, and one return


def test_a_guest_whose_p2m_nobody_writes_still_begins_with_marks() -> None:
    guest = (Row("SWITCH_IN", 0, 1, 0), Row("VMENTER", 1, 1, 0), Row("VMEXIT", 9, 1, 0))
    recording = Recording({0: (0, guest)}, {1: GUEST._replace(created=True)}, has_vm_entries=True)
    tables = by_engine(recording, STRATEGIES["deferred"], FREE)
    assert tables == by_model(recording, STRATEGIES["deferred"], FREE)
    assert tables["invepts"] == [(1, 0, 1, "vmenter")]


def test_a_pcpu_without_rows_does_nothing() -> None:
    guest = (Row("SWITCH_IN", 0, 1, 0), Row("VMENTER", 1, 1, 0), Row("VMEXIT", 9, 1, 0))
    recording = Recording({0: (0, ()), 1: (0, guest), 2: (3, ())}, {1: GUEST}, has_vm_entries=True)
    tables = by_engine(recording, STRATEGIES["eager"], FREE)
    assert tables == by_model(recording, STRATEGIES["eager"], FREE)
    assert tables["modes"][2]["unknown"] == 10


def test_a_write_of_2_mib_resolves_marks_of_pages_below_its_own_level() -> None:
    p2m = (1, 0)
    acts = (
        Row("SET", 0, p2m=p2m, hold=1, gfn=0, present=True),
        Row("GLOBAL_CHANGE", 0, p2m=p2m, hold=1, gfn=None, new_type=2),
        Row("SET", 0, p2m=p2m, hold=1, gfn=512, present=True),  # moves the mark of the root down to both tables
        Row("SET", 0, p2m=p2m, hold=1, gfn=0, order=9, present=True),
    )
    hold = (Row("HOLD_BEGIN", 0, p2m=p2m, hold=1), *acts, Row("HOLD_END", 0, p2m=p2m, hold=1))
    recording = Recording({0: (0, hold)}, {1: GUEST}, has_vm_entries=True)
    tables = by_engine(recording, STRATEGIES["deferred"], FREE)
    assert tables == by_model(recording, STRATEGIES["deferred"], FREE)


def test_tables_that_are_built_while_marks_are_resolved_take_time() -> None:
    p2m = (1, 0)
    acts = (
        Row("GLOBAL_CHANGE", 0, p2m=p2m, hold=1, gfn=0, last_gfn=0, new_type=2),
        Row("SET", 0, p2m=p2m, hold=1, gfn=0, order=18, present=True),
        Row("GLOBAL_CHANGE", 0, p2m=p2m, hold=1, gfn=None, new_type=0),
        Row("SET", 0, p2m=p2m, hold=1, gfn=0, present=True),  # log-dirty is on for one page of the leaf of 1 GiB
    )
    hold = (Row("HOLD_BEGIN", 0, p2m=p2m, hold=1), *acts, Row("HOLD_END", 0, p2m=p2m, hold=1))
    recording = Recording({0: (0, hold)}, {1: GUEST}, has_vm_entries=True)
    tables = by_engine(recording, STRATEGIES["deferred"], FREE._replace(store_ns=1))
    assert tables == by_model(recording, STRATEGIES["deferred"], FREE._replace(store_ns=1))
    assert tables["totals"][-1] > 1024


ODD_TYPES = [16, 63, 64, 127, 128, 192, 200, 255]
"""Numbers of p2m types that Xen has not, but a recording may."""


@pytest.mark.parametrize("kind", ODD_TYPES)
def test_a_change_of_all_types_to_one_that_no_xen_has_is_one_from_log_dirty(kind: int) -> None:
    p2m = (1, 0)
    acts = (
        Row("SET", 0, p2m=p2m, hold=1, gfn=7, present=True),
        Row("GLOBAL_CHANGE", 0, p2m=p2m, hold=1, gfn=None, new_type=RAM_LOGDIRTY),
        Row("GLOBAL_CHANGE", 0, p2m=p2m, hold=1, gfn=None, new_type=kind),
        Row("SET", 0, p2m=p2m, hold=1, gfn=9, present=True),
    )
    hold = (Row("HOLD_BEGIN", 0, p2m=p2m, hold=1), *acts, Row("HOLD_END", 0, p2m=p2m, hold=1))
    recording = Recording({0: (0, hold)}, {1: GUEST}, has_vm_entries=True)
    assert by_engine(recording, STRATEGIES["eager"], FREE) == by_model(recording, STRATEGIES["eager"], FREE)


def now_if_such(request: Request) -> int:
    """Broadcast under the lock where an entry was of a type that no Xen has."""
    return NOW if request.old_type in (16, 63, 64, 127, 128, 192, 200, 255) else MARK


@pytest.mark.parametrize("kind", ODD_TYPES)
def test_a_decision_is_told_such_a_type_as_it_was_recorded(kind: int) -> None:
    p2m = (1, 0)
    write = Row("SET", 0, p2m=p2m, hold=1, gfn=7, old_type=kind, present=True)
    hold = (Row("HOLD_BEGIN", 0, p2m=p2m, hold=1), write, Row("HOLD_END", 0, p2m=p2m, hold=1))
    guest = (Row("SWITCH_IN", 0, 1, 0), Row("VMENTER", 0, 1, 0))
    recording = Recording({0: (0, hold), 1: (3, guest)}, {1: GUEST}, has_vm_entries=True)
    tables = by_engine(recording, Strategy(name="asked", decide=now_if_such), FREE)
    assert len(tables["broadcasts"]) == 1
