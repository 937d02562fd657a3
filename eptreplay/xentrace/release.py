"""Which Xen release wrote a recording, as far as its records tell, and which vendor's processor ran it.

The file does not say. Layouts changed in 4.8 (scheduler records name the vCPU), 4.9 (SWITCH_INFCONT), 4.18 (page
orders of the memory class move to a word of their own) and 4.19 (SVM exits get event ids of their own). Where no
record contradicts, 4.17 is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from eptreplay.errors import UsageError
from eptreplay.xentrace import state as st
from eptreplay.xentrace.catalogue.event import FIRST_RELEASE, release

ASSUMED_RELEASE = "4.17"
RELEASES = ("4.6", "4.7", "4.8", "4.9", "4.17", "4.18", "4.19")
"""Releases told apart here, each standing for those up to the next one; the last one of a layout."""


@dataclass(frozen=True)
class Release:
    """``layout``: the release whose layouts are used. ``how``: given, inferred or assumed."""

    layout: str
    how: str


def given_release(text: str) -> Release:
    """Return the release that a user names, such as ``4.17``; raises UsageError if it is none that we read."""
    try:
        known = release(FIRST_RELEASE) <= release(text) < (5,)
    except ValueError:
        known = False
    if not known:
        raise UsageError(f"--xen {text}: expected a Xen release from {FIRST_RELEASE} on, such as {ASSUMED_RELEASE}")
    return Release(text, "given")


def infer_release(tally: st.Tally) -> Release:
    """Return the release that fits all evidence in the totals of a recording.

    ``inferred`` means that every record whose layout differs between releases can be read in one way only.
    """
    totals = tally.totals
    lowest, below = release(FIRST_RELEASE), release("5")
    if totals[st.INFPREV_LONG]:
        lowest = max(lowest, (4, 8))
    if totals[st.INFCONT]:
        lowest = max(lowest, (4, 9))
    if totals[st.SVM_EXIT_IDS]:
        lowest = max(lowest, (4, 19))
    if totals[st.INFPREV_SHORT]:
        below = min(below, (4, 8))
    if totals[st.PACKED_ORDER]:
        below = min(below, (4, 18))
    elif totals[st.SEPARATE_ORDER]:
        lowest = max(lowest, (4, 18))
    if totals[st.SVM_REASONS]:
        below = min(below, (4, 19))
    fitting = [x for x in RELEASES if lowest <= release(x) < below]
    orders_open = totals[st.UNCLEAR_ORDER] and not totals[st.PACKED_ORDER] and lowest < (4, 18) < below
    anything = totals[
        [st.INFPREV_LONG, st.INFPREV_SHORT, st.INFCONT, st.SVM_EXIT_IDS, st.PACKED_ORDER, st.SEPARATE_ORDER]
    ].any()
    if not fitting or orders_open or not (anything or totals[st.SVM_REASONS]):
        return Release(ASSUMED_RELEASE, "assumed")
    return Release(
        ASSUMED_RELEASE if ASSUMED_RELEASE in fitting else fitting[0] if below == release("5") else fitting[-1],
        "inferred",
    )


def infer_vendor(tally: st.Tally) -> str | None:
    """Return ``svm`` or ``vmx``, or None where no record tells them apart.

    An external interrupt's record carries the vector on VMX only, exit reasons from 0x60 on are SVM's, and only VMX
    knows an exit qualification.
    """
    totals = tally.totals
    svm = int(totals[st.SVM_EXIT_IDS] + totals[st.SVM_REASONS] + totals[st.INTR_BARE])
    vmx = int(totals[st.INTR_VECTORS] + totals[st.NPF_QUALIFIED])
    if svm == vmx == 0:
        return None
    return "svm" if svm >= vmx else "vmx"
