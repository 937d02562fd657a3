"""Types and accesses of p2m entries: Xen's number and name of each, and the rights of an EPT entry with them.

The numbers are those of Xen 4.6 to today. An entry has the rights that its type grants and its access allows. Without
any right it is not present, and the processor never caches a translation through it. Rights are those of
``ept_p2m_type_to_flags()`` without PML.
"""

from __future__ import annotations

from typing import NamedTuple


class P2mType(NamedTuple):
    """One type: its number in Xen, its name, and which of the rights r, w and x it grants."""

    number: int
    name: str
    rights: str


class P2mAccess(NamedTuple):
    """One access, which restricts an entry for an introspection agent: its number in Xen, its name, and its rights."""

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

ACCESSES = (
    P2mAccess(0, "n", ""),
    P2mAccess(1, "r", "r"),
    P2mAccess(2, "w", "w"),
    P2mAccess(3, "rw", "rw"),
    P2mAccess(4, "x", "x"),
    P2mAccess(5, "rx", "rx"),
    P2mAccess(6, "wx", "wx"),
    P2mAccess(7, "rwx", "rwx"),
    P2mAccess(8, "rx2rw", "rx"),
    P2mAccess(9, "n2rwx", ""),
    P2mAccess(10, "r_pw", "r"),
)
"""``p2m_access_t``. Up to 7 the bits 0, 1 and 2 stand for r, w and x."""

RAM_RW, INVALID, RAM_LOGDIRTY, RAM_RO, MMIO_DM, MMIO_DIRECT, POPULATE_ON_DEMAND, GRANT_MAP_RW, GRANT_MAP_RO = range(9)
MAP_FOREIGN = 14

PRESENT = frozenset(t.number for t in TYPES if t.rights)
"""Types that grant a right, so that a change of such an entry needs an invalidation in Xen's eyes."""


RWX = 7
"""The access that allows everything."""


def is_present(p2m_type: int, access: int = RWX) -> bool:
    """Tell whether an EPT entry of a type, with an access, has any right."""
    return bool(set(TYPES[p2m_type].rights) & set(ACCESSES[access].rights))


def is_upgrade(old: int, new: int) -> bool:
    """Tell whether a change from type ``old`` to ``new`` of the same frame only adds rights to present ones."""
    if old not in PRESENT or not 0 <= new < len(TYPES):
        return False
    return set(TYPES[old].rights) < set(TYPES[new].rights)
