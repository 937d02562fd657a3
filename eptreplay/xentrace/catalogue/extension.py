"""Events that no Xen writes: what a replay wants to know and a stock trace does not tell.

They stand in an unused stretch of class mem, so that mask, file format and tools need no change. A hypervisor that
wants to can write them, and so can a program that makes a recording up. All carry a TSC.

``view``: which p2m of the domain; see HOST_VIEW, ALTP2M_VIEWS, NESTED_VIEWS. ``cause``: position in
``eptreplay.causes.CAUSES``.
"""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

HOST_VIEW = 0
"""The domain's own p2m."""
ALTP2M_VIEWS = 1
"""View of altp2m 0; altp2m n is ``ALTP2M_VIEWS + n``."""
NESTED_VIEWS = 0x100
"""View of the first nested p2m; nested p2m n is ``NESTED_VIEWS + n``."""

_SET = "gfn:u64 mfn:u64 old_type:u8 new_type:u8 order:u8 flags:u8 domid:u16 view:u16 access"
_GLOBAL = "domid:u16 view:u16 old_type:u8 new_type:u8 flags:u16 first_gfn:u64 last_gfn:u64"
_PAGE = "mfn:u64 domid:u16 order:u16"
_VIEW = "domid:u16 view:u16"
_CLEAN = "domid:u16 op:u16"
_DOMAIN = "domid:u16 reserved:u16"

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x10F040, "P2M_HOLD_BEGIN",       True, _VIEW + " cause", "the outermost p2m write lock is taken", ept=True),
    Event(0x10F041, "P2M_HOLD_END",         True, _VIEW, "the outermost p2m write lock is released", ept=True),
    Event(0x10F042, "P2M_SET",              True, _SET, "a p2m entry is written, with what it was before", ept=True),
    Event(0x10F043, "P2M_GLOBAL_CHANGE",    True, _GLOBAL, "a type changes for a whole range, lazily", ept=True),
    Event(0x10F044, "PT_PAGE_FREE",         True, _VIEW + " level mfn:u64",
          "a page of the p2m itself is freed", ept=True),
    Event(0x10F045, "PAGE_FREE",            True, _PAGE, "a domain's pages go to the allocator", ept=True),
    Event(0x10F046, "PAGE_ALLOC",           True, _PAGE, "pages go to a domain", ept=True),
    Event(0x10F047, "POD_CACHE_ADD",        True, _PAGE, "pages go to the populate-on-demand cache", ept=True),
    Event(0x10F048, "FOREIGN_LOOKUP",       True, "gfn:u64 count domid:u16 preemptible:u16",
          "another domain looks up entries of this p2m", ept=True),
    Event(0x10F049, "PML_DRAIN",            True, "domid:u16 vcpu:u16 count",
          "a vCPU's PML buffer is emptied", ept=True),
    Event(0x10F04A, "LOGDIRTY_CLEAN_BEGIN", True, _CLEAN, "the toolstack asks for the dirty pages", ept=True),
    Event(0x10F04B, "LOGDIRTY_CLEAN_END",   True, _CLEAN, "the dirty pages are handed over", ept=True),
    Event(0x10F04C, "DOMAIN_PAUSE",         True, _DOMAIN, "all vCPUs are stopped", ept=True),
    Event(0x10F04D, "DOMAIN_UNPAUSE",       True, _DOMAIN, "the vCPUs may run again", ept=True),
    Event(0x10F04E, "BCAST_BEGIN",          True, _VIEW + " targets", "invalidation sent to other pCPUs", ept=True),
    Event(0x10F04F, "BCAST_END",            True, _VIEW, "the last pCPU has acknowledged", ept=True),
    Event(0x10F050, "INVEPT",               True, _VIEW + " type", "INVEPT executed on this pCPU", ept=True),
)
# fmt: on
