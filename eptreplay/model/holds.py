"""Holds: the write side of a p2m lock, which is recursive per CPU, and its release (09fc40ed30)."""

from __future__ import annotations

from eptreplay.model.broadcast import request
from eptreplay.model.facts import HoldAcquired, HoldEnded, HoldReleased, HoldRequested, Outcome
from eptreplay.model.host import NO_WISH, Ask, Call, Host, Kind, Wish, locks_of
from eptreplay.model.locks import release_write, request_lock
from eptreplay.model.rows import Row
from eptreplay.model.setting import Setting


def hold_begin(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """HOLD_BEGIN: ask for the lock, unless it is held already.

    A hold of cause ``pml`` that lies in no other is the drain of a full log (``vmx_vcpu_flush_pml_buffer()``).
    """
    p, hold = p2m_of(setting, row)
    p2m = host.p2ms[p]
    if p2m.lock.writer == c:
        return Outcome(host.with_p2m(p, p2m._replace(depth=p2m.depth + 1)))
    drains = setting.strategy.pml_drain == "entry" and row.cause == "pml" and not locks_of(host, c)
    return ask(setting, host, c, Wish(p, hold, row.cause, drains))


def ask(setting: Setting, host: Host, c: int, wish: Wish) -> Outcome:
    """Ask for a lock."""
    host = host.with_pcpu(c, host.pcpus[c]._replace(wish=wish))
    host = request_lock(setting, host, c, Ask(wish.p, writes=True))
    return Outcome(host, (HoldRequested(wish.hold, setting.p2ms[wish.p], wish.cause),))


def acquire(host: Host, c: int) -> Outcome:
    """Have the lock that was asked for. What the row does next is for ``eptreplay.model.ends``."""
    wish = host.pcpus[c].wish
    p2m = host.p2ms[wish.p]._replace(
        depth=1, hold=wish.hold, drains=wish.drains, sets=0, synced=False, acquired_ns=host.now_ns
    )
    host = host.with_p2m(wish.p, p2m)
    return Outcome(host.with_pcpu(c, host.pcpus[c]._replace(wish=NO_WISH)), (HoldAcquired(wish.hold),))


def hold_end(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """HOLD_END: ``p2m_unlock()``."""
    p = held(setting, host, c, row)
    p2m = host.p2ms[p]
    if p2m.depth > 1:
        return Outcome(host.with_p2m(p, p2m._replace(depth=p2m.depth - 1)))
    return release(setting, host, c, p)


def release(setting: Setting, host: Host, c: int, p: int) -> Outcome:
    """Release a lock, and broadcast what is owed, but without the lock: ``p2m_unlock_and_tlb_flush()``."""
    p2m = host.p2ms[p]
    host = release_write(setting, host.with_p2m(p, p2m._replace(depth=0, owed=None)), c, p)
    released = HoldReleased(p2m.hold)
    if p2m.owed is None:
        return Outcome(host, (released, HoldEnded(p2m.hold)))
    return request(setting, host, c, Call(Kind.SYNC, p, p2m.hold, p2m.owed.cause, released=True)).behind(released)


def begin_next_write(setting: Setting, host: Host, c: int, p: int) -> Outcome:
    """Release the lock within a PML drain, and ask for it again, unless a broadcast comes first: 4.6 to 4.20."""
    drain = host.p2ms[p]
    outcome = release(setting, host, c, p)
    if drain.owed is not None:
        return outcome
    return ask_again(setting, outcome.host, c, p, drain.hold).behind(*outcome.facts)


def ask_again(setting: Setting, host: Host, c: int, p: int, hold: int) -> Outcome:
    """Ask for the lock of a PML drain again, ``hold`` being that of the write before."""
    return ask(setting, host, c, Wish(p, hold + 1, "pml", drains=True))


def p2m_of(setting: Setting, row: Row) -> tuple[int, int]:
    """Return the p2m that a row names, and its hold."""
    if row.p2m is None or row.hold is None:
        raise ValueError(f"{row.op} without a p2m or a hold")
    return setting.position[row.p2m], row.hold


def held(setting: Setting, host: Host, c: int, row: Row) -> int:
    """Return the p2m that a row names, which must be held."""
    p, _ = p2m_of(setting, row)
    if host.p2ms[p].lock.writer != c:
        raise ValueError(f"{row.op} of p2m {row.p2m} without holding its lock")
    return p
