"""The files that the benchmarks read are what xentrace writes, and hold what was recorded, so many times."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from eptreplay import ingest
from eptreplay.xentrace.encode import Trace
from tests.benchmarks.pattern import Pattern, read_pattern
from tests.benchmarks.stages import watched
from tests.benchmarks.tile import Tiled, tiled_file, write_tiled
from tests.conftest import Unpack
from tests.oracles.struct_reader import CPU_CHANGE, HEADER, Record, read_records

SPAN, ROUNDS, WINDOW_TICKS = 2, 12, 10_000_000
IDLE = 32767


def recording() -> bytes:
    """Return a recording in which two vCPUs change places between two pCPUs, each of which idles in between."""
    trace = Trace()
    for number in range(ROUNDS):
        for pcpu in range(SPAN):
            guest = {"domid": 1, "vcpu": (pcpu + number) % SPAN}
            idle = {"domid": IDLE, "vcpu": pcpu}
            tsc = WINDOW_TICKS * (number + 1) + 100 * pcpu
            trace.window(pcpu)
            trace.add("RUNSTATE_BLOCKED_TO_RUNNABLE", tsc=tsc, **guest)
            trace.add("RUNSTATE_RUNNING_TO_RUNNABLE", tsc=tsc + 10, **idle)
            trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=tsc + 10, **guest)
            trace.add("HVM_VMENTRY", tsc=tsc + 20)
            trace.add("MEM_SET_P2M_ENTRY", gfn=0x1000 + number, mfn=0x8000, domid=1)
            trace.add("SCHED_CONTINUE_RUNNING", tsc=tsc + 30, **guest)
            trace.add("RUNSTATE_RUNNING_TO_BLOCKED", tsc=tsc + 40, **guest)
            trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=tsc + 40, **idle)
            trace.add("CSCHED2_TICKLE", tsc=tsc + 50, cpu=1 - pcpu)
    return trace.bytes()


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Pattern:
    path = tmp_path_factory.mktemp("pattern") / "small.xentrace"
    path.write_bytes(recording())
    return read_pattern(path)


@pytest.fixture(scope="module")
def copied(pattern: Pattern, tmp_path_factory: pytest.TempPathFactory) -> Tiled:
    """Three times the recording on three times the pCPUs."""
    return write_tiled(pattern, tmp_path_factory.mktemp("tiled") / "copied.xentrace", 3 * SPAN, 9 * pattern.file_bytes)


def records_of(made: Tiled) -> list[Record]:
    return list(read_records(made.path.read_bytes()))


def test_a_pattern_begins_and_ends_where_its_pcpus_idle(pattern: Pattern) -> None:
    stretch = SPAN * (9 * ROUNDS - 2)  # the wake-up before a pCPU's first stop and the tickle behind its last start go
    assert pattern.at.size == stretch
    assert pattern.words[0] & 0xFFFFFFF == 0x21011
    assert pattern.words[pattern.at[-1]] & 0xFFFFFFF == 0x21101


@pytest.mark.parametrize("times", [1, 3])
def test_every_record_comes_as_often_as_the_recording_is_repeated(pattern: Pattern, tmp_path: Path, times: int) -> None:
    made = write_tiled(pattern, tmp_path / "repeated.xentrace", SPAN, times * pattern.file_bytes)
    records = records_of(made)
    counts = Counter(record.event for record in records)
    once = Counter((pattern.words[pattern.at] & 0xFFFFFFF).tolist())
    assert counts.pop(CPU_CHANGE) == made.windows == times * SPAN * ROUNDS
    assert counts == {event: times * count for event, count in once.items()}
    assert (made.records, made.bytes) == (len(records), made.path.stat().st_size)


def test_copies_run_on_pcpus_and_vcpus_of_their_own(copied: Tiled) -> None:
    ran = {(r.pcpu, r.running) for r in records_of(copied) if r.running.dom is not None}
    assert {pcpu for pcpu, _ in ran} == set(range(3 * SPAN))
    assert all(vcpu.vcpu == pcpu for pcpu, vcpu in ran if vcpu.dom == IDLE)
    assert all(vcpu.vcpu is not None and vcpu.vcpu // SPAN == pcpu // SPAN for pcpu, vcpu in ran)


def test_tscs_never_step_back_on_a_pcpu(copied: Tiled) -> None:
    last: dict[int, int] = {}
    for record in records_of(copied):
        if record.timed and record.tsc is not None:
            assert record.tsc >= last.get(record.pcpu, 0)
            last[record.pcpu] = record.tsc
    assert len(last) == 3 * SPAN


def test_no_vcpu_runs_on_two_pcpus_at_once(copied: Tiled) -> None:
    stints: dict[tuple[int | None, int | None], list[tuple[int, int, int]]] = {}
    for pcpu in range(3 * SPAN):
        records = [r for r in records_of(copied) if r.pcpu == pcpu and r.timed and r.tsc is not None]
        for before, after in pairwise(records):
            if after.running.dom is not None:
                stints.setdefault(after.running, []).append((before.tsc or 0, after.tsc or 0, pcpu))
    assert len(stints) == 2 * 3 * SPAN
    for of_vcpu in stints.values():
        of_vcpu.sort()
        for (_, end, here), (start, _, there) in pairwise(of_vcpu):
            assert here == there or end <= start


def test_the_first_poll_finds_one_window_of_every_pcpu(copied: Tiled) -> None:
    windows = [r.words[0] for r in records_of(copied) if r.event == CPU_CHANGE]
    assert windows[: 3 * SPAN] == list(range(3 * SPAN))


def test_pcpus_that_copies_do_not_fill_are_refused(pattern: Pattern, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a multiple of the 2 that were recorded"):
        write_tiled(pattern, tmp_path / "odd.xentrace", 3, 1000)


def test_a_made_file_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "small.xentrace"
    source.write_bytes(recording())
    made = tiled_file(source, tmp_path / "bench", SPAN, 1000)
    before = made.path.stat().st_mtime_ns
    assert tiled_file(source, tmp_path / "bench", SPAN, 1000) == made
    assert made.path.stat().st_mtime_ns == before


def test_xenalyze_reads_a_made_file_as_it_stands(unpacked: Unpack, xenalyze: Path, tmp_path: Path) -> None:
    made = write_tiled(read_pattern(unpacked("r12")), tmp_path / "made.xentrace", 8, 2_000_000)
    done = subprocess.run([xenalyze, "--svm-mode", "-s", made.path], capture_output=True, text=True, check=True)
    assert "FATAL" not in done.stderr
    assert _volumes(done.stdout) == _sizes(records_of(made))


CLASSES = {0x001: "gen", 0x002: "sched", 0x008: "hvm", 0x010: "mem"}


def _volumes(summary: str) -> dict[tuple[int, str], int]:
    """Return bytes by (pCPU, class) as xenalyze counts them."""
    volumes, pcpu = {}, -1
    for line in summary.partition("|-- Domain")[0].splitlines():
        if match := re.fullmatch(r" - cpu (\d+) -", line):
            pcpu = int(match[1])
        elif match := re.fullmatch(r" (\w+) +: +(\d+)", line):
            volumes[pcpu, match[1]] = int(match[2])
    return volumes


def _sizes(records: list[Record]) -> dict[tuple[int, str], int]:
    sizes: Counter[tuple[int, str]] = Counter()
    for r in records:
        if r.event != CPU_CHANGE:
            sizes[r.pcpu, CLASSES[r.event >> 16]] += HEADER.size + 8 * r.timed + 4 * len(r.words)
    return dict(sizes)


def test_the_steps_of_ingest_can_be_told_apart(pattern: Pattern, tmp_path: Path) -> None:
    made = write_tiled(pattern, tmp_path / "made.xentrace", SPAN, pattern.file_bytes)
    with watched() as (cpu, _):
        ingest([made.path], tmp_path / "dataset")
    assert all(seconds > 0 for seconds in cpu.values()), cpu
