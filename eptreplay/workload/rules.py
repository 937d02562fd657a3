"""Which records are one operation: the table of rules, and its application to a recording.

A rule is a pattern over the letters of ``letters.LETTERS``. At each place the first rule that fits takes the records.
Counting every record that belongs to one fault by itself would double the work, so folding comes before everything.
Patterns must need time in proportion to the text whatever it is: hence repetitions that give nothing back (``*+``), and
a later rule that takes at one go what an earlier one has looked through in vain. No fault reaches beyond the next VM
exit: hence classes of small letters without x.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.causes import CAUSES
from eptreplay.workload.letters import Text

HOLD = "hold"
"""One hold of the p2m write lock, with the writes, and whatever else is done to the tables, among the records."""
RECORDED_HOLD = "recorded hold"
"""A hold whose begin and end are recorded, with think times."""
NOTHING = "nothing"
"""No operation."""

SVM, VMX = "svm", "vmx"


class Rule(NamedTuple):
    """One rule. ``vendors``: where it holds. ``infers``: whether writes that are not among the records are inferred.

    ``cause``: why the lock is held; None: the type of the new entry tells (``rows.CAUSE_BY_TYPE``).
    """

    name: str
    vendors: tuple[str, ...]
    pattern: str
    makes: str
    cause: str | None
    about: str
    infers: bool = False


BOTH = (SVM, VMX)

# fmt: off
RULES = (
    Rule("recorded_hold", BOTH, r"[XxKB]?[euvEUV]?\([^()]*\)n?|<[^<>]*>", RECORDED_HOLD, None,
         "a hold that a patched Xen recorded, with all that lies in it, and the exit that led to it"),

    Rule("pod_fault", (SVM,), r"[Xx][mzr]*+(?:[wl]p|hm*)n?|(?:M{1,16}[ZR]++)*+(?:[WLA]P|HM*)", HOLD, "pod_fault",
         "populate-on-demand: pages of zeros are taken back, then the entry gets a page, then POD_POPULATE"),
    Rule("logdirty_fault", (SVM,), r"[Xx]wn?", HOLD, "logdirty_fault",
         "a write to a tracked page: its entry becomes ordinary memory again"),
    Rule("own_write", (SVM,), r"A", HOLD, "logdirty_fault",
         "without VM exits: a domain that makes a present entry of its own ordinary memory has written to the page"),
    Rule("other_fault", (SVM,), r"[Xx][a-wyz]*[mzrwlijfgo][a-wyz]*", HOLD, "other",
         "a nested page fault that wrote something else"),
    Rule("spurious_fault", (SVM,), r"[Xx]n", HOLD, "spurious",
         "a nested page fault that wrote nothing: the lock was taken all the same"),
    Rule("recalculation", (SVM,), r"X", HOLD, "misconfig",
         "a nested page fault with neither NPF nor write: one entry was recalculated after a global change"),
    Rule("cut_fault", (SVM,), r"x", NOTHING, None,
         "a nested page fault whose end is not in the recording"),

    Rule("logdirty_fault", (VMX,), r"[Xx]?e[a-df-wyz]*|E", HOLD, "logdirty_fault",
         "a write to a tracked page (NPF of type 2): one entry becomes ordinary memory again", infers=True),
    Rule("pod_fault", (VMX,), r"[Xx]?u[a-tvwyz]*|U?(?:M{0,16}[ZYR]++)*+[WLA]?[PQ]", HOLD, "pod_fault",
         "populate-on-demand: with POD_POPULATE the entry got a page, with POD_ZERO_RECLAIM others lost theirs",
         infers=True),
    Rule("spurious_fault", (VMX,), r"[Xx]?v[a-wyz]*|[UV]", HOLD, "spurious",
         "an EPT violation of any other type: the lock was taken all the same"),
    Rule("other_fault", (VMX,), r"[Xx][a-wyz]+", HOLD, "other",
         "an EPT violation without NPF record that wrote something"),
    Rule("silent_fault", (VMX,), r"[Xx]", NOTHING, None,
         "an EPT violation without NPF record: handled without looking the entry up, or class HVM is masked"),
    Rule("misconfig", (VMX,), r"K", HOLD, "misconfig",
         "exit 49: an entry, and those beside it, are recalculated after a global change"),
    Rule("pml_full", (VMX,), r"B[a-wyz]*", HOLD, "pml",
         "exit 62: a full page-modification log is emptied, each entry of it a write", infers=True),

    Rule("removal", BOTH, r"D(?:M[ZYR])*I", HOLD, "decrease",
         "DECREASE_RESERVATION, then the write: one page leaves the domain"),
    Rule("removal_unseen", (VMX,), r"D", HOLD, "decrease",
         "DECREASE_RESERVATION: every page of the extent leaves the domain in a hold of its own", infers=True),
    Rule("removal_without_write", (SVM,), r"D", NOTHING, None,
         "DECREASE_RESERVATION without a write: it failed, or was cut off"),
    Rule("pod_reclaim", (SVM,), r"(?:M{1,16}[ZYR]++)++", HOLD, "pod_reclaim",
         "pages are looked at for zeros, outside any fault that is recorded"),
    Rule("pod_reclaim", (VMX,), r"(?:M{0,16}[ZYR]++)++", HOLD, "pod_reclaim",
         "pages of zeros are taken back, outside any fault that is recorded", infers=True),
    Rule("write", BOTH, r"[WALRMIJFGOwalrmijfgo]", HOLD, None,
         "any other write: a hold of its own"),
    Rule("global_change", BOTH, r"[Cc]", HOLD, "logdirty_global",
         "P2M_GLOBAL_CHANGE outside of a recorded hold: a hold of its own"),
    Rule("leftover", BOTH, r"[^*]", NOTHING, None,
         "records that tell of no write: POD_* and NPF without their fault, pages of tables or caches without a hold"),
)
# fmt: on

CAUSE_NUMBERS = {name: number for number, name in enumerate(CAUSES)}


class Matches(NamedTuple):
    """What rules found, in the order of the text: number of the rule, first letter, and the letter behind the last."""

    rule: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]


def rules_of(vendor: str) -> tuple[Rule, ...]:
    """Return the rules for recordings of a vendor, in the order in which they are tried."""
    return tuple(rule for rule in RULES if vendor in rule.vendors)


def apply_rules(text: Text, pcpu: NDArray[np.uint16], p2m: NDArray[np.int64], vendor: str) -> Matches:
    """Apply the rules of a vendor to each pCPU's text.

    ``pcpu`` and ``p2m`` are those of each letter's record; p2ms are told apart by any number, -1 where the record does
    not tell. Records about two p2ms are one operation only where a recorded hold has both.
    """
    rules = rules_of(vendor)
    combined = re.compile("|".join(f"({rule.pattern})" for rule in rules))
    found: list[int] = []
    bounds = [0, *_cuts(text.letters, pcpu, p2m).tolist(), pcpu.size]
    for begin, end in pairwise(bounds):
        part = text.letters[begin:end].tobytes().decode("latin-1")
        for match in combined.finditer(part):
            start, stop = match.span()
            found += (match.lastindex or 1, begin + start, begin + stop)
    table = np.array(found, np.int64).reshape(-1, 3)
    return Matches(table[:, 0] - 1, table[:, 1], table[:, 2])


def _cuts(letters: NDArray[np.uint8], pcpu: NDArray[np.uint16], p2m: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the letters before which a new text begins."""
    opened = np.cumsum(np.isin(letters, _OPENING).astype(np.int64) - np.isin(letters, _CLOSING))
    # A letter that tells no p2m is about the same one as that before it, but for an exit, which begins something new.
    tells = (p2m >= 0) | np.isin(letters, _EXITS)
    last = np.maximum.accumulate(np.where(tells, np.arange(letters.size), 0)) if letters.size else p2m
    before, now = p2m[last[:-1]], p2m[1:]
    other = (before != now) & (before >= 0) & (now >= 0) & (opened[:-1] == 0)
    return np.flatnonzero((np.diff(pcpu.astype(np.int64)) != 0) | other) + 1


_EXITS = np.frombuffer(b"XxKB", np.uint8)
_OPENING, _CLOSING = np.frombuffer(b"<(", np.uint8), np.frombuffer(b">)", np.uint8)
