"""Holds of p2m locks: recorded ones, and one for each match of a rule that makes one."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.workload import records as r
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.acts import (
    BEGIN,
    END,
    WRITES,
    add_acts,
    add_unseen_drains,
    add_unseen_removals,
    add_unseen_writes,
)
from eptreplay.workload.draft import Drafts
from eptreplay.workload.fold import Folding, p2m_of, who

CAUSE_BY_LETTER = {
    "W": "populate", "A": "populate", "R": "populate", "L": "populate", "M": "populate",
    "I": "physmap", "J": "physmap", "F": "foreign", "G": "grant", "O": "physmap", "C": "logdirty_global",
}  # fmt: skip
"""Why an entry is written that no rule explains better, by the letter of the write."""

OTHER = rule.CAUSE_NUMBERS["other"]

_CAUSES = np.full(256, OTHER, np.int8)
for _letter, _cause in CAUSE_BY_LETTER.items():
    _CAUSES[[ord(_letter), ord(_letter.lower())]] = rule.CAUSE_NUMBERS[_cause]

_CHANGES = WRITES + "C"
"""Letters of changes that need the lock of their p2m, so that there is a hold even where none was recorded."""
_POINTS = "TSY"
"""Letters of what is about a hold that must be there."""


def add_operations(drafts: Drafts, folding: Folding, only_dom: int) -> None:
    """Add the rows of every match. ``only_dom``: the only domain whose p2m is written, or -1."""
    rules = folding.rules
    _add_recorded_holds(drafts, folding)
    _add_inferred_holds(drafts, folding, only_dom)
    if any(x.infers for x in rules):
        add_unseen_removals(drafts, folding, only_dom)
        add_unseen_drains(drafts, folding, only_dom)


def _add_recorded_holds(drafts: Drafts, folding: Folding) -> None:
    records, text = folding.records, folding.text
    chosen = folding.of_rules([x.makes == rule.RECORDED_HOLD for x in folding.rules])
    if not chosen.any():  # as in every recording of a Xen that is not patched
        return
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
            **who(folding, at, -1, inside=np.zeros(at.size, np.bool_)),
        )
    acts = np.flatnonzero(chosen & folding.has(_CHANGES + _POINTS))
    unheld = np.zeros(text.at.size, np.bool_)
    unheld[acts] = _unheld(folding, acts)
    alone = np.flatnonzero(unheld & folding.has(_CHANGES))
    cause = _CAUSES[text.letters[alone]].astype(np.int64)
    for op, place in ((s.HOLD_BEGIN, BEGIN), (s.HOLD_END, END)):
        drafts.add(
            text.at[alone],
            sub=place,
            op=op,
            p2m_dom=p2m_of(folding, alone, -1),
            p2m_view=folding.view[alone],
            cause=cause,
            origin=s.INFERRED,
            **who(folding, text.at[alone], -1, inside=np.zeros(alone.size, np.bool_)),
        )
    causes = np.full(text.at.size, -1, np.int64)
    causes[alone] = cause
    add_acts(drafts, folding, chosen & ~(unheld & folding.has(_POINTS)), causes, -1)


def _unheld(folding: Folding, writes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which letters in recorded holds are about a p2m that none of the holds around them is of.

    Its own was not recorded: each write gets one.
    """
    word = folding.records.w[0][folding.text.at].astype(np.int64)
    p2m = (word & 0xFFFF) << 16 | word >> 16
    written = p2m_of(folding, writes, -1) << 16 | folding.view[writes]
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
    writes = np.flatnonzero(folding.has(_CHANGES) & holds[folding.match])
    causes = np.array([rule.CAUSE_NUMBERS.get(x.cause or "", -1) for x in rules], np.int64)[matches.rule]
    by_type = _CAUSES[text.letters[first]]
    cause = np.where(causes[number] >= 0, causes[number], by_type)
    # The time of a hold is that of its first write, else that of its first record.
    anchor = np.full(matches.start.size, -1, np.int64)
    anchor[number] = text.at[first]
    head = writes[::-1]
    anchor[folding.match[head]] = text.at[head]
    dom = p2m_of(folding, first, only_dom)
    fault = folding.has("NEUV")[first] | exits[matches.start[number]]
    ran = who(folding, text.at[first], only_dom, inside=fault)
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
            **ran,
        )
    by_match = np.full(matches.start.size, -1, np.int64)
    by_match[number] = cause
    inside = holds[folding.match]
    add_acts(drafts, folding, inside, by_match[folding.match], only_dom, anchor)
    if any(x.infers for x in rules):
        add_unseen_writes(drafts, folding, holds, by_match, anchor, only_dom)
