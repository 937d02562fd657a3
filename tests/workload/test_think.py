"""Gaps that are multiplied: which, how they are rounded, and what stays as it was."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.errors import UsageError
from eptreplay.workload import schema as s
from eptreplay.workload.think import HIGHEST, check_think_scale, with_think_scale
from eptreplay.workload.workload import Workload
from tests.workload.lowering import check, lowered, rows_of
from tests.workload.test_edges import Host

SCALES = st.floats(1e-9, HIGHEST) | st.sampled_from((0.5, 2.0, 1.5, 0.29, 0.1, 1000.0))


def recording() -> Host:
    """Return a host with two pCPUs, which idle and lose records in between."""
    host = Host()
    for pcpu in (0, 1):
        host.runs(pcpu, 1000 + 5 * pcpu, 3, pcpu)
        host.on(pcpu, 1050, "HVM_VMENTRY")
        host.on(pcpu, 2063, "HVM_VMEXIT64", reason=12, rip=0)
        host.stops(pcpu, 2100, 3, pcpu)
        host.runs(pcpu, 2103, s.IDLE_DOMAIN, pcpu)
        host.stops(pcpu, 7103, s.IDLE_DOMAIN, pcpu)
        host.runs(pcpu, 7104, 3, pcpu)
        host.on(pcpu, 9104, "LOST_RECORDS", count=5, domid=3, vcpu=pcpu, first_tsc=8104)
        host.on(pcpu, 9205, "HVM_VMENTRY")
    return host


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Return the workload of that recording."""
    return lowered(tmp_path_factory.mktemp("made"), recording().trace)


@given(scale=SCALES)
def test_gaps_are_multiplied_but_for_those_of_rest(made: Workload, scale: float) -> None:
    scaled = with_think_scale(made, scale)
    check(scaled)
    first = set(made.begin[:-1].tolist())
    for row, (gap, now) in enumerate(zip(made.gap_ns.tolist(), scaled.gap_ns.tolist(), strict=True)):
        rests = row not in first and made.op[row - 1] in (s.IDLE, s.LOST)
        exact = (Decimal(gap) * Decimal(repr(scale))).quantize(Decimal(1), ROUND_HALF_UP)
        assert now == (gap if rests else int(exact))
    for name in set(Workload._fields) - {"gap_ns", "t_ns"}:
        assert getattr(scaled, name) is getattr(made, name)


def test_halves_are_rounded_up_as_they_are_written(made: Workload) -> None:
    gaps = np.array([1, 3, 5, 50, 150], np.int64)
    five = made._replace(
        pcpus=made.pcpus[:1], begin=np.array([0, 5]), op=np.full(5, s.SET, np.uint8), gap_ns=gaps, t_ns=np.cumsum(gaps)
    )
    assert with_think_scale(five, 0.5).gap_ns.tolist() == [1, 2, 3, 25, 75]
    # In binary 0.29 * 50 is less than 14.5.
    assert with_think_scale(five, 0.29).gap_ns.tolist() == [0, 1, 1, 15, 44]


def test_once_is_as_recorded(made: Workload) -> None:
    assert with_think_scale(made, 1.0) is made


def test_idling_ends_as_much_later_as_the_work_before_it(made: Workload) -> None:
    wakes = [row["gap_ns"] for row in rows_of(with_think_scale(made, 3.0), "WAKE")]
    assert wakes == [row["gap_ns"] for row in rows_of(made, "WAKE")] == [5000, 5000]


@pytest.mark.parametrize("scale", [0, -1, 1000.001, float("inf"), float("nan"), -0.0])
def test_scales_that_make_no_sense_are_told(scale: float) -> None:
    with pytest.raises(UsageError, match=r"^--think-scale .*: expected a number above 0, 1000 at most$"):
        check_think_scale(scale)


def test_times_that_no_recording_can_have_are_told(tmp_path: Path) -> None:
    host = Host()
    host.runs(0, 1000, 3, 0)
    host.stops(0, 1000 + (1 << 59), 3, 0)
    workload = lowered(tmp_path, host.trace)
    check(with_think_scale(workload, 1.9))
    for scale in (2.1, 1000):
        with pytest.raises(UsageError, match=r"^--think-scale .*: the recording would last longer than"):
            with_think_scale(workload, scale)


def test_a_recording_of_nothing_stays_that(tmp_path: Path) -> None:
    host = Host()
    host.on(0, 1000, "HVM_CPUID", leaf=0, eax=0, ebx=0, ecx=0, edx=0)
    workload = lowered(tmp_path, host.trace)
    assert workload.rows == 0
    assert with_think_scale(workload, 2.0) is workload
