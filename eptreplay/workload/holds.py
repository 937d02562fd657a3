"""Rows about p2ms: what each match of a rule makes of its records."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eptreplay import p2m_types as t
from eptreplay.causes import CAUSES
from eptreplay.errors import InputError
from eptreplay.workload import records as r
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.draft import Drafts
from eptreplay.workload.letters import Text

CAUSE_BY_LETTER = {
    "W": "populate", "A": "populate", "R": "populate", "L": "populate", "M": "populate",
    "I": "physmap", "J": "physmap", "F": "foreign", "G": "grant", "O": "physmap",
}  # fmt: skip
"""Why an entry is written that no rule explains better, by the letter of the write."""

RECLAIM = rule.CAUSE_NUMBERS["pod_reclaim"]
OTHER = rule.CAUSE_NUMBERS["other"]

PML_ENTRIES = 512
"""Entries of a page-modification log; how many of them a drain finds is not recorded."""
MAX_UNSEEN_PAGES = 1 << 20
"""Pages that extents may have beyond one for each record, 4 GiB: guests balloon page by page, and a record of 32 bytes
must not fill our memory."""

BEGIN, WRITE, END = range(3)
"""Places among the rows of one record; each hold of a record takes three."""

_CAUSES = np.full(256, OTHER, np.int8)
for _letter, _cause in CAUSE_BY_LETTER.items():
    _CAUSES[[ord(_letter), ord(_letter.lower())]] = rule.CAUSE_NUMBERS[_cause]


class Folding(NamedTuple):
    """A recording's text, and which letters belong to which match.

    ``kinds``, ``row`` and ``view``: of each letter's record; ``match``: number of each letter's match. ``about``: the
    p2m of each match, domain and view in one number, -1 where no record of it tells; of a recorded hold one of them.
    """

    records: r.Records
    text: Text
    kinds: NDArray[np.uint8]
    row: NDArray[np.int32]
    view: NDArray[np.int64]
    rules: tuple[rule.Rule, ...]
    matches: rule.Matches
    match: NDArray[np.int64]
    about: NDArray[np.int64]

    def has(self, letters: str) -> NDArray[np.bool_]:
        """Return which letters of the text are among ``letters``, in upper or lower case."""
        both = np.frombuffer((letters.upper() + letters.lower()).encode(), np.uint8)
        return np.isin(self.text.letters, both)

    def of_rules(self, chosen: list[bool]) -> NDArray[np.bool_]:
        """Return which letters belong to matches of the rules for which ``chosen`` is True."""
        return np.array(chosen, np.bool_)[self.matches.rule][self.match]


def fold(records: r.Records, text: Text, vendor: str) -> Folding:
    """Apply the rules to a recording's text."""
    row, kinds = records.memory[text.at], records.what[text.at]
    dom = records.p2m_dom[row].astype(np.int64)
    view = np.where(kinds == r.P2M_SET, records.w[5][text.at] >> 16, s.HOST_VIEW).astype(np.int64)
    p2m = np.where(dom >= 0, dom << 16 | view, -1)
    matches = rule.apply_rules(text, records.pcpu[text.at], p2m, vendor)
    lengths = matches.stop - matches.start
    match = np.repeat(np.arange(lengths.size), lengths)
    about = np.full(lengths.size, -1, np.int64)
    np.maximum.at(about, match, p2m)
    view = np.where((p2m < 0) & (about[match] >= 0), about[match] & 0xFFFF, view)
    return Folding(records, text, kinds, row, view, rule.rules_of(vendor), matches, match, about)


def add_operations(drafts: Drafts, folding: Folding, only_dom: int) -> None:
    """Add the rows of every match. ``only_dom``: the only domain whose p2m is written, or -1."""
    rules, text = folding.rules, folding.text
    bare = np.flatnonzero(folding.of_rules([x.makes in (rule.MISCONFIG, rule.PML_DRAIN) for x in rules]))
    drain = folding.of_rules([x.makes == rule.PML_DRAIN for x in rules])[bare]
    at = text.at[bare]
    runs = np.where(folding.records.dom[at] >= 0, folding.records.dom[at], only_dom)
    drafts.add(
        at,
        sub=1,
        op=np.where(drain, s.PML_DRAIN, s.MISCONFIG),
        p2m_dom=runs,
        run_dom=runs,
        run_vcpu=folding.records.vcpu[at],
        cause=np.where(drain, rule.CAUSE_NUMBERS["pml"], rule.CAUSE_NUMBERS["misconfig"]),
        count=np.where(drain, PML_ENTRIES, 1),
    )
    _add_recorded_holds(drafts, folding)
    _add_inferred_holds(drafts, folding, only_dom)
    if any(x.infers for x in rules):
        _add_unseen_removals(drafts, folding, only_dom)


def _who(folding: Folding, at: NDArray[np.int64], only_dom: int, *, inside: NDArray[np.bool_]) -> dict[str, ArrayLike]:
    """Return who ran at records; where nobody knows, the vCPU of a fault is the p2m's own domain's."""
    dom = folding.records.dom[at]
    return {"run_dom": np.where((dom < 0) & inside, only_dom, dom), "run_vcpu": folding.records.vcpu[at]}


def _add_recorded_holds(drafts: Drafts, folding: Folding) -> None:
    records, text = folding.records, folding.text
    chosen = folding.of_rules([x.makes == rule.RECORDED_HOLD for x in folding.rules])
    for kind, op, place in ((r.HOLD_BEGIN, s.HOLD_BEGIN, BEGIN), (r.HOLD_END, s.HOLD_END, END)):
        at = text.at[chosen & (folding.kinds == kind)]
        cause = records.w[1][at].astype(np.int64) if kind == r.HOLD_BEGIN else np.full(at.size, -1)
        word = records.w[0][at]
        drafts.add(
            at,
            sub=place,
            op=op,
            p2m_dom=word & 0xFFFF,
            p2m_view=word >> 16,
            cause=np.where(cause < len(CAUSES), cause, OTHER),
            **_who(folding, at, -1, inside=np.zeros(at.size, np.bool_)),
        )
    writes = np.flatnonzero(chosen & folding.has(_WRITES))
    unheld = _unheld(folding, writes)
    alone = writes[unheld]
    cause = _CAUSES[text.letters[alone]].astype(np.int64)
    for op, place in ((s.HOLD_BEGIN, BEGIN), (s.HOLD_END, END)):
        drafts.add(
            text.at[alone],
            sub=place,
            op=op,
            p2m_dom=_p2m_of(folding, alone, -1),
            p2m_view=folding.view[alone],
            cause=cause,
            origin=s.INFERRED,
            **_who(folding, text.at[alone], -1, inside=np.zeros(alone.size, np.bool_)),
        )
    _add_writes(drafts, folding, alone, cause, -1)
    _add_writes(drafts, folding, writes[~unheld], np.int64(-1), -1)


_WRITES = "WALRMIJFGO"


def _unheld(folding: Folding, writes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which writes in recorded holds are of a p2m that none of the holds around them is of.

    Their own was not recorded: each of them gets one.
    """
    word = folding.records.w[0][folding.text.at].astype(np.int64)
    p2m = (word & 0xFFFF) << 16 | word >> 16
    written = _p2m_of(folding, writes, -1) << 16 | folding.view[writes]
    begins = np.flatnonzero(folding.kinds == r.HOLD_BEGIN)[::-1]
    outermost = np.zeros(folding.matches.start.size, np.int64)
    outermost[folding.match[begins]] = begins
    unheld: NDArray[np.bool_] = p2m[outermost[folding.match[writes]]] != written
    # Another hold may lie around it: few recordings have holds within holds, and only those are looked through.
    number = {write: place for place, write in enumerate(writes.tolist()) if unheld[place]}
    for match in np.unique(folding.match[writes[unheld]]).tolist():
        held: Counter[int] = Counter()
        for letter in range(folding.matches.start[match], folding.matches.stop[match]):
            if folding.kinds[letter] in (r.HOLD_BEGIN, r.HOLD_END):
                held[int(p2m[letter])] += 1 if folding.kinds[letter] == r.HOLD_BEGIN else -1
            elif letter in number:
                unheld[number[letter]] = held[int(written[number[letter]])] <= 0
    return unheld


def _add_inferred_holds(drafts: Drafts, folding: Folding, only_dom: int) -> None:
    """One hold for each match: it begins with the first record behind the VM exit and ends with the last one."""
    text, matches, rules = folding.text, folding.matches, folding.rules
    holds = np.array([x.makes == rule.HOLD and x.name != "removal_unseen" for x in rules], np.bool_)[matches.rule]
    number = np.flatnonzero(holds)
    exits = folding.has("XKB")
    first = matches.start[number]
    first = np.where(exits[first] & (matches.stop[number] - first > 1), first + 1, first)
    last = matches.stop[number] - 1
    writes = np.flatnonzero(folding.has(_WRITES) & holds[folding.match])
    causes = np.array([rule.CAUSE_NUMBERS.get(x.cause or "", -1) for x in rules], np.int64)[matches.rule]
    by_type = _CAUSES[text.letters[first]]
    cause = np.where(causes[number] >= 0, causes[number], by_type)
    # The time of a hold is that of its first write, else that of its first record.
    anchor = np.full(matches.start.size, -1, np.int64)
    anchor[number] = text.at[first]
    head = writes[::-1]
    anchor[folding.match[head]] = text.at[head]
    dom = _p2m_of(folding, first, only_dom)
    fault = folding.has("NEUV")[first] | exits[matches.start[number]]
    who = _who(folding, text.at[first], only_dom, inside=fault)
    for letters, op, place in ((first, s.HOLD_BEGIN, BEGIN), (last, s.HOLD_END, END)):
        drafts.add(
            text.at[letters],
            sub=place,
            op=op,
            p2m_dom=dom,
            p2m_view=folding.view[first],
            cause=cause,
            origin=s.INFERRED,
            slot=anchor[number],
            **who,
        )
    by_match = np.full(matches.start.size, -1, np.int64)
    by_match[number] = cause
    _add_writes(drafts, folding, writes, by_match[folding.match[writes]], only_dom, anchor[folding.match[writes]])
    if any(x.infers for x in rules):
        _add_unseen_writes(drafts, folding, holds, by_match, anchor, only_dom)


def _p2m_of(folding: Folding, letters: NDArray[np.int64], only_dom: int) -> NDArray[np.int64]:
    """Return whose p2m letters are about: what their records say, or others of the same match; else who ran."""
    dom: NDArray[np.int64] = folding.records.p2m_dom[folding.row[letters]].astype(np.int64)
    about, runs = folding.about[folding.match[letters]], folding.records.dom[folding.text.at[letters]]
    dom = np.where((dom < 0) & (about >= 0), about >> 16, dom)
    dom = np.where(dom >= 0, dom, runs)
    return np.where(dom >= 0, dom, only_dom)


def _add_writes(
    drafts: Drafts, folding: Folding, writes: NDArray[np.int64], cause: NDArray[np.int64] | np.int64, only_dom: int,
    slot: NDArray[np.int64] | None = None,
) -> None:  # fmt: skip
    """Add a SET row for each recorded write. ``cause`` of -1: that of the hold."""
    records, row, at = folding.records, folding.row[writes], folding.text.at[writes]
    extension = folding.kinds[writes] == r.P2M_SET
    old_type = np.where(extension, records.w[4][at] & 0xFF, -1).astype(np.int64)
    old_known = np.where(extension, s.RECORDED, -1)
    reclaims, by_cause = _known_by_cause(folding, writes)
    old_type = np.where(extension, old_type, by_cause)
    old_known = np.where(~extension & (by_cause >= 0), s.BY_CAUSE, old_known)
    drafts.add(
        at,
        sub=WRITE,
        slot=at if slot is None else slot,
        op=s.SET,
        p2m_dom=_p2m_of(folding, writes, only_dom),
        p2m_view=folding.view[writes],
        gfn=records.gfn[row],
        order=records.order[row],
        mfn=records.mfn[row],
        old_type=old_type,
        old_known=old_known,
        new_type=records.type[row],
        cause=np.where(reclaims, RECLAIM, cause),
        **_who(folding, at, only_dom, inside=folding.has("x")[folding.matches.start[folding.match[writes]]]),
    )


def _known_by_cause(folding: Folding, writes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which writes take pages back, and the old type where the pattern around a write tells it, else -1."""
    letters = folding.text.letters & ~np.uint8(0x20)
    following = np.minimum(writes + 1, letters.size - 1)
    same = (following > writes) & (folding.match[following] == folding.match[writes])
    now, after = letters[writes], np.where(same, letters[following], np.uint8(0))
    old = np.full(writes.size, -1, np.int64)
    marks, restores = now == ord("M"), now == ord("R")
    taken = marks & np.isin(after, np.frombuffer(b"ZY", np.uint8))
    looked_at = marks & (after == ord("R"))
    old[taken] = t.RAM_RW
    types = folding.records.type[folding.row]
    old[looked_at] = types[np.minimum(writes + 1, types.size - 1)][looked_at]
    old[restores | (after == ord("P"))] = t.POPULATE_ON_DEMAND
    old[(now == ord("W")) & folding.of_rules([x.name == "logdirty_fault" for x in folding.rules])[writes]] = (
        t.RAM_LOGDIRTY
    )
    return taken | looked_at | restores, old


def _add_unseen_writes(
    drafts: Drafts, folding: Folding, holds: NDArray[np.bool_], cause: NDArray[np.int64], anchor: NDArray[np.int64],
    only_dom: int,
) -> None:  # fmt: skip
    """Infer the writes of an EPT host's faults: stock Xen does not trace them. ``holds``, ``cause``: by match."""
    text, match = folding.text, folding.match
    written = np.zeros(holds.size, np.bool_)
    written[match[folding.has("WALO")]] = True
    exits = folding.has("X")[folding.matches.start]
    tracked = folding.of_rules([x.name == "logdirty_fault" and x.infers for x in folding.rules])
    for letters, new, old in (
        (folding.has("E") & tracked & ~written[match], t.RAM_RW, t.RAM_LOGDIRTY),
        (folding.has("Q"), t.RAM_RW, t.POPULATE_ON_DEMAND),
        (folding.has("Y"), t.POPULATE_ON_DEMAND, t.RAM_RW),
    ):
        chosen = np.flatnonzero(letters & holds[match])
        row, at = folding.row[chosen], text.at[chosen]
        order = np.maximum(folding.records.order[row], 0)
        reclaimed = new == t.POPULATE_ON_DEMAND
        drafts.add(
            at,
            sub=WRITE,
            slot=anchor[match[chosen]],
            op=s.SET,
            p2m_dom=_p2m_of(folding, chosen, only_dom),
            p2m_view=folding.view[chosen],
            gfn=folding.records.gfn[row] >> order.astype(np.uint64) << order.astype(np.uint64),
            order=order,
            mfn=folding.records.mfn[row] if not reclaimed else np.uint64(2**64 - 1),
            old_type=old,
            old_known=s.BY_CAUSE,
            new_type=new,
            cause=RECLAIM if reclaimed else cause[match[chosen]],
            origin=s.INFERRED,
            **_who(folding, at, only_dom, inside=exits[match[chosen]] | folding.has("NEUV")[chosen]),
        )


def _add_unseen_removals(drafts: Drafts, folding: Folding, only_dom: int) -> None:
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
        "p2m_dom": _p2m_of(folding, extent, only_dom),
        "cause": rule.CAUSE_NUMBERS["decrease"],
        "origin": s.INFERRED,
        **_who(folding, at, -1, inside=np.zeros(at.size, np.bool_)),
    }
    drafts.add(at, sub=3 * page + BEGIN, op=s.HOLD_BEGIN, **common)
    drafts.add(
        at,
        sub=3 * page + WRITE,
        op=s.SET,
        gfn=folding.records.gfn[row] + page.astype(np.uint64),
        order=0,
        mfn=np.uint64(2**64 - 1),
        new_type=t.INVALID,
        **common,
    )
    drafts.add(at, sub=3 * page + END, op=s.HOLD_END, **common)
