"""Rows on grants, devices, memory events, and domains with several p2ms."""

from __future__ import annotations

from eptreplay.p2m_types import GRANT_MAP_RO, GRANT_MAP_RW, INVALID, MMIO_DIRECT, MMIO_DM, RAM_RW
from eptreplay.workload.paths import devices, events, views
from tests.workload.path_host import mapped
from tests.workload.section4.row import (
    EITHER,
    GFN,
    Columns,
    Row,
    Sent,
    behind,
    c,
    each,
    later,
    leaf,
    over,
    pages_at,
    region,
)

PAGING_OUT, PAGED, PAGING_IN, SHARED = 9, 10, 11, 12
NO_ACCESS, ACCESS_R, ACCESS_RX, ACCESS_RWX, RX2RW, N2RWX = 0, 1, 5, 7, 8, 9
DEVICE = 0xE0000

GRANTS_AND_DEVICES = (
    Row(
        "grant map, the frame being empty",
        devices.grant_map,
        over(writable=EITHER),
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        pages_at(GFN + 1),
    ),
    Row(
        "grant map in place of something",
        devices.grant_map,
        over(old=(RAM_RW, GRANT_MAP_RW, MMIO_DM)),
        lambda x: Columns(holds=1, w=1, s0=x.old != MMIO_DM, s3=later(x.old != MMIO_DM)),
        lambda x: pages_at(GFN, kind=x.old),
    ),
    Row(
        "grant unmap, n operations",
        devices.grant_unmap,
        over(gfns=((GFN,), (GFN, GFN + 1, GFN + 9)), writable=EITHER),
        lambda x: each(len(x.gfns), s3=later(len(x.gfns))),
        lambda x: pages_at(*x.gfns, kind=GRANT_MAP_RW if x.writable else GRANT_MAP_RO),
    ),
    Row(
        "map_mmio_regions, p entries being there",
        devices.map_mmio,
        [
            *over(mfn=(DEVICE,), order=(0, 9), replaced=(0, 1)),
            *over(mfn=(DEVICE,), order=(1, 2, 10), replaced=(0, 1, 2)),
        ],
        lambda x: Columns(holds=c(x.order), w=c(x.order), s0=x.replaced, s3=later(x.replaced)),
        lambda x: [behind(x.order), mapped(GFN, leaf=leaf(x.order), count=x.replaced, kind=MMIO_DIRECT)],
    ),
    Row(
        "unmap_mmio_regions",
        devices.unmap_mmio,
        over(order=(0, 2, 9, 10), era=("4.9", "4.21")),
        lambda x: each(c(x.order), s3=later(c(x.order))),
        lambda x: [region(x.order, MMIO_DIRECT)],
    ),
    Row(
        "unmap_mmio_regions of a superpage in 4.6: one hold, written page by page",
        devices.unmap_mmio,
        over(order=(9,), era=("4.6",)),
        Columns(holds=1, w=512 + 1, sets=512, s0=512, s3=later(1)),
        [region(9, MMIO_DIRECT)],
    ),
)

MEMORY_EVENTS = (
    Row(
        "set_mem_access of nr pages",
        events.set_mem_access,
        over(count=(1, 3, 70), per_hold=(64, 128)),
        lambda x: Columns(
            holds=1 + (x.count > x.per_hold), w=x.count, s0=x.count, s3=later(1 + (x.count > x.per_hold))
        ),
        lambda x: [mapped(GFN, count=x.count)],
    ),
    Row(
        "set_mem_access that gives rights back to entries that have some",
        events.set_mem_access,
        over(count=(3,), access=(ACCESS_RWX,), old_access=(ACCESS_R, ACCESS_RX)),
        Columns(holds=1, w=3, s0=3, s3=later(1)),
        lambda x: [mapped(GFN, count=3), events.set_mem_access(count=3, access=x.old_access)],
    ),
    Row(
        "set_mem_access that gives rights back to entries that have none, and so are not present",
        events.set_mem_access,
        over(count=(3,), access=(ACCESS_RWX,), old_access=(NO_ACCESS,)),
        Columns(holds=1, w=3, s0=0, s3=later(0)),
        [mapped(GFN, count=3), tuple(events.set_mem_access(count=3, access=NO_ACCESS))],
    ),
    Row(
        "mem_access_check, auto-promotion of rx2rw",
        events.promote_access,
        over(gfn=(GFN,)),
        Columns(holds=1, w=1, s0=1, s3=later(1)),
        [mapped(GFN), tuple(events.set_mem_access(count=1, access=RX2RW))],
    ),
    Row(
        "mem_access_check, auto-promotion of n2rwx, which has no rights",
        events.promote_access,
        over(access=(ACCESS_RWX,), old_access=(N2RWX,)),
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        [mapped(GFN), tuple(events.set_mem_access(count=1, access=N2RWX))],
    ),
    Row(
        "paging: nominate",
        events.nominate_for_paging,
        over(gfn=(GFN,)),
        Columns(holds=1, w=1, s0=1, s3=later(1)),
        pages_at(GFN),
    ),
    Row("paging: evict", events.evict, [{}], Columns(holds=1, w=1, s0=0, s3=later(0)), pages_at(GFN, kind=PAGING_OUT)),
    Row(
        "paging: populate",
        events.populate_paged,
        [{}],
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        pages_at(GFN, kind=PAGED),
    ),
    Row(
        "paging: prep",
        events.prepare_paged,
        [{}],
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        pages_at(GFN, kind=PAGING_IN),
    ),
    Row(
        "mem_sharing: nominate",
        events.nominate_for_sharing,
        [{}],
        Columns(holds=1, w=1, s0=1, s3=later(1)),
        pages_at(GFN),
    ),
    Row(
        "mem_sharing: share g frames within a domain",
        events.share,
        over(source=(1,), client=(1,), gfns=(((1, GFN),), ((1, GFN), (1, GFN + 1)))),
        lambda x: Columns(holds=1, w=len(x.gfns), s0=len(x.gfns), s3=later(1)),
        lambda x: [mapped(gfn, kind=SHARED) for _, gfn in x.gfns],
    ),
    Row(
        "mem_sharing: share g frames of the client, whose lock is released before that of the source",
        events.share,
        over(source=(1,), client=(2,), gfns=(((2, GFN),), ((2, GFN), (2, GFN + 1), (2, GFN + 2)))),
        lambda x: Columns(holds=2, w=len(x.gfns), s0=len(x.gfns), s3=Sent(after=1, beneath=1)),
        lambda x: [mapped(gfn, kind=SHARED, dom=dom) for dom, gfn in x.gfns],
    ),
    Row(
        "mem_sharing: share g frames of both",
        events.share,
        over(source=(1,), client=(2,), gfns=(((2, GFN), (1, GFN)),)),
        Columns(holds=2, w=2, s0=2, s3=Sent(after=2, beneath=1)),
        lambda x: [mapped(gfn, kind=SHARED, dom=dom) for dom, gfn in x.gfns],
    ),
    Row(
        "mem_sharing: share one frame of the client, and others of a third domain, with a hold for each",
        events.share,
        over(source=(1,), client=(2,), gfns=(((2, GFN), (3, GFN)), ((2, GFN), (3, GFN), (3, GFN + 1)))),
        lambda x: Columns(
            holds=1 + len(x.gfns), w=len(x.gfns), s0=len(x.gfns), s3=Sent(after=len(x.gfns), beneath=len(x.gfns))
        ),
        lambda x: [mapped(gfn, kind=SHARED, dom=dom) for dom, gfn in x.gfns],
    ),
    Row(
        "mem_sharing: unshare",
        events.unshare,
        over(last=EITHER),
        lambda x: Columns(holds=1, w=2 - x.last, s0=2 - x.last, s3=later(1)),
        pages_at(GFN, kind=SHARED),
    ),
)

SEVERAL_P2MS = (
    Row(
        "a write of the host p2m with V alternate p2ms that map the frame",
        views.write_with_views,
        over(views=((), (1,), (1, 4, 9))),
        lambda x: each(1 + len(x.views), s3=Sent(after=1 + len(x.views), beneath=len(x.views))),
        lambda x: [mapped(GFN, view=view) for view in (0, *x.views)],
    ),
    Row(
        "a write of the host p2m with nested p2ms in use: an interrupt for each, under the lock",
        views.write_with_nested,
        over(nested=(0, 1, 10)),
        lambda x: Columns(holds=1, w=1, s0=1 + x.nested, s3=Sent(points=x.nested, after=1)),
        [mapped(GFN)],
    ),
    Row(
        "a write that needs no sync with nested p2ms in use",
        views.write_with_nested,
        over(old=(INVALID,), new=(RAM_RW,), nested=(3,)),
        Columns(holds=1, w=1, s0=0, s3=later(0)),
        [mapped(GFN + 1)],
    ),
)
