"""What is done within holds: writes, changes of whole tables, and the points where Xen flushes before it goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eptreplay import p2m_types as t
from eptreplay.errors import InputError
from eptreplay.workload import records as r
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Drafts
from eptreplay.workload.fold import Folding, p2m_of, who
from eptreplay.workload.recalculations import recalculated_frames
from eptreplay.xentrace.catalogue.extension import (
    GLOBAL_MEMORY_TYPES,
    GLOBAL_RANGE,
    SET_OLD_ABSENT,
    SET_OLD_PRESENT,
    SET_TABLE_REPLACED,
)

WRITES = "WALRMIJFGO"
"""Letters of writes."""

RECLAIM = rule.CAUSE_NUMBERS["pod_reclaim"]
MISCONFIG = rule.CAUSE_NUMBERS["misconfig"]

PML_ENTRIES = 512
"""Entries of a full page-modification log. Each is of another page: one that is dirty already is not logged."""
MAX_UNSEEN_PAGES = 1 << 20
"""Pages that extents may have beyond one for each record, 4 GiB: guests balloon page by page, and a record of 32 bytes
must not fill our memory."""

HIGHEST_LEVEL = 3
"""The level of a root table."""
LAST_FRAME = (1 << 52) - 1
"""The last frame that a guest can have: its addresses have 64 bits."""

BEGIN, WRITE, SYNC, END, PLACES = 1, 2, 3, 4, 4
"""Places among the rows of one record, behind what it says of who runs; each hold of a record takes as many."""


_OUTERMOST = np.frombuffer(b"<(", np.uint8)


def add_acts(
    drafts: Drafts, folding: Folding, chosen: NDArray[np.bool_], cause: NDArray[np.int64], only_dom: int,
    slot: NDArray[np.int64] | None = None,
) -> None:  # fmt: skip
    """Add what chosen letters say is done to tables. ``cause`` of each letter: -1 for that of the hold.

    ``slot``: for each match the record whose time its rows have; without it, each row has that of its own record.
    """
    for letters, add in (
        (WRITES, _add_writes),
        ("C", _add_global_changes),
        ("T", _add_freed_tables),
        ("S", _add_cache_adds),
    ):
        at = np.flatnonzero(chosen & folding.has(letters))
        add(drafts, folding, at, cause[at], only_dom, folding.text.at[at] if slot is None else slot[folding.match[at]])
    _add_reclaims(drafts, folding, chosen, only_dom, slot)
    _add_misconfigs(drafts, folding, chosen, only_dom, slot)


def _about(folding: Folding, letters: NDArray[np.int64], only_dom: int) -> dict[str, ArrayLike]:
    """Return whose p2m letters are about, and who ran."""
    exits = folding.has("xXKB")[folding.matches.start[folding.match[letters]]]
    return {
        "p2m_dom": p2m_of(folding, letters, only_dom),
        "p2m_view": folding.view[letters],
        **who(folding, folding.text.at[letters], only_dom, inside=exits),
    }


def _add_writes(
    drafts: Drafts, folding: Folding, writes: NDArray[np.int64], cause: NDArray[np.int64], only_dom: int,
    slot: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add a SET row for each recorded write."""
    records, row, at = folding.records, folding.row[writes], folding.text.at[writes]
    extension = folding.kinds[writes] == r.P2M_SET
    flags = np.where(extension, records.w[4][at] >> 24, 0)
    reclaims, by_cause = _known_by_cause(folding, writes)
    old_type = np.where(extension, (records.w[4][at] & 0xFF).astype(np.int64), by_cause)
    tables = flags & SET_TABLE_REPLACED != 0
    present = np.where(flags & (SET_OLD_PRESENT | SET_TABLE_REPLACED) != 0, 1, -1)
    drafts.add(
        at,
        sub=WRITE,
        slot=slot,
        op=s.SET,
        gfn=records.gfn[row],
        order=records.order[row],
        mfn=records.mfn[row],
        old_type=np.where(tables, -1, old_type),
        old_known=np.where(extension, s.RECORDED, np.where(by_cause >= 0, s.BY_CAUSE, -1)),
        old_present=np.where(flags & SET_OLD_ABSENT != 0, 0, present),
        new_type=records.type[row],
        access=np.where(extension, np.minimum(records.w[6][at], 0x7F).astype(np.int64), -1),
        cause=np.where(reclaims, RECLAIM, cause),
        **_about(folding, writes, only_dom),
    )


def _add_global_changes(
    drafts: Drafts, folding: Folding, letters: NDArray[np.int64], cause: NDArray[np.int64], only_dom: int,
    slot: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add a GLOBAL_CHANGE row for each P2M_GLOBAL_CHANGE."""
    at, w = folding.text.at[letters], folding.records.w
    flags = w[1][at] >> 16
    memory = flags & GLOBAL_MEMORY_TYPES != 0
    ranged = (flags & GLOBAL_RANGE != 0) & ~memory  # memory types change everywhere
    first, last = (w[low][at].astype(np.uint64) | w[low + 1][at].astype(np.uint64) << np.uint64(32) for low in (2, 4))
    drafts.add(
        at,
        sub=WRITE,
        slot=slot,
        op=s.GLOBAL_CHANGE,
        gfn=np.where(ranged, np.minimum(first, np.uint64(LAST_FRAME)), np.uint64(s.NO_GFN)),
        last_gfn=np.where(ranged, np.minimum(last, np.uint64(LAST_FRAME)), np.uint64(s.NO_GFN)),
        old_type=np.where(memory, -1, (w[1][at] & 0xFF).astype(np.int64)),
        new_type=np.where(memory, -1, (w[1][at] >> 8 & 0xFF).astype(np.int64)),
        cause=cause,
        **_about(folding, letters, only_dom),
    )


def _add_freed_tables(
    drafts: Drafts, folding: Folding, letters: NDArray[np.int64], cause: NDArray[np.int64], only_dom: int,
    slot: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add a FREE_TABLE row for each PT_PAGE_FREE; its order is that of the entry that pointed to the table."""
    at = folding.text.at[letters]
    level = folding.records.w[1][at].astype(np.int64)
    drafts.add(
        at,
        sub=WRITE,
        slot=slot,
        op=s.FREE_TABLE,
        gfn=np.uint64(s.NO_GFN),
        order=np.where(level <= HIGHEST_LEVEL, 9 * (level + 1), -1),
        mfn=folding.records.mfn[folding.row[letters]],
        cause=cause,
        **_about(folding, letters, only_dom),
    )


def _add_cache_adds(
    drafts: Drafts, folding: Folding, letters: NDArray[np.int64], cause: NDArray[np.int64], only_dom: int,
    slot: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add a POD_RECLAIM row for each POD_CACHE_ADD."""
    row, at = folding.row[letters], folding.text.at[letters]
    drafts.add(
        at,
        sub=SYNC,
        slot=slot,
        op=s.POD_RECLAIM,
        gfn=np.uint64(s.NO_GFN),
        order=folding.records.order[row],
        mfn=folding.records.mfn[row],
        cause=cause,
        **_about(folding, letters, only_dom),
    )


def _add_reclaims(
    drafts: Drafts, folding: Folding, chosen: NDArray[np.bool_], only_dom: int, slot: NDArray[np.int64] | None
) -> None:
    """Add a POD_RECLAIM row where populate-on-demand has unmapped pages and is to look into them."""
    letters = folding.text.letters & ~np.uint8(0x20)
    same = np.append(folding.match[1:] == folding.match[:-1], False)
    looked_at = np.append(np.isin(letters[1:], np.frombuffer(b"ZYR", np.uint8)), False)
    unmapped = (letters == ord("M")) & same & looked_at
    unmapped[unseen_reclaims(folding)] = True
    last = np.flatnonzero(unmapped & chosen)
    row = folding.row[last]
    drafts.add(
        folding.text.at[last],
        sub=SYNC,
        slot=folding.text.at[last] if slot is None else slot[folding.match[last]],
        op=s.POD_RECLAIM,
        gfn=folding.records.gfn[row],
        order=np.maximum(folding.records.order[row], 0),
        cause=RECLAIM,
        origin=s.INFERRED,
        **_about(folding, last, only_dom),
    )


def _add_misconfigs(
    drafts: Drafts, folding: Folding, chosen: NDArray[np.bool_], only_dom: int, slot: NDArray[np.int64] | None
) -> None:
    """Add a MISCONFIG row for each exit that mends entries, and for each recorded hold whose cause is that.

    On SVM with the frame, where another exit tells it.
    """
    text, w = folding.text, folding.records.w
    recalculations = folding.of_rules([x.name == "recalculation" for x in folding.rules])
    exits = chosen & (recalculations | folding.has("K"))
    # Where an exit led to a recorded hold, the row is that of the hold, behind its begin.
    exits &= ~folding.of_rules([x.makes == rule.RECORDED_HOLD for x in folding.rules])
    led_to = folding.has("K")[folding.matches.start][folding.match] & np.isin(text.letters, _OUTERMOST)
    says_so = (folding.kinds == r.HOLD_BEGIN) & (w[1][text.at] == MISCONFIG)
    letters = np.flatnonzero(exits | chosen & (led_to | says_so))
    start = folding.matches.start[folding.match[letters]]
    gfn = recalculated_frames(folding)[np.where(folding.has("X")[start], start, letters)]
    doubtful = (gfn == np.uint64(s.NO_GFN)) & any(x.name == "recalculation" for x in folding.rules)
    # A hold in which more is done cannot be left to NPT.
    busy = np.zeros(folding.matches.start.size, np.bool_)
    busy[folding.match[folding.has(WRITES + "CTSY")]] = True
    busy = busy[folding.match[letters]]
    gfn, doubtful = np.where(busy, np.uint64(s.NO_GFN), gfn), doubtful & ~busy
    at = text.at[letters]
    drafts.add(
        at,
        sub=WRITE,
        slot=at if slot is None else slot[folding.match[letters]],
        op=s.MISCONFIG,
        gfn=gfn,
        order=0,
        old_known=np.where(doubtful, s.ASSUMED, s.BY_CAUSE),
        cause=MISCONFIG,
        **_about(folding, letters, only_dom),
    )


def _known_by_cause(folding: Folding, writes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which writes take pages back, and the old type where the pattern around a write tells it, else -1."""
    letters = folding.text.letters & ~np.uint8(0x20)
    size = letters.size
    position = np.arange(size)
    following = np.minimum(writes + 1, size - 1)
    same = (following > writes) & (folding.match[following] == folding.match[writes])
    now, after = letters[writes], np.where(same, letters[following], np.uint8(0))
    old = np.full(writes.size, -1, np.int64)
    marks, restores = now == ord("M"), now == ord("R")
    # Several pages are unmapped before the first of them is looked into.
    behind = np.minimum.accumulate(np.where(letters == ord("M"), size, position)[::-1])[::-1] if size else position
    fate = np.minimum(behind[writes], max(size - 1, 0))
    same_fate = (behind[writes] < size) & (folding.match[fate] == folding.match[writes])
    unmapped = marks & same_fate & np.isin(letters[fate], np.frombuffer(b"ZYR", np.uint8))
    old[unmapped] = t.RAM_RW
    types = folding.records.type[folding.row]
    looked_at = unmapped & (after == ord("R"))
    old[looked_at] = types[np.minimum(writes + 1, types.size - 1)][looked_at]
    old[restores | (after == ord("P"))] = t.POPULATE_ON_DEMAND
    old[(now == ord("W")) & folding.of_rules([x.name == "logdirty_fault" for x in folding.rules])[writes]] = (
        t.RAM_LOGDIRTY
    )
    return unmapped | restores, old


def unseen_reclaims(folding: Folding) -> NDArray[np.int64]:
    """Return the letters Y of a host whose writes are inferred that have no recorded write in their match."""
    if not any(x.infers for x in folding.rules):
        return np.zeros(0, np.int64)
    reclaims, marks = np.flatnonzero(folding.has("Y")), np.flatnonzero(folding.has("M"))
    if not marks.size:
        return reclaims
    gfn = folding.records.gfn[folding.row]
    written = set(zip(folding.match[marks].tolist(), gfn[marks].tolist(), strict=True))
    alone = [x not in written for x in zip(folding.match[reclaims].tolist(), gfn[reclaims].tolist(), strict=True)]
    return reclaims[np.array(alone, np.bool_)]


def add_unseen_writes(
    drafts: Drafts, folding: Folding, holds: NDArray[np.bool_], cause: NDArray[np.int64], anchor: NDArray[np.int64],
    only_dom: int,
) -> None:  # fmt: skip
    """Infer the writes of an EPT host's exits: stock Xen does not trace them. ``holds``, ``cause``: by match."""
    text, match = folding.text, folding.match
    written = np.zeros(holds.size, np.bool_)
    written[match[folding.has("WALO")]] = True
    exits = folding.has("XB")[folding.matches.start]
    tracked = folding.of_rules([x.name == "logdirty_fault" and x.infers for x in folding.rules])
    logs = folding.has("B")
    reclaims = np.zeros(match.size, np.bool_)
    reclaims[unseen_reclaims(folding)] = True
    for letters, new, old in (
        (folding.has("E") & tracked & ~written[match], t.RAM_RW, t.RAM_LOGDIRTY),
        (logs & ~written[match], t.RAM_RW, t.RAM_LOGDIRTY),
        (folding.has("Q"), t.RAM_RW, t.POPULATE_ON_DEMAND),
        (reclaims, t.POPULATE_ON_DEMAND, t.RAM_RW),
    ):
        chosen = np.flatnonzero(letters & holds[match])
        row = folding.row[chosen]
        # The hold of a drain begins with the first letter behind its exit, if there is any.
        behind = logs[chosen] & (folding.matches.stop[match[chosen]] - chosen > 1)
        at = text.at[chosen + behind]
        order = np.maximum(folding.records.order[row], 0)
        shift = order.astype(np.uint64)
        reclaimed = new == t.POPULATE_ON_DEMAND
        nowhere = reclaimed | logs[chosen]
        drafts.add(
            at,
            sub=WRITE,
            slot=anchor[match[chosen]],
            op=s.SET,
            p2m_dom=p2m_of(folding, chosen, only_dom),
            p2m_view=folding.view[chosen],
            gfn=np.where(logs[chosen], np.uint64(s.NO_GFN), folding.records.gfn[row] >> shift << shift),
            order=order,
            mfn=np.where(nowhere, np.uint64(s.NO_GFN), folding.records.mfn[row]),
            old_type=old,
            old_known=s.BY_CAUSE,
            new_type=new,
            cause=RECLAIM if reclaimed else cause[match[chosen]],
            origin=s.INFERRED,
            count=np.where(logs[chosen], _log_entries(folding.records, text.at[chosen]), 1),
            **who(folding, at, only_dom, inside=exits[match[chosen]] | folding.has("NEUV")[chosen]),
        )


def add_unseen_drains(drafts: Drafts, folding: Folding, only_dom: int) -> None:
    """Announce the drain of each full log by a row of its own, as PML_DRAIN does where Xen was patched."""
    logs = np.flatnonzero(folding.has("B"))
    if (folding.records.what == r.DRAIN).any():
        return
    at = folding.text.at[logs]
    drafts.add(
        at,
        op=s.PML_DRAIN,
        cause=rule.CAUSE_NUMBERS["pml"],
        origin=s.INFERRED,
        count=PML_ENTRIES,
        **_about(folding, logs, only_dom),
    )


def _log_entries(records: r.Records, exits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many entries the log had that each VM exit found full: those that PML_DRAIN says, or all."""
    drains = np.flatnonzero(records.what == r.DRAIN)
    turns = np.flatnonzero((records.what == r.VMEXIT) | (records.what == r.VMENTER))
    entries = np.full(exits.size, PML_ENTRIES, np.int64)
    if not drains.size:
        return entries
    drain = drains[np.minimum(np.searchsorted(drains, exits), drains.size - 1)]
    behind = np.append(turns, records.what.size)[np.searchsorted(turns, exits, side="right")]
    own = (drain > exits) & (drain < behind) & (records.pcpu[drain] == records.pcpu[exits])
    told = np.clip(records.w[1][drain].astype(np.int64), 1, PML_ENTRIES)
    return np.where(own, told, entries)


def add_unseen_removals(drafts: Drafts, folding: Folding, only_dom: int) -> None:
    """On an EPT host DECREASE_RESERVATION is all that is traced; Xen takes the pages of an extent one by one."""
    text = folding.text
    extents = np.flatnonzero(folding.of_rules([x.name == "removal_unseen" for x in folding.rules]))
    row = folding.row[extents]
    pages = np.int64(1) << np.maximum(folding.records.order[row], 0).astype(np.int64)
    if pages.sum() - extents.size > MAX_UNSEEN_PAGES:
        raise InputError(
            f"DECREASE_RESERVATION of {pages.sum()} pages in {extents.size} extents: expected at most"
            f" {MAX_UNSEEN_PAGES} pages in extents of more than one"
        )
    extent = np.repeat(extents, pages)
    page = np.arange(extent.size) - np.repeat(np.cumsum(pages) - pages, pages)
    at, row = text.at[extent], folding.row[extent]
    common: dict[str, ArrayLike] = {
        "p2m_dom": p2m_of(folding, extent, only_dom),
        "cause": rule.CAUSE_NUMBERS["decrease"],
        "origin": s.INFERRED,
        **who(folding, at, -1, inside=np.zeros(at.size, np.bool_)),
    }
    drafts.add(at, sub=PLACES * page + BEGIN, op=s.HOLD_BEGIN, **common)
    drafts.add(
        at,
        sub=PLACES * page + WRITE,
        op=s.SET,
        gfn=folding.records.gfn[row] + page.astype(np.uint64),
        order=0,
        mfn=np.uint64(2**64 - 1),
        new_type=t.INVALID,
        **common,
    )
    drafts.add(at, sub=PLACES * page + END, op=s.HOLD_END, **common)
