"""Rows on log-dirty tracking."""

from __future__ import annotations

from typing import Any

from eptreplay.p2m_types import RAM_LOGDIRTY
from eptreplay.workload.paths import Acts, logdirty
from tests.workload.path_host import mapped
from tests.workload.section4.row import GFN, Columns, Row, blocks, each, later, over, pages_at

LOGS = over(logged=((), (GFN,), (GFN, GFN + 3, GFN + 511)), unknown=(0, 4))
"""What processors have logged."""


def sum_e(x: Any) -> int:  # noqa: ANN401 (parameters of the path)
    """Return the entries of all logs."""
    return len(x.logged) + int(x.unknown)


def tracked(x: Any) -> list[Acts]:  # noqa: ANN401
    """Map pages that are tracked, and have been recalculated."""
    return [mapped(GFN + 100), *pages_at(*x.logged, kind=RAM_LOGDIRTY)]


LOG_DIRTY = (
    Row(
        "log-dirty write fault of a page",
        logdirty.logdirty_fault,
        over(gfn=(GFN, GFN + 511)),
        Columns(holds=1, w=1, s0=1, s3=later(1)),
        lambda x: pages_at(x.gfn, kind=RAM_LOGDIRTY),
    ),
    Row(
        "log-dirty write fault in a page of 2 MiB or 1 GiB",
        logdirty.logdirty_fault,
        over(gfn=(GFN, GFN + 511), given_leaf=(9, 18)),
        Columns(holds=1, w=2, sets=1, s0=1, s3=later(1)),
        lambda x: [mapped(GFN, leaf=x.given_leaf, kind=RAM_LOGDIRTY)],
    ),
    Row(
        "log-dirty enable in full, without PML, or in 4.6",
        logdirty.enable,
        [{"pml": False}, {"era": "4.6"}],
        Columns(holds=1, w=1, sets=0, s0=1, s3=later(1)),
        [mapped(GFN)],
    ),
    Row(
        "log-dirty enable in full, with PML",
        logdirty.enable,
        [{"pml": True}, {"era": "4.9"}],
        Columns(holds=2, w=1, sets=0, s0=None, s3=later(2)),
        [mapped(GFN)],
    ),
    Row(
        "log-dirty disable, without PML",
        logdirty.disable,
        over(pml=(False,)),
        Columns(holds=1, w=1, sets=0, s0=1, s3=later(1)),
        [mapped(GFN)],
    ),
    Row(
        "log-dirty clean",
        logdirty.clean,
        LOGS,
        lambda x: Columns(holds=2, w=1 + sum_e(x), sets=sum_e(x), s0=1 + sum_e(x), s3=later(1 + (sum_e(x) > 0))),
        tracked,
    ),
    Row(
        "log-dirty peek",
        logdirty.peek,
        LOGS,
        lambda x: Columns(holds=1, w=sum_e(x), s0=sum_e(x), s3=later(sum_e(x) > 0)),
        tracked,
    ),
    Row(
        "PML full with e entries",
        logdirty.pml_full,
        [log for log in LOGS if log["logged"] or log["unknown"]],
        lambda x: each(sum_e(x), s3=later(sum_e(x)), batch=(1, later(1))),
        tracked,
    ),
    Row(
        "PML drain of all vCPUs",
        logdirty.drain,
        LOGS,
        lambda x: Columns(holds=1, w=sum_e(x), s0=sum_e(x), s3=later(sum_e(x) > 0)),
        tracked,
    ),
    Row(
        "VRAM tracking, steady, D frames being dirty",
        logdirty.scan_vram,
        over(dirty=((), (GFN + 5,), (GFN + 5, GFN + 6, GFN + 7)), logged=((), (GFN, GFN + 1))),
        lambda x: Columns(
            holds=2,
            w=len(x.dirty) + len(x.logged),
            s0=len(x.dirty) + len(x.logged),
            s3=later((len(x.dirty) > 0) + (len(x.logged) > 0)),
        ),
        lambda x: [*tracked(x), *pages_at(*x.dirty)],
    ),
    Row(
        "VRAM tracking, range set",
        logdirty.set_vram,
        over(first=(GFN,), last=(GFN + 0x3FF, GFN + 0x400)),
        lambda x: Columns(holds=1, w=blocks(x.first, x.last) + (x.last % 512 < 511), sets=0, s0=1, s3=later(1)),
        [mapped(GFN, leaf=9, count=4)],
    ),
    Row(
        "VRAM tracking, range set in place of another",
        logdirty.set_vram,
        over(first=(GFN,), last=(GFN + 0x3FF, GFN + 0x400), old=((GFN + 0x600, GFN + 0x7FF),)),
        lambda x: Columns(holds=2, w=1 + blocks(x.first, x.last) + (x.last % 512 < 511), sets=0, s0=2, s3=later(2)),
        [mapped(GFN, leaf=9, count=4)],
    ),
)
