"""Types of p2m entries: Xen's number and name of each, and the rights that an EPT entry of that type grants.

The numbers are those of Xen 4.6 to today. An entry without any right is not present, and the processor never caches
a translation through it. Rights are those of ``ept_p2m_type_to_flags()`` without PML.
"""

from __future__ import annotations

from typing import NamedTuple


class P2mType(NamedTuple):
    """One type: its number in Xen, its name, and which of the rights r, w and x it grants."""

    number: int
    name: str
    rights: str


TYPES = (
    P2mType(0, "ram_rw", "rwx"),
    P2mType(1, "invalid", ""),
    P2mType(2, "ram_logdirty", "rx"),
    P2mType(3, "ram_ro", "rx"),
    P2mType(4, "mmio_dm", ""),
    P2mType(5, "mmio_direct", "rwx"),
    P2mType(6, "populate_on_demand", ""),
    P2mType(7, "grant_map_rw", "rw"),
    P2mType(8, "grant_map_ro", "r"),
    P2mType(9, "ram_paging_out", ""),
    P2mType(10, "ram_paged", ""),
    P2mType(11, "ram_paging_in", ""),
    P2mType(12, "ram_shared", "rx"),
    P2mType(13, "ram_broken", ""),
    P2mType(14, "map_foreign", "rw"),
    P2mType(15, "ioreq_server", "rx"),
)

RAM_RW, INVALID, RAM_LOGDIRTY, RAM_RO, MMIO_DM, MMIO_DIRECT, POPULATE_ON_DEMAND, GRANT_MAP_RW, GRANT_MAP_RO = range(9)
MAP_FOREIGN = 14

PRESENT = frozenset(t.number for t in TYPES if t.rights)
"""Types that grant a right, so that a change of such an entry needs an invalidation in Xen's eyes."""


def is_upgrade(old: int, new: int) -> bool:
    """Tell whether a change from type ``old`` to ``new`` of the same frame only adds rights to present ones."""
    if old not in PRESENT or not 0 <= new < len(TYPES):
        return False
    return set(TYPES[old].rights) < set(TYPES[new].rights)
