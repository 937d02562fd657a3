"""Which release and which vendor a recording is believed to come from, by each piece of evidence and by several."""

from __future__ import annotations

from pathlib import Path

import pytest

import eptreplay
from eptreplay.errors import UsageError
from eptreplay.xentrace.catalogue import EVENTS
from eptreplay.xentrace.catalogue.event import release
from eptreplay.xentrace.release import RELEASES, Release, given_release
from tests.xentrace.made_files import record, window

# What tells releases apart, as bytes.
INFPREV_OF_4_7 = record(0x2800E, [3, 500], 10)
INFPREV_OF_4_8 = record(0x2800E, [3, 0, 500], 10)
INFCONT = record(0x28011, [3, 0, 500, 900], 10)
SVM_EXIT_OF_4_19 = record(0x81103, [0x400, 0, 0], 10)
SVM_REASON_IN_VMEXIT = record(0x81102, [0x78, 0, 0], 10)
VMX_REASON = record(0x81102, [48, 0, 0], 10)
PACKED_ORDER = record(0x10F005, [0, 0, 9 << 16 | 3, 0])
PACKED_ORDER_0_AND_RUBBISH = record(0x10F010, [0, 0, 0, 0, 3, 0x8000_0000])
SEPARATE_ORDER = record(0x10F011, [0, 0, 0, 0, 3, 9])
SEPARATE_ORDER_OF_SPLINTER = record(0x10F012, [0, 0, 3, 9])
UNCLEAR_ORDER = record(0x10F005, [0, 0, 3, 0])
# What tells vendors apart.
INTR_WITH_VECTOR = record(0x8200F, [0xFB])
INTR_WITHOUT = record(0x8200F)
NPF_WITH_QUALIFICATION = record(0x82021, [0x1000, 0, 5, 0, 0x182, 2])
NPF_WITHOUT = record(0x82021, [0x1000, 0, 5, 0, 0, 2])
NEUTRAL = record(0x81001, tsc=5)


def info(folder: Path, *records: bytes, xen: str | None = None) -> dict[str, object]:
    """Return what is known of a file of one window."""
    path = folder / "made.xentrace"
    path.write_bytes(window(0, NEUTRAL + b"".join(records)))
    return eptreplay.info(path, xen=xen)


@pytest.mark.parametrize(
    ("evidence", "layout", "how"),
    [
        pytest.param([], "4.17", "assumed", id="nothing"),
        pytest.param([VMX_REASON], "4.17", "assumed", id="exits-alone"),
        pytest.param([INFPREV_OF_4_7], "4.7", "inferred", id="scheduler-names-no-vcpu"),
        pytest.param([INFPREV_OF_4_8], "4.17", "inferred", id="scheduler-names-vcpu"),
        pytest.param([INFCONT], "4.17", "inferred", id="infcont"),
        pytest.param([SVM_EXIT_OF_4_19], "4.19", "inferred", id="exit-ids-of-svm"),
        pytest.param([SVM_REASON_IN_VMEXIT], "4.17", "inferred", id="svm-reasons-in-common-ids"),
        pytest.param([PACKED_ORDER], "4.17", "inferred", id="packed-order"),
        pytest.param([PACKED_ORDER_0_AND_RUBBISH], "4.17", "inferred", id="packed-order-with-rubbish"),
        pytest.param([SEPARATE_ORDER], "4.18", "inferred", id="separate-order"),
        pytest.param([SEPARATE_ORDER_OF_SPLINTER], "4.18", "inferred", id="separate-order-of-splinter"),
        pytest.param([UNCLEAR_ORDER], "4.17", "assumed", id="order-0-either-way"),
        pytest.param([UNCLEAR_ORDER, PACKED_ORDER], "4.17", "inferred", id="order-0-beside-packed-ones"),
        pytest.param([UNCLEAR_ORDER, SEPARATE_ORDER], "4.18", "inferred", id="order-0-beside-separate-ones"),
        pytest.param([UNCLEAR_ORDER, INFCONT], "4.17", "assumed", id="order-0-since-4.9"),
        pytest.param([UNCLEAR_ORDER, SVM_REASON_IN_VMEXIT], "4.17", "assumed", id="order-0-before-4.19"),
        pytest.param([UNCLEAR_ORDER, SVM_EXIT_OF_4_19], "4.19", "inferred", id="order-0-since-4.19"),
        pytest.param([UNCLEAR_ORDER, INFPREV_OF_4_7], "4.7", "inferred", id="order-0-before-4.8"),
        pytest.param([SEPARATE_ORDER, SVM_REASON_IN_VMEXIT], "4.18", "inferred", id="only-4.18-fits"),
        pytest.param([SEPARATE_ORDER, INFCONT], "4.18", "inferred", id="both-new"),
        pytest.param([SEPARATE_ORDER, PACKED_ORDER], "4.17", "inferred", id="packed-order-outweighs-rubbish"),
        pytest.param([INFPREV_OF_4_7, SVM_EXIT_OF_4_19], "4.17", "assumed", id="older-than-4.8-and-newer-than-4.18"),
        pytest.param([INFPREV_OF_4_7, INFPREV_OF_4_8], "4.17", "assumed", id="both-kinds-of-scheduler-records"),
        pytest.param([SVM_REASON_IN_VMEXIT, SVM_EXIT_OF_4_19], "4.17", "assumed", id="both-kinds-of-exits"),
        pytest.param([PACKED_ORDER, SVM_EXIT_OF_4_19], "4.17", "assumed", id="packed-order-after-4.18"),
    ],
)
def test_the_release_fits_all_evidence_or_is_assumed(
    tmp_path: Path, evidence: list[bytes], layout: str, how: str
) -> None:
    expected = {"layout": layout, "how": how}
    assert info(tmp_path, *evidence)["xen"] == expected
    assert info(tmp_path, *evidence[::-1])["xen"] == expected


def test_a_release_that_is_given_outweighs_all_evidence(tmp_path: Path) -> None:
    assert info(tmp_path, SVM_EXIT_OF_4_19, xen="4.10")["xen"] == {"layout": "4.10", "how": "given"}


@pytest.mark.parametrize("text", ["4.6", "4.17", "4.17.3", "4.22", "4.100"])
def test_releases_from_4_6_on_may_be_given(text: str) -> None:
    assert given_release(text) == Release(text, "given")


@pytest.mark.parametrize("text", ["4.5", "3.4", "5", "5.0", "4", "four", "", "4.x", "4..17", "-4.17", "4.17-rc1"])
def test_other_releases_are_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=f"--xen {text}: expected a Xen release from 4.6 on, such as 4.17"):
        given_release(text)


def test_every_release_that_changed_a_kept_layout_is_told_apart() -> None:
    changes = {x.since for e in EVENTS if e.ept and len(e.layouts) > 1 for x in e.layouts} - {"4.6"}
    assert {x for x in changes if release(x) > (4, 8)} <= set(RELEASES)


@pytest.mark.parametrize(
    ("evidence", "vendor"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([NPF_WITHOUT], None, id="npf-without-qualification"),
        pytest.param([VMX_REASON], None, id="reasons-that-both-have"),
        pytest.param([INTR_WITH_VECTOR], "vmx", id="interrupt-with-vector"),
        pytest.param([INTR_WITHOUT], "svm", id="interrupt-without-vector"),
        pytest.param([NPF_WITH_QUALIFICATION], "vmx", id="npf-with-qualification"),
        pytest.param([SVM_REASON_IN_VMEXIT], "svm", id="svm-reason"),
        pytest.param([SVM_EXIT_OF_4_19], "svm", id="svm-exit-id"),
        pytest.param([INTR_WITH_VECTOR, INTR_WITHOUT, INTR_WITHOUT], "svm", id="majority"),
        pytest.param([INTR_WITH_VECTOR, INTR_WITH_VECTOR, INTR_WITHOUT], "vmx", id="other-majority"),
    ],
)
def test_the_vendor_is_told_by_what_only_one_of_them_records(
    tmp_path: Path, evidence: list[bytes], vendor: str | None
) -> None:
    assert info(tmp_path, *evidence)["vendor"] == vendor
