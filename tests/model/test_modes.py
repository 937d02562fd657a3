"""Modes, and the dirty mask."""

from __future__ import annotations

import pytest

from eptreplay.model import Row
from tests.model.small import DEFERRED, ONE, PV, TWO, one_write, run, switch_in, vmenter


@pytest.mark.parametrize(
    ("row", "has_vm_entries", "mode"),
    [
        (vmenter(10), True, "guest"),
        (vmenter(10, None), True, "guest"),
        (Row("VMEXIT", 10), True, "xen"),
        (switch_in(10), True, "xen"),
        (switch_in(10), False, "guest"),
        (switch_in(10, PV), False, "xen"),
        (Row("SWITCH_IN", 10), False, "xen"),
        (Row("SWITCH_OUT", 10, ONE, 0), True, "xen"),
        (Row("IDLE", 10), True, "idle"),
        (Row("WAKE", 10), True, "xen"),
        (Row("LOST", 10), True, "unknown"),
        (Row("PAUSE", 10, TWO), True, "unknown"),
    ],
    ids=str,
)
def test_the_mode_after_a_row(row: Row, has_vm_entries: bool, mode: str) -> None:  # noqa: FBT001
    result = run({0: [row, Row("WAIT", 1000)]}, has_vm_entries=has_vm_entries)
    expected = dict.fromkeys(("guest", "xen", "irqoff", "spin", "idle", "unknown"), 0)
    expected["unknown"] = 10
    expected[mode] += 1000
    assert result.modes[0] == expected


def targets(*rows: Row, others: tuple[Row, ...] = ()) -> set[int]:
    """Return whom a broadcast for domain 1 interrupts at 1000, after these rows of pCPU 1 (and those of pCPU 2)."""
    result = run({1: list(rows), 2: list(others), 3: one_write(1000)}, DEFERRED)
    return {ack.pcpu for ack in result.acks}


SWITCH_OUT = Row("SWITCH_OUT", 10, ONE, 0)


@pytest.mark.parametrize(
    "rows",
    [
        (switch_in(10),),
        (switch_in(10), vmenter(10)),
        (switch_in(10), SWITCH_OUT),
        (switch_in(10), SWITCH_OUT, Row("IDLE", 10)),
        (switch_in(10), SWITCH_OUT, Row("IDLE", 10), Row("WAKE", 10)),
        (switch_in(10, TWO), switch_in(10)),
        (Row("LOST", 10), switch_in(10)),
    ],
)
def test_a_pcpu_is_dirty_while_a_vcpu_of_the_domain_is_loaded(rows: tuple[Row, ...]) -> None:
    assert targets(*rows) == {1}


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (vmenter(10),),
        (switch_in(10, TWO),),
        (switch_in(10), SWITCH_OUT, switch_in(10, TWO)),
        (switch_in(10), SWITCH_OUT, switch_in(10, PV)),
        (switch_in(10), Row("LOST", 10)),
        (switch_in(10), Row("SWITCH_IN", 10)),
    ],
)
def test_a_pcpu_is_not_dirty_once_something_else_or_nothing_is_loaded(rows: tuple[Row, ...]) -> None:
    assert targets(*rows) == set()


def test_the_dirty_bit_moves_with_the_vcpu() -> None:
    assert targets(switch_in(10), SWITCH_OUT, others=(switch_in(100),)) == {2}


def test_another_vcpu_of_the_domain_leaves_the_first_where_it_is() -> None:
    assert targets(switch_in(10), SWITCH_OUT, others=(switch_in(100, vcpu=1),)) == {1, 2}


def test_a_vcpu_that_nobody_knows_unloads_none() -> None:
    unknown = Row("SWITCH_IN", 100, ONE)
    assert targets(unknown, others=(unknown,)) == {1, 2}
