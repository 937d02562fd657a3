"""What nobody has shipped, but a fact speaks for. Each changes one thing about ``deferred-2026``.

That a candidate is plausible does not make it safe.
"""

from __future__ import annotations

from eptreplay.strategies.decision import MARK, Request
from eptreplay.strategies.strategy import Strategy


def lazily(request: Request) -> int:
    """Mark wherever the switches would interrupt somebody."""
    return min(request.default, MARK)


CANDIDATES = (
    Strategy(
        name="elide-upgrades",
        pml_drain="batch",
        upgrades="elide",
        summary="as deferred-2026, but entries that only gain rights, for the same frame, are left alone",
        releases="none",
        plausible="setting permission bits needs no INVEPT; at worst a spurious violation follows (Intel SDM, volume"
        " 3C, 28.3)",
    ),
    Strategy(
        name="kick-running",
        pml_drain="batch",
        kick="running",
        summary="as deferred-2026, but only pCPUs in guest mode are interrupted",
        releases="none",
        plausible="a pCPU that is idle or in Xen passes the test of the mark before it is in the guest again"
        " (8eb2235599); for flushes that guests ask for Xen kicks only vCPUs that run (17b997aa1e)",
    ),
    Strategy(
        name="hardware-broadcast",
        pml_drain="batch",
        ipi="none",
        summary="as deferred-2026, but hardware invalidates on all pCPUs, and nobody is interrupted",
        releases="none",
        plausible="Intel's Remote Action Request lists EPT invalidation, which imitates INVEPT (datasheet 743844,"
        " volume 1); AMD's INVLPGB and TLBSYNC reach all CPUs, with a flag for nested translations (Linux,"
        " INVLPGB_INCLUDE_NESTED)",
    ),
    Strategy(
        name="lockless-call",
        pml_drain="batch",
        call_lock="lockless",
        summary="as deferred-2026, but each sender interrupts its targets without waiting for other senders",
        releases="none",
        plausible="with data for each sender, and a mask of those who call, nothing is left that a lock must guard; a"
        " series doing so with on_selected_cpus(), xen-devel 2026-04-01 and not merged, reports 25 to 69 % less time"
        " with two to four callers at once, and no change with one",
    ),
    Strategy(
        name="lazy-epoch",
        pml_drain="batch",
        page_free="unlock",
        decide=lazily,
        summary="as deferred-2026, but marks only, and nobody is interrupted; pages are freed once no pCPU is marked",
        releases="none",
        plausible="LATR does without interrupts in Linux: munmap() takes 70.8 % less time on two sockets (ASPLOS 2018,"
        " abstract)",
    ),
)
