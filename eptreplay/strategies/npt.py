"""What Xen does on AMD, where a flush makes pCPUs take a new ASID at their next VM entry; our recordings are of AMD.

Each write of a present entry flushes, and a recalculation writes one entry, while on Intel one exit mends up to 512.
The flush of AMD is serialised by ``flush_lock``, which the modelled call lock stands for. Sync points lie in code that
both vendors share, the one in ``p2m_free_ptp()`` since 4bc2e5333a; until e1604ea827 nothing was ever owed there on AMD.
"""

from __future__ import annotations

from eptreplay.strategies.strategy import Strategy

NPT = (
    Strategy(
        name="npt-immediate",
        broadcast="sync",
        sync_misconfig=True,
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        tables="npt",
        summary="AMD: each write of a present entry flushes at once, under the p2m lock",
        dates="until 2026-03-23",
        releases="4.21 and older",
    ),
    Strategy(
        name="npt-deferred",
        sync_misconfig=True,
        tables="npt",
        summary="AMD: the flush is sent once the p2m lock is released, as on Intel",
        commit="e1604ea827",
        dates="since 2026-03-23",
        releases="4.22",
    ),
)
