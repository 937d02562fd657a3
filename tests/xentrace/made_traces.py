"""Traces made by the encoder: any events of the catalogue, by the names of their fields, as each release has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from eptreplay.xentrace.catalogue import EVENTS
from eptreplay.xentrace.catalogue.event import Event, release
from eptreplay.xentrace.catalogue.layout import Field, Layout
from eptreplay.xentrace.encode import Trace
from eptreplay.xentrace.record import CPU_CHANGE, MAX_PCPUS

RELEASES = sorted({layout.since for event in EVENTS for layout in event.layouts} | {"4.17", "4.22"}, key=release)
"""Every release at which a layout changes, the one that is assumed, and a late one."""


WRITABLE = [event for event in EVENTS if event.id != CPU_CHANGE]
"""Every event of the catalogue that may stand within a window."""


class Entry(NamedTuple):
    """A record to be written, by the names of its event and of its fields."""

    event: Event
    layout: Layout
    values: dict[str, int]
    tsc: int | None


def limits(field: Field) -> tuple[int, int]:
    """Return the smallest and the largest value of a field."""
    return (-(1 << field.bits - 1), (1 << field.bits - 1) - 1) if field.type[0] == "i" else (0, (1 << field.bits) - 1)


def every_entry(xen: str) -> list[Entry]:
    """Return each event in each of its layouts in a release, and each length, with values that differ by field."""
    entries: list[Entry] = []
    for event in WRITABLE:
        for layout in event.layouts_in(xen):
            required = sum(not field.optional for field in layout.fields)
            for present in range(required, len(layout.fields) + 1):
                for end in (0, 1):
                    values = {f.name: limits(f)[end] ^ (i + 1) for i, f in enumerate(layout.fields[:present])}
                    timed = [True, False] if event.timed is None else [event.timed]
                    entries += [Entry(event, layout, values, len(entries) if t else None) for t in timed]
    return entries


@st.composite
def entries(draw: st.DrawFn, xen: str, events: Sequence[Event] = WRITABLE) -> Entry:
    """Draw a record as ``Trace.add`` takes it: in the first layout of the release that has all of the fields."""
    event = draw(st.sampled_from(events))
    layouts = event.layouts_in(xen)
    chosen = draw(st.sampled_from(layouts))
    required = sum(not field.optional for field in chosen.fields)
    present = chosen.fields[: draw(st.integers(required, len(chosen.fields)))]
    layout = next(x for x in layouts if {f.name for f in present} <= {f.name for f in x.fields})
    fields = [f for f in layout.fields if f.name in {p.name for p in present} or not f.optional]
    values = {f.name: draw(st.integers(*limits(f))) for f in fields}
    timed = draw(st.booleans()) if event.timed is None else event.timed
    return Entry(event, layout, values, draw(st.integers(0, (1 << 63) - 1)) if timed else None)


@st.composite
def traces(draw: st.DrawFn) -> tuple[Trace, list[Entry]]:
    """Draw a file of some windows of some pCPUs, as some release writes it, and its records."""
    xen = draw(st.sampled_from(RELEASES))
    trace, added = Trace(xen), []
    for pcpu in draw(st.lists(st.sampled_from([0, 1, 5, 255, 256, MAX_PCPUS - 1]), min_size=1, max_size=6)):
        trace.window(pcpu)
        for entry in draw(st.lists(entries(xen), max_size=8)):
            trace.add(entry.event.name, tsc=entry.tsc, **entry.values)
            added.append(entry)
    return trace, added
