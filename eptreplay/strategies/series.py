"""Versions of the patch series of 2015 that became ``deferred``, as far as they differ from what was merged.

The cover letter of version 5 says what changed from version to version: xen-devel, 2015-12, msg02188. Up to version 2
the interrupt's handler invalidated, so no page could be freed before; a list kept pages until then. Version 3 brought
what became 8eb2235599: a mark is enough for pages that go back to the heap, and only pages of the p2m stayed on the
list. Version 4 emptied the handler. Version 5 has no list: it broadcasts before it frees a page of the p2m, and before
populate-on-demand takes pages back, which versions before did not.
"""

from __future__ import annotations

from eptreplay.strategies.strategy import Strategy

SERIES = (
    Strategy(
        name="deferred-free-list",
        ipi="invept",
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        page_free="unlock",
        summary="versions 1 and 2 of the series: INVEPT in the handler, after the unlock; freed pages wait on a list",
        dates="2015, proposed",
        releases="none",
    ),
    Strategy(
        name="deferred-no-pod-sync",
        sync_table_free=False,
        sync_pod_superpage=False,
        sync_pod_sweep=False,
        sync_pod_decrease=False,
        page_free="tables",
        summary="version 4 of the series: INVEPT before VM entry; only pages of the p2m wait on the list; no sync for"
        " populate-on-demand",
        dates="2015-12, proposed",
        releases="none",
    ),
)
