"""Sync points, ``p2m_tlb_flush_sync()`` (09fc40ed30): what is owed is broadcast before a page is used otherwise.

And the call of a nested p2m, which stands by itself: it is part of a sync.
"""

from __future__ import annotations

from eptreplay.model.broadcast import request
from eptreplay.model.decisions import about_sync_point, decide
from eptreplay.model.facts import Outcome
from eptreplay.model.holds import held
from eptreplay.model.host import NO_CALL, Call, Host, Kind
from eptreplay.model.rows import HOST_VIEW, Row
from eptreplay.model.setting import Setting
from eptreplay.model.steps import owe_nothing
from eptreplay.strategies import FREE_TABLE, NOW, POD_DECREASE, POD_SUPERPAGE, POD_SWEEP

SUPERPAGE_ORDER = 9


def free_table(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """FREE_TABLE: ``ept_free_entry()``, or ``p2m_free_ptp()`` (4bc2e5333a)."""
    return _sync(setting, host, c, row, FREE_TABLE)


def pod_reclaim(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """POD_RECLAIM: pages are to go to the cache, or to be looked into before they do."""
    if row.cause == "decrease":  # p2m_pod_decrease_reservation()
        return _sync(setting, host, c, row, POD_DECREASE)
    if row.order >= SUPERPAGE_ORDER:  # p2m_pod_zero_check_superpage()
        return _sync(setting, host, c, row, POD_SUPERPAGE)
    return _sync(setting, host, c, row, POD_SWEEP)  # p2m_pod_zero_check()


def _sync(setting: Setting, host: Host, c: int, row: Row, what: int) -> Outcome:
    host, call = at_sync_point(setting, host, c, row, what)
    return Outcome(host) if call == NO_CALL else request(setting, host, c, call)


def at_sync_point(setting: Setting, host: Host, c: int, row: Row, what: int) -> tuple[Host, Call]:
    """Take what is owed, if anything is, and the strategy wants it broadcast here; also returns the broadcast."""
    p = held(setting, host, c, row)
    p2m = host.p2ms[p]
    if p2m.owed is None:
        return host, NO_CALL
    question = about_sync_point(row, what, wanted=is_wanted(setting, what))
    if decide(setting, host, c, p, question) != NOW:
        return host, NO_CALL
    return owe_nothing(host, p), Call(Kind.SYNC, p, p2m.hold, p2m.owed.cause)


def is_wanted(setting: Setting, what: int) -> bool:
    """Return the strategy's switch for a sync point."""
    strategy = setting.strategy
    return {
        FREE_TABLE: strategy.sync_table_free,
        POD_SUPERPAGE: strategy.sync_pod_superpage,
        POD_SWEEP: strategy.sync_pod_sweep,
        POD_DECREASE: strategy.sync_pod_decrease,
    }[what]


def call_nested(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """CALL of a nested p2m: ``ept_sync_domain()`` of the host p2m flushes it, if there was one (``np2m_flush()``).

    An interrupt to whoever is dirty, whose handler does nothing.
    """
    if row.p2m is None:
        return Outcome(host)
    host_p2m = host.p2ms[setting.position[row.p2m[0], HOST_VIEW]]
    if host_p2m.lock.writer != c or not host_p2m.synced:
        return Outcome(host)
    call = Call(Kind.NESTED, setting.position[row.p2m], host_p2m.hold, row.cause)
    return request(setting, host, c, call)
