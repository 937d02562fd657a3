"""Domain life cycle (class dom0op)."""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x41001, "DOM0_DOM_ADD", True, "domid", "a domain is created"),
    Event(0x41002, "DOM0_DOM_REM", True, "domid", "a domain's last reference is gone"),
)
# fmt: on
