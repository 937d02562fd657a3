"""Shadow paging (class shadow).

Bits 8 and 9 of the id are the levels of the guest's page tables less 2, so most events have three forms: plain
(2 levels, everything one word), ``_PAE`` (3 levels: entries and gfns two words, addresses one) and ``64`` (4 levels,
all two words). The format file of xentrace takes 0x100 for "64-bit" and knows no 0x200; the hypervisor decides here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eptreplay.xentrace.catalogue.event import Event

Payload = str | Mapping[str, str | tuple[str, ...]]

# fmt: off
_VA        = ("va", "va", "va:u64")
_GL1E_VA   = ("gl1e va flags", "gl1e:u64 va flags", "gl1e:u64 va:u64 flags")
_EMULATE   = ("gl1e written va flags", "gl1e:u64 written:u64 va flags", "gl1e:u64 written:u64 va:u64 flags")
_GFN_VA    = ({"4.6":  "gfn va",             "4.19": "gfn va flags"},
              {"4.6":  "gfn:u64 va",         "4.19": "gfn:u64 va flags"},
              {"4.6":  "gfn:u64 va:u64",     "4.19": "gfn:u64 va:u64 flags"})

_BY_LEVELS: tuple[tuple[int, str, tuple[Payload, Payload, Payload], str], ...] = (
    (0x40F001, "SHADOW_NOT_SHADOW",                 _GL1E_VA, "fault that the guest has to handle"),
    (0x40F002, "SHADOW_FAST_PROPAGATE",             _VA,      "fault passed on at once: entry known to be absent"),
    (0x40F003, "SHADOW_FAST_MMIO",                  _VA,      "access to a device, known from the shadow entry"),
    (0x40F004, "SHADOW_FALSE_FAST_PATH",            _VA,      "a shortcut was tried and given up"),
    (0x40F005, "SHADOW_MMIO",                       _VA,      "access to a device"),
    (0x40F006, "SHADOW_FIXUP",                      _GL1E_VA, "shadow entry brought up to date"),
    (0x40F007, "SHADOW_DOMF_DYING",                 _VA,      "fault of a domain that is going away"),
    (0x40F008, "SHADOW_EMULATE",                    _EMULATE, "page table write emulated; flags 29-31: count"),
    (0x40F009, "SHADOW_EMULATE_UNSHADOW_USER",      _GFN_VA,  "page unshadowed: user mode wrote to it"),
    (0x40F00A, "SHADOW_EMULATE_UNSHADOW_EVTINJ",    _GFN_VA,  "page unshadowed: fault while an event is injected"),
    (0x40F00B, "SHADOW_EMULATE_UNSHADOW_UNHANDLED", _GFN_VA,  "page unshadowed: the write cannot be emulated"),
)
_PLAIN = (
    Event(0x40F00C, "SHADOW_WRMAP_BF",       False, "gfn:u64",
          "writable mappings of a page searched for everywhere"),
    Event(0x40F00D, "SHADOW_PREALLOC_UNPIN", False, "gfn:u64", "top-level shadow unpinned to free memory"),
    Event(0x40F00E, "SHADOW_RESYNC_FULL",    False, "gfn:u64", "every out-of-sync page brought into sync"),
    Event(0x40F00F, "SHADOW_RESYNC_ONLY",    False, "gfn:u64", "one out-of-sync page brought into sync"),
)
# fmt: on


def _by_levels() -> Iterator[Event]:
    for first, name, payloads, about in _BY_LEVELS:
        for flag, suffix, levels, payload in zip((0, 0x100, 0x200), ("", "_PAE", "64"), "234", payloads, strict=True):
            yield Event(first + flag, name + suffix, timed=False, payload=payload, about=f"{about} ({levels} levels)")


EVENTS: tuple[Event, ...] = (*_by_levels(), *_PLAIN)
