"""Memory management (class mem): grants, p2m writes, ballooning, populate-on-demand.

SET_P2M_ENTRY comes from the page tables of NPT and shadow guests only; EPT has no trace point for its writes. From 4.18
on (commit 83af664db3) domid and order have a word each where they shared one, and no word is left uninitialised.
"""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x10F001, "MEM_PAGE_GRANT_MAP",           True,  "domid", "a frame of this domain gets mapped", ept=True),
    Event(0x10F002, "MEM_PAGE_GRANT_UNMAP",         True,  "domid", "a frame of this domain gets unmapped", ept=True),
    Event(0x10F003, "MEM_PAGE_GRANT_TRANSFER",      True,  "domid", "a frame goes to this domain", ept=True),
    Event(0x10F004, "MEM_SET_P2M_ENTRY",            False, "gfn:u64 mfn:u64 p2mt domid:u16 order:u16",
          "request to write a p2m entry, before anything is written", ept=True),
    Event(0x10F005, "MEM_DECREASE_RESERVATION",     False, {"4.6":  "gfn:u64 domid:u16 order:u16 pad",
                                                            "4.18": "gfn:u64 domid order"},
          "one extent leaves the domain", ept=True),
    Event(0x10F010, "MEM_POD_POPULATE",             False, {"4.6":  "gfn:u64 mfn:u64 domid:u16 order:u16 pad",
                                                            "4.18": "gfn:u64 mfn:u64 domid order"},
          "a populate-on-demand entry gets memory; gfn is the faulting one", ept=True),
    Event(0x10F011, "MEM_POD_ZERO_RECLAIM",         False, {"4.6":  "gfn:u64 mfn:u64 domid:u16 order:u16 pad",
                                                            "4.18": "gfn:u64 mfn:u64 domid order"},
          "a page of zeros goes back to the cache; of a superpage mfn is the last frame", ept=True),
    Event(0x10F012, "MEM_POD_SUPERPAGE_SPLINTER",   False, {"4.6":  "gfn:u64 domid:u16 pad0:u16 pad1",
                                                            "4.18": "gfn:u64 domid order"},
          "a populate-on-demand superpage gets split", ept=True),
)
# fmt: on
