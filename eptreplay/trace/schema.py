"""Tables of the trace dataset: columns, types and, for each column, what it means and in which unit.

The one place that knows; the writer, the readers, ``eptreplay.scan`` and the documentation all take it from here.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from eptreplay.xentrace.catalogue.layout import MAX_WORDS

SCHEMA_VERSION = 1
"""Of dataset and manifest. A dataset of a newer one is refused."""


class Column(NamedTuple):
    """One column: name, Arrow type, whether it may be null, and its meaning."""

    name: str
    type: pa.DataType
    nullable: bool
    about: str


_RECORD = [
    Column("source", pa.int16(), False, "number of the source file, from 0, in the order given"),
    Column("offset", pa.int64(), False, "byte of the record's header in the decompressed source"),
    Column("pcpu", pa.uint16(), False, "physical CPU that wrote the record"),
    Column("tsc", pa.int64(), True, "TSC ticks; of an untimed record the last TSC of its pCPU, else its first one"),
]
_PLACEMENT = [
    Column("run_dom", pa.uint16(), True, "domain that ran on the pCPU when the record was written; 32767 is idle"),
    Column("run_vcpu", pa.uint16(), True, "its vCPU"),
]

EVENTS = [
    *_RECORD,
    Column("timed", pa.bool_(), False, "whether the record carries a TSC of its own"),
    Column("event", pa.uint32(), False, "28-bit event id"),
    *_PLACEMENT,
    Column("n", pa.uint8(), False, "number of payload words"),
    *(Column(f"w{i}", pa.uint32(), True, f"payload word {i}; null if the record has none") for i in range(MAX_WORDS)),
]

P2M = [
    *_RECORD,
    *_PLACEMENT,
    Column("kind", pa.dictionary(pa.int8(), pa.string()), False, "what happened, one name per memory event"),
    Column("p2m_dom", pa.uint16(), True, "domain whose p2m it concerns; of a pause the domain itself"),
    Column("gfn", pa.uint64(), True, "guest frame number, in pages of 4 KiB; of several, the first"),
    Column("order", pa.uint16(), True, "2^order pages of 4 KiB: of an entry 0, 9 (2 MiB) or 18 (1 GiB)"),
    Column("mfn", pa.uint64(), True, "machine frame number; 2^64 - 1 in a write that leaves the entry without one"),
    Column("p2mt", pa.uint8(), True, "Xen's number of the p2m type: the new one, but for npf the one looked up"),
    Column("qualification", pa.uint32(), True, "exit qualification of an EPT violation; always 0 on SVM"),
]

WINDOWS = [
    Column("source", pa.int16(), False, "number of the source file"),
    Column("offset", pa.int64(), False, "byte of the window's CPU_CHANGE record in the decompressed source"),
    Column("pcpu", pa.uint16(), False, "physical CPU whose records it holds"),
    Column("bytes", pa.int64(), False, "size of the window as its CPU_CHANGE says, in bytes"),
    Column("records", pa.int64(), False, "records decoded in it, its own CPU_CHANGE not counted"),
    Column("first_tsc", pa.int64(), True, "TSC of its first timed record, in ticks; null if there is none"),
    Column("last_tsc", pa.int64(), True, "TSC of its last timed record, in ticks"),
]

DAMAGE = [
    Column("source", pa.int16(), False, "number of the source file"),
    Column("offset", pa.int64(), False, "byte where it begins in the decompressed source"),
    Column("bytes", pa.int64(), False, "bytes skipped; 0 for lost records and wrong window sizes"),
    Column("pcpu", pa.uint16(), True, "physical CPU; null if the window is unknown"),
    Column("reason", pa.dictionary(pa.int8(), pa.string()), False, "lost, or why bytes were skipped"),
    Column("lost_records", pa.int64(), True, "records that Xen dropped because its buffer was full; null unless lost"),
    Column("first_tsc", pa.int64(), True, "TSC of the first lost record, in ticks; placement is unknown from here on"),
    Column(
        "last_tsc", pa.int64(), True, "TSC of the LOST_RECORDS record, in ticks; placement is known again from here on"
    ),
]

TABLES = {"events": EVENTS, "p2m": P2M, "windows": WINDOWS, "damage": DAMAGE}


def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table of the dataset."""
    return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in TABLES[table]])
