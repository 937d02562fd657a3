"""Rows on populate-on-demand. Faults have one write more than the table says of reclaim alone: their own."""

from __future__ import annotations

from collections.abc import Sequence

from eptreplay.p2m_types import POPULATE_ON_DEMAND
from eptreplay.workload.paths import Acts, pod
from eptreplay.workload.paths.pod import Check
from tests.workload.path_host import mapped
from tests.workload.section4.row import EITHER, GFN, Columns, Row, behind, c, later, over, points

SUPERPAGE, PAGES = GFN + 0x800, GFN + 0xC00
"""What is reclaimed: a superpage, or pages."""


def on_demand(order: int = 0) -> list[Acts]:
    """Leave an entry without a page; elsewhere, map a superpage, and pages."""
    return [mapped(GFN, leaf=order, kind=POPULATE_ON_DEMAND), mapped(SUPERPAGE, leaf=9), mapped(PAGES, count=40)]


def given_back(ram: int, pod: int, piece: int = 0, gfn: int = GFN) -> list[Acts]:
    """Map entries that have pages, and behind them some that have none."""
    return [
        mapped(gfn, leaf=piece, count=ram),
        mapped(gfn + (ram << piece), leaf=piece, count=pod, kind=POPULATE_ON_DEMAND),
        mapped(GFN + 0x3000),
    ]


def checks(unmapped: int, restored: int, start: int = PAGES) -> tuple[Check, ...]:
    """Return looks at single pages, of which the first are not empty."""
    return tuple(Check(start + n, empty=n >= restored) for n in range(unmapped))


def restored(looked_at: Sequence[Check]) -> int:
    """Return how many pages are not empty."""
    return sum(not check.empty for check in looked_at)


ON_DEMAND = (
    Row(
        "PoD fault, page in cache",
        pod.fault,
        over(order=(0, 9)),
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        lambda x: on_demand(x.order),
    ),
    Row(
        "PoD fault with eager reclaim of a superpage",
        pod.fault_with_reclaim,
        [{"checks": (Check(SUPERPAGE, 9, empty=empty),)} for empty in EITHER],
        lambda x: Columns(holds=1, w=1 + 1 + restored(x.checks), s0=1, s3=points(1)),
        on_demand(),
    ),
    Row(
        "PoD fault with eager reclaim of a superpage that was mapped page by page",
        pod.fault_with_reclaim,
        [{"checks": (Check(SUPERPAGE, 9),)}],
        Columns(holds=1, w=1 + 1, s0=1, s3=points(1)),
        [mapped(GFN, kind=POPULATE_ON_DEMAND), mapped(SUPERPAGE, count=16)],
    ),
    Row(
        "PoD fault with eager reclaim of single pages: each has a sync point of its own",
        pod.fault_with_reclaim,
        [{"checks": checks(*numbers)} for numbers in ((1, 0), (1, 1), (5, 2), (40, 0))],
        lambda x: Columns(
            holds=1, w=1 + len(x.checks) + restored(x.checks), s0=len(x.checks), s3=points(len(x.checks))
        ),
        on_demand(),
    ),
    Row(
        "PoD fault with eager reclaim of a superpage that is not empty, and of pages in it: it is split",
        pod.fault_with_reclaim,
        [
            {"checks": (Check(SUPERPAGE, 9, empty=False), *checks(*numbers, SUPERPAGE))}
            for numbers in ((1, 0), (5, 2), (40, 0))
        ],
        lambda x: Columns(
            holds=1,
            w=1 + len(x.checks) + restored(x.checks) + 1,
            sets=1 + len(x.checks) + restored(x.checks),
            s0=len(x.checks),
            s3=points(len(x.checks)),
        ),
        on_demand(),
    ),
    Row(
        "PoD fault with an emergency sweep",
        pod.fault_with_sweep,
        over(strides=((checks(16, 0),), (checks(1, 1),), (checks(16, 3), checks(4, 1, PAGES + 16)))),
        lambda x: Columns(
            holds=1,
            w=1 + sum(len(stride) + restored(stride) for stride in x.strides),
            s0=sum(len(stride) for stride in x.strides),
            s3=points(len(x.strides)),
        ),
        on_demand(),
    ),
    Row(
        "PoD remap_and_retry: one set-entry call, which splits",
        pod.remap,
        over(gfn=(GFN, GFN + 5)),
        Columns(holds=1, w=1 + 1, sets=1, s0=1, s3=later(1)),
        on_demand(9),
    ),
    Row(
        "PoD remap_and_retry in 4.6: 512 calls, the first of which splits",
        pod.remap,
        over(gfn=(GFN + 5,), era=("4.6",)),
        Columns(holds=1, w=512 + 1, sets=512, s0=1, s3=later(1)),
        on_demand(9),
    ),
    Row(
        "PoD zero check of a superpage",
        pod.check_superpage,
        over(gfn=(SUPERPAGE,), empty=EITHER),
        lambda x: Columns(holds=1, w=1 + (not x.empty), s0=1, s3=points(1)),
        on_demand(),
    ),
    Row(
        "PoD decrease_reservation, s entries being stolen, and q without a page",
        pod.decrease,
        over(gfn=(GFN,), order=(3, 11), ram=(0, 1, 3), pod=(0, 1)),
        lambda x: Columns(holds=1, w=x.ram + x.pod, s0=x.ram, s3=points(x.ram)),
        lambda x: given_back(x.ram, x.pod),
    ),
    Row(
        "PoD decrease_reservation of superpages",
        pod.decrease,
        over(gfn=(GFN,), order=(11,), piece=(9,), ram=(0, 1, 3), pod=(0, 1), era=("4.9", "4.21")),
        lambda x: Columns(holds=1, w=x.ram + x.pod, s0=x.ram, s3=points(x.ram)),
        lambda x: given_back(x.ram, x.pod, piece=9),
    ),
    Row(
        "PoD decrease_reservation of a superpage in 4.6: page by page",
        pod.decrease,
        over(gfn=(GFN,), order=(9,), piece=(9,), ram=(1,), pod=(0,), era=("4.6",)),
        Columns(holds=1, w=512 + 1, sets=512, s0=512, s3=points(512)),
        given_back(1, 0, piece=9),
    ),
    Row(
        "PoD decrease_reservation, unaligned, up to 4.15",
        pod.decrease,
        over(gfn=(GFN + 2,), order=(3,), ram=(1, 5), pod=(2,), era=("4.6", "4.9")),
        lambda x: Columns(holds=1, w=x.ram + x.pod, s0=x.ram, s3=points(x.ram)),
        lambda x: given_back(x.ram, x.pod, gfn=x.gfn),
    ),
    Row(
        "PoD decrease_reservation, unaligned: a hold for each aligned piece of the request",
        pod.decrease,
        over(gfn=(GFN + 2,), order=(3,), ram=(1, 5), pod=(2,)),
        lambda x: Columns(holds=4, w=x.ram + x.pod, s0=x.ram, s3=points(x.ram)),
        lambda x: given_back(x.ram, x.pod, gfn=x.gfn),
    ),
    Row(
        "mark_populate_on_demand",
        pod.mark,
        over(order=(0, 3, 9, 10)),
        lambda x: Columns(holds=1, w=c(x.order), s0=0, s3=later(0)),
        lambda x: [behind(x.order)],
    ),
    Row(
        "mark_populate_on_demand, unaligned: a hold for each aligned piece of the request",
        pod.mark,
        over(gfn=(GFN + 4,), order=(3,)),
        Columns(holds=2, w=8, s0=0, s3=later(0)),
        [mapped(GFN)],
    ),
)
