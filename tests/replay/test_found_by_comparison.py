"""Where the engine and the specification once differed."""

from __future__ import annotations

from eptreplay.model import Costs, Domain, Recording, Row
from eptreplay.strategies.registry import STRATEGIES
from tests.replay.both import by_engine, by_model

FREE = Costs(1, 1, 0, (0, 0, 0), 0, 0, 0, (0, 0, 0), (0, 0, 0), 0, 0, 0, 0, 0, 0)
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
