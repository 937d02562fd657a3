"""Actions that write EPT entries: ``ept_set_entry()``, ``ept_handle_misconfig()``, ``ept_change_entry_type_*()``.

All that an action stores, marks and decides is done when it is carried out; then it takes its time. A sync without a
write is like them, but takes none.
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.broadcast import request
from eptreplay.model.decisions import (
    Question,
    about_global_change,
    about_misconfig,
    about_set,
    decide,
    frame_of,
    new_type_of,
)
from eptreplay.model.ept import (
    FRAME_BITS,
    MEMORY_TYPE,
    P2M_TYPE,
    Evidence,
    Leaf,
    Work,
    enter_evidence,
    new_leaf,
    write,
)
from eptreplay.model.facts import Outcome, Stored
from eptreplay.model.holds import held
from eptreplay.model.host import NO_CALL, Call, Host, Kind, Phase
from eptreplay.model.logdirty import switch_range
from eptreplay.model.recalc import Rules, change_range, mark_entries, resolve
from eptreplay.model.rows import Row
from eptreplay.model.setting import Setting
from eptreplay.model.steps import mark_for_sync, owe, owe_nothing
from eptreplay.model.sync_points import at_sync_point
from eptreplay.p2m_types import INVALID, RAM_LOGDIRTY, RAM_RW
from eptreplay.strategies import DEFER, FREE_TABLE, NOTHING, NOW

LEVELS = {0: 0, 9: 1, 18: 2}
"""Of each order that an entry can have."""


class Done(NamedTuple):
    """What an action has done to tables."""

    work: Work
    question: Question | None
    """What is to be decided: None if no sync is needed."""
    freed: bool = False
    """A table was replaced, and is to be freed."""


def set_entry(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """SET: ``ept_set_entry()``."""
    held(setting, host, c, row)
    return write_once(setting, host.with_pcpu(c, host.pcpus[c]._replace(writes=0)), c)


def write_once(setting: Setting, host: Host, c: int) -> Outcome:
    """Carry out the SET that a pCPU is at, or its next repetition."""
    row = setting.last_row(host, c)
    p = held(setting, host, c, row)
    host = host.with_pcpu(c, host.pcpus[c]._replace(writes=host.pcpus[c].writes + 1))
    host = host.with_p2m(p, host.p2ms[p]._replace(sets=host.p2ms[p].sets + 1))
    return act(setting, *write_tables(setting, host, p, row), c, row)


def misconfig(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """MISCONFIG: ``ept_handle_misconfig()``. The frame must have been there.

    With another cause it is the hook ``recalc``, which resolves marks and never syncs.
    """
    p = held(setting, host, c, row)
    if row.gfn is None:
        work = Work(stores=1) if setting.strategy.tables == "npt" else Work()
    else:
        host = enter(host, p, row.gfn, 0, Evidence(linked=True, present=True, type=RAM_RW))
        host, work = resolve_marks(setting, host, p, row.gfn)
    question = about_misconfig(setting, row) if row.cause == "misconfig" else None
    return act(setting, host, Done(work, question), c, row)


def global_change(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """GLOBAL_CHANGE: entries are marked, and faults will see to the rest."""
    p = held(setting, host, c, row)
    change = change_everything if row.last_gfn is None else change_frames
    return act(setting, *change(setting, host, p, row), c, row)


def sync(setting: Setting, host: Host, c: int, row: Row) -> Outcome:
    """CALL of a host or alternate p2m: ``ept_sync_domain()`` by itself, as where PML switches A/D bits on."""
    if row.p2m is None or host.p2ms[setting.position[row.p2m]].lock.writer != c:
        return Outcome(host)
    p = setting.position[row.p2m]
    decision = decide(setting, host, c, p, about_global_change(setting, row))
    host, call = carry_through(setting, host, p, row, decision)
    fact = Stored(host.p2ms[p].hold, (row.p2m[0], row.cause), 0, 0, decision != NOTHING)
    return Outcome(host, (fact,)) if call == NO_CALL else request(setting, host, c, call).behind(fact)


def act(setting: Setting, host: Host, done: Done, c: int, row: Row) -> Outcome:
    """Decide about what an action has done, and begin the time that it takes."""
    p = held(setting, host, c, row)
    decision = decide(setting, host, c, p, done.question) if done.question else NOTHING
    host, call = carry_through(setting, host, p, row, decision)
    if done.freed:
        host, freeing = at_sync_point(setting, host, c, row, FREE_TABLE)
        call = call if freeing == NO_CALL else freeing
    host = host.with_pcpu(c, host.pcpus[c]._replace(phase=Phase.STORE, work=done.work, call=call))
    blame = setting.p2ms[p][0], row.cause
    fact = Stored(host.p2ms[p].hold, blame, int(row.op == "SET"), done.work.stores, decision != NOTHING)
    return Outcome(host, (fact,))


def carry_through(setting: Setting, host: Host, p: int, row: Row, decision: int) -> tuple[Host, Call]:
    """Mark and owe as decided, marking at once, whatever is put off (09fc40ed30); also returns the broadcast if NOW."""
    if decision == NOTHING:
        return host, NO_CALL
    host = mark_for_sync(setting, host, p, decision, row.cause)
    host = host.with_p2m(p, host.p2ms[p]._replace(synced=True))
    if decision == DEFER:
        return owe(host, p, row.cause), NO_CALL
    if decision == NOW:
        return owe_nothing(host, p), Call(Kind.SYNC, p, host.p2ms[p].hold, row.cause)
    return host, NO_CALL


# What actions do to tables.


def write_tables(setting: Setting, host: Host, p: int, row: Row) -> tuple[Host, Done]:
    """Write an entry; see whether that needs a sync: if the entry was present (cea357ba4b), or a leaf was split."""
    gfn = frame_of(row)
    if gfn is None:
        return host, Done(Work(stores=1), about_set(setting, row, split=False) if row.present else None)
    if row.order not in LEVELS:
        raise ValueError(f"SET of order {row.order}, which no entry has")
    level, old_type = LEVELS[row.order], RAM_RW if row.old_type is None else row.old_type
    linked = row.present or not setting.is_created(p)
    host = enter(host, p, gfn, level, Evidence(linked, row.present, old_type))
    host, work = resolve_marks(setting, host, p, gfn)
    resolved = setting.strategy.sync_misconfig and work.stores > 0
    written = write(host.p2ms[p].table, gfn, level, leaf_of(row, gfn, level))
    question = about_set(setting, row, split=written.split) if written.split or row.present or resolved else None
    host = host.with_p2m(p, host.p2ms[p]._replace(table=written.table))
    return host, Done(work.plus(written.work), question, written.freed)


def leaf_of(row: Row, gfn: int, level: int) -> Leaf | None:
    """Return what a SET writes: nothing to remove a page."""
    new_type = new_type_of(row)
    return None if new_type == INVALID else new_leaf(gfn, level, row.mfn, new_type, row.access)


def change_everything(setting: Setting, host: Host, p: int, row: Row) -> tuple[Host, Done]:
    """Mark the root's entries: ``ept_change_entry_type_global()``, ``ept_memory_type_changed()``."""
    p2m = host.p2ms[p]
    if row.new_type is not None:
        p2m = p2m._replace(log_dirty=p2m.log_dirty._replace(everywhere=row.new_type == RAM_LOGDIRTY))
    marked = mark_entries(p2m.table, MEMORY_TYPE if row.new_type is None else P2M_TYPE)
    question = about_global_change(setting, row) if marked.stores else None
    return host.with_p2m(p, p2m._replace(table=marked.table)), Done(Work(marked.stores), question)


def change_frames(setting: Setting, host: Host, p: int, row: Row) -> tuple[Host, Done]:
    """Mark what a range consists of: ``ept_change_entry_type_range()``."""
    if row.gfn is None or row.last_gfn is None or row.new_type is None:
        raise ValueError("GLOBAL_CHANGE of a range without its first frame, its last, or a new type")
    first, last = (gfn % (1 << FRAME_BITS) for gfn in (row.gfn, row.last_gfn))
    for gfn in (first, last):
        host = enter(host, p, gfn, 0, Evidence(linked=not setting.is_created(p), present=False, type=RAM_RW))
    p2m = host.p2ms[p]
    log_dirty = switch_range(p2m.log_dirty, first, last, on=row.new_type == RAM_LOGDIRTY)
    changed = change_range(p2m.table, first, last)
    host = host.with_p2m(p, p2m._replace(table=changed.table, log_dirty=log_dirty))
    return host, Done(changed.work, about_global_change(setting, row) if changed.marked else None)


def enter(host: Host, p: int, gfn: int, level: int, evidence: Evidence) -> Host:
    """Enter what a row tells of an entry before it is written."""
    p2m = host.p2ms[p]
    return host.with_p2m(p, p2m._replace(table=enter_evidence(p2m.table, gfn, level, evidence)))


def resolve_marks(setting: Setting, host: Host, p: int, gfn: int) -> tuple[Host, Work]:
    """Resolve the marks on the way to a frame."""
    p2m = host.p2ms[p]
    table, work = resolve(p2m.table, gfn, Rules(p2m.log_dirty, setting.strategy.tables == "npt"))
    return host.with_p2m(p, p2m._replace(table=table)), work
