"""Cost profiles: each number has a source or is said to be assumed; what is wrong in a file is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eptreplay.errors import UsageError
from eptreplay.machine.apic import APICS
from eptreplay.machine.profile import (
    FIELDS,
    MOST_BYTES,
    Field,
    Number,
    load_profile,
    profile_document,
    profile_names,
)
from tests.conftest import ROOT

SHIPPED = ROOT / "eptreplay" / "machine" / "profiles"
TWO_SOCKET = (SHIPPED / "two-socket.toml").read_bytes()
TIMES = [field for field in FIELDS if field.unit == "ns"]
NUMBERS = [field for field in FIELDS if not field.choices]
CHOICES = [field for field in FIELDS if field.choices]

Write = Callable[[str | bytes], str]


def lines(**changes: str) -> str:
    """Return a profile in which every number is 5 if it may be, every choice the first, but for those given.

    They are given as ``section__name``.
    """
    entries = {field.key: f"{{ value = {usual(field)}, assumed = 'because' }}" for field in FIELDS}
    entries |= {name.replace("__", "."): text for name, text in changes.items()}
    summary = entries.pop("summary", "'a host'")
    return f"summary = {summary}\n" + "".join(f"{key} = {text}\n" for key, text in entries.items() if text)


def usual(field: Field) -> str:
    """Return a value as TOML that a field may have."""
    return f"'{field.choices[0]}'" if field.choices else str(min(5, field.most))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a profile file and returns its path."""

    def write_profile(text: str | bytes) -> str:
        path = tmp_path / "own.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write_profile


def numbers(name: str) -> dict[str, int]:
    """Return the numbers of a profile that ships, without its choices."""
    return {field: value for field, value in load_profile(name).costs().items() if isinstance(value, int)}


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
    assert profile_names() == ["epyc-512", "two-socket", "xeon-2015-160", "zero"]


@pytest.mark.parametrize("name", profile_names())
def test_each_number_that_ships_is_sourced_or_assumed(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.summary
    assert list(profile.numbers) == [field.name for field in FIELDS]
    for number in profile.numbers.values():
        assert bool(number.source) != bool(number.assumed)
    for field in NUMBERS:
        number = profile.numbers[field.name]
        assert isinstance(number.value, int)
        assert number.range is None or field.least <= number.range[0] <= number.value <= number.range[1] <= field.most
    for field in CHOICES:
        assert profile.numbers[field.name].value in field.choices
        assert profile.numbers[field.name].range is None


@pytest.mark.parametrize("name", profile_names())
def test_no_source_is_a_note_that_nobody_can_look_up(name: str) -> None:
    text = (SHIPPED / f"{name}.toml").read_text()
    assert ".md" not in text
    assert "TODO" not in text


def test_exactly_one_number_is_back_calculated() -> None:
    found = {
        (name, field)
        for name in profile_names()
        for field, number in load_profile(name).numbers.items()
        if "back-calculated" in f"{number.source} {number.assumed}"
    }
    assert found == {("xeon-2015-160", "unexplained_ns")}
    assert {load_profile(name).costs()["unexplained_ns"] for name in profile_names() if name != "xeon-2015-160"} == {0}


def test_zero_costs_nothing_but_the_watchdogs_patience() -> None:
    costs = load_profile("zero").costs()
    assert costs.pop("timeout_ns") == 5_000_000_000
    assert {costs[field.name] for field in TIMES if field.name in costs} == {0}


@pytest.mark.parametrize("name", profile_names())
def test_distance_never_makes_anything_quicker(name: str) -> None:
    costs = numbers(name)
    for what in ("handoff", "deliver", "ack"):
        assert costs[f"{what}_core_ns"] <= costs[f"{what}_socket_ns"] <= costs[f"{what}_remote_ns"]


@pytest.mark.parametrize("name", profile_names())
def test_nobody_who_is_farther_away_wins_a_race_more_often(name: str) -> None:
    costs = numbers(name)
    assert costs["weight_core"] >= costs["weight_socket"] >= costs["weight_remote"]


@pytest.mark.parametrize("name", profile_names())
def test_a_deep_c_state_is_left_later_than_a_shallow_one(name: str) -> None:
    costs = numbers(name)
    assert costs["wake_ns"] <= costs["wake_deep_ns"] <= costs["deep_after_ns"]


@pytest.mark.parametrize("name", ["epyc-512", "xeon-2015-160"])
def test_a_profile_is_called_by_its_pcpus_and_has_whole_sockets(name: str) -> None:
    costs = numbers(name)
    assert costs["pcpus"] == int(name.rsplit("-", maxsplit=1)[-1])
    assert costs["pcpus"] % (costs["cores_per_socket"] * costs["threads_per_core"]) == 0


def test_a_write_on_the_epyc_is_what_two_figures_differ_by() -> None:
    """Xen commit e3c409d59a: 123.58 us with 511 writes, 35.43 us with 32."""
    assert numbers("epyc-512")["icr_ns"] == round((123_580 - 35_433) / (511 - 32))


def test_costs_are_the_values_by_name() -> None:
    profile = load_profile("two-socket")
    costs = profile.costs()
    assert costs == {name: number.value for name, number in profile.numbers.items()}
    assert {field.name for field in FIELDS if isinstance(costs[field.name], str)} == {"apic"}
    assert costs["apic"] == "x2apic-cluster"
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
    assert (icr["unit"], icr["value"], icr["range"], icr["source"]) == ("ns", 184, (28, 242), None)
    assert icr["assumed"].startswith("Xen commit e3c409d59a")
    [wake] = [number for number in document["numbers"] if number["name"] == "wake_ns"]
    assert wake["assumed"] is None
    assert wake["source"].startswith("exit latency of C1")
    assert icr["choices"] is None
    [apic] = [number for number in document["numbers"] if number["name"] == "apic"]
    assert (apic["value"], apic["range"], apic["choices"]) == ("x2apic-cluster", None, APICS)


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
def test_every_value_is_needed(write: Write, field: Field) -> None:
    others = [other for other in FIELDS if other.section == field.section and other != field]
    missing = f"{field.key}: missing" if others else f"{field.section}: missing"
    assert complaint(write(lines(**{field.key.replace(".", "__"): ""}))) == missing


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: str(field.name))
def test_every_number_has_its_least_and_its_largest_value(write: Write, field: Field) -> None:
    name = field.key.replace(".", "__")
    for beyond, found in ((field.least - 1, "less"), (field.most + 1, "more")):
        entry = f"{{ value = {beyond}, assumed = 'x' }}"
        expected = f"{field.key}.value: expected an integer from {field.least} to {field.most}, found {found}"
        assert complaint(write(lines(**{name: entry}))) == expected
    for value in (field.least, field.most):
        entry = f"{{ value = {value}, assumed = 'x', range = [{field.least}, {field.most}] }}"
        assert load_profile(write(lines(**{name: entry}))).costs()[field.name] == value


def test_only_the_watchdog_may_take_longer_than_a_second() -> None:
    assert {field.name: field.most for field in TIMES if field.most != 10**9} == {"timeout_ns": 10**12}


CHOSEN = {
    "'x2apic-clutser'": f".value x2apic-clutser: expected one of {', '.join(APICS)}; did you mean x2apic-cluster or",
    "'X2APIC-CLUSTER'": f".value X2APIC-CLUSTER: expected one of {', '.join(APICS)}",
    '"\\u001b[2J"': f".value '\\x1b[2J': expected one of {', '.join(APICS)}",
    "''": f".value : expected one of {', '.join(APICS)}",
    "5": ".value: expected a text, found an integer",
    "['x2apic-cluster']": ".value: expected a text, found an array",
    "'x2apic-cluster', range = ['xapic-flat', 'x2apic-cluster']": ": key range: expected one of value, source, assumed",
}


@pytest.mark.parametrize("value", CHOSEN)
def test_choices_that_are_none_are_told_with_near_ones(write: Write, value: str) -> None:
    found = complaint(write(lines(topology__apic=f"{{ value = {value}, assumed = 'x' }}")))
    assert found.removeprefix("topology.apic").startswith(CHOSEN[value])


@pytest.mark.parametrize("field", CHOICES, ids=lambda field: str(field.name))
def test_every_choice_may_be_chosen(write: Write, field: Field) -> None:
    for choice in field.choices:
        profile = load_profile(
            write(lines(**{field.key.replace(".", "__"): f"{{ value = '{choice}', source = 'x' }}"}))
        )
        assert profile.numbers[field.name] == Number(choice, "x", None, None)


FILES: dict[str, tuple[str | bytes, str]] = {
    "no summary": (lines(summary="5"), "summary: expected a text, found an integer"),
    "empty": ("", "summary: missing"),
    "syntax": ("summary = 'x'\nlock = [1,\n", "expected TOML: "),
    "its line": ("summary = 'x'\nlock = =\n", "expected TOML: Invalid value (at line 2, column 8)"),
    "twice": ("summary = 'x'\nsummary = 'y'\n", "expected TOML: Cannot overwrite a value (at line 2, column 14)"),
    "digits": (f"summary = {'9' * 5000}", "expected TOML: Exceeds the limit"),
    "deep": ("summary = " + "[" * 100_000, "expected TOML, found brackets nested too deeply"),
    "section": (
        lines(ipy__exit_ns="{}"),
        "key ipy: expected one of summary, topology, lock, p2m, ipi, ept, watchdog; did",
    ),
    "no table": (
        "summary='x'\ntopology=5\nlock=5\np2m=5\nipi=5\nept=5\nwatchdog=5",
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
