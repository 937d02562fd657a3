"""What a strategy decides about a write that needs a sync."""

from __future__ import annotations

from eptreplay.causes import CAUSES
from eptreplay.model.host import Host, Setting, dirty
from eptreplay.model.rows import Row
from eptreplay.p2m_types import is_upgrade
from eptreplay.strategies import DEFER, MARK, NOTHING, NOW, SET, Request

UNKNOWN_TYPE = -1


def decide(setting: Setting, host: Host, c: int, p: int, row: Row) -> int:
    """Return the decision about a SET whose entry has just been stored, and was present before.

    Raises ValueError if a user's function returns anything but a decision.
    """
    strategy = setting.strategy
    upgrade = row.order == 0 and row.old_type is not None and is_upgrade(row.old_type, row.new_type)
    default = NOTHING if upgrade and strategy.upgrades == "elide" else strategy.default
    if strategy.decide is None:
        return default
    p2m = host.p2ms[p]
    decision = strategy.decide(
        Request(
            what=SET,
            default=default,
            cause=CAUSES.index(row.cause),
            old_type=UNKNOWN_TYPE if row.old_type is None else row.old_type,
            new_type=row.new_type,
            order=row.order,
            upgrade=int(upgrade),
            pending=p2m.owed.syncs if p2m.owed else 0,
            sets=p2m.sets,
            dirty=sum(other != c for other in dirty(host, setting.p2ms[p][0])),
            now_ns=host.now_ns,
            held_ns=host.now_ns - p2m.acquired_ns,
            gfn=row.gfn,
            mfn=row.mfn,
        )
    )
    if decision not in {NOTHING, MARK, DEFER, NOW}:
        raise ValueError(f"strategy {strategy.name}: decide returned {decision!r}, which is no decision")
    return decision
