"""Changes of EPT tables within a hold, what a strategy decides about each, and Xen's explicit sync points."""

from __future__ import annotations

from eptreplay.jit import i64, part, piece
from eptreplay.machine import ept
from eptreplay.machine import fields as f
from eptreplay.machine.bits import fill
from eptreplay.p2m_types import RAM_LOGDIRTY
from eptreplay.replay import program as p
from eptreplay.replay import tally as y
from eptreplay.replay.broadcasts import intend
from eptreplay.replay.decisions import DecideType
from eptreplay.replay.host import Host, begin_gap, charge
from eptreplay.strategies import decision as d


@part
def change(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, row: int, now: int) -> None:
    """Carry out SET, MISCONFIG, GLOBAL_CHANGE or a sync without either; a broadcast may come after the stores."""
    cpu, how = h.cpu, h.how
    op, n, k = w.rows[row].op & p.OP, i64(w.rows[row].arg), i64(w.rows[row].which)
    a = w.acts[k]
    # As wide as others have them: what is compiled once need not be compiled for narrow numbers as well.
    dom, cause, hold = i64(h.p2m[n].domain), i64(a.cause), h.p2m[n].hold
    what, default, needs, upgrade, order, mfn = d.SET, how[f.DEFAULT], True, 0, a.order, a.mfn
    if op == p.SET:
        done = _write(h, w, n, k)
        needs = a.present != 0 or done & ept.SPLIT != 0
        needs = needs or (how[f.SYNCS + d.MISCONFIG] != 0 and done & ept.RESOLVED != 0)
        upgrade = 0 if done & ept.SPLIT else a.upgrade
        if how[f.ELIDE] and upgrade:
            default = d.NOTHING
        charge(t, dom, cause, y.SETS, 1)
        charge(t, dom, cause, y.RECORDED, a.recorded)
        t.hold[hold, y.H_SETS] += 1
    else:
        order, mfn = f.NONE, f.NONE
        if op == p.MISCONFIG:
            what, needs = d.MISCONFIG, cause == p.MENDING
            default = how[f.DEFAULT] if how[f.SYNCS + d.MISCONFIG] else d.NOTHING
            done = _mend(h, w, n, k)
        elif op == p.GLOBAL_CHANGE:
            what = d.GLOBAL_CHANGE
            done = _change_all(h, w, n, k)
            needs = done & ept.MARKED != 0
        else:
            what, done = d.GLOBAL_CHANGE, 0
    stores, built = (done >> ept.STORES_SHIFT) & ept.STORES_MASK, done >> ept.BUILT_SHIFT
    charge(t, dom, cause, y.STORES, stores)
    cpu[c].phase = f.STORE
    cpu[c].due = now + h.cost[f.C_SET] + max(0, stores + built - 1) * h.cost[f.C_STORE]
    decision = d.NOTHING
    if needs:
        decision = default
        if how[f.DECIDES]:
            decision = _asked(
                h, t, decide, c, n, row, now, what, default, cause, a.old, a.new, order, upgrade,
                a.gfn, mfn,
            )  # fmt: skip
    if decision != d.NOTHING:
        charge(t, dom, cause, y.SYNCS, 1)
        _sync(h, c, n, cause, hold, decision)
    if done & ept.FREED:
        sync_point(h, t, decide, c, n, row, now, d.FREE_TABLE, cause, order, a.gfn, f.END_WRITE)
    if op == p.CALL:
        _go_on_at_once(h, t, w, c, now)


@part
def _go_on_at_once(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Send what is to be broadcast, or end the row, which takes no time of its own."""
    if h.cpu[c].b_hold == f.NONE:
        begin_gap(h, t, w, c, now)
    else:
        h.cpu[c].phase = f.REQUEST


@part
def _sync(h: Host, c: int, n: int, cause: int, hold: int, decision: int) -> None:
    """Mark as a decision wants it, and have a broadcast sent, at once or at the release."""
    kind = h.how[f.IPI_KIND]
    h.p2m[n].synced = 1
    # Whom an interrupt, or hardware, makes invalidate needs no mark. With INVEPT in the handler that is known only
    # when the broadcast is requested; NOW leaves marking to that.
    if decision == d.MARK or kind == f.IPI_KICK or (decision == d.DEFER and kind == f.IPI_INVEPT):
        at = h.p2m[n].marked_at
        fill(h.mark[at])
        h.p2m[at].mark_cause = cause
    if decision == d.DEFER:
        if not h.p2m[n].owed:
            h.p2m[n].owed_cause = cause
        h.p2m[n].owed = 1
        h.p2m[n].pending += 1
    elif decision == d.NOW:
        h.p2m[n].owed = 0
        h.p2m[n].pending = 0
        intend(h, c, n, cause, hold, f.END_WRITE)


@part
def sync_point(
    h: Host, t: y.Tally, decide: DecideType, c: int, n: int, row: int, now: int, what: int, cause: int, order: int,
    gfn: int, then: int,
) -> None:  # fmt: skip
    """Have what is owed sent under the lock, if the strategy wants that here: ``p2m_tlb_flush_sync()``."""
    if not h.p2m[n].owed:
        return
    decision = d.NOW if h.how[f.SYNCS + what] else d.NOTHING
    if h.how[f.DECIDES]:
        decision = _asked(h, t, decide, c, n, row, now, what, decision, cause, f.NONE, f.NONE, order, 0, gfn, f.NONE)
    if decision == d.NOW:
        intend(h, c, n, h.p2m[n].owed_cause, h.p2m[n].hold, then)
        h.p2m[n].owed = 0
        h.p2m[n].pending = 0


@part
def pass_sync_point(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, row: int, now: int) -> None:
    """Carry out FREE_TABLE or POD_RECLAIM, which take no time but for a broadcast."""
    n = i64(w.rows[row].arg)
    a = w.acts[w.rows[row].which]
    sync_point(h, t, decide, c, n, row, now, a.what, i64(a.cause), a.order, a.gfn, f.END_ROW)
    _go_on_at_once(h, t, w, c, now)


@part
def call(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Carry out CALL about a p2m: a sync without a write, or a flush of a nested one, if the host p2m has changed."""
    n = i64(w.rows[row].arg)
    if not h.p2m[n].nested and h.lock[1 + n].owner == c:
        h.cpu[c].repeats = 1
        h.cpu[c].phase = f.CHANGE
        return
    own = h.dom[h.p2m[n].domain].host_p2m if h.p2m[n].nested else f.NONE
    if own == f.NONE or h.lock[1 + own].owner != c or not h.p2m[own].synced:
        begin_gap(h, t, w, c, now)
        return
    intend(h, c, n, w.acts[w.rows[row].which].cause, h.p2m[own].hold, f.END_ROW)
    h.cpu[c].b_kind = f.IPI_PLAIN
    h.cpu[c].phase = f.REQUEST


@part
def _asked(
    h: Host, t: y.Tally, decide: DecideType, c: int, n: int, row: int, now: int, what: int, default: int, cause: int,
    old: int, new: int, order: int, upgrade: int, gfn: int, mfn: int,
) -> int:  # fmt: skip
    """Return what a decision function says; NOTHING, and an error, if that is no decision."""
    hold, dom = h.p2m[n].hold, h.p2m[n].domain
    others = h.dom[dom].dirty - (1 if h.cpu[c].domain == dom else 0)
    decision = decide(
        what, default, cause, old, new, order, upgrade, h.p2m[n].pending, t.hold[hold, y.H_SETS], others, now,
        now - t.hold[hold, y.H_ACQUIRE], gfn, mfn,
    )  # fmt: skip
    if d.NOTHING <= decision <= d.NOW:
        return decision
    t.total[y.STATUS] = y.BAD_DECISION
    t.total[y.STATUS_ROW] = row
    return d.NOTHING


@part
def _write(h: Host, w: p.Program, n: int, k: int) -> int:
    """Write an entry; returns what that did, see ``ept.STORES_SHIFT``. One at an unknown frame is one store."""
    a = w.acts[k]
    if a.gfn == f.NONE:
        return 1 << ept.STORES_SHIFT
    gfn, level, present, entry = a.gfn & ept.GFN_MASK, i64(a.level), i64(a.present), a.entry
    if ept.write_plainly(h.node, w.path[k], h.p2m[n].root, gfn, level, present, entry):
        return 1 << ept.STORES_SHIFT
    return _write_all(h, w, n, k)


@piece
def _write_all(h: Host, w: p.Program, n: int, k: int) -> int:
    """Write an entry where more than that is to be done."""
    a = w.acts[k]
    gfn, level, root = a.gfn & ept.GFN_MASK, i64(a.level), h.p2m[n].root
    present, old = i64(a.present), i64(a.old)
    ept.enter_evidence(h.node, h.rest, h.linked, w.path[k], root, gfn, level, h.p2m[n].unfamiliar, present, old)
    resolved = _resolve(h, w, n, k)
    done = ept.write(h.node, h.rest, h.linked, w.path[k], root, gfn, level, a.entry)
    return done + resolved | (ept.RESOLVED if resolved else 0)


@piece
def _mend(h: Host, w: p.Program, n: int, k: int) -> int:
    """Resolve what makes a frame misconfigured; returns what that did."""
    a = w.acts[k]
    if a.gfn == f.NONE:
        return int(h.how[f.IS_NPT] << ept.STORES_SHIFT)
    gfn = a.gfn & ept.GFN_MASK
    ept.enter_evidence(h.node, h.rest, h.linked, w.path[k], h.p2m[n].root, gfn, 0, h.p2m[n].unfamiliar, 1, ept.NO_TYPE)
    return _resolve(h, w, n, k)


@piece
def _resolve(h: Host, w: p.Program, n: int, k: int) -> int:
    return ept.resolve(
        h.node, h.rest, h.linked, w.path[k], h.p2m[n].root, w.acts[k].gfn & ept.GFN_MASK, h.ranges[n],
        h.p2m[n].ranges, h.p2m[n].tracked, h.how[f.IS_NPT],
    )  # fmt: skip


@piece
def _change_all(h: Host, w: p.Program, n: int, k: int) -> int:
    """Mark everything, or a range; returns what that did."""
    a = w.acts[k]
    root, tracked = h.p2m[n].root, 1 if a.new == RAM_LOGDIRTY else 0
    if a.last == f.NONE:
        if a.new >= 0:
            h.p2m[n].tracked = tracked
        stores = ept.mark_all(h.node, h.rest, root, ept.ALL_TYPES if a.new >= 0 else ept.MEMORY_TYPES)
        return stores << ept.STORES_SHIFT | (ept.MARKED if stores else 0)
    first, last = a.gfn & ept.GFN_MASK, a.last & ept.GFN_MASK
    if last < first:
        return 0
    h.p2m[n].ranges = ept.track(h.ranges[n], h.p2m[n].ranges, first, last, tracked)
    first_path, last_path = w.path[k], w.path[a.last_path]
    for path, gfn in ((first_path, first), (last_path, last)):
        ept.enter_evidence(h.node, h.rest, h.linked, path, root, gfn, 0, h.p2m[n].unfamiliar, 0, ept.NO_TYPE)
    return ept.mark_range(h.node, h.rest, h.linked, first_path, last_path, root, first, last)
