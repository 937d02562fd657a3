"""The records of a trace that lowering looks at, as arrays in the program order of each pCPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from eptreplay.trace.dataset import read_manifest, table_files
from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.catalogue.sched import RUNSTATES, runstate_change

(
    OTHER, VMENTER, VMEXIT, HALT, NPF, SET, POPULATE, ZERO_RECLAIM, SPLINTER, DECREASE, P2M_SET, GLOBAL, TABLE_FREE,
    CACHE_ADD, HOLD_BEGIN, HOLD_END, LOOKUP, DRAIN, CLEAN, PAUSE, UNPAUSE, PAGE_FREE, PAGE_ALLOC, SWITCH_IN, SWITCH_OUT,
    WOKEN, CONTINUE, DOMAIN_ADD, LOST, INTERRUPT,
) = range(30)  # fmt: skip
"""What a record is, as far as lowering tells records apart."""

_BY_EVENT = {
    "HVM_VMENTRY": VMENTER,
    "HVM_NESTED_VMENTRY": VMENTER,
    "HVM_VMEXIT": VMEXIT,
    "HVM_VMEXIT64": VMEXIT,
    "HVM_SVM_EXIT": VMEXIT,
    "HVM_SVM_EXIT64": VMEXIT,
    "HVM_NESTED_VMEXIT": VMEXIT,
    "HVM_NESTED_VMEXIT64": VMEXIT,
    "HVM_NESTED_SVM_EXIT": VMEXIT,
    "HVM_NESTED_SVM_EXIT64": VMEXIT,
    "HVM_HLT": HALT,
    "HVM_NPF": NPF,
    "MEM_SET_P2M_ENTRY": SET,
    "MEM_POD_POPULATE": POPULATE,
    "MEM_POD_ZERO_RECLAIM": ZERO_RECLAIM,
    "MEM_POD_SUPERPAGE_SPLINTER": SPLINTER,
    "MEM_DECREASE_RESERVATION": DECREASE,
    "P2M_SET": P2M_SET,
    "P2M_GLOBAL_CHANGE": GLOBAL,
    "PT_PAGE_FREE": TABLE_FREE,
    "POD_CACHE_ADD": CACHE_ADD,
    "P2M_HOLD_BEGIN": HOLD_BEGIN,
    "P2M_HOLD_END": HOLD_END,
    "FOREIGN_LOOKUP": LOOKUP,
    "PML_DRAIN": DRAIN,
    "LOGDIRTY_CLEAN_BEGIN": CLEAN,
    "DOMAIN_PAUSE": PAUSE,
    "DOMAIN_UNPAUSE": UNPAUSE,
    "PAGE_FREE": PAGE_FREE,
    "PAGE_ALLOC": PAGE_ALLOC,
    "SCHED_CONTINUE_RUNNING": CONTINUE,
    "SCHED_DOM_ADD": DOMAIN_ADD,
    "LOST_RECORDS": LOST,
    "HVM_INTR": INTERRUPT,
}
_RUNNING, _BLOCKED = RUNSTATES.index("running"), RUNSTATES.index("blocked")

MEMORY_FIELDS = ("p2m_dom", "gfn", "order", "mfn", "p2mt", "qualification")
UNKNOWN = -1


def what_records_are(event: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return what records of these event ids are."""
    ids, whats = _what_by_event()
    found = np.minimum(np.searchsorted(ids, event), ids.size - 1)
    return np.where(ids[found] == event, whats[found], np.uint8(OTHER))


@cache
def _what_by_event() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return event ids, ascending, and what each of them is."""
    pairs = {by_name(name).id: what for name, what in _BY_EVENT.items()}
    for old in range(len(RUNSTATES)):
        for new in range(len(RUNSTATES)):
            if new == _RUNNING and old != _RUNNING:
                pairs[runstate_change(old, new)] = SWITCH_IN
            elif old == _RUNNING and new != _RUNNING:
                pairs[runstate_change(old, new)] = SWITCH_OUT
            elif old == _BLOCKED and RUNSTATES[new] == "runnable":
                pairs[runstate_change(old, new)] = WOKEN
    ids = sorted(pairs)
    return np.array(ids, np.uint32), np.array([pairs[i] for i in ids], np.uint8)


class Records(NamedTuple):
    """Records by pCPU, and within a pCPU in the order in which it wrote them. Unknown numbers are -1.

    ``rank``: place in the file. ``dom``, ``vcpu``: who ran when the record was written. ``tsc``: ticks, the record's
    own or inherited; -1 if the pCPU has none. ``w``: the payload words, [word, record]. ``memory``: position in the
    memory arrays below, which have one element per record that concerns a p2m, and a last one, of unknowns, for all
    other records: ``gfn``, ``mfn``, ``order``, ``type`` (p2m type), ``qualification`` and ``p2m_dom``.
    """

    rank: NDArray[np.int64]
    pcpu: NDArray[np.uint16]
    tsc: NDArray[np.int64]
    timed: NDArray[np.bool_]
    what: NDArray[np.uint8]
    dom: NDArray[np.int32]
    vcpu: NDArray[np.int32]
    w: NDArray[np.uint32]
    memory: NDArray[np.int32]
    gfn: NDArray[np.uint64]
    mfn: NDArray[np.uint64]
    order: NDArray[np.int32]
    type: NDArray[np.int32]
    qualification: NDArray[np.int64]
    p2m_dom: NDArray[np.int32]


WORDS = 7
"""Payload words that lowering looks at."""


def read_records(dataset: str | os.PathLike[str]) -> tuple[Records, dict[str, Any]]:
    """Return the records of a trace dataset, and its manifest. Raises InputError if it is none, or lost a file."""
    manifest = read_manifest(dataset)
    columns = ["source", "offset", "pcpu", "tsc", "timed", "event", "run_dom", "run_vcpu", *_word_names()]
    events = [pq.read_table(path, columns=columns) for path in table_files(dataset, "events")]
    p2m = pq.read_table(table_files(dataset, "p2m")[0], columns=["source", "offset", *MEMORY_FIELDS])
    return records_of(pa.concat_tables(events), p2m), manifest


def records_of(events: pa.Table, p2m: pa.Table) -> Records:
    """Return records out of rows of the tables ``events`` and ``p2m``, both in file order."""
    event = _numbers(events, "event", np.uint32)
    what = what_records_are(event)
    memory = np.full(event.size, UNKNOWN, np.int32)
    memory[_matches(events, p2m)] = np.arange(p2m.num_rows, dtype=np.int32)
    # A record of a memory event whose payload no Xen writes says nothing.
    what[(what >= NPF) & (what <= PAGE_ALLOC) & (memory == UNKNOWN)] = OTHER
    pcpu = _numbers(events, "pcpu", np.uint16)
    order = np.argsort(pcpu, kind="stable")
    return Records(
        rank=order,
        pcpu=pcpu[order],
        tsc=_numbers(events, "tsc", np.int64)[order],
        timed=np.asarray(events["timed"].to_numpy())[order],
        what=what[order],
        dom=_numbers(events, "run_dom", np.int32)[order],
        vcpu=_numbers(events, "run_vcpu", np.int32)[order],
        w=np.stack([_numbers(events, name, np.uint32, 0)[order] for name in _word_names()]),
        memory=memory[order],
        gfn=np.append(_numbers(p2m, "gfn", np.uint64, 0), np.uint64(0)),
        mfn=np.append(_numbers(p2m, "mfn", np.uint64, 0), np.uint64(0)),
        order=np.append(_numbers(p2m, "order", np.int32), np.int32(UNKNOWN)),
        type=np.append(_numbers(p2m, "p2mt", np.int32), np.int32(UNKNOWN)),
        qualification=np.append(_numbers(p2m, "qualification", np.int64, 0), 0),
        p2m_dom=np.append(_numbers(p2m, "p2m_dom", np.int32), np.int32(UNKNOWN)),
    )


def _word_names() -> Sequence[str]:
    return [f"w{word}" for word in range(WORDS)]


def _numbers(table: pa.Table, name: str, kind: type, missing: int = UNKNOWN) -> NDArray[Any]:
    column = table[name]
    if column.null_count:
        column = column.cast(pa.from_numpy_dtype(kind)).fill_null(missing)
    return np.asarray(column.to_numpy()).astype(kind)


def _matches(events: pa.Table, p2m: pa.Table) -> NDArray[np.int64]:
    """Return for each row of ``p2m`` the row of ``events`` that is the same record."""

    def place(table: pa.Table) -> NDArray[np.int64]:
        found: NDArray[np.int64] = (_numbers(table, "source", np.int64) << 48) + _numbers(table, "offset", np.int64)
        return found

    return np.searchsorted(place(events), place(p2m))
