"""What a replay cost, charged to the domain and the cause of the writes behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from eptreplay.model.facts import SWITCH, VMENTER, Acked, Delivered, Entered, Executed, Stored
from eptreplay.model.host import GUEST, Blame
from eptreplay.model.log import Run
from eptreplay.model.tables import MEASURES, Broadcast, Hold, Invept


def stolen(run: Run) -> Iterator[tuple[Blame, int]]:
    """Yield what invalidation takes from guests, and what it is charged to.

    An interrupt of a guest counts from its delivery until the guest is entered again; elsewhere only INVEPTs before
    entries and at switches count. Refills count wherever they fall.
    """
    since: dict[int, tuple[int, Blame]] = {}
    refill_ns = run.costs.refill_ns
    for t, c, fact in run.log:
        match fact:
            case Delivered() if fact.mode == GUEST:
                since[c] = t, fact.blame
            case Acked(reenters=False) if c in since:  # its domain has been paused
                start, blame = since.pop(c)
                yield blame, t - start
            case Entered() if c in since:
                start, blame = since.pop(c)
                yield blame, t - start + (refill_ns if fact.refill else 0)
            case Entered() if fact.refill:
                yield fact.refill, refill_ns
            case Executed() if fact.where in {VMENTER, SWITCH} and c not in since:
                yield fact.blame, run.costs.invept_ns
            case _:
                pass


def measure_table(
    run: Run, holds: list[Hold], broadcasts: list[Broadcast], invepts: list[Invept]
) -> dict[Blame, dict[str, int]]:
    """Return what the other tables add up to, for each p2m's domain and cause with anything but zeros."""
    table: defaultdict[Blame, dict[str, int]] = defaultdict(lambda: dict.fromkeys(MEASURES, 0))
    for hold in holds:
        table[hold.p2m[0], hold.cause]["holds"] += 1
        table[hold.p2m[0], hold.cause]["hold_ns_total"] += hold.t_release_ns - hold.t_acquire_ns
    for _, _, fact in run.log:
        if isinstance(fact, Stored):
            table[fact.blame]["p2m_sets"] += fact.sets
            table[fact.blame]["ept_stores"] += fact.stores
            table[fact.blame]["syncs"] += fact.synced
    for broadcast in broadcasts:
        table[broadcast.p2m[0], broadcast.cause]["broadcasts"] += 1
        table[broadcast.p2m[0], broadcast.cause]["ipis"] += broadcast.targets
    for invept in invepts:
        table[invept.dom, invept.cause]["invepts"] += 1
    for blame, ns in stolen(run):
        table[blame]["guest_stolen_ns"] += ns
    return {blame: measures for blame, measures in table.items() if any(measures.values())}
