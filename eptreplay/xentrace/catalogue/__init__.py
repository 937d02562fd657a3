"""The trace events of Xen 4.6 and later, one row each, and how their payloads are laid out.

Sources of the facts: the public header ``xen/include/public/trace.h`` for ids and names, the places in the hypervisor
that write the records for the payloads (tags 4.6 to 4.20), and recordings of Xen 4.17 for what neither says. A row is
named as in the header, less ``TRC_`` (and less ``TRACE_``); names that the header does not have follow its habits.

Events that guests make up (class guest) have no rows: id, length and meaning are the guest's.
"""

from __future__ import annotations

from types import MappingProxyType

from eptreplay.errors import unknown_choice
from eptreplay.xentrace.catalogue import dom0op, extension, gen, hvm, hw, mem, pv, sched, shadow
from eptreplay.xentrace.catalogue.event import Event

CLASSES = MappingProxyType(
    {
        "gen": 0x001,
        "sched": 0x002,
        "dom0op": 0x004,
        "hvm": 0x008,
        "mem": 0x010,
        "pv": 0x020,
        "shadow": 0x040,
        "hw": 0x080,
        "guest": 0x800,
    }
)
"""Event classes and their bits, which are bits 16 to 27 of an id."""

_MODULES = (gen, sched, dom0op, hvm, mem, extension, pv, shadow, hw)
EVENTS: tuple[Event, ...] = tuple(sorted((e for m in _MODULES for e in m.EVENTS), key=lambda e: e.id))
"""Every event that we know a layout for, by ascending id."""

_BY_ID = {e.id: e for e in EVENTS}
_BY_NAME = {e.name: e for e in EVENTS}
_CLASS_OF = {bits: name for name, bits in CLASSES.items()}


def by_id(event_id: int) -> Event | None:
    """Return the event with this 28-bit id, None if the catalogue has none."""
    return _BY_ID.get(event_id)


def by_name(name: str) -> Event:
    """Return the event of this name, in any case, with or without ``TRC_``; raises UsageError with near names."""
    plain = name.upper().removeprefix("TRC_")
    if plain not in _BY_NAME:
        raise unknown_choice("event", plain, _BY_NAME)
    return _BY_NAME[plain]


def class_of(event_id: int) -> str | None:
    """Return the name of the class in the id's bits 16 to 27, None if they are no class of Xen's."""
    return _CLASS_OF.get(event_id >> 16)
