"""The workload as a value: its rows, the domains in it, and what the recording can and cannot tell."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eptreplay.trace.schema import Column
from eptreplay.workload import schema as s
from eptreplay.workload.skew import Skew

NONE = -1


class Domain(NamedTuple):
    """A domain of the recording. ``assumed``: whether ``has_guest_mode`` follows from its number alone."""

    number: int
    has_guest_mode: bool
    assumed: bool
    created: bool


class Facts(NamedTuple):
    """What a recording can tell: whether it has runstates, VM entries, and enough times for durations."""

    has_sched: bool
    has_vm_entries: bool
    has_times: bool


class Share(NamedTuple):
    """How often a rule was applied, and how many records it consumed."""

    rule: str
    operations: int
    records: int
    about: str


def shares_document(shares: tuple[Share, ...]) -> list[dict[str, str | int]]:
    """Return what rules did as ``info`` and results have it."""
    return [{"rule": x.rule, "operations": x.operations, "records": x.records} for x in shares]


class Workload(NamedTuple):
    """Rows in the order of ``workload.parquet``: by pCPU, then in program order. Unknown numbers are -1.

    ``begin``: for each pCPU of ``pcpus`` the number of its first row, and at last the number of rows. ``t_ns``: when
    each row was recorded, from the start of the recording: the sum of ``gap_ns`` and ``cut_ns`` of its pCPU so far.
    ``kicks_removed``: interrupts of the recorded host that were left out, each a VM exit and an entry. ``skew``: what
    the recording tells of differences between TSCs, None where it does not.
    """

    pcpus: NDArray[np.int64]
    begin: NDArray[np.int64]
    t_ns: NDArray[np.int64]
    gap_ns: NDArray[np.int64]
    op: NDArray[np.uint8]
    run_dom: NDArray[np.int32]
    run_vcpu: NDArray[np.int32]
    p2m_dom: NDArray[np.int32]
    p2m_view: NDArray[np.int32]
    hold: NDArray[np.int64]
    gfn: NDArray[np.uint64]
    order: NDArray[np.int32]
    mfn: NDArray[np.uint64]
    old_type: NDArray[np.int16]
    old_known: NDArray[np.int8]
    new_type: NDArray[np.int16]
    cause: NDArray[np.int8]
    origin: NDArray[np.int8]
    time_origin: NDArray[np.int8]
    count: NDArray[np.int64]  # type: ignore[assignment]  # hides a method of tuples that nobody needs
    edge: NDArray[np.int64]
    last_gfn: NDArray[np.uint64]
    access: NDArray[np.int8]
    old_present: NDArray[np.int8]
    preemptible: NDArray[np.int8]
    not_before_ns: NDArray[np.int64]
    not_after_ns: NDArray[np.int64]
    target: NDArray[np.int32]
    freed_by: NDArray[np.int64]
    cut_ns: NDArray[np.int64]
    domains: tuple[Domain, ...]
    facts: Facts
    shares: tuple[Share, ...]
    kicks_removed: int = 0
    skew: Skew | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.op.size)

    def present(self, unseen: str) -> NDArray[np.bool_]:
        """Return for each row whether the entry was present before; ``unseen`` (present, absent) where assumed."""
        known = np.where(self.old_present >= 0, self.old_present == 1, unseen == "present")
        present: NDArray[np.bool_] = (self.op == s.SET) & known
        return present


_WITH_FRAMES = (s.SET, s.MISCONFIG, s.GLOBAL_CHANGE, s.POD_RECLAIM, s.FREE_TABLE, s.LOOKUP, s.PAGE_FREE, s.PAGE_ALLOC)
_AT_ONE_GO = (
    s.HOLD_BEGIN, s.SET, s.MISCONFIG, s.GLOBAL_CHANGE, s.POD_RECLAIM, s.FREE_TABLE, s.HOLD_END, s.PAGE_ALLOC, s.CALL,
)  # fmt: skip
"""What Xen does not turn away from, under a lock or with interrupts to wait for."""


def workload_table(workload: Workload) -> pa.Table:
    """Return a workload as the table ``workload`` of a result dataset."""
    size = np.diff(workload.begin)
    arrays = {
        "pcpu": np.repeat(workload.pcpus, size),
        "seq": np.arange(workload.rows) - np.repeat(workload.begin[:-1], size),
        "preemptible": np.where(
            workload.preemptible >= 0, workload.preemptible == 1, ~np.isin(workload.op, _AT_ONE_GO)
        ),
    }
    has_frame = np.isin(workload.op, _WITH_FRAMES)
    masks = {
        "gfn": ~has_frame | (workload.gfn == s.NO_GFN),
        "mfn": ~has_frame | (workload.mfn == s.NO_GFN) & (workload.op != s.SET),
        "last_gfn": workload.last_gfn == s.NO_GFN,
    }
    schema = s.workload_schema()
    columns = []
    for column in s.WORKLOAD:
        values: NDArray[Any] = arrays[column.name] if column.name in arrays else getattr(workload, column.name)
        mask = masks.get(column.name, (values == NONE) if column.nullable else None)
        columns.append(_column(column, values, mask))
    return pa.Table.from_arrays(columns, schema=schema)


def _column(column: Column, values: NDArray[Any], mask: NDArray[np.bool_] | None) -> pa.Array:
    if column.name in s.NAMES:
        return pa.DictionaryArray.from_arrays(
            pa.array(values.astype(np.int8), mask=mask), pa.array(s.NAMES[column.name])
        )
    kind = column.type.to_pandas_dtype()
    return pa.array(values.astype(kind), type=column.type, mask=mask)
