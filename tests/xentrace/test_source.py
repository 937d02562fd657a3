"""Where bytes come from: plain and compressed files, whole and broken, and pipes."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard

from eptreplay.errors import InputError
from eptreplay.xentrace import source as module
from eptreplay.xentrace.source import MAGIC, Source
from tests.xentrace.mutants import seeded

DATA = seeded("source").randbytes(300_000)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
compressed = pytest.mark.parametrize("suffix", COMPRESS)


def read_all(source: Source, at_a_time: int = 1 << 16) -> bytes:
    """Return everything that a source gives, closed afterwards."""
    parts = []
    with source:
        while True:
            target = memoryview(bytearray(at_a_time))
            count = source.readinto(target)
            parts.append(bytes(target[:count]))
            if count < at_a_time:
                return b"".join(parts)


@pytest.mark.parametrize("suffix", ["", ".xentrace", *COMPRESS])
@pytest.mark.parametrize("at_a_time", [1000, 1 << 20])
def test_a_file_is_read_whole_whatever_the_buffer(tmp_path: Path, suffix: str, at_a_time: int) -> None:
    path = tmp_path / f"trace{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(DATA))
    source = Source(path)
    assert source.fraction == pytest.approx(0, abs=1e-4)
    assert read_all(source, at_a_time) == DATA
    assert (source.name, source.bytes, source.fraction, source.fault) == (path.name, len(DATA), 1.0, None)
    assert source.sha256 == sha256(DATA).hexdigest()


def test_a_hash_that_nobody_asks_for_is_not_computed(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(DATA)
    source = Source(tmp_path / "trace", digest=False)
    assert read_all(source) == DATA
    assert source.sha256 is None


@compressed
def test_upper_case_suffixes_count_as_well(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"TRACE{suffix.upper()}"
    path.write_bytes(COMPRESS[suffix](DATA))
    assert read_all(Source(path)) == DATA


@compressed
def test_several_streams_in_one_file_are_one_recording(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    cuts = [0, 1, 1000, 262_143, 262_144, len(DATA)]
    path.write_bytes(b"".join(COMPRESS[suffix](DATA[a:b]) for a, b in pairwise(cuts)))
    source = Source(path)
    assert read_all(source) == DATA
    assert source.fault is None


def test_xz_streams_may_be_padded(tmp_path: Path) -> None:
    path = tmp_path / "trace.xz"
    path.write_bytes(lzma.compress(DATA[:999]) + bytes(600_000) + lzma.compress(DATA[999:]) + bytes(8))
    assert read_all(Source(path)) == DATA


@compressed
def test_a_stream_that_is_cut_off_gives_what_came_before(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    packed = COMPRESS[suffix](DATA)
    for size in (7, len(packed) // 2, len(packed) - 3):
        path.write_bytes(packed[:size])
        source = Source(path)
        read = read_all(source)
        assert DATA.startswith(read)
        # Blocks that are whole have been read: no more than one is missing.
        assert len(read) >= size - 140_000
        assert source.fault == "the compressed stream is cut off"


@compressed
def test_a_stream_that_is_damaged_gives_what_came_before(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    packed = COMPRESS[suffix](b"".join(struct.pack("<I", i // 5) for i in range(400_000)))
    whole = b"".join(struct.pack("<I", i // 5) for i in range(400_000))
    at = len(packed) * 9 // 10
    path.write_bytes(packed[:at] + seeded("damage").randbytes(40) + packed[at + 40 :])
    source = Source(path)
    read = read_all(source)
    assert read[: len(whole) // 2] == whole[: len(whole) // 2]
    assert source.fault
    assert re.match(r"the compressed stream is (damaged \(.+\)|cut off)$", source.fault)


@compressed
def test_what_follows_a_stream_and_is_none_is_reported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    path.write_bytes(COMPRESS[suffix](DATA) + b"and then some text")
    source = Source(path)
    assert read_all(source) == DATA
    assert source.fault
    assert "damaged" in source.fault


@compressed
def test_a_name_that_promises_another_compression_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"trace{suffix}"
    for content, found in ((b"plain text", "70 6c 61"), (b"", "nothing"), (COMPRESS[suffix](DATA)[1:], "")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{path.name}: byte 0: expected {suffix[1:]} data .*found {found}"):
            Source(path)


@compressed
@pytest.mark.parametrize("name", ["trace", "trace.xentrace", "trace.other"])
def test_a_name_that_hides_the_compression_is_an_error(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(COMPRESS[suffix](DATA))
    with pytest.raises(InputError, match=rf"found {suffix[1:]} data .*rename it to {name}\{suffix}"):
        Source(path)


def test_one_compression_under_the_name_of_another_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_bytes(lzma.compress(DATA))
    with pytest.raises(InputError, match=r"expected gz data .*found fd 37 7a 58 5a 00; rename the file"):
        Source(path)


def test_what_cannot_be_opened_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file$"):
        Source(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r": is a directory, expected a xentrace file$"):
        Source(tmp_path)
    with pytest.raises(InputError, match=r"a: cannot be read: File name too long$"):
        Source(tmp_path / ("a" * 300))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be read: Not a directory$"):
        Source(tmp_path / "file" / "trace")


def test_an_error_while_reading_is_an_input_error(tmp_path: Path) -> None:
    # Reading one's own memory at address zero is an input/output error, for root as well.
    (tmp_path / "memory").symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match="memory: cannot be read: Input/output error"):
        Source(tmp_path / "memory")


# Pipes


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Callable[[str, list[bytes]], Path]]:
    """Return a function that makes a named pipe of some name, into which a thread writes pieces one by one."""
    writers = []

    def make(name: str, pieces: list[bytes]) -> Path:
        path = tmp_path / name
        os.mkfifo(path)

        def write() -> None:
            with path.open("wb", buffering=0) as pipe:
                for piece in pieces:
                    pipe.write(piece)

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join()


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_a_named_pipe_is_read_like_a_file(fifo: Callable[[str, list[bytes]], Path], suffix: str) -> None:
    packed = COMPRESS.get(suffix, bytes)(DATA)
    pieces = [packed[i : i + 1] for i in range(20)] + [packed[i : i + 4999] for i in range(20, len(packed), 4999)]
    source = Source(fifo(f"trace{suffix}", pieces))
    assert read_all(source) == DATA
    assert source.fraction is None


READ_STDIN = """
import sys
from hashlib import sha256
from eptreplay.xentrace.source import Source
source, target = Source("-"), memoryview(bytearray(65536))
while source.readinto(target) == len(target):
    pass
print(source.name, source.bytes, source.sha256, source.fault)
"""


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_standard_input_needs_no_name_and_no_haste(suffix: str) -> None:
    packed = COMPRESS.get(suffix, bytes)(DATA)
    process = subprocess.Popen([sys.executable, "-c", READ_STDIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    for i in range(8):  # each byte of what tells the compression comes by itself
        process.stdin.write(packed[i : i + 1])
        process.stdin.flush()
        if i == 0:  # the reader has started by the time that it has read, or waits for, the second one
            threading.Event().wait(0.3)
    output, _ = process.communicate(packed[8:])
    assert output.decode().split() == ["-", str(len(DATA)), sha256(DATA).hexdigest(), "None"]


def test_standard_input_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    process = subprocess.Popen([sys.executable, "-c", READ_STDIN], stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        for at in range(0, 60_000, 20_000):
            threading.Event().wait(0.4)
            pipe.write(DATA[at : at + 20_000])
    output, _ = process.communicate()
    assert output.decode().split()[:2] == ["-", "60000"]


# Bounded memory


def xz_bomb(size: int) -> bytes:
    """Return a stream that expands to zeros, a few thousand times its own size."""
    compressor = lzma.LZMACompressor()
    return b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)), compressor.flush()])


def zstd_bomb(size: int) -> bytes:
    """Return a frame of run-length blocks: four bytes each, which expand to 128 KiB."""
    block = 1 << 17
    header = struct.pack("<IBB", 0xFD2FB528, 0, (17 - 10) << 3)  # no checksum, window of 128 KiB
    run = struct.pack("<I", 0b010 | block << 3)[:3] + b"\0"
    last = struct.pack("<I", 0b011 | block << 3)[:3] + b"\0"
    return header + run * (size // block - 1) + last


BOMBS = {
    ".gz": lambda size: gzip.compress(bytes(size)),
    ".xz": xz_bomb,
    ".zst": zstd_bomb,
}
READ_BOMB = """
import resource, sys
from eptreplay.xentrace.source import Source
source, target = Source(sys.argv[1], digest=False), memoryview(bytearray(65536))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
while source.readinto(target) == len(target):
    pass
print(source.bytes, source.fault, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@compressed
def test_memory_stays_bounded_whatever_a_stream_expands_to(tmp_path: Path, suffix: str) -> None:
    # 2 KiB of zstd's run-length blocks become 64 MiB, in two copies at most; the others expand bit by bit.
    size, most = (400 << 20, 160 << 10) if suffix == ".zst" else (100 << 20, 40 << 10)
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(BOMBS[suffix](size))
    assert path.stat().st_size < 1 << 20
    done = subprocess.run([sys.executable, "-c", READ_BOMB, path], capture_output=True, text=True, check=True)
    expanded, fault, kib = done.stdout.split()
    assert (int(expanded), fault) == (size, "None")
    assert int(kib) < most


def test_dictionaries_beyond_any_preset_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "XZ_MEMORY_BYTES", 1 << 16)
    (tmp_path / "trace.xz").write_bytes(lzma.compress(DATA))
    source = Source(tmp_path / "trace.xz")
    assert read_all(source) == b""
    assert source.fault
    assert "memory" in source.fault.lower()


def test_every_compression_is_told_by_its_first_bytes() -> None:
    assert {suffix: COMPRESS[suffix](b"")[: len(magic)] for suffix, magic in MAGIC.items()} == MAGIC
