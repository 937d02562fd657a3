"""LOOKUP: lookups with the read side of a p2m lock, one after the other (``p2m_get_page_from_gfn()``)."""

from __future__ import annotations

from eptreplay.model.facts import LookupAcquired, LookupEnded, LookupRequested, Outcome
from eptreplay.model.host import Ask, Host, Phase
from eptreplay.model.locks import release_read, request_lock
from eptreplay.model.rows import Row
from eptreplay.model.setting import Setting
from eptreplay.model.steps import in_phase


def lookup(setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """LOOKUP: begin the first."""
    return begin_lookup(setting, host.with_pcpu(c, host.pcpus[c]._replace(lookups=0)), c)


def begin_lookup(setting: Setting, host: Host, c: int) -> Outcome:
    """Ask for the read side, but not while holding the write side: Xen must not, and need not."""
    host = host.with_pcpu(c, host.pcpus[c]._replace(lookups=host.pcpus[c].lookups + 1))
    p = _p2m(setting, host, c)
    if host.p2ms[p].lock.writer == c:
        return look_up(host, c).behind(LookupRequested())
    return Outcome(request_lock(setting, host, c, Ask(p, writes=False)), (LookupRequested(),))


def look_up(host: Host, c: int) -> Outcome:
    """Look up, now that nobody writes."""
    return Outcome(in_phase(host, c, Phase.LOOKUP), (LookupAcquired(),))


def end_lookup(setting: Setting, host: Host, c: int) -> Outcome:
    """Release the read side, if it was asked for."""
    p = _p2m(setting, host, c)
    if host.p2ms[p].lock.writer != c:
        host = release_read(host, c, p)
    return Outcome(host, (LookupEnded(last=not has_lookups_left(setting, host, c)),))


def has_lookups_left(setting: Setting, host: Host, c: int) -> bool:
    """Tell whether there are lookups of the row that have not begun yet."""
    return host.pcpus[c].lookups < setting.last_row(host, c).count


def _p2m(setting: Setting, host: Host, c: int) -> int:
    row = setting.last_row(host, c)
    if row.p2m is None:
        raise ValueError("LOOKUP without a p2m")
    return setting.position[row.p2m]
