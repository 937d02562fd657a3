"""Hardware-assisted guests (class hvm): entries and exits, exit handlers, emulated devices.

Bit 8 of an id says that addresses and values take 64 bits, bit 10 that the vCPU runs a nested guest (SVM only).
Entries, exits and emulated devices carry a TSC; the handlers do not: they happen at the exit before them.
"""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

_RIP = "reason rip:u64"
_IO = "addr data?"
# With a 64-bit address the data grew from one word to two, at some time between 4.8 and 4.14.
_IO32, _IO64 = "addr:u64 data?", "addr:u64 data:u64?"
_IO_LONG: dict[str, str | tuple[str, ...]] = {"4.6": _IO32, "4.8": (_IO32, _IO64), "4.14": _IO64}
# The subleaf came in at some time between 4.10 and 4.14; the format file of xentrace never learnt of it.
_LEAF, _SUBLEAF = "leaf eax ebx ecx edx", "leaf subleaf eax ebx ecx edx"
_CPUID: dict[str, str | tuple[str, ...]] = {"4.6": _LEAF, "4.10": (_LEAF, _SUBLEAF), "4.14": _SUBLEAF}

# fmt: off
_ENTRY_EXIT = (
    Event(0x81001, "HVM_VMENTRY",            True, "", "the vCPU enters the guest", ept=True),
    Event(0x81002, "HVM_VMEXIT",             True, "reason eip",
          "the guest exits, not in long mode; VMX only since 4.19, as HVM_VMX_EXIT", ept=True),
    Event(0x81102, "HVM_VMEXIT64",           True, _RIP,
          "the guest exits; VMX only since 4.19, as HVM_VMX_EXIT64", ept=True),
    Event(0x81003, "HVM_SVM_EXIT",           True, "reason eip",
          "the guest exits on SVM, not in long mode", ept=True, since="4.19"),
    Event(0x81103, "HVM_SVM_EXIT64",         True, _RIP, "the guest exits on SVM", ept=True, since="4.19"),
    Event(0x81401, "HVM_NESTED_VMENTRY",     True, "", "the vCPU enters a nested guest", ept=True),
    Event(0x81402, "HVM_NESTED_VMEXIT",      True, "reason eip",
          "a nested guest exits, not in long mode", ept=True, until="4.19"),
    Event(0x81502, "HVM_NESTED_VMEXIT64",    True, _RIP, "a nested guest exits", ept=True, until="4.19"),
    Event(0x81403, "HVM_NESTED_SVM_EXIT",    True, "reason eip",
          "a nested guest exits, not in long mode", ept=True, since="4.19"),
    Event(0x81503, "HVM_NESTED_SVM_EXIT64",  True, _RIP, "a nested guest exits", ept=True, since="4.19"),
)
_HANDLERS = (
    Event(0x82001, "HVM_PF_XEN",             False, "error va", "page fault handled by Xen"),
    Event(0x82101, "HVM_PF_XEN64",           False, "error va:u64", "page fault handled by Xen"),
    Event(0x82002, "HVM_PF_INJECT",          False, "error va", "page fault injected into the guest"),
    Event(0x82102, "HVM_PF_INJECT64",        False, "error va:u64", "page fault injected into the guest"),
    Event(0x82003, "HVM_INJ_EXC",            False, "vector error", "exception injected"),
    Event(0x82004, "HVM_INJ_VIRQ",           False, "vector fake", "virtual interrupt injected"),
    Event(0x82005, "HVM_REINJ_VIRQ",         False, "vector", "virtual interrupt injected again"),
    Event(0x82006, "HVM_IO_READ",            False, "port size", "port read; HVM_IOPORT_READ took its place"),
    Event(0x82007, "HVM_IO_WRITE",           False, "port size", "port write; HVM_IOPORT_WRITE took its place"),
    Event(0x82008, "HVM_CR_READ",            False, "cr value", "control register read"),
    Event(0x82108, "HVM_CR_READ64",          False, "cr value:u64", "control register read"),
    Event(0x82009, "HVM_CR_WRITE",           False, "cr value", "control register written"),
    Event(0x82109, "HVM_CR_WRITE64",         False, "cr value:u64", "control register written"),
    Event(0x8200A, "HVM_DR_READ",            False, "", "debug register read"),
    Event(0x8200B, "HVM_DR_WRITE",           False, "", "debug register written"),
    Event(0x8200C, "HVM_MSR_READ",           False, "msr value:u64", "MSR read"),
    Event(0x8200D, "HVM_MSR_WRITE",          False, "msr value:u64", "MSR written"),
    Event(0x8200E, "HVM_CPUID",              False, _CPUID, "CPUID emulated"),
    Event(0x8200F, "HVM_INTR",               False, "vector?",
          "external interrupt; SVM does not know the vector", ept=True),
    Event(0x82010, "HVM_NMI",                False, "", "exit for an NMI"),
    Event(0x82011, "HVM_SMI",                False, "", "exit for an SMI"),
    Event(0x82012, "HVM_VMMCALL",            False, "call", "hypercall: its number, no arguments"),
    Event(0x82013, "HVM_HLT",                False, "pending",
          "HLT; pending: the vCPU is runnable nevertheless", ept=True),
    Event(0x82014, "HVM_INVLPG",             False, "asid_form va", "INVLPG, or INVLPGA if asid_form"),
    Event(0x82114, "HVM_INVLPG64",           False, "asid_form va:u64", "INVLPG, or INVLPGA if asid_form"),
    Event(0x82015, "HVM_MCE",                False, "", "exit for a machine check"),
    Event(0x82016, "HVM_IOPORT_READ",        False, _IO, "port read; without data if that is in guest memory"),
    Event(0x82116, "HVM_IOPORT_READ64",      False, _IO_LONG, "port read; without data if that is in guest memory"),
    Event(0x82017, "HVM_IOMEM_READ",         False, _IO, "MMIO read; without data if that is in guest memory"),
    Event(0x82117, "HVM_IOMEM_READ64",       False, _IO_LONG, "MMIO read; without data if that is in guest memory"),
    Event(0x82018, "HVM_CLTS",               False, "", "CLTS executed"),
    Event(0x82019, "HVM_LMSW",               False, "value", "LMSW executed"),
    Event(0x82119, "HVM_LMSW64",             False, "value:u64", "LMSW executed"),
    Event(0x8201A, "HVM_RDTSC",              False, "value:u64", "RDTSC emulated"),
    Event(0x82020, "HVM_INTR_WINDOW",        False, "vector source pending:i32",
          "an exit is requested for when the guest accepts interrupts; pending: vector being injected or -1"),
    Event(0x82021, "HVM_NPF",                False, "gpa:u64 mfn:u64 qualification p2mt",
          "EPT violation, before it is handled, or nested page fault, after (qualification 0)", ept=True),
    Event(0x82022, "HVM_REALMODE_EMULATE",   False, "", "real mode emulated"),
    Event(0x82023, "HVM_TRAP",               False, "vector", "exit for an exception"),
    Event(0x82024, "HVM_TRAP_DEBUG",         False, "qualification", "exit for a debug exception"),
    Event(0x82025, "HVM_VLAPIC",             False, "", "access to the virtual APIC page"),
    Event(0x82126, "HVM_XCR_READ64",         False, "xcr value:u64",
          "XCR read by an emulated instruction", since="4.11"),
    Event(0x82127, "HVM_XCR_WRITE64",        False, "xcr value:u64", "XCR written", since="4.11"),
    Event(0x82216, "HVM_IOPORT_WRITE",       False, _IO, "port write; without data if that is in guest memory"),
    Event(0x82316, "HVM_IOPORT_WRITE64",     False, _IO_LONG, "port write; without data if that is in guest memory"),
    Event(0x82217, "HVM_IOMEM_WRITE",        False, _IO, "MMIO write; without data if that is in guest memory"),
    Event(0x82317, "HVM_IOMEM_WRITE64",      False, _IO_LONG, "MMIO write; without data if that is in guest memory"),
)
_DEVICES = (
    Event(0x84001, "HVM_EMUL_HPET_START_TIMER",  True, "timer irq delta:u64[ns] period:u64[ns]", "HPET timer started"),
    Event(0x84002, "HVM_EMUL_PIT_START_TIMER",   True, "delta[ns] period[ns]", "PIT started; period 0: once"),
    Event(0x84003, "HVM_EMUL_RTC_START_TIMER",   True, "delta[ns] period[ns]", "RTC started; low words"),
    Event(0x84004, "HVM_EMUL_LAPIC_START_TIMER", True, "delta:u64[ns] period:u64[ns] irq",
          "APIC timer started; period 0: once"),
    Event(0x84005, "HVM_EMUL_HPET_STOP_TIMER",   True, "timer", "HPET timer stopped"),
    Event(0x84006, "HVM_EMUL_PIT_STOP_TIMER",    True, "", "PIT stopped"),
    Event(0x84007, "HVM_EMUL_RTC_STOP_TIMER",    True, "", "RTC stopped"),
    Event(0x84008, "HVM_EMUL_LAPIC_STOP_TIMER",  True, "", "APIC timer stopped"),
    Event(0x84009, "HVM_EMUL_PIT_TIMER_CB",      True, "", "PIT fired"),
    Event(0x8400A, "HVM_EMUL_LAPIC_TIMER_CB",    True, "", "APIC timer fired"),
    Event(0x8400B, "HVM_EMUL_PIC_INT_OUTPUT",    True, "int_output is_master irq:i32",
          "PIC output evaluated; irq -1: none"),
    Event(0x8400C, "HVM_EMUL_PIC_KICK",          True, "irq", "PIC wakes the vCPU that it is wired to"),
    Event(0x8400D, "HVM_EMUL_PIC_INTACK",        True, "is_master irq", "PIC interrupt acknowledged"),
    Event(0x8400E, "HVM_EMUL_PIC_POSEDGE",       True, "irq", "PIC input raised"),
    Event(0x8400F, "HVM_EMUL_PIC_NEGEDGE",       True, "irq", "PIC input lowered"),
    Event(0x84010, "HVM_EMUL_PIC_PEND_IRQ_CALL", True, "accepted int_output", "PIC asked for a pending interrupt"),
    Event(0x84011, "HVM_EMUL_LAPIC_PIC_INTR",    True, "is_target accepted",
          "APIC asked whether it takes PIC interrupts"),
)
# fmt: on

EVENTS: tuple[Event, ...] = _ENTRY_EXIT + _HANDLERS + _DEVICES
