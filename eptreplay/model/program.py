"""What rows do when they are carried out, and when what they have begun is over.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from collections.abc import Callable

from eptreplay.model.broadcast import request
from eptreplay.model.decisions import decide
from eptreplay.model.facts import (
    SWITCH,
    VMENTER,
    Entered,
    HoldAcquired,
    HoldEnded,
    HoldReleased,
    HoldRequested,
    Outcome,
    Stored,
)
from eptreplay.model.host import IDLE, NO_CALL, NOBODY, UNKNOWN, XEN, Call, Host, Phase, Setting, is_carried_out
from eptreplay.model.rows import Row
from eptreplay.model.steps import (
    hand_on,
    in_guest,
    in_mode,
    in_phase,
    invalidate,
    load,
    mark_all,
    owe,
    owe_nothing,
    pause,
    prepare_entry,
    queue_for,
    store,
    unload,
    unpause,
)
from eptreplay.strategies import DEFER, MARK, NOTHING, NOW


def carry_out(setting: Setting, host: Host, c: int) -> Outcome:
    """Carry out the next row, which is due and waits for nothing."""
    pcpu = host.pcpus[c]
    row = setting.rows(c)[pcpu.carried]
    host = host.with_pcpu(c, pcpu._replace(carried=pcpu.carried + 1))
    act = ROWS.get(row.op)
    return act(setting, host, c, row) if act else Outcome(host)


def waits_for(setting: Setting, host: Host, row: Row) -> str | None:
    """Return what must come before a row, in words; None if nothing must."""
    if row.edge is not None and not is_carried_out(setting, host, row.edge):
        return f"row {row.edge}"
    if is_vm_entry(setting, row) and row.dom in host.paused:
        return f"domain {row.dom}, which is paused"
    return None


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
        return Outcome(in_mode(unload(host, c), c, XEN))
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


def in_xen(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """VMEXIT, SWITCH_OUT, WAKE. Switching to the idle vCPU is lazy: the state stays loaded."""
    return Outcome(in_mode(host, c, XEN))


def idle(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """IDLE: a C-state. The pCPU stays in the dirty mask."""
    return Outcome(in_mode(host, c, IDLE))


def lost(_setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """LOST: nobody knows who runs, so nothing is loaded."""
    return Outcome(in_mode(unload(host, c), c, UNKNOWN))


# Holds: the write side of the p2m lock is recursive per CPU (09fc40ed30).


def hold_begin(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """HOLD_BEGIN: ask for the lock, unless it is held already."""
    p, hold = _p2m_of(setting, row)
    p2m = host.p2ms[p]
    if p2m.lock.owner == c:
        return Outcome(host.with_p2m(p, p2m._replace(depth=p2m.depth + 1)))
    lock = queue_for(p2m.lock, c)
    phase = Phase.ACQUIRE if lock.owner == c else Phase.QUEUE
    host = in_phase(host.with_p2m(p, p2m._replace(lock=lock)), c, phase)
    return Outcome(host, (HoldRequested(hold, setting.p2ms[p], row.cause),))


def acquired(setting: Setting, host: Host, c: int) -> Outcome:
    """HOLD_BEGIN ends."""
    p, hold = _p2m_of(setting, setting.last_row(host, c))
    p2m = host.p2ms[p]._replace(depth=1, hold=hold, sets=0, acquired_ns=host.now_ns)
    return Outcome(in_phase(host.with_p2m(p, p2m), c, Phase.GAP), (HoldAcquired(hold),))


def hold_end(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """HOLD_END: ``p2m_unlock_and_tlb_flush()``. What is owed is broadcast, but without the lock (09fc40ed30)."""
    p = _held(setting, host, c, row)
    p2m = host.p2ms[p]
    if p2m.depth > 1:
        return Outcome(host.with_p2m(p, p2m._replace(depth=p2m.depth - 1)))
    lock = hand_on(p2m.lock)
    host = host.with_p2m(p, p2m._replace(lock=lock, depth=0, owed=None))
    if lock.owner != NOBODY:
        host = in_phase(host, lock.owner, Phase.HANDOFF)
    released = HoldReleased(p2m.hold)
    if p2m.owed is None:
        return Outcome(host, (released, HoldEnded(p2m.hold)))
    call = Call(p, p2m.hold, p2m.owed.cause, under_lock=False)
    host, facts = request(setting, host, c, call)
    return Outcome(host, (released, *facts))


def _p2m_of(setting: Setting, row: Row) -> tuple[int, int]:
    """Return the p2m that a row names, and its hold."""
    if row.p2m is None or row.hold is None:
        raise ValueError(f"{row.op} without a p2m or a hold")
    return setting.position[row.p2m], row.hold


def _held(setting: Setting, host: Host, c: int, row: Row) -> int:
    """Return the p2m that a row names, which must be held."""
    p, _ = _p2m_of(setting, row)
    if host.p2ms[p].lock.owner != c:
        raise ValueError(f"{row.op} of p2m {row.p2m} without holding its lock")
    return p


# Writes (``ept_set_entry()``).


def set_entry(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """SET: store the entry, and mark at once, whatever is put off (09fc40ed30)."""
    p = _held(setting, host, c, row)
    dom, _ = setting.p2ms[p]
    host = store(host, p, row)
    decision = decide(setting, host, c, p, row) if row.present else NOTHING
    # With INVEPT in the handler, whoever is interrupted needs no mark; NOW leaves marking to the request.
    if decision in {MARK, DEFER} or (decision == NOW and setting.strategy.invalidates_at_entry):
        host = mark_all(host, p, row.cause)
    hold, call = host.p2ms[p].hold, NO_CALL
    if decision == DEFER:
        host = owe(host, p, row.cause)
    elif decision == NOW:
        host = owe_nothing(host, p)
        call = Call(p, hold, row.cause, under_lock=True)
    host = host.with_pcpu(c, host.pcpus[c]._replace(phase=Phase.STORE, call=call))
    return Outcome(host, (Stored(hold, (dom, row.cause), row.order, decision != NOTHING),))


def stored(setting: Setting, host: Host, c: int) -> Outcome:
    """SET ends, or has its broadcast to send first."""
    call = host.pcpus[c].call
    if call == NO_CALL:
        return Outcome(in_phase(host, c, Phase.GAP))
    return Outcome(*request(setting, host, c, call))


# Pause.


def pause_domain(_setting: Setting, host: Host, _c: int, row: Row) -> Outcome:
    """PAUSE: those in guest are stopped at once, by ``eptreplay.model.turns.take``."""
    return Outcome(host if row.dom is None else pause(host, row.dom))


def unpause_domain(_setting: Setting, host: Host, _c: int, row: Row) -> Outcome:
    """UNPAUSE: those that were stopped go on by themselves."""
    return Outcome(host if row.dom is None else unpause(host, row.dom))


ROWS: dict[str, Callable[[Setting, Host, int, Row], Outcome]] = {
    "VMENTER": vmenter,
    "VMEXIT": in_xen,
    "SWITCH_IN": switch_in,
    "SWITCH_OUT": in_xen,
    "IDLE": idle,
    "WAKE": in_xen,
    "LOST": lost,
    "HOLD_BEGIN": hold_begin,
    "SET": set_entry,
    "HOLD_END": hold_end,
    "PAUSE": pause_domain,
    "UNPAUSE": unpause_domain,
}
"""What a row does when it is carried out; operations that are not listed do nothing."""
