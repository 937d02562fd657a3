"""What a recording lacks, and what follows from it: printed with every result instead of being papered over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.record import CPU_CHANGE, WRAP_BUFFER

TIMED_SHARE = 0.01
"""Below it (CPU_CHANGE and WRAP_BUFFER aside) inherited times are too coarse for any duration."""


@dataclass(frozen=True)
class Lack:
    """Events of which a recording has none, and the consequence."""

    name: str
    events: tuple[str, ...]
    consequence: str


_RUNSTATES = tuple(
    f"RUNSTATE_{old}_TO_{new}"
    for old in ("RUNNING", "RUNNABLE", "BLOCKED", "OFFLINE")
    for new in ("RUNNING", "RUNNABLE")
)
_EXITS = ("HVM_VMEXIT", "HVM_VMEXIT64", "HVM_SVM_EXIT", "HVM_SVM_EXIT64")

LACKS = (
    Lack(
        "SCHED",
        _RUNSTATES,
        "no runstate changes (mask 0x0002f000): who ran where is unknown, run_dom and run_vcpu are null",
    ),
    Lack(
        "HVM",
        ("HVM_VMENTRY", *_EXITS),
        "no VM entries and exits (mask 0x0008f000): when a vCPU was in guest mode is unknown",
    ),
    Lack(
        "SET",
        ("MEM_SET_P2M_ENTRY", "P2M_SET"),
        "no p2m writes: none happened, or they are not traced (class MEM masked out, or an EPT host)",
    ),
    Lack(
        "LOOKUP",
        ("FOREIGN_LOOKUP",),
        "no foreign lookups: Xen does not trace them, so starvation of the toolstack is not observable",
    ),
)


def missing_classes(events: Mapping[int, int], *, timed: int, lost: int) -> list[str]:
    """Return a line for each thing that the recording lacks; ``events`` counts records by id."""
    lines = [
        f"{lack.name}: {lack.consequence}"
        for lack in LACKS
        if not any(by_name(name).id in events for name in lack.events)
    ]
    countable = sum(events.values()) - events.get(CPU_CHANGE, 0) - events.get(WRAP_BUFFER, 0)
    if timed < TIMED_SHARE * countable:
        lines.append(f"TSC: {timed} of {countable} records carry a TSC (under 1 %): durations cannot be known")
    if lost:
        lines.append(f"LOST: Xen dropped {lost} records; who ran meanwhile on those pCPUs is unknown")
    return lines


_TYPE_CHANGES = "global and range type changes (log-dirty on, off, clean): not traced"

INVISIBLE: Mapping[str | None, Iterable[str]] = {
    "svm": (
        "recalculated entries (exit 0x400 without a SET): the gfn is not recorded",
        _TYPE_CHANGES,
    ),
    "vmx": (
        "all writes of EPT entries: not traced by stock Xen; faults and ballooning are seen by their own records",
        "resolved misconfigurations (exit 49): the gfn is not recorded",
        "PML drains (exit 62): the gfns are not recorded",
        _TYPE_CHANGES,
    ),
    None: (_TYPE_CHANGES,),
}
"""Kinds of p2m writes that a stock recording does not show, by vendor."""


def invisible_writes(vendor: str | None, recorded: int) -> list[str]:
    """Return the kinds of p2m writes that the recording cannot show; recorded SETs on EPT come from a patched Xen."""
    lines = list(INVISIBLE[vendor])
    return lines[1:] if vendor == "vmx" and recorded else lines
