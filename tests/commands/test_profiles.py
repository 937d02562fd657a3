"""``eptreplay profiles``: which there are, and where every number is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eptreplay.machine.profile import FIELDS, load_profile, profile_document, profile_names
from tests.commands.conftest import Run
from tests.commands.running import narrow


def test_the_table_counts_what_is_sourced_and_what_is_assumed(here: Run) -> None:
    done = here("profiles")
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines() if line.strip()][2:]
    assert [row[0] for row in rows] == profile_names()
    for name, sourced, assumed, *summary in rows:
        profile = load_profile(name)
        assert int(sourced) == sum(number.source is not None for number in profile.numbers.values())
        assert int(sourced) + int(assumed) == len(FIELDS)
        assert " ".join(summary) == profile.summary


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_is_printed_with_every_number_and_its_reason(here: Run, name: str) -> None:
    profile = load_profile(name)
    lines = [" ".join(line.split()) for line in here("profiles", name).out.splitlines()]
    assert lines[0] == f"{name}: {profile.summary}"
    for field in FIELDS:
        number = profile.numbers[field.name]
        span = " {:,} .. {:,}".format(*number.range) if number.range else ""
        value = number.value if isinstance(number.value, str) else f"{number.value:,}"
        at = lines.index(f"{field.name} {value} {field.unit}{span}")
        reason = f"source: {number.source}" if number.source else f"assumed: {number.assumed}"
        told = " ".join(lines[at + 1 : at + 10])  # it may need several lines
        assert told.startswith(reason)
        assert not field.choices or told.removeprefix(reason).startswith(f" one of: {', '.join(field.choices)} ")


def test_json_is_one_document_with_one_profile_or_all(here: Run) -> None:
    everything = json.loads(here("profiles", "--format", "json").out)
    expected = [json.loads(json.dumps(profile_document(load_profile(name)))) for name in profile_names()]
    assert everything == {"schema": 1, "profiles": expected}
    for profile in expected:
        one = json.loads(here("profiles", profile["name"], "--format", "json").out)
        assert one == {"schema": 1, "profiles": [profile]}


def test_a_profile_may_be_a_file_of_the_user(here: Run, tmp_path: Path) -> None:
    values = {field.key: repr(field.choices[0]) if field.choices else min(field.most, 5) for field in FIELDS}
    entries = "".join(f"{key} = {{ value = {values[key]}, assumed = '[red]:ok: why not' }}\n" for key in values)
    path = tmp_path / "own.toml"
    path.write_text(f"summary = '[bold]a host'\n{entries}")
    done = here("profiles", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("own: [bold]a host\n")
    assert done.out.count("    assumed: [red]:ok: why not\n") == len(FIELDS)
    path.write_text(f"summary = 'a host'\n{entries.replace('5', 'true', 1)}")
    broken = here("profiles", path)
    assert (broken.code, broken.out) == (2, "")
    message = "topology.cores_per_socket.value: expected an integer, found a boolean"
    assert broken.lines == [f"eptreplay: {path}: {message}"]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_on_a_narrow_terminal_nothing_is_lost_or_cut(here: Run, width: int) -> None:
    profile = load_profile("two-socket")
    with narrow(width):
        out = here("profiles", "two-socket").out
    assert max(map(len, out.splitlines())) <= width
    text = " ".join(out.split())
    for number in profile.numbers.values():
        assert str(number.source or number.assumed) in text
