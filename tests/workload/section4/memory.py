"""Rows on guest memory that comes, goes and moves."""

from __future__ import annotations

from typing import Any

from eptreplay.p2m_types import GRANT_MAP_RW, MMIO_DM, RAM_RW
from eptreplay.workload.paths import Acts, physmap
from tests.workload.path_host import mapped
from tests.workload.section4.row import (
    EITHER,
    FAR,
    GFN,
    MFN,
    Columns,
    Row,
    behind,
    c,
    each,
    later,
    leaf,
    over,
    pages_at,
    points,
    region,
)


def middle_tables(order: int) -> int:
    """Return the tables between the root and entries that lie side by side."""
    return 3 - leaf(order) // 9


def removals(x: Any) -> int:  # noqa: ANN401 (parameters of the path)
    """Return how many pages an add_to_physmap removes: the displaced one, and the frame from where it was."""
    return int(x.displaced) + (x.source is not None)


def movable(x: Any) -> list[Acts]:  # noqa: ANN401
    """Map what an add_to_physmap finds."""
    return [mapped(GFN + 1), *pages_at(*[GFN] * x.displaced), *pages_at(*[FAR] * (x.source is not None))]


MEMORY = (
    Row(
        "add_page of order k, fresh, tables there",
        physmap.add_page,
        over(order=(0, 3, 9, 11, 18, 19)),
        lambda x: Columns(holds=1, w=c(x.order), s0=0, s3=later(0)),
        lambda x: [behind(x.order)],
    ),
    Row(
        "add_page of order k, fresh, with middle tables",
        physmap.add_page,
        over(order=(0, 3, 9, 11, 18)),
        lambda x: Columns(holds=1, w=c(x.order) + middle_tables(x.order), sets=c(x.order), s0=0, s3=later(0)),
    ),
    Row(
        "add_page of order k, the machine's frames being aligned to 4 KiB only",
        physmap.add_page,
        over(order=(3, 9), mfn=(MFN + 1,)),
        lambda x: Columns(holds=1, w=(1 << x.order) + middle_tables(0), sets=1 << x.order, s0=0, s3=later(0)),
    ),
    Row(
        "add_page of order k, replacing p entries, with a aliased frames",
        physmap.add_page,
        [
            *over(order=(0, 9), replaced=(0, 1), aliases=((), (FAR,), (FAR, FAR + 1))),
            *over(order=(2, 11), replaced=(0, 1, 4), aliases=((), (FAR, FAR + 1))),
        ],
        lambda x: Columns(
            holds=1,
            w=c(x.order) + len(x.aliases),
            s0=x.replaced + len(x.aliases),
            s3=later(x.replaced + len(x.aliases) > 0),
        ),
        lambda x: [behind(x.order), mapped(GFN, leaf=leaf(x.order), count=x.replaced), *pages_at(*x.aliases)],
    ),
    Row(
        "remove_page of order k, since 4.9",
        physmap.remove_page,
        [
            *over(order=(0, 3, 9, 11, 18), era=("4.9", "4.21")),
            {"order": 3, "old": GRANT_MAP_RW},
        ],
        lambda x: Columns(holds=1, w=c(x.order), s0=c(x.order), s3=later(1)),
        lambda x: [region(x.order, getattr(x, "old", RAM_RW))],
    ),
    Row(
        "remove_page of order k, the entries not being present",
        physmap.remove_page,
        over(order=(0, 3, 9, 11), old=(MMIO_DM,)),
        lambda x: Columns(holds=1, w=c(x.order), s0=0, s3=later(0)),
        lambda x: [region(x.order, x.old)],
    ),
    Row(
        "remove_page of order k in 4.6, mapped in pages of 4 KiB",
        physmap.remove_page,
        over(order=(0, 3), era=("4.6",)),
        lambda x: Columns(holds=1, w=1 << x.order, s0=1 << x.order, s3=later(1)),
        lambda x: [mapped(GFN, count=1 << x.order)],
    ),
    Row(
        "remove_page of order k in 4.6, mapped in superpages: each is split",
        physmap.remove_page,
        over(order=(9,), era=("4.6",)),
        lambda x: Columns(holds=1, w=(1 << x.order) + c(x.order), sets=1 << x.order, s0=1 << x.order, s3=later(1)),
        lambda x: [region(x.order)],
    ),
    Row(
        "guest_remove_page",
        physmap.guest_remove_page,
        over(gfn=(GFN, GFN + 511)),
        Columns(holds=1, w=1, s0=1, s3=later(1)),
        lambda x: pages_at(x.gfn),
    ),
    Row(
        "guest_remove_page in a superpage",
        physmap.guest_remove_page,
        over(gfn=(GFN, GFN + 511), given_leaf=(9, 18)),
        Columns(holds=1, w=2, sets=1, s0=1, s3=later(1)),
        lambda x: [mapped(GFN, leaf=x.given_leaf)],
    ),
    Row(
        "decrease_reservation of n extents of order k: batching gains nothing",
        physmap.decrease_reservation,
        over(gfns=((GFN,), (GFN, GFN + 8, GFN + 32)), order=(0, 1, 3)),
        lambda x: each(len(x.gfns) << x.order, s3=later(len(x.gfns) << x.order)),
        lambda x: [mapped(gfn, count=1 << x.order) for gfn in x.gfns],
    ),
    Row(
        "populate_physmap of n extents of order k",
        physmap.populate_physmap,
        over(gfns=((GFN,), (GFN, GFN + 0x100)), order=(0, 2)),
        lambda x: Columns(holds=len(x.gfns), w=len(x.gfns) * c(x.order), s0=0, s3=later(0)),
        [mapped(GFN + 511)],
    ),
    Row(
        "populate_physmap of n extents of superpages",
        physmap.populate_physmap,
        over(gfns=((GFN,), (GFN, GFN + 0x1000)), order=(9, 10)),
        lambda x: Columns(holds=len(x.gfns), w=len(x.gfns) * c(x.order), s0=0, s3=later(0)),
        [mapped(GFN + 0x3000)],
    ),
    Row(
        "replacing a table by a superpage",
        physmap.replace_table,
        over(order=(9, 18), given_pages=(1, 3)),
        Columns(holds=1, w=1, s0=1, s3=points(1), bad=later(1)),
        lambda x: [mapped(GFN, count=x.given_pages)],
    ),
    Row(
        "replacing a table by a superpage, in add_page of order 9",
        physmap.add_page,
        over(order=(9,), replaced=(1,)),
        Columns(holds=1, w=1, s0=1, s3=points(1), bad=later(1)),
        pages_at(GFN + 3),
    ),
    Row(
        "replacing a table by nothing, in remove_page of order 9",
        physmap.remove_page,
        over(order=(9,)),
        Columns(holds=1, w=1, s0=1, s3=points(1), bad=later(1)),
        [mapped(GFN, count=4)],
    ),
    Row(
        "add_to_physmap of a gmfn",
        physmap.add_gmfn,
        over(source=(None, FAR), displaced=EITHER),
        lambda x: Columns(holds=1, w=1 + removals(x), s0=removals(x), s3=later(removals(x) > 0)),
        movable,
    ),
    Row(
        "add_to_physmap of shared info or grant frames, since 4.16",
        physmap.add_xen_page,
        over(source=(None, FAR), displaced=EITHER),
        lambda x: Columns(holds=1, w=1 + removals(x), s0=removals(x), s3=later(removals(x) > 0)),
        movable,
    ),
    Row(
        "add_to_physmap of shared info or grant frames, up to 4.15",
        physmap.add_xen_page,
        over(source=(None, FAR), displaced=EITHER, era=("4.6", "4.9")),
        lambda x: Columns(holds=1 + removals(x), w=1 + removals(x), s0=removals(x), s3=later(removals(x))),
        movable,
    ),
    Row(
        "add_to_physmap_batch of foreign pages",
        physmap.add_foreign,
        over(gfns=((GFN,), (GFN, GFN + 1, GFN + 2)), displaced=(0, 1)),
        lambda x: Columns(holds=len(x.gfns), w=len(x.gfns) + x.displaced, s0=x.displaced, s3=later(x.displaced)),
        lambda x: [mapped(GFN + 7), *pages_at(*x.gfns[: x.displaced])],
    ),
)
