"""General events (class gen): the records that hold a trace file together.

Xen writes LOST_RECORDS and WRAP_BUFFER into its ring buffers; CPU_CHANGE comes from the xentrace tool, which puts one
in front of every window that it copies out of a ring.
"""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x1F001, "LOST_RECORDS", True, "count domid:u16 vcpu:u16 first_tsc:u64[cycles]",
          "the ring was full: records dropped, who runs now, TSC of the first one dropped", ept=True),
    Event(0x1F002, "WRAP_BUFFER", None, "pad0? pad1? pad2? pad3? pad4? pad5? pad6?",
          "fills the ring up to its end; stale words, and a TSC only where 7 words do not suffice"),
    Event(0x1F003, "CPU_CHANGE", False, "cpu window[bytes]",
          "xentrace: the next bytes are records of this pCPU"),
    Event(0x1F004, "TRACE_IRQ", True, "vector begin[cycles] end[cycles]",
          "interrupt handled; HW_IRQ_HANDLED took its place before 4.6", until="4.6"),
)
# fmt: on
