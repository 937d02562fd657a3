"""Entries from paravirtualised guests (class pv).

Bit 8 of the id says that addresses take 64 bits. The two hypercall records say in bits 20 to 31 of ``op`` which of the
arguments 0 to 5 follow, two bits each: 1 for one word, 2 for two. No Xen so far records more than two words.
"""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

_CALL = "op arg0? arg1? arg2? arg3? arg4? arg5?"

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x201001, "PV_HYPERCALL",                 True, "eip call", "hypercall, as written before 4.3"),
    Event(0x201101, "PV_HYPERCALL64",               True, "rip:u64 call", "hypercall, as written before 4.3"),
    Event(0x201003, "PV_TRAP",                      True, "eip vector:u16 error:u16",
          "trap into Xen; bit 15 of vector: there is an error code"),
    Event(0x201103, "PV_TRAP64",                    True, "rip:u64 vector:u16 error:u16",
          "trap into Xen; bit 15 of vector: there is an error code"),
    Event(0x201004, "PV_PAGE_FAULT",                True, "eip addr error", "page fault for the guest"),
    Event(0x201104, "PV_PAGE_FAULT64",              True, "rip:u64 addr:u64 error", "page fault for the guest"),
    Event(0x201005, "PV_FORCED_INVALID_OP",         True, "eip", "forced emulation of an instruction"),
    Event(0x201105, "PV_FORCED_INVALID_OP64",       True, "rip:u64", "forced emulation of an instruction"),
    Event(0x201006, "PV_EMULATE_PRIVOP",            True, "eip", "privileged instruction emulated"),
    Event(0x201106, "PV_EMULATE_PRIVOP64",          True, "rip:u64", "privileged instruction emulated"),
    Event(0x201007, "PV_EMULATE_4GB",               True, "eip", "4 GB segment emulated (32-bit Xen only)"),
    Event(0x201107, "PV_EMULATE_4GB64",             True, "rip:u64", "4 GB segment emulated (32-bit Xen only)"),
    Event(0x201008, "PV_MATH_STATE_RESTORE",        True, "", "FPU state restored on first use"),
    Event(0x201009, "PV_PAGING_FIXUP",              True, "eip addr", "page fault mended by the paging code"),
    Event(0x201109, "PV_PAGING_FIXUP64",            True, "rip:u64 addr:u64", "page fault mended by the paging code"),
    Event(0x20100A, "PV_GDT_LDT_MAPPING_FAULT",     True, "eip offset", "descriptor table page mapped on demand"),
    Event(0x20110A, "PV_GDT_LDT_MAPPING_FAULT64",   True, "rip:u64 offset:u64",
          "descriptor table page mapped on demand"),
    Event(0x20100B, "PV_PTWR_EMULATION",            True, "npte addr eip",
          "page table write, 2 levels (32-bit Xen only)"),
    Event(0x20110B, "PV_PTWR_EMULATION64",          True, "npte:u64 addr:u64 rip:u64", "page table write emulated"),
    Event(0x20100C, "PV_PTWR_EMULATION_PAE",        True, "npte:u64 addr eip", "page table write of a 32-bit guest"),
    Event(0x20100D, "PV_HYPERCALL_V2",              True, _CALL, "hypercall"),
    Event(0x20200E, "PV_HYPERCALL_SUBCALL",         True, _CALL, "hypercall inside a multicall"),
)
# fmt: on
