"""What a recording cannot tell: which results are null then, and why. One table."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from eptreplay.strategies.strategy import Strategy
from eptreplay.workload.workload import Facts


class Gap(NamedTuple):
    """A thing that a recording may lack, the columns that are null then, for which strategies, and the consequence.

    ``if_under_lock``: only of replays in which something was broadcast under the lock.
    """

    name: str
    lacks: Callable[[Facts], bool]
    columns: tuple[str, ...]
    concerns: Callable[[Strategy], bool]
    consequence: str
    if_under_lock: bool = False


def _any(_: Strategy) -> bool:
    return True


_DURATIONS = (
    "hold_ns", "write_wait_ns", "read_wait_ns", "op_latency_ns", "post_unlock_wait_ns", "call_lock_wait_ns",
    "guest_stolen_ns", "simulated_ns", "guest_ns", "xen_ns", "irqoff_ns", "spin_ns", "idle_ns", "unknown_ns",
    "drift_ns", "edges_waited", "edge_wait_ns", "lock_utilisation", "call_lock_utilisation", "stall_ns", "watchdog_",
    "wait_ns", "elapsed_ns", "other_calls", "other_ipis", "t_", "t_ns",
)  # fmt: skip

GAPS = (
    Gap(
        "TSC",
        lambda facts: not facts.has_times,
        _DURATIONS,
        _any,
        "under 1 % of the records carry a TSC: counts only, every time is null",
    ),
    Gap(
        "SCHED",
        lambda facts: not facts.has_sched,
        ("ipis", "invepts", "vmenter_invepts", "guest_stolen_ns", "post_unlock_wait_ns", "call_lock_wait_ns",
         "ipis_received", "targets", "slowest_pcpu", "guest_ns", "xen_ns", "irqoff_ns", "spin_ns", "idle_ns",
         "unknown_ns", "drift_ns", "edges_waited", "edge_wait_ns", "simulated_ns", "icr_writes", "other_calls",
         "other_ipis", "alloc_flushes", "lock_utilisation", "call_lock_utilisation", "stall_ns", "watchdog_"),
        _any,
        "no runstate changes: whom a broadcast would interrupt is unknown, and so are IPIs, INVEPTs and their times",
    ),
    Gap(
        "SCHED",
        lambda facts: not facts.has_sched,
        ("op_latency_ns", "t_locked_ns", "t_sent_ns", "t_done_ns"),
        lambda strategy: strategy.broadcast != "none" or strategy.decide is not None,
        "without them, how long an operation takes up to the last acknowledgement is unknown",
    ),
    Gap(
        "SCHED",
        lambda facts: not facts.has_sched,
        ("hold_ns", "write_wait_ns", "t_"),
        _any,
        "and if anything is broadcast under the lock, how long it is held",
        if_under_lock=True,
    ),
    Gap(
        "VMENTER",
        lambda facts: not facts.has_vm_entries,
        ("vmenters", "vmenter_invepts"),
        _any,
        "no VM entries: a running vCPU counts as in guest mode, and entries cannot be counted",
    ),
    Gap(
        "VMENTER",
        lambda facts: not facts.has_vm_entries,
        (),
        lambda strategy: strategy.sync_misconfig,
        "without VM exits EPT_MISCONFIG is invisible, so that broadcasts of strategies that send one there are too few",
    ),
    Gap(
        "VMENTER",
        lambda facts: not facts.has_vm_entries,
        ("invepts", "guest_stolen_ns"),
        lambda strategy: strategy.invalidates_at_entry,
        "nor INVEPTs of strategies that invalidate before a VM entry, and what these take from guests",
    ),
)  # fmt: skip


def unknown_columns(facts: Facts, strategy: Strategy, *, under_lock: bool) -> tuple[str, ...]:
    """Return beginnings of the names of columns that are null for a strategy.

    ``under_lock``: whether something was broadcast under the lock.
    """
    gaps = [gap for gap in GAPS if gap.lacks(facts) and gap.concerns(strategy)]
    return tuple(column for gap in gaps if under_lock or not gap.if_under_lock for column in gap.columns)


def is_unknown(column: str, unknown: tuple[str, ...]) -> bool:
    """Tell whether ``unknown_columns`` names a column: by its whole name, or by what stands before a quantile."""
    return any(column == name or (name.endswith(("_ns", "_")) and column.startswith(name)) for name in unknown)


def consequences(facts: Facts) -> list[str]:
    """Return one line for each thing that the recording lacks."""
    lines: dict[str, list[str]] = {}
    for gap in GAPS:
        if gap.lacks(facts):
            lines.setdefault(gap.name, []).append(gap.consequence)
    return [f"{name}: {'; '.join(parts)}" for name, parts in lines.items()]
