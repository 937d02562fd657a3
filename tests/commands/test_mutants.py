"""Whatever happened to a recording, commands end with 0 or 3, say so in a line, and leave nothing half-written."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.commands.conftest import Run
from tests.commands.running import hidden
from tests.compiled import COMPILED
from tests.trace.made_recordings import busy_recording, long_recording, scheduled_recording, write
from tests.xentrace.made_files import files
from tests.xentrace.mutants import MUTATIONS, mutate, seeded

pytestmark = pytest.mark.mutation

many = settings(max_examples=60 if COMPILED else 15, suppress_health_check=[HealthCheck.function_scoped_fixture])
WHOLE = b"".join(trace.bytes() for trace in (busy_recording(), long_recording(120, 300), scheduled_recording(10**9)))
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def check(here: Run, path: Path) -> None:
    """Assert that every verb does what it may with a file, and that they agree."""
    target, exported = path.with_suffix(".ds"), path.with_suffix(".again")
    shutil.rmtree(target, ignore_errors=True)
    told = here("info", path, "--format", "json")
    made = here("ingest", path, "-o", target, "--events", "all")
    strict = here("info", path, "--strict")
    table = here("info", path)
    assert {told.code, made.code, table.code} <= {0, 3}
    assert told.code == made.code == table.code
    assert "Traceback" not in told.err + made.err + strict.err + table.err
    if told.code:
        assert (told.out, strict.code) == ("", 3)
        assert told.err == made.err == table.err
        assert len(told.lines) == 1
        assert told.err.startswith(f"eptreplay: {path}: ")
        assert not target.exists()
        return
    document = json.loads(told.out)
    assert document["bytes_decoded"] + document["bytes_skipped"] == document["source"]["bytes"]
    assert document["records"] == sum(document["events"].values()) > 0
    assert (document["damage_total"] > 0) == (strict.code == 3) == ("warning: " in told.err)
    assert len(told.lines) == 1 + (document["damage_total"] > 0)
    assert all(line.startswith("eptreplay: ") for line in told.lines + made.lines + strict.lines)
    assert json.loads(here("info", target, "--format", "json").out) == document
    # What is left of it is a recording without damage and with the same records.
    assert here("export", target, "--to", "xentrace", "-o", exported, "--force").code == 0
    again = json.loads(here("info", exported, "--format", "json").out)
    assert (again["damage_total"], again["events"]) == (0, document["events"])


@many
@given(data=files(), rng=st.randoms(use_true_random=False))
def test_mutants_of_made_files(here: Run, tmp_path: Path, data: bytes, rng: Random) -> None:
    check(here, write(tmp_path, mutate(rng, data)))
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_each_mishap(here: Run, tmp_path: Path, mutation: Callable[[Random, bytes], bytes]) -> None:
    rng = seeded(f"commands {mutation.__name__}")
    for number in range(6 if COMPILED else 2):
        check(here, write(tmp_path, mutation(rng, WHOLE), f"{number}.xentrace"))
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("suffix", PACK)
def test_mishaps_to_compressed_files(here: Run, tmp_path: Path, suffix: str) -> None:
    rng = seeded(f"commands {suffix}")
    packed = PACK[suffix](WHOLE)
    for number in range(12 if COMPILED else 4):
        # The first bytes stay: with others it would be another kind of file.
        check_packed(here, write(tmp_path, packed[:6] + mutate(rng, packed[6:]), f"{number}{suffix}"))
    assert hidden(tmp_path) == []


def check_packed(here: Run, path: Path) -> None:
    """Assert that a broken compressed stream is told apart from a whole one, and read up to where it breaks."""
    told = here("info", path, "--format", "json")
    assert told.code in (0, 3)
    assert "Traceback" not in told.err
    if told.code:
        assert len(told.lines) == 1
        return
    document = json.loads(told.out)
    assert document["bytes_decoded"] + document["bytes_skipped"] == document["source"]["bytes"]
    if document["source"]["bytes"] != len(WHOLE):
        assert "damaged spot" in told.lines[-1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x03",
        b"\x03\xf0\x01\x20",
        b"\x03\xf0\x01\x20" * 40,
        bytes(10_000),
        b"\xff" * 10_000,
        "Zeichen: äöü\n".encode() * 300,
        WHOLE[12:],
        WHOLE[:-1],
        WHOLE[1:],
        WHOLE + WHOLE[:20],
    ],
    ids=["empty", "byte", "header", "headers", "zeros", "ones", "text", "no-window", "cut", "shifted", "cut-header"],
)
def test_what_users_may_hand_in_by_mistake(here: Run, tmp_path: Path, data: bytes) -> None:
    check(here, write(tmp_path, data))
