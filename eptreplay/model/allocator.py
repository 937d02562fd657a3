"""Pages that are freed and allocated: TLBs that may still have them are flushed before (``filtered_flush_tlb_mask()``).

A clock counts flushes. A TLB that was flushed since a page was freed has forgotten it.
"""

from __future__ import annotations

from eptreplay.model.broadcast import request_flush
from eptreplay.model.facts import Outcome
from eptreplay.model.host import Call, Host, Kind, Phase
from eptreplay.model.rows import Row
from eptreplay.model.setting import Setting
from eptreplay.model.steps import in_phase


def flushed(host: Host, c: int) -> Host:
    """Have flushed the TLB of a pCPU (``post_flush()``)."""
    clock = host.flushes + 1
    return host.with_pcpu(c, host.pcpus[c]._replace(flushed=clock))._replace(flushes=clock)


def page_free(setting: Setting, host: Host, c: int, _row: Row) -> Outcome:
    """PAGE_FREE: note the clock (``page_set_tlbflush_timestamp()``)."""
    return Outcome(host._replace(freed=(*host.freed, (setting.last_number(host, c), host.flushes))))


def page_alloc(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """PAGE_ALLOC: flush the own TLB if it has not been flushed since, and have others flush theirs."""
    noted = next((clock for number, clock in host.freed if number == row.freed_by), None)
    if noted is None:
        return Outcome(host)
    stale = tuple(other for other, pcpu in enumerate(host.pcpus) if pcpu.flushed <= noted)
    others = tuple(other for other in stale if other != c)
    if others:
        host = host.with_pcpu(c, host.pcpus[c]._replace(call=Call(Kind.FLUSH, mask=others)))
    if c in stale:
        return Outcome(in_phase(host, c, Phase.FLUSH))
    return request_flush(setting, host, c) if others else Outcome(host)
