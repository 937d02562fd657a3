"""What a strategy decides: about writes that need a sync, about marks that were made or resolved, at sync points."""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.causes import CAUSES
from eptreplay.model.host import Host, dirty
from eptreplay.model.rows import Row
from eptreplay.model.setting import Setting
from eptreplay.p2m_types import RWX, is_upgrade
from eptreplay.strategies import DEFER, GLOBAL_CHANGE, MARK, MISCONFIG, NOTHING, NOW, SET, Request

UNKNOWN = -1


class Question(NamedTuple):
    """What is to be decided: those fields of a request that do not hang on the host."""

    what: int
    default: int
    cause: str
    old_type: int = UNKNOWN
    new_type: int = UNKNOWN
    order: int = UNKNOWN
    upgrade: bool = False
    gfn: int = UNKNOWN
    mfn: int = UNKNOWN


def about_set(setting: Setting, row: Row, *, split: bool) -> Question:
    """Ask about a write that needs a sync; ``split``: it has split a larger leaf."""
    new_type = new_type_of(row)
    whole = row.order == 0 and not split and row.access == RWX
    upgrade = whole and row.old_type is not None and is_upgrade(row.old_type, new_type)
    known = frame_of(row) is not None
    return Question(
        SET,
        NOTHING if upgrade and setting.strategy.upgrades == "elide" else setting.strategy.default,
        row.cause,
        old_type=_or_unknown(row.old_type),
        new_type=new_type,
        order=row.order,
        upgrade=upgrade,
        gfn=_or_unknown(frame_of(row)),
        mfn=row.mfn if known else UNKNOWN,
    )


def about_misconfig(setting: Setting, row: Row) -> Question:
    """Ask about an EPT_MISCONFIG exit: a sync up to 4.6, and none since cea357ba4b."""
    default = setting.strategy.default if setting.strategy.sync_misconfig else NOTHING
    return Question(MISCONFIG, default, row.cause, gfn=_or_unknown(row.gfn), new_type=_or_unknown(row.new_type))


def about_global_change(setting: Setting, row: Row) -> Question:
    """Ask about marks that were made."""
    first = None if row.last_gfn is None else row.gfn
    return Question(
        GLOBAL_CHANGE,
        setting.strategy.default,
        row.cause,
        new_type=_or_unknown(row.new_type),
        gfn=_or_unknown(first),
    )


def about_sync_point(row: Row, what: int, *, wanted: bool) -> Question:
    """Ask whether what is owed is to be broadcast here, as the strategy's switch says."""
    return Question(what, NOW if wanted else NOTHING, row.cause, order=row.order, gfn=_or_unknown(row.gfn))


def decide(setting: Setting, host: Host, c: int, p: int, question: Question) -> int:
    """Return the decision about something that has just been done to a p2m.

    Raises ValueError if a user's function returns anything but a decision.
    """
    strategy, p2m = setting.strategy, host.p2ms[p]
    if strategy.decide is None:
        return question.default
    decision = strategy.decide(
        Request(
            what=question.what,
            default=question.default,
            cause=CAUSES.index(question.cause),
            old_type=question.old_type,
            new_type=question.new_type,
            order=question.order,
            upgrade=int(question.upgrade),
            pending=p2m.owed.syncs if p2m.owed else 0,
            sets=p2m.sets,
            dirty=sum(other != c for other in dirty(host, setting.p2ms[p][0])),
            now_ns=host.now_ns,
            held_ns=host.now_ns - p2m.acquired_ns,
            gfn=question.gfn,
            mfn=question.mfn,
        )
    )
    if decision not in {NOTHING, MARK, DEFER, NOW}:
        raise ValueError(f"strategy {strategy.name}: decide returned {decision!r}, which is no decision")
    return decision


def frame_of(row: Row) -> int | None:
    """Return the frame that a SET writes; None if it is unknown, as it is of repeated ones."""
    return None if row.count > 1 else row.gfn


def new_type_of(row: Row) -> int:
    """Return the type that a SET writes."""
    if row.new_type is None:
        raise ValueError("SET without a new type")
    return row.new_type


def _or_unknown(number: int | None) -> int:
    return UNKNOWN if number is None else number
