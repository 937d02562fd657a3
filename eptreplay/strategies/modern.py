"""What Xen does on Intel from 4.17 on: a shipped bug, the drain of PML logs in one hold, and both mended.

4a59e6bb3a dropped the broadcast before a page of the p2m is freed, as one "was already issued"; since 09fc40ed30 it was
only pending. That is XSA-480 (CVE-2026-23554). Its fix, 4bc2e5333a, broadcasts in ``p2m_free_ptp()`` instead of
``ept_free_entry()``, which is the same sync point: ``deferred-pml``, where that broadcast had never been dropped, has
the switches of ``deferred-2026``.
"""

from __future__ import annotations

from eptreplay.strategies.strategy import Strategy

MODERN = (
    Strategy(
        name="deferred-xsa480",
        sync_table_free=False,
        summary="as deferred, but pages of the p2m are freed while the broadcast is pending: unsafe, XSA-480",
        commit="4a59e6bb3a",
        dates="2022-01-04 to 2025-07-08",
        releases="4.17 to 4.20",
    ),
    Strategy(
        name="deferred-xsa480-pml",
        sync_table_free=False,
        pml_drain="batch",
        summary="as deferred-xsa480, and a full PML log is drained in one hold: unsafe, XSA-480",
        commit="060e9ab6e4",
        dates="2025-07-08 to 2026-02-17",
        releases="4.21.0",
    ),
    Strategy(
        name="deferred-pml",
        pml_drain="batch",
        summary="as deferred, and a full PML log is drained in one hold: the step alone, without the bug of its time",
        commit="060e9ab6e4",
        releases="none",
    ),
    Strategy(
        name="deferred-2026",
        pml_drain="batch",
        summary="as deferred-xsa480-pml, with XSA-480 fixed: a broadcast before a page of the p2m is freed",
        commit="4bc2e5333a",
        dates="since 2026-02-17",
        releases="4.22; 4.19 to 4.21 with XSA-480 fixed",
    ),
)
