"""Which records belong to one operation: a recording's text, folded by the rules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eptreplay.workload import records as r
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.letters import Text

VIEW_WORDS = {r.P2M_SET: 5, r.GLOBAL: 0, r.TABLE_FREE: 0, r.HOLD_BEGIN: 0, r.HOLD_END: 0}
"""Records that tell of a view, and the payload word whose upper half it is."""


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
    view = np.full(text.at.size, s.HOST_VIEW, np.int64)
    for kind, word in VIEW_WORDS.items():
        view[kinds == kind] = records.w[word][text.at[kinds == kind]] >> 16
    p2m = np.where(dom >= 0, dom << 16 | view, -1)
    matches = rule.apply_rules(text, records.pcpu[text.at], p2m, vendor)
    lengths = matches.stop - matches.start
    match = np.repeat(np.arange(lengths.size), lengths)
    about = np.full(lengths.size, -1, np.int64)
    np.maximum.at(about, match, p2m)
    view = np.where(p2m >= 0, view, np.where(about[match] >= 0, about[match] & 0xFFFF, s.HOST_VIEW))
    return Folding(records, text, kinds, row, view, rule.rules_of(vendor), matches, match, about)


def who(folding: Folding, at: NDArray[np.int64], only_dom: int, *, inside: NDArray[np.bool_]) -> dict[str, ArrayLike]:
    """Return who ran at records; where nobody knows, the vCPU of a fault is the p2m's own domain's."""
    dom = folding.records.dom[at]
    return {"run_dom": np.where((dom < 0) & inside, only_dom, dom), "run_vcpu": folding.records.vcpu[at]}


def p2m_of(folding: Folding, letters: NDArray[np.int64], only_dom: int) -> NDArray[np.int64]:
    """Return whose p2m letters are about: what their records say, or others of the same match; else who ran then."""
    dom: NDArray[np.int64] = folding.records.p2m_dom[folding.row[letters]].astype(np.int64)
    match = folding.match[letters]
    about, runs = folding.about[match], folding.records.dom[folding.text.at[folding.matches.start[match]]]
    dom = np.where((dom < 0) & (about >= 0), about >> 16, dom)
    dom = np.where(dom >= 0, dom, runs)
    return np.where(dom >= 0, dom, only_dom)
