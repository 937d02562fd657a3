"""A recording as text: one letter for each record that tells of a p2m, so that rules can be written as patterns.

Letters of a vCPU that has exited because of a nested page fault, an EPT violation, a misconfigured entry or a full log
of PML, up to its next VM entry, are in lower case, all others in upper case. The table says what each letter stands
for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.p2m_types import (
    GRANT_MAP_RO,
    GRANT_MAP_RW,
    INVALID,
    MAP_FOREIGN,
    POPULATE_ON_DEMAND,
    RAM_LOGDIRTY,
    RAM_RO,
    RAM_RW,
)
from eptreplay.workload import records as r
from eptreplay.workload.episodes import BASIC_REASON, EPT_MISCONFIG, EPT_VIOLATION, NPT_FAULT, PML_FULL, Episodes

LETTERS = {
    "X": "VM exit because of a nested page fault or EPT violation; x if what followed it is not in the recording",
    "K": "VM exit because of a misconfigured EPT entry",
    "B": "VM exit because a page-modification log is full",
    "N": "NPF record of SVM, written after the fault was handled",
    "E": "NPF record of VMX, written before: a write to a page that is tracked (type 2)",
    "U": "NPF record of VMX: the entry is populate-on-demand (type 6)",
    "V": "NPF record of VMX: anything else",
    "W": "write of an entry: ordinary memory",
    "A": "the same by a vCPU of that domain, in a recording without VM exits",
    "R": "the same or log-dirty, of an entry that the same pCPU has just made populate-on-demand: put back",
    "L": "log-dirty memory",
    "M": "populate-on-demand",
    "I": "no entry, after a DECREASE_RESERVATION of the same gfn",
    "J": "no entry, otherwise",
    "F": "another domain's page",
    "G": "a granted page",
    "O": "anything else",
    "P": "POD_POPULATE of the entry that was written just before",
    "Q": "POD_POPULATE without such a write",
    "Z": "POD_ZERO_RECLAIM of the entry that was written just before",
    "Y": "POD_ZERO_RECLAIM without such a write",
    "H": "POD_SUPERPAGE_SPLINTER",
    "D": "DECREASE_RESERVATION",
    "C": "P2M_GLOBAL_CHANGE",
    "T": "PT_PAGE_FREE",
    "S": "POD_CACHE_ADD",
    "<": "P2M_HOLD_BEGIN, and ( in lower case; { inside another hold",
    ">": "P2M_HOLD_END, and ) in lower case; } inside another hold",
}

RESTORED_WITHIN = 64
"""Records between unmapping a page to look whether it is zero and putting it back: 16 pages at a time, two each."""
WRITE = 2
"""Bit of an EPT violation's exit qualification: the access was a write."""

_BY_TYPE = {
    RAM_RW: "W",
    RAM_RO: "L",
    RAM_LOGDIRTY: "L",
    INVALID: "J",
    POPULATE_ON_DEMAND: "M",
    MAP_FOREIGN: "F",
    GRANT_MAP_RW: "G",
    GRANT_MAP_RO: "G",
}
_TYPE_LETTERS = np.array([ord(_BY_TYPE.get(number, "O")) for number in range(256)] + [ord("O")], np.uint8)
_LOWER = 0x20


class Text(NamedTuple):
    """Letters as bytes, and the position of the record that each stands for."""

    letters: NDArray[np.uint8]
    at: NDArray[np.int64]


def spell(records: r.Records, episodes: Episodes, vendor: str) -> Text:
    """Return the text of a recording, pCPU after pCPU; ``vendor`` svm or vmx."""
    what, fault = records.what, _is_fault(records, vendor)
    at = np.flatnonzero(fault | _marks(records, vendor) | ((what >= r.NPF) & (what <= r.HOLD_END)))
    kind = what[at]
    row = records.memory[at]
    letters = np.full(at.size, ord("O"), np.uint8)
    is_set = (kind == r.SET) | (kind == r.P2M_SET)
    letters[is_set] = _TYPE_LETTERS[records.type[row[is_set]]]
    exits = kind == r.VMEXIT
    letters[exits] = _exit_letters(records, at[exits], episodes, vendor)
    npf = kind == r.NPF
    letters[npf] = ord("N") if vendor == "svm" else _npf_letters(records, row[npf])
    letters[kind == r.SPLINTER] = ord("H")
    letters[kind == r.DECREASE] = ord("D")
    letters[kind == r.GLOBAL] = ord("C")
    letters[kind == r.TABLE_FREE] = ord("T")
    letters[kind == r.CACHE_ADD] = ord("S")
    _pair_with_write_before(records, letters, at, kind, row)
    _mark_restored(records, letters, at, is_set, row)
    if not (what == r.VMEXIT).any():
        own = is_set & (letters == ord("W")) & (records.dom[at] == records.p2m_dom[row]) & (records.order[row] == 0)
        letters[own] = ord("A")
    inside = _in_fault(records, episodes, fault | _marks(records, vendor), at, row)
    never = np.isin(letters, np.frombuffer(b"XxKBDI", np.uint8))
    letters[inside & ~never] |= _LOWER
    _bracket_holds(records, letters, at, kind, row, inside)
    keep = letters != 0
    return Text(letters[keep], at[keep])


def _is_fault(records: r.Records, vendor: str) -> NDArray[np.bool_]:
    reason = records.w[0] if vendor == "svm" else records.w[0] & BASIC_REASON
    fault: NDArray[np.bool_] = (records.what == r.VMEXIT) & (
        reason == (NPT_FAULT if vendor == "svm" else EPT_VIOLATION)
    )
    return fault


def _marks(records: r.Records, vendor: str) -> NDArray[np.bool_]:
    """Return which records are VM exits that mean something by themselves."""
    if vendor == "svm":
        return np.zeros(records.what.size, np.bool_)
    reason = records.w[0] & BASIC_REASON
    marks: NDArray[np.bool_] = (records.what == r.VMEXIT) & ((reason == EPT_MISCONFIG) | (reason == PML_FULL))
    return marks


def _exit_letters(records: r.Records, exits: NDArray[np.int64], episodes: Episodes, vendor: str) -> NDArray[np.uint8]:
    letters = np.where(episodes.complete[exits], np.uint8(ord("X")), np.uint8(ord("x")))
    if vendor == "vmx":
        reason = records.w[0][exits] & BASIC_REASON
        letters[reason == EPT_MISCONFIG] = ord("K")
        letters[reason == PML_FULL] = ord("B")
    return letters


def _npf_letters(records: r.Records, row: NDArray[np.int32]) -> NDArray[np.uint8]:
    written = records.qualification[row] & WRITE != 0
    tracked = (records.type[row] == RAM_LOGDIRTY) & written
    letters = np.where(tracked, np.uint8(ord("E")), np.uint8(ord("V")))
    letters[records.type[row] == POPULATE_ON_DEMAND] = ord("U")
    return letters


def _pair_with_write_before(
    records: r.Records, letters: NDArray[np.uint8], at: NDArray[np.int64], kind: NDArray[np.uint8],
    row: NDArray[np.int32],
) -> None:  # fmt: skip
    """Tell POD_POPULATE and ZERO_RECLAIM with their write from those without; and removals after a DECREASE."""
    before = np.arange(at.size) - 1
    wrote = np.isin(kind[before], (r.SET, r.P2M_SET)) & (records.pcpu[at] == records.pcpu[at[before]])
    wrote &= before >= 0
    shift = np.maximum(records.order[row[before]], 0).astype(np.uint64)
    same = wrote & (records.p2m_dom[row] == records.p2m_dom[row[before]])
    same &= records.gfn[row] >> shift == records.gfn[row[before]] >> shift
    for what, paired, alone, wanted in (
        (r.POPULATE, "P", "Q", "WLO"),
        (r.ZERO_RECLAIM, "Z", "Y", "M"),
    ):
        chosen = kind == what
        fits = same & np.isin(letters[before], np.frombuffer(wanted.encode(), np.uint8))
        letters[chosen] = np.where(fits[chosen], np.uint8(ord(paired)), np.uint8(ord(alone)))
    # A removal follows its DECREASE at once, or after one superpage of zeros has been taken back.
    gone = np.flatnonzero(letters == ord("J"))
    for distance in (1, 3):
        there = np.maximum(gone - distance, 0)
        able = (gone >= distance) & (letters[there] == ord("D")) & (records.pcpu[at[gone]] == records.pcpu[at[there]])
        able &= records.gfn[row[gone]] == records.gfn[row[there]]
        able &= records.p2m_dom[row[gone]] == records.p2m_dom[row[there]]
        letters[gone[able]] = ord("I")


def _mark_restored(
    records: r.Records, letters: NDArray[np.uint8], at: NDArray[np.int64], is_set: NDArray[np.bool_],
    row: NDArray[np.int32],
) -> None:  # fmt: skip
    """Tell entries that are put back after a look at their page from those that get a page."""
    sets = np.flatnonzero(is_set)
    by_entry = sets[np.lexsort((sets, records.gfn[row[sets]], records.p2m_dom[row[sets]], records.pcpu[at[sets]]))]
    now, past = by_entry[1:], by_entry[:-1]
    back = np.isin(letters[now], np.frombuffer(b"WL", np.uint8)) & (letters[past] == ord("M"))
    back &= (records.gfn[row[now]] == records.gfn[row[past]]) & (records.order[row[now]] == records.order[row[past]])
    back &= (records.p2m_dom[row[now]] == records.p2m_dom[row[past]]) & (
        records.pcpu[at[now]] == records.pcpu[at[past]]
    )
    back &= now - past <= RESTORED_WITHIN
    populated = np.append(letters[1:] == ord("P"), False)
    reclaimed = np.append(np.isin(letters[1:], np.frombuffer(b"ZY", np.uint8)), False)
    letters[now[back & ~populated[now] & ~reclaimed[past]]] = ord("R")


def _in_fault(
    records: r.Records, episodes: Episodes, fault: NDArray[np.bool_], at: NDArray[np.int64], row: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Return which letters are of the vCPU that has just exited for a p2m, and about its own domain's."""
    start = episodes.start[at]
    inside = (start >= 0) & fault[start] & episodes.own[at] & (start != at)
    owner, dom = records.dom[at], records.p2m_dom[row]
    fits: NDArray[np.bool_] = inside & ((owner == r.UNKNOWN) | (dom == r.UNKNOWN) | (owner == dom))
    return fits


def _bracket_holds(
    records: r.Records, letters: NDArray[np.uint8], at: NDArray[np.int64], kind: NDArray[np.uint8],
    row: NDArray[np.int32], inside: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Write recorded holds as brackets: outermost ones as < > or ( ), inner ones as { }; broken ones not at all.

    One of a domain that no Xen has is broken too.
    """
    marks = np.flatnonzero((kind == r.HOLD_BEGIN) | (kind == r.HOLD_END))
    letters[marks] = 0
    marks = marks[records.p2m_dom[row[marks]] != r.UNKNOWN]
    pairs: dict[int, int] = {}
    stack: list[int] = []
    pcpu = -1
    for mark in marks.tolist():
        if records.pcpu[at[mark]] != pcpu:
            pcpu, stack = int(records.pcpu[at[mark]]), []
        if kind[mark] == r.HOLD_BEGIN:
            stack.append(mark)
            continue
        while stack and records.w[0][at[stack[-1]]] != records.w[0][at[mark]]:
            stack.pop()
        if stack:
            pairs[stack.pop()] = mark
    end = -1
    for begin in sorted(pairs):
        outermost = begin > end
        end = pairs[begin] if outermost else end
        letters[begin], letters[pairs[begin]] = (b"()" if inside[begin] else b"<>") if outermost else b"{}"
