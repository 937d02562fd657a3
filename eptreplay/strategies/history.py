"""What Xen did on Intel, step by step, up to 4.16; the commits of the steps and their dates.

``eager`` is all releases up to 4.6. Each of the others changes one thing about the one before it. Steps are called by
the dates of their commits: that of 09fc40ed30, which was written on 2016-04-12, by the date on which it went in.
"""

from __future__ import annotations

from eptreplay.strategies.strategy import Strategy

HISTORY = (
    Strategy(
        name="eager",
        broadcast="sync",
        ipi="invept",
        sync_misconfig=True,
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        summary="INVEPT in the handler of an interrupt that is sent, and waited for, under the p2m lock",
        dates="until 2015-12-02",
        releases="4.6 and older",
    ),
    Strategy(
        name="eager-no-misconfig",
        broadcast="sync",
        ipi="invept",
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        summary="as eager, but nobody is interrupted because misconfigured entries were resolved",
        commit="cea357ba4b",
        dates="2015-12-02 to 2015-12-21",
        releases="none",
    ),
    Strategy(
        name="vmenter",
        broadcast="sync",
        ipi="kick",
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        summary="INVEPT before VM entry; the interrupt, still sent under the p2m lock, only forces a VM exit",
        commit="8eb2235599",
        dates="2015-12-21 to 2016-04-22",
        releases="none",
    ),
    Strategy(
        name="deferred",
        summary="as vmenter, but the interrupt is sent once the p2m lock is released",
        commit="09fc40ed30",
        dates="2016-04-22 to 2022-01-04",
        releases="4.7 to 4.16; 4.17 and 4.18 with XSA-480 fixed",
    ),
)
