"""The table of rules: each one takes what it says, in time that grows with the text."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.workload.letters import LETTERS, Text
from eptreplay.workload.rules import RULES, SVM, VMX, Matches, apply_rules, rules_of
from eptreplay.xentrace.encode import Trace
from tests.workload.lowering import check, holds_of, lowered, rows_of, shares

SPELLED = "xXKB" + "NEUVWARLMIJFGOPQZYHDCTS" + "neuvwarlmijfgopqzyhdcts" + "<>(){}"
"""Every letter of a text."""


def apply(letters: str, vendor: str) -> list[tuple[str, str]]:
    """Return which rule takes which letters of a text that is about one p2m."""
    matches = matched(letters, vendor)
    names = [rule.name for rule in rules_of(vendor)]
    return [(names[rule], letters[a:b]) for rule, a, b in zip(*(column.tolist() for column in matches), strict=True)]


def matched(letters: str, vendor: str) -> Matches:
    """Apply the rules to a text."""
    spelled = np.frombuffer(letters.encode(), np.uint8)
    p2m = np.where(np.isin(spelled, np.frombuffer(b"XxKB", np.uint8)), -1, 3)
    return apply_rules(Text(spelled, np.arange(spelled.size)), np.zeros(spelled.size, np.uint16), p2m, vendor)


EXAMPLES = {
    SVM: {
        "recorded_hold": ["X(w)n", "<WMR>", "<{W}W>", "<WTTC>", "<MSZ>"],
        "pod_fault": ["Xwpn", "Xmrmzwpn", "Xhmn", "MZWP", "MMMZRLP", "HMM", "AP"],
        "logdirty_fault": ["Xw", "Xwn"],
        "own_write": ["A"],
        "other_fault": ["Xjn", "Xlnw", "Xf"],
        "spurious_fault": ["Xn"],
        "recalculation": ["X"],
        "cut_fault": ["x"],
        "removal": ["DI", "DMZI", "DMYI"],
        "removal_without_write": ["D"],
        "pod_reclaim": ["MZ", "MMMMZRRR", "MZMR"],
        "write": ["W", "L", "M", "J", "F", "G", "O", "I", "R"],
        "global_change": ["C", "c"],
        "leftover": ["N", "P", "Q", "Z", "Y", "h", "T", "S", "t"],
    },
    VMX: {
        "recorded_hold": ["Xe(w)", "<W>", "e(w)", "K()", "B(wwwt)"],
        "pod_fault": ["Xu", "Xuq", "Xuyyq", "Xumzwp", "YYQ", "UQ", "MZWP", "Q", "P"],
        "logdirty_fault": ["Xe", "Xew", "E"],
        "spurious_fault": ["Xv", "V", "U"],
        "other_fault": ["Xw", "Xq", "Xyq"],
        "silent_fault": ["X", "x"],
        "misconfig": ["K"],
        "pml_full": ["B", "Bw", "Bwww"],
        "removal": ["DI", "DMZI"],
        "removal_unseen": ["D"],
        "pod_reclaim": ["Y", "YYY", "MZ", "MMZRY"],
        "write": ["W", "A", "L", "M", "J", "F", "G", "O", "I"],
        "global_change": ["C", "c"],
        "leftover": ["H", "N", "n", "T", "S"],
    },
}
"""Texts that one rule takes as a whole."""


def test_every_rule_has_an_example() -> None:
    assert {(rule.name, vendor) for rule in RULES for vendor in rule.vendors} == {
        (name, vendor) for vendor, rules in EXAMPLES.items() for name in rules
    }


@pytest.mark.parametrize(("vendor", "rule"), [(vendor, rule) for vendor, rules in EXAMPLES.items() for rule in rules])
def test_a_rule_takes_its_examples_as_a_whole(vendor: str, rule: str) -> None:
    for text in EXAMPLES[vendor][rule]:
        assert apply(text, vendor) == [(rule, text)]


@pytest.mark.parametrize(
    ("vendor", "letters", "expected"),
    [
        (SVM, "XwnXwn", ["Xwn", "Xwn"]),
        (SVM, "Xnxw", ["Xn", "xw"]),
        (SVM, "Xwnw", ["Xwn", "w"]),
        (SVM, "DIDI", ["DI", "DI"]),
        (SVM, "WWW", ["W", "W", "W"]),
        (VMX, "Xexe", ["Xe", "xe"]),
        (VMX, "Xuxe", ["Xu", "xe"]),
        (VMX, "Xvxe", ["Xv", "xe"]),
        (VMX, "Xwxu", ["Xw", "xu"]),
        (VMX, "Xexu", ["Xe", "xu"]),
        (VMX, "DYI", ["D", "Y", "I"]),
        (VMX, "KK", ["K", "K"]),
        (VMX, "BwBw", ["Bw", "Bw"]),
        (VMX, "BW", ["B", "W"]),
        (VMX, "BxeK", ["B", "xe", "K"]),
    ],
)
def test_operations_that_follow_each_other_stay_apart(vendor: str, letters: str, expected: list[str]) -> None:
    assert [taken for _, taken in apply(letters, vendor)] == expected


TEXTS = st.text(SPELLED, max_size=60)


@settings(max_examples=200)
@given(TEXTS, st.sampled_from((SVM, VMX)))
def test_every_letter_is_taken_once_and_writes_are_never_left_over(letters: str, vendor: str) -> None:
    taken = apply(letters, vendor)
    assert "".join(text for _, text in taken) == letters
    for rule, text in taken:
        if rule in {"leftover", "silent_fault", "cut_fault", "removal_without_write"}:
            assert not set(text) & set("WARLMIJFGOCwarlmijfgoc")


def test_the_letters_are_those_that_the_table_explains() -> None:
    assert {letter.upper() for letter in SPELLED if letter.isalpha()} == {x for x in LETTERS if x.isalpha()}


def taken_in_time(texts: list[str], vendor: str, seconds: float) -> None:
    """Assert that the rules take each of these texts in so much time; the square of a length would take minutes."""
    slow = {}
    for text in texts:
        start = time.process_time()
        assert matched(text, vendor).stop[-1] == len(text)
        slow[text[:2]] = time.process_time() - start
    assert max(slow.values()) < seconds, slow


@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_texts_of_one_letter_take_time_in_proportion(vendor: str) -> None:
    taken_in_time([letter * 20_000 for letter in SPELLED], vendor, 1)


@pytest.mark.slow
@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_a_million_times_the_same_letter_takes_seconds(vendor: str) -> None:
    taken_in_time([letter * 1_000_000 for letter in SPELLED], vendor, 5)


@pytest.mark.slow
@pytest.mark.parametrize("vendor", [SVM, VMX])
def test_so_do_two_letters_in_turn_and_one_behind_many(vendor: str) -> None:
    pairs = list(product("xXMZYRuewIDHnmKBCT(<", "xXMZYRuewIDHnmKBct)>"))
    taken_in_time([(a + b) * 5_000 for a, b in pairs] + [a * 10_000 + b for a, b in pairs], vendor, 1)


# From records to letters


def svm_host() -> Trace:
    """Return a recording in which d3v0 runs, and which only an AMD host writes."""
    trace = Trace()
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=3, vcpu=0)
    trace.add("HVM_VMEXIT64", tsc=1100, reason=0x81, rip=0)
    trace.add("HVM_VMENTRY", tsc=1200)
    return trace


def wrote(trace: Trace, gfn: int, p2mt: int = 0, order: int = 0, domid: int = 3) -> None:
    """Record a write."""
    trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=gfn + 0x100, p2mt=p2mt, domid=domid, order=order)


def test_a_batch_of_pages_is_looked_at_in_one_hold(tmp_path: Path) -> None:
    trace = svm_host()
    for gfn in range(4):
        wrote(trace, gfn, 6)
    for gfn in (0, 1, 3):
        wrote(trace, gfn, 0)
    trace.add("MEM_POD_ZERO_RECLAIM", gfn=2, mfn=5, domid=3)
    trace.add("HVM_VMENTRY", tsc=1300)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert shares(workload) == {"pod_reclaim": (1, 8)}
    [hold] = holds_of(workload)
    assert hold[3] == "pod_reclaim"
    assert [write[0] for write in hold[6:]] == [0, 1, 2, 3, 0, 1, 3]


def test_what_one_pcpu_writes_is_no_answer_to_what_another_reads(tmp_path: Path) -> None:
    """The last record of a pCPU and the first one of the next are neighbours in our arrays alone."""
    trace = svm_host()
    wrote(trace, 7, 6)
    trace.window(1)
    trace.add("MEM_POD_ZERO_RECLAIM", gfn=7, mfn=5, domid=3)
    trace.add("HVM_VMENTRY", tsc=1300)
    workload = lowered(tmp_path, trace)
    check(workload)
    [row] = rows_of(workload, "SET")
    assert (row["cause"], row["old_known"]) == ("populate", "assumed")


@pytest.mark.parametrize("order", [0, 9])
def test_populate_and_its_write_belong_together_wherever_in_the_superpage_the_fault_was(
    tmp_path: Path, order: int
) -> None:
    trace = svm_host()
    trace.add("HVM_VMEXIT64", tsc=1300, reason=0x400, rip=0)
    wrote(trace, 0x200, 0, order)
    trace.add("MEM_POD_POPULATE", gfn=0x200 + (5 if order else 0), mfn=0x300, domid=3, order=order)
    trace.add("HVM_NPF", gpa=0x205000, mfn=0x305, p2mt=0)
    trace.add("HVM_VMENTRY", tsc=1400)
    assert shares(lowered(tmp_path, trace)) == {"pod_fault": (1, 4)}


def test_a_write_of_another_domain_within_a_fault_is_none_of_the_fault(tmp_path: Path) -> None:
    trace = svm_host()
    trace.add("HVM_VMEXIT64", tsc=1300, reason=0x400, rip=0)
    wrote(trace, 5, 0)
    wrote(trace, 6, 0, domid=4)
    trace.add("HVM_NPF", gpa=0x5000, mfn=0x305, p2mt=0)
    trace.add("HVM_VMENTRY", tsc=1400)
    workload = lowered(tmp_path, trace)
    check(workload)
    found = [(hold[1], hold[3]) for hold in holds_of(workload) if hold[3] != "logdirty_global"]
    assert found[:2] == [(3, "logdirty_fault"), (4, "populate")]


def test_a_recording_may_begin_with_a_removal(tmp_path: Path) -> None:
    trace = Trace()
    trace.window(0)
    wrote(trace, 5, 1)
    trace.add("HVM_VMENTRY", tsc=1300)
    workload = lowered(tmp_path, trace)
    check(workload)
    assert [hold[3] for hold in holds_of(workload)] == ["physmap"]


BY_TYPE = {
    0: "populate", 1: "physmap", 2: "populate", 3: "populate", 5: "physmap", 7: "grant", 8: "grant", 14: "foreign",
    255: "physmap",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "cause"), BY_TYPE.items())
def test_writes_that_no_rule_explains_are_explained_by_the_new_type(tmp_path: Path, kind: int, cause: str) -> None:
    trace = svm_host()
    wrote(trace, 5, kind)
    [hold] = holds_of(lowered(tmp_path, trace))
    assert hold[3] == hold[6][4] == cause


@pytest.mark.parametrize(("old", "cause"), [(14, "foreign"), (7, "grant"), (8, "grant"), (0, "physmap")])
def test_a_removal_has_the_cause_of_what_is_removed(tmp_path: Path, old: int, cause: str) -> None:
    trace = svm_host()
    wrote(trace, 5, old)
    wrote(trace, 5, 1)
    hold = holds_of(lowered(tmp_path, trace))[1]
    assert hold[3] == hold[6][4] == cause


def test_rules_of_both_vendors_keep_their_order() -> None:
    names = [rule.name for rule in rules_of(SVM)]
    assert names.index("pod_fault") < names.index("logdirty_fault") < names.index("other_fault")
    assert names[-1] == "leftover"
    assert [rule.name for rule in rules_of(VMX)][-1] == "leftover"
