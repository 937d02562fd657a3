"""The notation of payload layouts: what it says, and what it refuses."""

from __future__ import annotations

import pytest

from eptreplay.xentrace.catalogue.layout import Field, Layout


def test_a_layout_names_fields_by_type_unit_and_place() -> None:
    layout = Layout("4.6", "gfn:u64 low:u8 high:u8 rest:u16 delta:i32[ns] data?")
    assert layout.fields == (
        Field("gfn", "u64", None, optional=False, word=0, shift=0),
        Field("low", "u8", None, optional=False, word=2, shift=0),
        Field("high", "u8", None, optional=False, word=2, shift=8),
        Field("rest", "u16", None, optional=False, word=2, shift=16),
        Field("delta", "i32", "ns", optional=False, word=3, shift=0),
        Field("data", "u32", None, optional=True, word=4, shift=0),
    )
    assert (layout.min_words, layout.max_words) == (4, 5)


def test_an_empty_layout_has_no_words() -> None:
    assert (Layout("4.6", "").fields, Layout("4.6", "").max_words) == ((), 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Gfn", "cannot read 'Gfn'"),
        ("gfn:u65", "cannot read 'gfn:u65'"),
        ("gfn:u16x", "cannot read 'gfn:u16x'"),
        ("low:u16 wide", "'wide' does not start on a word"),
        ("low:u16 wide:u64", "'wide:u64' does not start on a word"),
        ("a? b", "'b' follows an optional field"),
        ("a:u8 b:u16 c:u16", "'c:u16' crosses a word"),
        ("a:u16", "the last word is not filled"),
        ("a:u64 b:u64 c:u64 d:u64", "8 words, a record carries at most 7"),
        ("a a", "a field name occurs twice"),
    ],
)
def test_what_no_record_could_be_laid_out_as_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _ = Layout("4.6", text).fields


@pytest.mark.parametrize("values", [{"a": 256}, {"a": -1}, {"b": 1 << 32}, {"b": -(1 << 31) - 1}], ids=str)
def test_values_that_do_not_fit_are_refused(values: dict[str, int]) -> None:
    layout = Layout("4.6", "a:u8 x:u8 y:u16 b:i32")
    with pytest.raises(ValueError, match="does not fit into"):
        layout.pack(values)
    with pytest.raises(ValueError, match="no field c"):
        layout.pack({"c": 1})
