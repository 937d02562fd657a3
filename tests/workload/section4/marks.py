"""Rows on types that change, and on marks."""

from __future__ import annotations

from eptreplay.p2m_types import MMIO_DM, RAM_LOGDIRTY, RAM_RW
from eptreplay.workload.paths import recalculation
from tests.workload.path_host import mapped, tracked_from_now
from tests.workload.section4.row import EITHER, GFN, Columns, Row, Sent, blocks, each, later, over, pages_at

IOREQ_SERVER = 15

MARKS = (
    Row(
        "change_type_one",
        recalculation.change_type_one,
        over(matches=EITHER),
        lambda x: Columns(holds=1, w=x.matches, s0=x.matches, s3=later(x.matches)),
        pages_at(GFN),
    ),
    Row(
        "change_type_one of an entry that was not present",
        recalculation.change_type_one,
        over(old=(MMIO_DM,), new=(IOREQ_SERVER,)),
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        pages_at(GFN, kind=MMIO_DM),
    ),
    Row(
        "change_entry_type_global with so many top-level entries",
        recalculation.change_type_global,
        over(new=(RAM_LOGDIRTY, RAM_RW), given_entries=(0, 1, 3)),
        lambda x: Columns(holds=1, w=x.given_entries, sets=0, s0=x.given_entries > 0, s3=later(x.given_entries > 0)),
        lambda x: [mapped(n << 27) for n in range(x.given_entries)],
    ),
    Row(
        "change_entry_type_global again, nothing having been recalculated",
        recalculation.change_type_global,
        over(new=(RAM_LOGDIRTY, RAM_RW)),
        Columns(holds=1, w=0, sets=0, s0=0, s3=later(0)),
        [mapped(GFN), tracked_from_now()],
    ),
    Row(
        "change_entry_type_global, with a hold for each alternate p2m within",
        recalculation.change_type_global,
        over(views=((1,), (1, 2, 5))),
        lambda x: each(1 + len(x.views), sets=0, s3=Sent(after=1 + len(x.views), beneath=len(x.views))),
        lambda x: [mapped(GFN, view=view) for view in (0, *x.views)],
    ),
    Row(
        "memory_type_changed",
        recalculation.memory_type_changed,
        over(given_entries=(0, 1, 3)),
        lambda x: Columns(holds=1, w=x.given_entries, sets=0, s0=x.given_entries > 0, s3=later(x.given_entries > 0)),
        lambda x: [mapped(n << 27) for n in range(x.given_entries)],
    ),
    Row(
        "change_type_range of pages, all of which are there",
        recalculation.change_type_range,
        over(first=(GFN, GFN + 3), last=(GFN + 9, GFN + 30)),
        lambda x: Columns(holds=1, w=x.last - x.first + 1, sets=0, s0=1, s3=later(1)),
        [mapped(GFN, count=40)],
    ),
    Row(
        "change_type_range of pages, few or none of which are there",
        recalculation.change_type_range,
        over(first=(GFN,), last=(GFN + 9,), given_pages=(0, 1, 4)),
        lambda x: Columns(holds=1, w=x.given_pages, sets=0, s0=x.given_pages > 0, s3=later(x.given_pages > 0)),
        lambda x: [mapped(GFN, count=x.given_pages)],
    ),
    Row(
        "change_type_range of superpages: unaligned head and tail entries, and splits at the boundaries",
        recalculation.change_type_range,
        over(first=(GFN, GFN + 1, GFN + 511), last=(GFN + 0x7FF, GFN + 0x800, GFN + 0x9FE)),
        lambda x: Columns(
            holds=1,
            w=blocks(x.first, x.last) + (x.first % 512 > 0) + (x.last % 512 < 511),
            sets=0,
            s0=1,
            s3=later(1),
        ),
        [mapped(GFN, leaf=9, count=5)],
    ),
    Row(
        "change_type_range within one superpage",
        recalculation.change_type_range,
        over(first=(GFN + 4,), last=(GFN + 8, GFN + 511)),
        lambda x: Columns(holds=1, w=1 + blocks(x.first, x.last), sets=0, s0=1, s3=later(1)),
        [mapped(GFN, leaf=9)],
    ),
    Row(
        "change_type_range, with a hold for each alternate p2m within",
        recalculation.change_type_range,
        over(first=(GFN,), last=(GFN + 3,), views=((1,), (1, 2))),
        lambda x: Columns(
            holds=1 + len(x.views),
            w=4 * (1 + len(x.views)),
            sets=0,
            s0=1 + len(x.views),
            s3=Sent(after=1 + len(x.views), beneath=len(x.views)),
        ),
        lambda x: [mapped(GFN, count=4, view=view) for view in (0, *x.views)],
    ),
    Row(
        "EPT_MISCONFIG of a page, with so many entries in its table, and in each table above",
        recalculation.misconfig,
        [
            {"given_pages": pages, "given_middle": middle, "given_upper": upper}
            for pages, middle, upper in ((1, 1, 1), (2, 3, 1), (5, 2, 2), (512, 1, 1))
        ],
        lambda x: Columns(
            holds=1,
            w=(x.given_upper + 1) + (x.given_middle + 1) + (x.given_pages + 1) + x.given_pages,
            sets=0,
            s0=1,
            s3=later(0),
            misconfigs=1,
        ),
        lambda x: [
            mapped(GFN, count=x.given_pages),
            mapped(GFN + 512, leaf=9, count=x.given_middle - 1),
            mapped(GFN + (1 << 18), leaf=18, count=x.given_upper - 1),
            tracked_from_now(),
        ],
    ),
    Row(
        "EPT_MISCONFIG of a superpage",
        recalculation.misconfig,
        over(gfn=(GFN, GFN + 511)),
        Columns(holds=1, w=2 + 2 + 1, sets=0, s0=1, s3=later(0), misconfigs=1),
        [mapped(GFN, leaf=9), tracked_from_now()],
    ),
    Row(
        "EPT_MISCONFIG of a superpage that is tracked in part: split by one level",
        recalculation.misconfig,
        over(gfn=(GFN, GFN + 511)),
        Columns(holds=1, w=2 + 2 + 1 + 512, sets=0, s0=1, s3=later(0), misconfigs=1),
        [
            recalculation.change_type_range(first=GFN, last=GFN + 9),
            mapped(GFN, leaf=9),
            tracked_from_now(new_type=RAM_RW),
        ],
    ),
    Row(
        "EPT_MISCONFIG again, the mark having been resolved by another vCPU",
        recalculation.misconfig,
        over(gfn=(GFN,)),
        Columns(holds=1, w=0, sets=0, s0=1, s3=later(0), misconfigs=1),
        [mapped(GFN, count=3), tracked_from_now(), recalculation.misconfig(gfn=GFN + 1)],
    ),
    Row(
        "finish_type_change of pages in one table",
        recalculation.finish_type_change,
        over(count=(1, 2)),
        Columns(holds=1, w=2 + 2 + 3 + 2, sets=0, s0=0, s3=later(0)),
        [mapped(GFN, count=2), tracked_from_now()],
    ),
    Row(
        "exec fault in a superpage (XSA-304)",
        recalculation.exec_fault,
        over(gfn=(GFN, GFN + 511)),
        Columns(holds=1, w=2, sets=1, s0=None, s3=later(1)),
        [mapped(GFN, leaf=9)],
    ),
)
