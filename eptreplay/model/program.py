"""What rows do when they are carried out; those that change modes, and pauses. Others are in modules of their own.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from collections.abc import Callable

from eptreplay.model.allocator import flushed, page_alloc, page_free
from eptreplay.model.broadcast import request_other
from eptreplay.model.facts import SWITCH, VMENTER, Entered, Outcome
from eptreplay.model.holds import hold_begin, hold_end
from eptreplay.model.host import IDLE, UNKNOWN, XEN, Host, Phase
from eptreplay.model.lookups import lookup
from eptreplay.model.rows import FIRST_NESTED_VIEW, Row
from eptreplay.model.setting import Setting, is_carried_out
from eptreplay.model.steps import (
    in_guest,
    in_mode,
    in_phase,
    invalidate,
    load,
    pause,
    prepare_entry,
    unload,
    unpause,
)
from eptreplay.model.sync_points import call_nested, free_table, pod_reclaim
from eptreplay.model.writes import global_change, misconfig, set_entry, sync


def carry_out(setting: Setting, host: Host, c: int) -> Outcome:
    """Carry out the next row, which is due and waits for nothing."""
    pcpu = host.pcpus[c]
    row = setting.rows(c)[pcpu.carried]
    host = host.with_pcpu(c, pcpu._replace(carried=pcpu.carried + 1, overdue=False, masked=False))
    act = ROWS.get(row.op)
    return act(setting, host, c, row) if act else Outcome(host)


def waits_for(setting: Setting, host: Host, row: Row) -> str | None:
    """Return what must come before a row, in words; None if nothing must."""
    if row.edge is not None and not is_carried_out(setting, host, row.edge):
        return f"row {row.edge}"
    if is_vm_entry(setting, row) and row.dom in host.paused:
        return f"domain {row.dom}, which is paused"
    return None


def fall_due(_setting: Setting, host: Host, c: int) -> Outcome:
    """Let the next row be due, though it has to wait for another row, or for its domain."""
    return Outcome(host.with_pcpu(c, host.pcpus[c]._replace(overdue=True)))


# Rows that change the mode.


def is_vm_entry(setting: Setting, row: Row) -> bool:
    """Tell whether a row is a VM entry: a switch to a guest counts where entries were not recorded."""
    if row.op == "SWITCH_IN" and not setting.recording.has_vm_entries:
        return row.dom is not None and setting.recording.domains[row.dom].has_guest_mode
    return row.op == "VMENTER"


def vmenter(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """VMENTER: INVEPT if there is a mark, and then the guest (8eb2235599)."""
    host, executed = prepare_entry(setting, host, c, row.dom)
    if executed:
        return Outcome(in_phase(host, c, Phase.ENTRY_INVEPT), executed)
    return entered(setting, host, c)


def switch_in(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """SWITCH_IN: load the state, set the dirty bit first; then INVEPT if there is a mark (``vmx_ctxt_switch_to``, 1.4).

    Strategies that invalidate at VM entry look at the mark only if this is the nearest thing to one.
    """
    if row.dom is None:
        return Outcome(in_mode(flushed(unload(host, c), c), c, XEN))
    if row.vcpu is None or host.pcpus[c].loaded != (row.dom, row.vcpu):
        host = flushed(host, c)
    host = load(host, c, row.dom, row.vcpu)
    if setting.strategy.invalidates_at_entry:
        looks, where = is_vm_entry(setting, row), VMENTER
    else:
        looks, where = setting.recording.domains[row.dom].has_guest_mode, SWITCH
    host, executed = invalidate(setting, host, c, row.dom, where) if looks else (host, ())
    if executed:
        return Outcome(in_phase(host, c, Phase.ENTRY_INVEPT), executed)
    return entered(setting, host, c)


def entered(setting: Setting, host: Host, c: int) -> Outcome:
    """VMENTER or SWITCH_IN ends, once its INVEPT is over."""
    host, row = in_phase(host, c, Phase.GAP), setting.last_row(host, c)
    if not is_vm_entry(setting, row):
        return Outcome(in_mode(host, c, XEN))
    host, refill = in_guest(host.with_pcpu(c, host.pcpus[c]._replace(entered=row.dom)), c)
    return Outcome(host, (Entered(counts=row.op == "VMENTER", refill=refill),))


def vmexit(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """VMEXIT: interrupts stay off until the handler of the exit turns them on."""
    host = in_mode(host, c, XEN)
    return Outcome(host.with_pcpu(c, host.pcpus[c]._replace(masked=True)))


def in_xen(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """SWITCH_OUT, WAKE. Switching to the idle vCPU is lazy: the state stays loaded."""
    return Outcome(in_mode(host, c, XEN))


def idle(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """IDLE: a C-state. The pCPU stays in the dirty mask."""
    return Outcome(in_mode(host, c, IDLE))


def lost(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """LOST: nobody knows who runs, so nothing is loaded."""
    return Outcome(in_mode(unload(host, c), c, UNKNOWN))


def call(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """CALL: of a nested p2m, or of another one; of none it is a call that has nothing to do with EPT.

    Made-up calls of one pCPU are those for a VMCS (``vmx_clear_vmcs()``), which hosts with NPT do not have.
    """
    if row.p2m is None:
        if setting.strategy.tables == "npt" and row.origin == "inferred" and row.target is not None:
            return Outcome(host)
        targets = range(len(host.pcpus)) if row.target is None else (setting.pcpus.index(row.target),)
        return request_other(setting, host, c, tuple(targets))
    act = call_nested if row.p2m[1] >= FIRST_NESTED_VIEW else sync
    return act(setting, host, c, row)


# Pause.


def pause_domain(_setting: Setting, host: Host, _c: int, row: Row) -> Outcome:
    """PAUSE: those in guest are stopped at once, by ``eptreplay.model.turns.take``."""
    return Outcome(host if row.dom is None else pause(host, row.dom))


def unpause_domain(_setting: Setting, host: Host, _c: int, row: Row) -> Outcome:
    """UNPAUSE: those that were stopped go on by themselves."""
    return Outcome(host if row.dom is None else unpause(host, row.dom))


ROWS: dict[str, Callable[[Setting, Host, int, Row], Outcome]] = {
    "VMENTER": vmenter,
    "VMEXIT": vmexit,
    "SWITCH_IN": switch_in,
    "SWITCH_OUT": in_xen,
    "IDLE": idle,
    "WAKE": in_xen,
    "LOST": lost,
    "HOLD_BEGIN": hold_begin,
    "SET": set_entry,
    "MISCONFIG": misconfig,
    "GLOBAL_CHANGE": global_change,
    "FREE_TABLE": free_table,
    "POD_RECLAIM": pod_reclaim,
    "LOOKUP": lookup,
    "CALL": call,
    "PAGE_FREE": page_free,
    "PAGE_ALLOC": page_alloc,
    "HOLD_END": hold_end,
    "PAUSE": pause_domain,
    "UNPAUSE": unpause_domain,
}
"""What a row does when it is carried out; operations that are not listed do nothing."""
