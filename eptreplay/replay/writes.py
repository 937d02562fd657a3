"""Changes of EPT tables within a hold, what a strategy decides about each, and Xen's explicit sync points."""

from __future__ import annotations

from eptreplay.jit import part, piece
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
    op, n, k = w.op[row] & p.OP, w.arg[row], w.item[row]
    a = w.acts[k]
    dom, cause, hold = h.p2m[n, f.P_DOMAIN], a[p.A_CAUSE], h.p2m[n, f.HOLD]
    what, default, needs, upgrade, order, mfn = d.SET, how[f.DEFAULT], True, 0, a[p.A_ORDER], a[p.A_MFN]
    if op == p.SET:
        done = _write(h, w, n, k)
        needs = a[p.A_PRESENT] != 0 or done & ept.SPLIT != 0
        needs = needs or (how[f.SYNCS + d.MISCONFIG] != 0 and done & ept.RESOLVED != 0)
        upgrade = 0 if done & ept.SPLIT else a[p.A_UPGRADE]
        if how[f.ELIDE] and upgrade:
            default = d.NOTHING
        charge(t, dom, cause, y.SETS, 1)
        charge(t, dom, cause, y.RECORDED, a[p.A_RECORDED])
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
    cpu[c, f.PHASE] = f.STORE
    cpu[c, f.DUE] = now + h.cost[f.C_SET] + max(0, stores + built - 1) * h.cost[f.C_STORE]
    decision = d.NOTHING
    if needs:
        decision = default
        if how[f.DECIDES]:
            decision = _asked(
                h, t, decide, c, n, row, now, what, default, cause, a[p.A_OLD], a[p.A_NEW], order, upgrade,
                a[p.A_GFN], mfn,
            )  # fmt: skip
    if decision != d.NOTHING:
        charge(t, dom, cause, y.SYNCS, 1)
        _sync(h, c, n, cause, hold, decision)
    if done & ept.FREED:
        sync_point(h, t, decide, c, n, row, now, d.FREE_TABLE, cause, order, a[p.A_GFN], f.END_WRITE)
    if op == p.CALL:
        _go_on_at_once(h, t, w, c, now)


@part
def _go_on_at_once(h: Host, t: y.Tally, w: p.Program, c: int, now: int) -> None:
    """Send what is to be broadcast, or end the row, which takes no time of its own."""
    if h.cpu[c, f.B_HOLD] == f.NONE:
        begin_gap(h, t, w, c, now)
    else:
        h.cpu[c, f.PHASE] = f.REQUEST


@part
def _sync(h: Host, c: int, n: int, cause: int, hold: int, decision: int) -> None:
    """Mark as a decision wants it, and have a broadcast sent, at once or at the release."""
    kind = h.how[f.IPI_KIND]
    h.p2m[n, f.SYNCED] = 1
    # Whom an interrupt, or hardware, makes invalidate needs no mark. With INVEPT in the handler that is known only
    # when the broadcast is requested; NOW leaves marking to that.
    if decision == d.MARK or kind == f.IPI_KICK or (decision == d.DEFER and kind == f.IPI_INVEPT):
        at = h.p2m[n, f.MARKED_AT]
        fill(h.mark[at])
        h.p2m[at, f.MARK_CAUSE] = cause
    if decision == d.DEFER:
        if not h.p2m[n, f.OWED]:
            h.p2m[n, f.OWED_CAUSE] = cause
        h.p2m[n, f.OWED] = 1
        h.p2m[n, f.PENDING] += 1
    elif decision == d.NOW:
        h.p2m[n, f.OWED] = 0
        h.p2m[n, f.PENDING] = 0
        intend(h, c, n, cause, hold, f.END_WRITE)


@part
def sync_point(
    h: Host, t: y.Tally, decide: DecideType, c: int, n: int, row: int, now: int, what: int, cause: int, order: int,
    gfn: int, then: int,
) -> None:  # fmt: skip
    """Have what is owed sent under the lock, if the strategy wants that here: ``p2m_tlb_flush_sync()``."""
    if not h.p2m[n, f.OWED]:
        return
    decision = d.NOW if h.how[f.SYNCS + what] else d.NOTHING
    if h.how[f.DECIDES]:
        decision = _asked(h, t, decide, c, n, row, now, what, decision, cause, f.NONE, f.NONE, order, 0, gfn, f.NONE)
    if decision == d.NOW:
        intend(h, c, n, h.p2m[n, f.OWED_CAUSE], h.p2m[n, f.HOLD], then)
        h.p2m[n, f.OWED] = 0
        h.p2m[n, f.PENDING] = 0


@part
def pass_sync_point(h: Host, t: y.Tally, w: p.Program, decide: DecideType, c: int, row: int, now: int) -> None:
    """Carry out FREE_TABLE or POD_RECLAIM, which take no time but for a broadcast."""
    n = w.arg[row]
    a = w.acts[w.item[row]]
    sync_point(h, t, decide, c, n, row, now, a[p.A_WHAT], a[p.A_CAUSE], a[p.A_ORDER], a[p.A_GFN], f.END_ROW)
    _go_on_at_once(h, t, w, c, now)


@part
def call(h: Host, t: y.Tally, w: p.Program, c: int, row: int, now: int) -> None:
    """Carry out CALL about a p2m: a sync without a write, or a flush of a nested one, if the host p2m has changed."""
    n = w.arg[row]
    if not h.p2m[n, f.NESTED] and h.lock[1 + n, f.OWNER] == c:
        h.cpu[c, f.REPEATS] = 1
        h.cpu[c, f.PHASE] = f.CHANGE
        return
    own = h.dom[h.p2m[n, f.P_DOMAIN], f.HOST_P2M] if h.p2m[n, f.NESTED] else f.NONE
    if own == f.NONE or h.lock[1 + own, f.OWNER] != c or not h.p2m[own, f.SYNCED]:
        begin_gap(h, t, w, c, now)
        return
    intend(h, c, n, w.acts[w.item[row], p.A_CAUSE], h.p2m[own, f.HOLD], f.END_ROW)
    h.cpu[c, f.B_KIND] = f.IPI_PLAIN
    h.cpu[c, f.PHASE] = f.REQUEST


@part
def _asked(
    h: Host, t: y.Tally, decide: DecideType, c: int, n: int, row: int, now: int, what: int, default: int, cause: int,
    old: int, new: int, order: int, upgrade: int, gfn: int, mfn: int,
) -> int:  # fmt: skip
    """Return what a decision function says; NOTHING, and an error, if that is no decision."""
    hold, dom = h.p2m[n, f.HOLD], h.p2m[n, f.P_DOMAIN]
    others = h.dom[dom, f.DIRTY] - (1 if h.cpu[c, f.DOMAIN] == dom else 0)
    decision = decide(
        what, default, cause, old, new, order, upgrade, h.p2m[n, f.PENDING], t.hold[hold, y.H_SETS], others, now,
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
    if a[p.A_GFN] == f.NONE:
        return 1 << ept.STORES_SHIFT
    gfn, level, present, entry = a[p.A_GFN] & ept.GFN_MASK, a[p.A_LEVEL], a[p.A_PRESENT], a[p.A_ENTRY]
    if ept.write_plainly(h.node, w.path[k], h.p2m[n, f.ROOT], gfn, level, present, entry):
        return 1 << ept.STORES_SHIFT
    return _write_all(h, w, n, k)


@piece
def _write_all(h: Host, w: p.Program, n: int, k: int) -> int:
    """Write an entry where more than that is to be done."""
    a = w.acts[k]
    gfn, level, root = a[p.A_GFN] & ept.GFN_MASK, a[p.A_LEVEL], h.p2m[n, f.ROOT]
    ept.enter_evidence(
        h.node, h.rest, h.linked, w.path[k], root, gfn, level, h.p2m[n, f.UNFAMILIAR], a[p.A_PRESENT], a[p.A_OLD]
    )
    resolved = _resolve(h, w, n, k)
    done = ept.write(h.node, h.rest, h.linked, w.path[k], root, gfn, level, a[p.A_ENTRY])
    return done + resolved | (ept.RESOLVED if resolved else 0)


@piece
def _mend(h: Host, w: p.Program, n: int, k: int) -> int:
    """Resolve what makes a frame misconfigured; returns what that did."""
    a = w.acts[k]
    if a[p.A_GFN] == f.NONE:
        return int(h.how[f.IS_NPT] << ept.STORES_SHIFT)
    gfn = a[p.A_GFN] & ept.GFN_MASK
    ept.enter_evidence(
        h.node, h.rest, h.linked, w.path[k], h.p2m[n, f.ROOT], gfn, 0, h.p2m[n, f.UNFAMILIAR], 1, ept.NO_TYPE
    )
    return _resolve(h, w, n, k)


@piece
def _resolve(h: Host, w: p.Program, n: int, k: int) -> int:
    return ept.resolve(
        h.node, h.rest, h.linked, w.path[k], h.p2m[n, f.ROOT], w.acts[k, p.A_GFN] & ept.GFN_MASK, h.ranges[n],
        h.p2m[n, f.RANGES], h.p2m[n, f.TRACKED], h.how[f.IS_NPT],
    )  # fmt: skip


@piece
def _change_all(h: Host, w: p.Program, n: int, k: int) -> int:
    """Mark everything, or a range; returns what that did."""
    a = w.acts[k]
    root, tracked = h.p2m[n, f.ROOT], 1 if a[p.A_NEW] == RAM_LOGDIRTY else 0
    if a[p.A_LAST] == f.NONE:
        if a[p.A_NEW] >= 0:
            h.p2m[n, f.TRACKED] = tracked
        stores = ept.mark_all(h.node, h.rest, root, ept.ALL_TYPES if a[p.A_NEW] >= 0 else ept.MEMORY_TYPES)
        return stores << ept.STORES_SHIFT | (ept.MARKED if stores else 0)
    first, last = a[p.A_GFN] & ept.GFN_MASK, a[p.A_LAST] & ept.GFN_MASK
    if last < first:
        return 0
    h.p2m[n, f.RANGES] = ept.track(h.ranges[n], h.p2m[n, f.RANGES], first, last, tracked)
    first_path, last_path = w.path[k], w.path[a[p.A_LAST_PATH]]
    for path, gfn in ((first_path, first), (last_path, last)):
        ept.enter_evidence(h.node, h.rest, h.linked, path, root, gfn, 0, h.p2m[n, f.UNFAMILIAR], 0, ept.NO_TYPE)
    return ept.mark_range(h.node, h.rest, h.linked, first_path, last_path, root, first, last)
