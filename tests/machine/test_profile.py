"""Cost profiles: each number has a source or is said to be assumed; what is wrong in a file is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.errors import UsageError
from eptreplay.machine.profile import (
    FIELDS,
    MOST_BYTES,
    Number,
    load_profile,
    profile_document,
    profile_names,
)
from tests.conftest import ROOT

SHIPPED = ROOT / "eptreplay" / "machine" / "profiles"
TWO_SOCKET = (SHIPPED / "two-socket.toml").read_bytes()
TIMES = [field for field in FIELDS if field.unit == "ns"]

Write = Callable[[str | bytes], str]


def lines(**changes: str) -> str:
    """Return a profile in which every number is 5, but for those that are given, as ``section__name``."""
    entries = {field.key: "{ value = 5, assumed = 'because' }" for field in FIELDS}
    entries |= {name.replace("__", "."): text for name, text in changes.items()}
    summary = entries.pop("summary", "'a host'")
    return f"summary = {summary}\n" + "".join(f"{key} = {text}\n" for key, text in entries.items() if text)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a profile file and returns its path."""

    def write_profile(text: str | bytes) -> str:
        path = tmp_path / "own.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write_profile


def complaint(path: str) -> str:
    """Return what is wrong with a profile, without the path in front."""
    with pytest.raises(UsageError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# What ships


def test_the_names_are_those_of_the_files() -> None:
    assert profile_names() == sorted(path.stem for path in SHIPPED.iterdir())
    assert {"zero", "two-socket"} <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_each_number_that_ships_is_sourced_or_assumed(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.summary
    assert list(profile.numbers) == [field.name for field in FIELDS]
    for number in profile.numbers.values():
        assert bool(number.source) != bool(number.assumed)
        assert number.range is None or number.range[0] <= number.value <= number.range[1]


@pytest.mark.parametrize("name", profile_names())
def test_no_source_is_a_note_that_nobody_can_look_up(name: str) -> None:
    text = (SHIPPED / f"{name}.toml").read_text()
    assert ".md" not in text
    assert "TODO" not in text


def test_zero_costs_nothing() -> None:
    costs = load_profile("zero").costs()
    assert {costs[field.name] for field in TIMES} == {0}


def test_distance_never_makes_anything_quicker() -> None:
    costs = load_profile("two-socket").costs()
    for what in ("handoff", "deliver", "ack"):
        assert costs[f"{what}_core_ns"] <= costs[f"{what}_socket_ns"] <= costs[f"{what}_remote_ns"]


def test_costs_are_the_values_by_name() -> None:
    profile = load_profile("two-socket")
    costs = profile.costs()
    assert costs == {name: number.value for name, number in profile.numbers.items()}
    assert {type(value) for value in costs.values()} == {int}
    assert (costs["cores_per_socket"], costs["threads_per_core"], costs["icr_ns"]) == (16, 2, 184)


def test_fields_are_named_once_and_by_their_unit() -> None:
    assert len({field.name for field in FIELDS}) == len(FIELDS)
    assert all(field.name.endswith("_ns") == (field.unit == "ns") for field in FIELDS)
    assert all(field.meaning for field in FIELDS)


def test_the_document_has_everything() -> None:
    profile = load_profile("two-socket")
    document = profile_document(profile)
    assert (document["name"], document["summary"]) == (profile.name, profile.summary)
    keys = [f"{number['section']}.{number['name']}" for number in document["numbers"]]
    assert keys == [field.key for field in FIELDS]
    [icr] = [number for number in document["numbers"] if number["name"] == "icr_ns"]
    assert (icr["unit"], icr["value"], icr["range"], icr["assumed"]) == ("ns", 184, (184, 242), None)
    assert icr["source"].startswith("Xen commit e3c409d59a")


# Files of users


def test_a_file_is_called_as_it_is_named(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(lines(summary="'''a host\n  of ours'''", ipi__icr_ns="{ value = 7, source = 'a loop', range = [7, 9] }"))
    profile = load_profile(str(tmp_path / "own.toml"))
    assert (profile.name, profile.summary) == ("own", "a host of ours")
    assert profile.numbers["icr_ns"] == Number(7, "a loop", None, (7, 9))
    assert profile.numbers["ack_core_ns"] == Number(5, None, "because", None)
    monkeypatch.chdir(tmp_path)
    assert load_profile("own.toml") == load_profile("./own.toml") == profile
    (tmp_path / "own.toml").rename(tmp_path / "zero")
    assert load_profile("./zero").costs() == profile.costs()
    assert load_profile("zero").summary != profile.summary


def test_unknown_names_come_with_near_ones() -> None:
    with pytest.raises(UsageError) as caught:
        load_profile("two-sockets")
    assert str(caught.value) == (
        f"profile two-sockets: expected one of {', '.join(profile_names())}, FILE.toml; did you mean two-socket?"
    )


ENTRIES = {
    "5": ": expected a table with value and either source or assumed, found an integer",
    "{ assumed = 'x' }": ".value: missing",
    "{ value = 5 }": ": expected either source or assumed, found neither",
    "{ value = 5, source = 'x', assumed = 'y' }": ": expected either source or assumed, found both",
    "{ value = 5, sauc = 'x' }": ": key sauc: expected one of value, source, assumed, range; did you mean source?",
    "{ value = true, assumed = 'x' }": ".value: expected an integer, found a boolean",
    "{ value = 5.0, assumed = 'x' }": ".value: expected an integer, found a float",
    "{ value = '5', assumed = 'x' }": ".value: expected an integer, found a text",
    "{ value = 2020-01-01, assumed = 'x' }": ".value: expected an integer, found a date or time",
    "{ value = -1, assumed = 'x' }": ".value: expected an integer from 0 to 1000000000, found less",
    "{ value = 1_000_000_001, assumed = 'x' }": ".value: expected an integer from 0 to 1000000000, found more",
    f"{{ value = 0x{'f' * 5000}, assumed = 'x' }}": ".value: expected an integer from 0 to 1000000000, found more",
    "{ value = 5, source = '' }": ".source: expected a text that can be printed, found none",
    '{ value = 5, source = "\\u001b[2J" }': ".source: expected a text that can be printed, found another",
    "{ value = 5, assumed = 5 }": ".assumed: expected a text, found an integer",
    "{ value = 5, assumed = 'x', range = 5 }": ".range: expected [lowest, highest], found an integer",
    "{ value = 5, assumed = 'x', range = [5] }": ".range: expected [lowest, highest], found 1 entries",
    "{ value = 5, assumed = 'x', range = [1, true] }": ".range: expected an integer, found a boolean",
    "{ value = 5, assumed = 'x', range = [-1, 9] }": ".range: expected an integer from 0 to 1000000000, found less",
    "{ value = 5, assumed = 'x', range = [6, 9] }": ".range: expected a range around the value 5, found [6, 9]",
    "{ value = 5, assumed = 'x', range = [9, 1] }": ".range: expected a range around the value 5, found [9, 1]",
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry)[:40])
def test_numbers_that_are_none_are_told_by_key(write: Write, entry: str) -> None:
    found = complaint(write(lines(ipi__exit_ns=entry))).removeprefix("ipi.exit_ns")
    assert found == ENTRIES[entry]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.name))
def test_every_number_is_needed_and_has_its_least_value(write: Write, field: Any) -> None:  # noqa: ANN401 (a Field)
    name = field.key.replace(".", "__")
    others = [other for other in FIELDS if other.section == field.section and other != field]
    missing = f"{field.key}: missing" if others else f"{field.section}: missing"
    assert complaint(write(lines(**{name: ""}))) == missing
    below = f"{{ value = {field.least - 1}, assumed = 'x' }}"
    assert complaint(write(lines(**{name: below}))).endswith(f"from {field.least} to 1000000000, found less")
    at = f"{{ value = {field.least}, assumed = 'x', range = [{field.least}, 1000000000] }}"
    assert load_profile(write(lines(**{name: at}))).costs()[field.name] == field.least


FILES: dict[str, tuple[str | bytes, str]] = {
    "no summary": (lines(summary="5"), "summary: expected a text, found an integer"),
    "empty": ("", "summary: missing"),
    "syntax": ("summary = 'x'\nlock = [1,\n", "expected TOML: "),
    "its line": ("summary = 'x'\nlock = =\n", "expected TOML: Invalid value (at line 2, column 8)"),
    "twice": ("summary = 'x'\nsummary = 'y'\n", "expected TOML: Cannot overwrite a value (at line 2, column 14)"),
    "digits": (f"summary = {'9' * 5000}", "expected TOML: Exceeds the limit"),
    "deep": ("summary = " + "[" * 100_000, "expected TOML, found brackets nested too deeply"),
    "section": (lines(ipy__exit_ns="{}"), "key ipy: expected one of summary, topology, lock, p2m, ipi, ept; did you"),
    "no table": (
        "summary='x'\ntopology=5\nlock=5\np2m=5\nipi=5\nept=5",
        "topology: expected a table, found an integer",
    ),
    "key": (
        lines(ept__invep_ns="{}"),
        "ept: key invep_ns: expected one of invept_ns, refill_ns; did you mean invept_ns?",
    ),
    "odd key": ('"\\u001b\\n" = 1\n' + lines(), "key '\\x1b\\n': expected one of summary"),
    "latin-1": ("summary = 'für'".encode("latin-1"), "byte 12: expected UTF-8 text"),
    "zeros": (bytes(100), "expected TOML: "),
    "large": (b"#" * (MOST_BYTES + 1), "expected a profile, found a file of more than 1048576 bytes"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_are_no_profiles_are_told_in_a_line(write: Write, what: str) -> None:
    text, expected = FILES[what]
    assert complaint(write(text)).startswith(expected)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    assert complaint(str(tmp_path / "none.toml")) == "no such profile file"
    assert complaint(str(tmp_path)) == "cannot be read: Is a directory"
    assert complaint(f"{tmp_path}/{'a' * 300}.toml") == "cannot be read: File name too long"
    assert complaint(str(tmp_path / "two\tparts.toml")).startswith("expected a name that can be printed")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_profile_or_wrong_usage(write: Write, data: bytes) -> None:
    check(write(data))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(TWO_SOCKET)), cut=st.integers(0, 40), put=st.binary(max_size=8))
def test_a_damaged_profile_is_a_profile_or_wrong_usage(write: Write, at: int, cut: int, put: bytes) -> None:
    check(write(TWO_SOCKET[:at] + put + TWO_SOCKET[at + cut :]))


def check(path: str) -> None:
    """Assert that a file is a whole profile or an error of one line."""
    try:
        profile = load_profile(path)
    except UsageError:
        assert complaint(path)
    else:
        assert list(profile.costs()) == [field.name for field in FIELDS]


def test_the_wheel_has_the_profiles() -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    packed = {file.distribution_path for file in wheel.recurse_included_files()}
    assert {f"eptreplay/machine/profiles/{name}.toml" for name in profile_names()} <= packed
