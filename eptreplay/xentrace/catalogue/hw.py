"""Hardware events (class hw): power management, and interrupts of devices (IPIs between pCPUs are not traced)."""

from __future__ import annotations

from eptreplay.xentrace.catalogue.event import Event

_MASK = "irq:u16 vector:u16 cpus0:u64 cpus1:u64 cpus2:u64"

# fmt: off
EVENTS: tuple[Event, ...] = (
    Event(0x801001, "PM_FREQ_CHANGE",               True, "old[MHz] new[MHz]", "the pCPU changes its frequency"),
    Event(0x801002, "PM_IDLE_ENTRY",                True, "cstate tick expected[us] predicted[us]",
          "the pCPU goes idle; tick: ACPI PM timer, HPET or TSC", ept=True),
    Event(0x801003, "PM_IDLE_EXIT",                 True, "cstate tick irq0 irq1 irq2 irq3",
          "the pCPU wakes up; the vectors found pending, 0 where fewer", ept=True),
    Event(0x802001, "HW_IRQ_MOVE_CLEANUP_DELAY",    True, "irq vector cpu", "clean-up of a moved vector put off"),
    Event(0x802002, "HW_IRQ_MOVE_CLEANUP",          True, "irq vector cpu", "a moved vector is freed on its old pCPU"),
    Event(0x802003, "HW_IRQ_BIND_VECTOR",           True, _MASK, "a vector is bound to these pCPUs"),
    Event(0x802004, "HW_IRQ_CLEAR_VECTOR",          True, _MASK, "a vector is released on these pCPUs"),
    Event(0x802005, "HW_IRQ_MOVE_FINISH",           True, "irq old_vector cpu", "a move of an interrupt is complete"),
    Event(0x802006, "HW_IRQ_ASSIGN_VECTOR",         True, _MASK, "a vector is chosen for these pCPUs"),
    Event(0x802007, "HW_IRQ_UNMAPPED_VECTOR",       True, "vector", "an interrupt that nobody handles"),
    Event(0x802008, "HW_IRQ_HANDLED",               True, "irq begin[cycles] end[cycles]",
          "a device's interrupt was handled; low words of the TSC"),
)
# fmt: on
