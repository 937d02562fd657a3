"""A live migration (traces/r12): what the rules make of it is what a loop over its records counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from eptreplay.workload import schema as s
from eptreplay.workload.rules import CAUSE_NUMBERS
from eptreplay.workload.workload import Workload
from tests.conftest import Unpack
from tests.oracles import migration
from tests.workload.conftest import Lower
from tests.workload.lowering import check, shares

pytestmark = pytest.mark.compiled

SOURCE, TARGET, DOM0 = 7, 8, 0


@pytest.fixture(scope="module")
def workload(real: Lower) -> Workload:
    """Return the workload of the migration."""
    return real("r12")


@pytest.fixture(scope="module")
def counted(unpacked: Unpack) -> Counter[str]:
    """Return what was counted by hand."""
    return migration.count(unpacked("r12").read_bytes())


def sets_of(workload: Workload, dom: int) -> NDArray[np.bool_]:
    """Return which rows are writes of a domain's p2m."""
    sets: NDArray[np.bool_] = (workload.op == s.SET) & (workload.p2m_dom == dom)
    return sets


def test_the_hand_count_is_that_of_the_readme(counted: Counter[str]) -> None:
    assert counted == {
        "NPF": 7018,
        "faults of d7": 7017,
        "faults without a write": 1,
        "writes of d7": 7017,
        "writes of d7 by d7": 7017,
        "writes of d7 before its SCHED_DOM_ADD": 7017,
        "writes of d8": 65554,
        "writes of d8 by d0": 65552,
        "writes of d8 by d8": 2,
        "writes of d8 by d0 after a fault of d7": 3072,
    }


def test_it_is_a_workload(workload: Workload) -> None:
    check(workload)


def test_each_fault_of_the_source_is_one_hold_with_one_write(workload: Workload, counted: Counter[str]) -> None:
    logdirty, spurious, misconfig, logdirty_global = (
        CAUSE_NUMBERS[name] for name in ("logdirty_fault", "spurious", "misconfig", "logdirty_global")
    )
    own = workload.p2m_dom == SOURCE
    begins = (workload.op == s.HOLD_BEGIN) & own
    assert (begins & (workload.cause == logdirty)).sum() == counted["faults of d7"] == 7017
    # No second hold from the NPF record behind it: the only other fault is that of the NPF without a write.
    assert (begins & (workload.cause == spurious)).sum() == counted["faults without a write"]
    faults = begins & ~np.isin(workload.cause, (misconfig, logdirty_global))
    assert faults.sum() == counted["NPF"]
    sets = sets_of(workload, SOURCE)
    assert sets.sum() == counted["writes of d7"]
    held, writes = np.unique(workload.hold[sets], return_counts=True)
    assert (writes == 1).all()
    assert set(held.tolist()) == set(workload.hold[begins & (workload.cause == logdirty)].tolist())
    assert set(workload.run_dom[sets].tolist()) == {SOURCE}


def test_each_recalculation_is_one_hold_that_writes_nothing(workload: Workload) -> None:
    mended = workload.op == s.MISCONFIG
    assert set(workload.p2m_dom[mended].tolist()) == {SOURCE}
    begins = (workload.op == s.HOLD_BEGIN) & (workload.cause == CAUSE_NUMBERS["misconfig"])
    assert mended.sum() == begins.sum() == shares(workload)["recalculation"][0] == 2522
    assert not np.isin(workload.hold[workload.op == s.SET], workload.hold[mended]).any()


def test_log_dirty_operations_are_those_of_the_toolstack_on_the_source(workload: Workload) -> None:
    """Switched on once; one clean for each round that found pages dirty."""
    changes = (workload.op == s.GLOBAL_CHANGE) & (workload.origin == s.INFERRED)
    assert set(workload.p2m_dom[changes].tolist()) == {SOURCE}
    assert set(workload.run_dom[changes].tolist()) == {DOM0}
    assert changes.sum() == 1 + (workload.op == s.LOGDIRTY_CLEAN).sum() == 5
    first_fault = workload.t_ns[sets_of(workload, SOURCE)].min()
    assert workload.t_ns[changes].min() < first_fault
    depth = np.cumsum((workload.op == s.HOLD_BEGIN).astype(int) - (workload.op == s.HOLD_END))
    assert (depth[changes] == 1).all()


def test_most_writes_are_those_of_dom0_to_the_target(workload: Workload, counted: Counter[str]) -> None:
    sets = sets_of(workload, TARGET)
    assert sets.sum() == counted["writes of d8"] == 65554
    by = Counter(workload.run_dom[sets].tolist())
    assert by == {DOM0: counted["writes of d8 by d0"], TARGET: counted["writes of d8 by d8"]}
    assert by == {DOM0: 65552, TARGET: 2}


def test_what_dom0_writes_after_a_guest_has_exited_is_no_fault_of_the_guest(
    workload: Workload, counted: Counter[str]
) -> None:
    """Dom0 is switched in after VMEXIT 0x400 of the source, and no VM entry comes before it writes."""
    fault = dict.fromkeys(range(64), -1)
    assert len(fault) > workload.pcpus.max()
    late = []
    owner = np.repeat(workload.pcpus, np.diff(workload.begin)).tolist()
    looked_at = np.isin(workload.op, (s.VMENTER, s.VMEXIT, s.SWITCH_IN, s.HOLD_BEGIN, s.SET))
    op, dom, runs = workload.op.tolist(), workload.p2m_dom.tolist(), workload.run_dom.tolist()
    for row in np.flatnonzero(looked_at).tolist():
        if op[row] in (s.VMENTER, s.VMEXIT):
            fault[owner[row]] = runs[row] if op[row] == s.VMEXIT else -1
        elif op[row] == s.SET and runs[row] == DOM0 and fault[owner[row]] >= 0:
            late.append(row)
    assert len(late) > counted["writes of d8 by d0 after a fault of d7"] == 3072
    assert {dom[row] for row in late} == {TARGET}
    assert set(workload.cause[late].tolist()) == {CAUSE_NUMBERS["populate"]}
    _, writes = np.unique(workload.hold[late], return_counts=True)
    assert (writes == 1).all()


def test_the_target_had_no_entries_as_it_was_created_in_the_recording(
    workload: Workload, counted: Counter[str]
) -> None:
    assert counted["writes of d8 before its SCHED_DOM_ADD"] == 0
    sets = sets_of(workload, TARGET)
    assert set(workload.old_known[sets].tolist()) == {s.CREATED}
    assert not workload.present("present")[sets].any()
    assert [domain.number for domain in workload.domains if domain.created] == [TARGET]


def test_the_source_was_not_created_in_it(workload: Workload, counted: Counter[str]) -> None:
    assert counted["writes of d7 before its SCHED_DOM_ADD"] == counted["writes of d7"]
    sets = sets_of(workload, SOURCE)
    assert set(workload.old_known[sets].tolist()) == {s.BY_CAUSE}
    assert workload.present("absent")[sets].all()


def test_rules_take_each_record_once(workload: Workload) -> None:
    assert shares(workload) == {
        "logdirty_fault": (7017, 3 * 7017),
        "spurious_fault": (1, 2),
        "recalculation": (2522, 2522),
        "write": (65554, 65554),
    }
