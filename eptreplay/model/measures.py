"""What a replay cost, charged to the domain and the cause of the writes behind it, and when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eptreplay.model.facts import HANDLER, SWITCH, VMENTER, Acked, Delivered, Entered, Executed, Stored
from eptreplay.model.host import GUEST, Blame
from eptreplay.model.log import Run
from eptreplay.model.tables import MEASURES, Broadcast, Hold, Invept

BUCKETS, LEAST_BUCKET_NS = 256, 1024


class Count(NamedTuple):
    """Something that counts: when, for whom, in which measure, and how much."""

    t_ns: int
    blame: Blame
    measure: str
    amount: int


Interrupt = tuple[int, Blame | None]
"""Since when it keeps a pCPU from its guest, and what its first call is charged to."""
NOBODYS: Interrupt = (0, None)


def stolen(run: Run) -> Iterator[Count]:
    """Yield what invalidation takes from guests, and what it is charged to.

    An interrupt of a guest counts from its delivery until the guest is entered again, and is charged to the first call
    of its handler, if that is about a p2m; elsewhere only INVEPTs before entries and at switches count. Refills count
    wherever they fall.
    """
    since: dict[int, Interrupt] = {}
    costs = run.setting.costs
    for t, c, fact, _ in run.log:
        blame: Blame | None = None
        ns = 0
        match fact:
            case Delivered() if fact.mode == GUEST:
                since.setdefault(c, (t, fact.blame))
            case Acked(last=True, reenters=False) if c in since:  # its domain has been paused
                start, blame = since.pop(c)
                ns = t - start
            case Entered() if since.get(c, NOBODYS)[1] is not None:
                start, blame = since.pop(c)
                ns = t - start + (costs.refill_ns if fact.refill else 0)
            case Entered():
                since.pop(c, None)
                blame, ns = fact.refill, costs.refill_ns
            case Executed() if fact.where in {VMENTER, SWITCH} and since.get(c, NOBODYS)[1] is None:
                blame, ns = fact.blame, costs.invept_ns
            case _:
                pass
        if blame is not None:
            yield Count(t, blame, "guest_stolen_ns", ns)


def counted(run: Run, holds: list[Hold], broadcasts: list[Broadcast], invepts: list[Invept]) -> Iterator[Count]:
    """Yield all that counts, each where it counts."""
    for hold in holds:
        blame = hold.p2m[0], hold.cause
        yield Count(hold.t_release_ns, blame, "holds", 1)
        yield Count(hold.t_release_ns, blame, "hold_ns_total", hold.t_release_ns - hold.t_acquire_ns)
    for t, _, fact, _ in run.log:
        if isinstance(fact, Stored):
            yield Count(t, fact.blame, "p2m_sets", fact.sets)
            yield Count(t, fact.blame, "ept_stores", fact.stores)
            yield Count(t, fact.blame, "syncs", fact.synced)
    for broadcast in broadcasts:
        blame = broadcast.p2m[0], broadcast.cause
        yield Count(broadcast.t_request_ns, blame, "broadcasts", 1)
        yield Count(broadcast.t_locked_ns, blame, "ipis", broadcast.targets)
    for invept in invepts:
        over_ns = run.setting.costs.invept_ns if invept.where == HANDLER else 0
        yield Count(invept.t_ns + over_ns, (invept.dom, invept.cause), "invepts", 1)
    yield from stolen(run)


def measure_table(counts: Iterable[Count]) -> dict[Blame, dict[str, int]]:
    """Return what counts by p2m's domain and cause, where it is anything but zeros."""
    table: defaultdict[Blame, dict[str, int]] = defaultdict(lambda: dict.fromkeys(MEASURES, 0))
    for count in counts:
        table[count.blame][count.measure] += count.amount
    return {blame: measures for blame, measures in table.items() if any(measures.values())}


def timeline(run: Run, counts: Iterable[Count]) -> tuple[int, list[dict[str, int]]]:
    """Return the width of the buckets, and what counts in each."""
    width = LEAST_BUCKET_NS
    while run.now_ns >= BUCKETS * width:
        width *= 2
    buckets = [dict.fromkeys(MEASURES, 0) for _ in range(run.now_ns // width + 1)]
    for count in counts:
        buckets[count.t_ns // width][count.measure] += count.amount
    return width, buckets
