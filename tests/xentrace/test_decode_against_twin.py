"""The compiled decoder reads any bytes exactly as the plain one does, however the input is cut into buffers."""

from __future__ import annotations

import lzma
import string
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from eptreplay.xentrace.catalogue import by_id
from eptreplay.xentrace.decode import KEEP_EPT, KEEP_NONE, decode
from eptreplay.xentrace.source import MAGIC
from tests.oracles.tolerant_reader import Reading, read_tolerantly
from tests.xentrace.made_files import CPU_CHANGE, LOST_RECORDS, MAX_PCPUS, files, record, window
from tests.xentrace.mutants import MUTATIONS, mutate, seeded, window_starts
from tests.xentrace.reading import difference, read_fast

COMPILED = hasattr(decode, "py_func")
EXAMPLES = 90 if COMPILED else 25
INPUT_BYTES = [64, 252, 1024, 4096, 8192, 1 << 16]
"""Bytes read at a time: less than the decoder looks ahead, just as much, more."""
SLICE_BYTES = 600_000 if COMPILED else 50_000

Check = Callable[[bytes, int], Reading]

# ``check`` holds no state between examples but the name of a file that each of them writes anew.
many = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return a function that reads bytes in every way, asserts that all agree, and returns what was read."""
    path = tmp_path / "made.xentrace"

    def compare(data: bytes, input_bytes: int) -> Reading:
        path.write_bytes(data)
        expected = read_tolerantly(data)
        assert expected.decoded + expected.skipped == len(data)
        assert not difference(read_fast(path), expected)
        assert not difference(read_fast(path, input_bytes), expected), f"read {input_bytes} bytes at a time"
        return expected

    return compare


def beginning(traces: Path, name: str, size: int) -> bytes:
    """Return whole windows of a recording, no more than ``size`` bytes of them."""
    [packed] = traces.glob(f"{name}-*.xentrace.xz")
    with lzma.open(packed) as source:
        data = source.read(size)
    return data[: window_starts(data)[-1]]


def small_windows(traces: Path, name: str, size: int) -> bytes:
    """Return the smallest windows near the beginning of a recording, in file order, about ``size`` bytes of them."""
    data = beginning(traces, name, 2_000_000)
    starts = [*window_starts(data), len(data)]
    windows = sorted(pairwise(starts), key=lambda window: window[1] - window[0])
    chosen = []
    for start, end in windows:
        if size > 0:
            chosen.append((start, end))
            size -= end - start
    return b"".join(data[start:end] for start, end in sorted(chosen))


@pytest.mark.parametrize("name", ["r04", "r12", "r22"])
def test_recordings_are_read_without_damage(check: Check, traces: Path, name: str) -> None:
    data = beginning(traces, name, SLICE_BYTES)
    assert check(data, 4096).decoded == len(data)


@many
@given(data=files(unknown=False), input_bytes=st.sampled_from(INPUT_BYTES))
def test_what_xen_may_write_is_read_without_damage(check: Check, data: bytes, input_bytes: int) -> None:
    found = check(data, input_bytes)
    assert (found.decoded, {spot.reason for spot in found.damage} - {"lost"}) == (len(data), set())


@many
@given(data=files(), input_bytes=st.sampled_from(INPUT_BYTES))
def test_events_that_nobody_knows_are_read_alike(check: Check, data: bytes, input_bytes: int) -> None:
    check(data, input_bytes)


@pytest.mark.mutation
@many
@given(data=files(), rng=st.randoms(use_true_random=False), input_bytes=st.sampled_from(INPUT_BYTES))
def test_mutants_of_made_files_are_read_alike(check: Check, data: bytes, rng: Random, input_bytes: int) -> None:
    check(mutate(rng, data), input_bytes)


@pytest.mark.mutation
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
@pytest.mark.parametrize("name", ["r04", "r12", "r22"])
def test_mutants_of_recordings_are_read_alike(
    check: Check, traces: Path, name: str, mutation: Callable[[Random, bytes], bytes]
) -> None:
    data = small_windows(traces, name, 8000 if COMPILED else 2000)
    rng = seeded(f"{name} {mutation.__name__}")
    for _ in range(12 if COMPILED else 3):
        check(mutation(rng, data), rng.choice(INPUT_BYTES))


@pytest.mark.slow
@pytest.mark.mutation
@pytest.mark.parametrize("seed", range(4))
def test_many_mutants_of_recordings_are_read_alike(check: Check, traces: Path, seed: int) -> None:
    bases = [small_windows(traces, name, size) for name in ("r04", "r12", "r22") for size in (3000, 30_000)]
    rng = seeded(f"many {seed}")
    for _ in range(300):
        check(mutate(rng, rng.choice(bases)), rng.choice(INPUT_BYTES))


@pytest.mark.slow
@pytest.mark.mutation
@settings(many, max_examples=20 * EXAMPLES)
@given(data=files(), rng=st.randoms(use_true_random=False), input_bytes=st.sampled_from(INPUT_BYTES))
def test_many_mutants_of_made_files_are_read_alike(check: Check, data: bytes, rng: Random, input_bytes: int) -> None:
    check(mutate(rng, data), input_bytes)


@pytest.mark.mutation
@many
@given(data=files(), rng=st.randoms(use_true_random=False))
def test_what_is_kept_changes_nothing_else(tmp_path: Path, data: bytes, rng: Random) -> None:
    path = tmp_path / "made.xentrace"
    path.write_bytes(mutate(rng, data))
    everything = read_fast(path)
    wanted = [r for r in everything.records if (event := by_id(r.event)) and event.ept]
    for keep, records in ((KEEP_EPT, wanted), (KEEP_NONE, [])):
        assert not difference(read_fast(path, keep=keep), replace(everything, records=records))


VMENTRY, DR_WRITE = 0x81001, 0x8200B
ENTRIES = b"".join(record(VMENTRY, tsc=tsc) for tsc in range(1000, 1400, 10))


@pytest.mark.mutation
@many
@given(data=st.one_of(st.binary(max_size=300), st.text(string.printable, max_size=300).map(str.encode)))
@example(data=b"")
@example(data=b"#!/bin/sh\necho this is no trace\n" * 100)
@example(data=bytes(5000))
@example(data=b"\xff" * 5001)
@example(data=record(DR_WRITE) * 2000)
@example(data=window(0, b"") * 500)
@example(data=record(CPU_CHANGE, [0, 0xFFFFFFFC]) * 300)
@example(data=record(CPU_CHANGE, [MAX_PCPUS, 0]) * 300)
@example(data=b"".join(window(pcpu, ENTRIES[:40]) for pcpu in range(0, MAX_PCPUS, 127)))
@example(data=(ENTRIES[:50] + b"?") * 70)
@example(data=window(7, ENTRIES, 0xFFFFFFF0) + (window(8, ENTRIES[:101]) + b"???") * 60)
@example(data=window(1, record(LOST_RECORDS, [5, 0, 0, 0], 9) * 500))
def test_what_is_no_trace_is_read_alike(check: Check, data: bytes) -> None:
    assume(not data.startswith(tuple(MAGIC.values())))
    check(data, 1024)


@pytest.mark.mutation
def test_more_damage_than_a_buffer_holds_is_read_alike(check: Check) -> None:
    spots = 3_000 if COMPILED else 100
    lost = record(LOST_RECORDS, [1, 3 | 1 << 16, 7, 0], 1000)
    data = window(3, (lost * 6 + b"\xfe\xff\xff\xff") * spots) + window(4, ENTRIES)
    found = check(data, 8192)
    assert (found.lost, found.skipped) == (6 * spots, 4 * spots)
    assert len(found.damage) == 7 * spots
