"""The event catalogue: consistent in itself, and right about every record of the recordings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.causes import CAUSES
from eptreplay.errors import UsageError
from eptreplay.xentrace.catalogue import CLASSES, EVENTS, by_id, by_name, class_of, extension
from eptreplay.xentrace.catalogue.event import Event, release
from eptreplay.xentrace.catalogue.extension import EVENTS as EXTENSION
from eptreplay.xentrace.catalogue.layout import MAX_WORDS, Layout
from eptreplay.xentrace.catalogue.sched import RUNSTATES, runstate_change

XEN_OF_THE_RECORDINGS = "4.17"
LAYOUTS = [(event, layout) for event in EVENTS for layout in event.layouts]


def texts(name: str, xen: str) -> list[str]:
    return [x.text for x in by_name(name).layouts_in(xen)]


def test_ids_and_names_are_unique_and_ids_ascend() -> None:
    ids = [e.id for e in EVENTS]
    assert ids == sorted(set(ids))
    assert len({e.name for e in EVENTS}) == len(EVENTS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.name)
def test_row_is_well_formed(event: Event) -> None:
    assert event.id < 1 << 28
    assert class_of(event.id) in CLASSES
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", event.name)
    assert event.about
    releases = [release(x.since) for x in event.layouts]
    assert releases == sorted(releases)
    assert event.layouts[0].since == event.since
    if event.until is not None:
        assert release(event.until) > release(event.since) or event.name == "TRACE_IRQ"


@pytest.mark.parametrize(("event", "layout"), LAYOUTS, ids=lambda x: getattr(x, "name", getattr(x, "since", None)))
def test_layout_parses_and_fits_a_record(event: Event, layout: Layout) -> None:
    assert layout.min_words <= layout.max_words <= MAX_WORDS
    assert set(range(layout.min_words, layout.max_words + 1)) <= event.word_counts


def test_subclass_bits_are_those_of_the_public_header() -> None:
    subclasses = {
        "gen": {0xF},
        "sched": {0x1, 0x2, 0x8},
        "dom0op": {0x1},
        "hvm": {0x1, 0x2, 0x4},
        "mem": {0xF},
        "pv": {0x1, 0x2},
        "shadow": {0xF},
        "hw": {0x1, 0x2},
    }
    found: dict[str | None, set[int]] = {}
    for event in EVENTS:
        found.setdefault(class_of(event.id), set()).add(event.id >> 12 & 0xF)
    assert found == subclasses


def test_class_bits_are_single_bits() -> None:
    assert all(bits.bit_count() == 1 for bits in CLASSES.values())
    assert class_of(0x800F123) == "guest"
    assert class_of(0x0181001) is None


def test_extension_events_stand_in_their_fixed_order() -> None:
    # fmt: off
    names = [
        "P2M_HOLD_BEGIN", "P2M_HOLD_END", "P2M_SET", "P2M_GLOBAL_CHANGE", "PT_PAGE_FREE", "PAGE_FREE", "PAGE_ALLOC",
        "POD_CACHE_ADD", "FOREIGN_LOOKUP", "PML_DRAIN", "LOGDIRTY_CLEAN_BEGIN", "LOGDIRTY_CLEAN_END", "DOMAIN_PAUSE",
        "DOMAIN_UNPAUSE", "BCAST_BEGIN", "BCAST_END", "INVEPT",
    ]
    # fmt: on
    assert [(e.id, e.name) for e in EXTENSION] == list(enumerate(names, start=0x10F040))
    assert all(e.timed and e.ept for e in EXTENSION)
    assert CAUSES.index("logdirty_fault") == 0
    assert CAUSES.index("other") == 13


def test_payloads_of_extension_events_are_final() -> None:
    """Recordings of patched hosts stay readable only if no word ever moves."""
    p2m = "domid:u16 view:u16"
    assert {event.name: tuple(layout.text for layout in event.layouts) for event in EXTENSION} == {
        "P2M_HOLD_BEGIN": (f"{p2m} cause",),
        "P2M_HOLD_END": (p2m,),
        "P2M_SET": (f"gfn:u64 mfn:u64 old_type:u8 new_type:u8 order:u8 flags:u8 {p2m} access",),
        "P2M_GLOBAL_CHANGE": (f"{p2m} old_type:u8 new_type:u8 flags:u16 first_gfn:u64 last_gfn:u64",),
        "PT_PAGE_FREE": (f"{p2m} level mfn:u64",),
        "PAGE_FREE": ("mfn:u64 domid:u16 order:u16",),
        "PAGE_ALLOC": ("mfn:u64 domid:u16 order:u16",),
        "POD_CACHE_ADD": ("mfn:u64 domid:u16 order:u16",),
        "FOREIGN_LOOKUP": ("gfn:u64 count domid:u16 preemptible:u16",),
        "PML_DRAIN": ("domid:u16 vcpu:u16 count",),
        "LOGDIRTY_CLEAN_BEGIN": ("domid:u16 op:u16",),
        "LOGDIRTY_CLEAN_END": ("domid:u16 op:u16",),
        "DOMAIN_PAUSE": ("domid:u16 reserved:u16",),
        "DOMAIN_UNPAUSE": ("domid:u16 reserved:u16",),
        "BCAST_BEGIN": (f"{p2m} targets",),
        "BCAST_END": (p2m,),
        "INVEPT": (f"{p2m} type",),
    }


def test_extension_events_say_where_their_trace_points_belong_and_no_others_do() -> None:
    assert all(event.where and event.when for event in EXTENSION)
    assert not any(event.where or event.when for event in EVENTS if event not in EXTENSION)
    assert all(re.search(r"\w+\(\).* in (arch|common|hvm|mm)/[\w/-]+\.[ch]\b", event.where) for event in EXTENSION)
    assert set(extension.CAUSE_SITES) == set(CAUSES)


def test_every_field_of_an_extension_event_has_a_meaning() -> None:
    names = {(event.name, field.name) for event in EXTENSION for layout in event.layouts for field in layout.fields}
    assert all(extension.about_field(*pair) for pair in names)
    assert set(extension.FIELDS) <= {field for _, field in names} | {f"{event}.{field}" for event, field in names}


def test_numbers_in_extension_events_do_not_change() -> None:
    assert (extension.HOST_VIEW, extension.ALTP2M_VIEWS, extension.NESTED_VIEWS) == (0, 1, 256)
    flags = ("SET_OLD_PRESENT", "SET_SPLIT", "SET_TABLE_REPLACED", "SET_OLD_ABSENT")
    assert [getattr(extension, name) for name in flags] == [1, 2, 4, 8]
    assert (extension.GLOBAL_RANGE, extension.GLOBAL_MEMORY_TYPES) == (1, 2)
    assert (extension.CLEAN, extension.PEEK, extension.SCAN_VRAM) == (0, 1, 2)
    assert (extension.INVEPT_SINGLE, extension.INVEPT_ALL) == (1, 2)
    assert extension.LEVEL_UNKNOWN == (1 << 32) - 1


def test_every_runstate_change_has_its_id() -> None:
    assert by_name("RUNSTATE_RUNNABLE_TO_RUNNING").id == 0x21101
    assert by_name("RUNSTATE_RUNNING_TO_BLOCKED").id == 0x21021
    ids = {runstate_change(old, new) for old in range(4) for new in range(4)}
    assert ids == {e.id for e in EVENTS if e.name.startswith("RUNSTATE_")}
    assert len(ids) == len(RUNSTATES) ** 2


@pytest.mark.parametrize("name", ["MEM_DECREASE_RESERVATION", "MEM_POD_POPULATE", "MEM_POD_ZERO_RECLAIM"])
def test_order_got_a_word_of_its_own_in_4_18(name: str) -> None:
    (old,), (new,) = by_name(name).layouts_in("4.17"), by_name(name).layouts_in("4.18")
    values = {"gfn": 0x1_2345_6789, "domid": 3, "order": 9}
    assert old.max_words == new.max_words
    assert old.pack(values)[-2:] == (9 << 16 | 3, 0)
    assert new.pack(values)[-2:] == (3, 9)


def test_splinter_got_an_order_in_4_18() -> None:
    words = (0x200, 0, 7, 9)
    assert [x.unpack(words) for x in by_name("MEM_POD_SUPERPAGE_SPLINTER").layouts_in("4.18")] == [
        {"gfn": 0x200, "domid": 7, "order": 9}
    ]
    assert "order" not in by_name("MEM_POD_SUPERPAGE_SPLINTER").layouts_in("4.17")[0].unpack(words)


def test_switch_records_name_the_vcpu_since_4_8() -> None:
    assert texts("SCHED_SWITCH_INFPREV", "4.7") == ["domid runtime[ns]"]
    assert texts("SCHED_SWITCH_INFPREV", "4.8") == ["domid vcpu runtime[ns]"]
    assert [x.max_words for x in by_name("SCHED_SWITCH_INFNEXT").layouts_in("4.7")] == [3]
    assert [x.max_words for x in by_name("SCHED_SWITCH_INFNEXT").layouts_in("4.22")] == [4]


def test_a_release_with_alternatives_gives_all_of_them() -> None:
    assert [x.max_words for x in by_name("HVM_CPUID").layouts_in("4.10")] == [5, 6]
    assert [x.max_words for x in by_name("HVM_CPUID").layouts_in(XEN_OF_THE_RECORDINGS)] == [6]
    assert by_name("HVM_CPUID").word_counts == {5, 6}


def test_ept_selection() -> None:
    kept = {e.name for e in EVENTS if e.ept}
    assert {e.name for e in EVENTS if class_of(e.id) == "mem" or e.id >> 12 in (0x21, 0x81)} <= kept
    assert {"LOST_RECORDS", "HVM_NPF", "HVM_INTR", "HVM_HLT", "PM_IDLE_ENTRY", "PM_IDLE_EXIT"} <= kept
    assert {"SCHED_DOM_ADD", "SCHED_DOM_REM"} <= kept
    assert not {"CPU_CHANGE", "WRAP_BUFFER", "SCHED_SWITCH", "SCHED_WAKE", "SCHED_SLEEP", "SCHED_BLOCK"} & kept


def test_lookup_by_id_and_by_name() -> None:
    assert by_id(0x81102) is by_name("HVM_VMEXIT64") is by_name("trc_hvm_vmexit64")
    assert by_id(0x81999) is None
    with pytest.raises(UsageError, match=r"HVM_VMEXT64: .*did you mean HVM_VMEXIT64"):
        by_name("HVM_VMEXT64")
    with pytest.raises(UsageError, match=r"event %%: there is no such$"):
        by_name("%%")


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Layout, dict[str, int]]:
    """Draw a layout of the catalogue and values for its fields, the optional ones up to some point."""
    _, layout = draw(st.sampled_from(LAYOUTS))
    required = sum(not f.optional for f in layout.fields)
    present = layout.fields[: draw(st.integers(required, len(layout.fields)))]
    return layout, {
        f.name: draw(
            st.integers(*((-(1 << f.bits - 1), (1 << f.bits - 1) - 1) if f.type[0] == "i" else (0, (1 << f.bits) - 1)))
        )
        for f in present
    }


@given(payloads())
def test_packed_values_come_back(payload: tuple[Layout, dict[str, int]]) -> None:
    layout, values = payload
    words = layout.pack(values)
    assert layout.min_words <= len(words) <= layout.max_words
    assert all(0 <= w < 1 << 32 for w in words)
    assert layout.unpack(words) == values


@given(st.data(), st.sampled_from(LAYOUTS))
def test_every_word_of_a_payload_is_some_field_s(data: st.DataObject, row: tuple[Event, Layout]) -> None:
    _, layout = row
    count = layout.max_words
    words = tuple(data.draw(st.lists(st.integers(0, (1 << 32) - 1), min_size=count, max_size=count)))
    assert layout.pack(layout.unpack(words)) == words


def observed(histogram: Path) -> Iterator[tuple[int, int, bool]]:
    """Yield (id, words, timed) for each kind of record that a recording's ``hist.txt`` counts."""
    for line in histogram.read_text().splitlines():
        if row := re.match(r"0x([0-9a-f]{7}) +\d+ +(.*)", line):
            for words, timed in re.findall(r"extra(\d)(\+tsc)?:", row[2]):
                yield int(row[1], 16), int(words), bool(timed)


@pytest.mark.recordings
def test_every_record_of_every_recording_is_legal(recordings: Path) -> None:
    histograms = sorted((recordings / "oracle").glob("*.hist.txt"))
    assert len(histograms) >= 11
    kinds = {kind for path in histograms for kind in observed(path)}
    assert len(kinds) > 80
    illegal = []
    for event_id, words, timed in sorted(kinds):
        event = by_id(event_id)
        assert event is not None, f"0x{event_id:07x} is not in the catalogue"
        layouts = event.layouts_in(XEN_OF_THE_RECORDINGS)
        legal = {n for x in layouts for n in range(x.min_words, x.max_words + 1)}
        late = release(event.since) > release(XEN_OF_THE_RECORDINGS)
        if words not in legal or event.timed not in (timed, None) or late:
            illegal.append((event.name, words, timed))
    assert illegal == []


@pytest.mark.recordings
def test_ingest_keeps_about_half_of_a_migration(recordings: Path) -> None:
    lines = next((recordings / "oracle").glob("r12-*.hist.txt")).read_text().splitlines()
    counts = {int(m[1], 16): int(m[2]) for m in (re.match(r"0x([0-9a-f]{7}) +(\d+) ", x) for x in lines) if m}
    kept = sum(n for event_id, n in counts.items() if (event := by_id(event_id)) and event.ept)
    assert 0.4 < kept / sum(counts.values()) < 0.67
