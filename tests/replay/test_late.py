"""Replays that go on for longer than anybody records."""

from __future__ import annotations

import pytest

from eptreplay.errors import InputError
from eptreplay.machine.clock import END
from eptreplay.model import Domain, Recording, Row
from eptreplay.strategies.registry import STRATEGIES
from tests.model.small import FREE
from tests.replay.both import by_engine, by_model

GUEST = Domain(1, has_guest_mode=True, created=False)
TWO_PCPUS = END >> 1


def recording(gap: int) -> Recording:
    """Return a host on which a guest is entered at last, and one that waits for that."""
    late = (Row("SWITCH_IN", 1, 1, 0), Row("VMENTER", gap - 1, 1, 0))
    return Recording({0: (0, late), 1: (2, (Row("WAIT", 5, edge=1),))}, {1: GUEST}, has_vm_entries=True)


def test_the_last_moment_is_as_good_as_any() -> None:
    last = recording(TWO_PCPUS - 1)
    assert by_engine(last, STRATEGIES["deferred"], FREE) == by_model(last, STRATEGIES["deferred"], FREE)


def test_what_would_come_later_is_told() -> None:
    with pytest.raises(InputError, match=rf"row 1 of the workload would come {TWO_PCPUS} ns after the start or later"):
        by_engine(recording(TWO_PCPUS), STRATEGIES["deferred"], FREE)


def test_a_broadcast_whose_handler_would_come_later_is_told() -> None:
    p2m = (1, 0)
    guest = (Row("SWITCH_IN", 0, 1, 0), Row("VMENTER", 0, 1, 0))
    hold = (Row("HOLD_BEGIN", 0, p2m=p2m, hold=1), Row("SET", 0, p2m=p2m, hold=1, gfn=1, present=True))
    writer = (Row("WAIT", TWO_PCPUS - 1), *hold, Row("HOLD_END", 0, p2m=p2m, hold=1))
    recording = Recording({0: (0, writer), 1: (4, guest)}, {1: GUEST}, has_vm_entries=True)
    for deliver in (0, 1, 1000):
        machine = FREE._replace(deliver_ns=(deliver, deliver, deliver), handler_ns=1)
        with pytest.raises(InputError, match=rf"would come {TWO_PCPUS} ns after the start or later"):
            by_engine(recording, STRATEGIES["eager"], machine)
