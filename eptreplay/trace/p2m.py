"""Rows of ``p2m.parquet``: the memory events of a recording with their payloads by name instead of by word."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eptreplay.trace.schema import arrow_schema
from eptreplay.trace.tables import masked
from eptreplay.xentrace.actions import MAX_ORDER
from eptreplay.xentrace.catalogue import EVENTS, class_of
from eptreplay.xentrace.catalogue.event import Event
from eptreplay.xentrace.catalogue.extension import GLOBAL_MEMORY_TYPES, GLOBAL_RANGE
from eptreplay.xentrace.catalogue.layout import Field
from eptreplay.xentrace.columns import Columns
from eptreplay.xentrace.table import MEMORY, attributes_of

KINDS = {
    "MEM_SET_P2M_ENTRY": "set",
    "HVM_NPF": "npf",
    "MEM_POD_POPULATE": "pod_populate",
    "MEM_POD_ZERO_RECLAIM": "pod_zero",
    "MEM_POD_SUPERPAGE_SPLINTER": "splinter",
    "MEM_DECREASE_RESERVATION": "decrease",
    "MEM_PAGE_GRANT_MAP": "grant_map",
    "MEM_PAGE_GRANT_UNMAP": "grant_unmap",
    "MEM_PAGE_GRANT_TRANSFER": "grant_transfer",
    "P2M_SET": "set",
}
"""The kind of a row by event; an extension event that is not listed is called by its own name in lower case."""

MEMORY_EVENTS: tuple[Event, ...] = tuple(e for e in EVENTS if class_of(e.id) == "mem" or e.name == "HVM_NPF")
KIND_NAMES: tuple[str, ...] = tuple(dict.fromkeys(KINDS.get(e.name, e.name.lower()) for e in MEMORY_EVENTS))

FIELDS = {
    "gfn": "gfn",
    "gpa": "gfn",
    "first_gfn": "gfn",
    "mfn": "mfn",
    "order": "order",
    "domid": "p2m_dom",
    "p2mt": "p2mt",
    "new_type": "p2mt",
    "qualification": "qualification",
}
"""The column that a payload field fills. Grants name the frame's owner, not who maps it."""
HIGHEST = {"order": MAX_ORDER, "p2m_dom": 0x7FFF, "p2mt": 0xFF}
"""Beyond these a word holds something else, as with a wrong ``--xen``, and the column is null."""
PAGE_SHIFT = 12
ALL_BITS = (1 << 64) - 1
NO_TABLE = ("MEM_PAGE_GRANT_MAP", "MEM_PAGE_GRANT_UNMAP", "MEM_PAGE_GRANT_TRANSFER", "PAGE_FREE", "PAGE_ALLOC")
"""Events whose domain is a frame's owner: whose p2m is written, if any, they do not tell."""
SAYS_NOTHING = {
    ("P2M_GLOBAL_CHANGE", "first_gfn"): (GLOBAL_RANGE, 0),
    ("P2M_GLOBAL_CHANGE", "new_type"): (GLOBAL_MEMORY_TYPES, GLOBAL_MEMORY_TYPES),
}
"""Fields that say nothing where these bits of the record's ``flags`` have this value: the column is null."""


def p2m_batch(columns: Columns, xen: str) -> pa.RecordBatch:
    """Return rows of the table ``p2m`` for records of memory events, read as release ``xen`` writes them.

    A record of a length that this release does not write leaves its columns null, as do impossible values. The p2m of
    a nested page fault is that of the domain that ran.
    """
    size = columns.event.size
    values = {name: np.zeros(size, np.uint64) for name in set(FIELDS.values())}
    known = {name: np.zeros(size, np.bool_) for name in values}
    kinds = np.zeros(size, np.int8)
    for event in present_events(columns):
        rows = np.flatnonzero(columns.event == event.id)
        kinds[rows] = KIND_NAMES.index(KINDS.get(event.name, event.name.lower()))
        for layout in event.layouts_in(xen):
            whole = rows[(columns.n[rows] >= layout.min_words) & (columns.n[rows] <= layout.max_words)]
            for field in layout.fields:
                column = FIELDS.get(field.name)
                if column is None or (column == "p2m_dom" and event.name in NO_TABLE):
                    continue
                raw = _extract(field, columns.words, whole)
                values[column][whole] = raw >> np.uint64(PAGE_SHIFT) if field.name == "gpa" else raw
                known[column][whole] = raw <= np.uint64(HIGHEST.get(column, ALL_BITS))
                if (event.name, field.name) in SAYS_NOTHING:
                    bits, value = SAYS_NOTHING[event.name, field.name]
                    flags = next(x for x in layout.fields if x.name == "flags")
                    known[column][whole] &= _extract(flags, columns.words, whole) & np.uint64(bits) != value
        if event.name == "HVM_NPF":
            values["p2m_dom"][rows] = columns.run_dom[rows]
            known["p2m_dom"][rows] = columns.place_known[rows]
    schema = arrow_schema("p2m")
    arrays = {
        "source": pa.array(columns.source),
        "offset": pa.array(columns.offset),
        "pcpu": pa.array(columns.pcpu),
        "tsc": masked(columns.tsc, columns.tsc_known, pa.int64()),
        "run_dom": masked(columns.run_dom, columns.place_known, pa.uint16()),
        "run_vcpu": masked(columns.run_vcpu, columns.place_known, pa.uint16()),
        "kind": pa.DictionaryArray.from_arrays(pa.array(kinds), pa.array(KIND_NAMES)),
    }
    for name, numbers in values.items():
        kind = schema.field(name).type
        arrays[name] = masked(numbers.astype(kind.to_pandas_dtype()), known[name], kind)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def are_memory_records(columns: Columns) -> NDArray[np.bool_]:
    """Tell which records make a row of ``p2m``, as the decoder does: memory events in a shape that some Xen writes."""
    attribute = attributes_of(columns.event)
    shape = columns.n | columns.timed.astype(np.uint8) << 3
    legal: NDArray[np.bool_] = (attribute & MEMORY != 0) & (attribute >> shape & 1 != 0)
    return legal


def present_events(columns: Columns) -> list[Event]:
    """Return the memory events of the catalogue that occur among the records."""
    present = set(np.unique(columns.event).tolist())
    return [event for event in MEMORY_EVENTS if event.id in present]


def _extract(field: Field, words: NDArray[np.uint32], rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    raw: NDArray[np.uint64] = words[field.word][rows].astype(np.uint64)
    if field.bits == 64:
        high: NDArray[np.uint64] = words[field.word + 1][rows].astype(np.uint64)
        return raw | high << np.uint64(32)
    return raw >> np.uint64(field.shift) & np.uint64((1 << field.bits) - 1)
