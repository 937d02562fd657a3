"""What Xen did, step by step; the commits of the three steps and their dates."""

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
        releases="4.6 and older",
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
        releases="none: staging, 2015-12-21 to 2016-04-22",
    ),
    Strategy(
        name="deferred",
        summary="as vmenter, but the interrupt is sent once the p2m lock is released",
        commit="09fc40ed30",
        releases="4.7 to 4.16",
    ),
)
