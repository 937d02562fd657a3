"""Bytes of a recording: from a file or standard input, plain or compressed, with their length and SHA-256.

A file's suffix says how it is compressed, and its first bytes must agree; standard input has no name, so there the
first bytes alone decide. Memory stays bounded whatever a compressed stream claims.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from select import select
from typing import Any, BinaryIO, Self, TypeVar

import zstandard

from eptreplay.errors import InputError

T = TypeVar("T")

MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\x00", ".zst": b"\x28\xb5\x2f\xfd"}
"""First bytes of the compressed formats, by suffix. No xentrace file starts so: it starts with CPU_CHANGE."""

READ_BYTES = 1 << 18
XZ_MEMORY_BYTES = 1 << 30
"""Dictionaries beyond it do not come from any preset of xz."""
ZSTD_SLICE_BYTES = 1 << 11
"""zstandard returns all that a slice of input expands to: four bytes may become 128 KiB, so slices are small."""
ZSTD_WINDOW_BYTES = 1 << 30


def _expand_gzip(raw: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=raw) as stream:
        while data := stream.read1(READ_BYTES):
            yield data


def _expand_xz(raw: BinaryIO) -> Iterator[bytes]:
    data = raw.read(READ_BYTES)
    while data:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)
        while not stream.eof:
            if stream.needs_input and not data and not (data := raw.read(READ_BYTES)):
                raise EOFError
            yield stream.decompress(data, READ_BYTES)
            data = b""
        # Streams may follow each other, with padding of zero bytes between them.
        data = stream.unused_data.lstrip(b"\0")
        while not data and (more := raw.read(READ_BYTES)):
            data = more.lstrip(b"\0")


def _expand_zstd(raw: BinaryIO) -> Iterator[bytes]:
    data = memoryview(raw.read(READ_BYTES))
    while data:
        stream = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
        while not stream.eof:
            data = data or memoryview(raw.read(READ_BYTES))
            if not data:
                raise EOFError
            piece, data = data[:ZSTD_SLICE_BYTES], data[ZSTD_SLICE_BYTES:]
            yield stream.decompress(piece)
        # Frames may follow each other; this one may have ended within the piece.
        data = memoryview(stream.unused_data + data.tobytes() or raw.read(READ_BYTES))


EXPANDERS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    ".gz": _expand_gzip,
    ".xz": _expand_xz,
    ".zst": _expand_zstd,
}


class Source:
    """One recording's bytes, decompressed, read once from front to back.

    ``name``: base name, ``-`` for standard input. ``bytes``: read so far, decompressed. ``fault``: what ended a
    compressed stream early, or None. Raises InputError if there is nothing to read from.
    """

    def __init__(self, path: str | os.PathLike[str], *, digest: bool = True) -> None:
        self.path = os.fspath(path)
        self.name = Path(self.path).name or self.path
        self.bytes = 0
        self.fault: str | None = None
        self._file = _open(self.path)
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            start = _guard(self.path, lambda: _first_bytes(self._file))
            self.suffix = self._compression(start)
        except InputError:
            self.close()
            raise
        self._raw = _Rewound(start, self._file)
        self._digest = hashlib.sha256() if digest else None
        self._chunks = EXPANDERS[self.suffix](io.BufferedReader(self._raw)) if self.suffix else None
        self._rest = memoryview(b"")

    def _compression(self, start: bytes) -> str | None:
        """Return the suffix of the compression in use, or None; raises InputError if name and content disagree."""
        found = next((suffix for suffix, magic in MAGIC.items() if start.startswith(magic)), None)
        named = Path(self.path).suffix.lower() if self.path != "-" else found
        expected = named if named in MAGIC else None
        if found == expected:
            return found
        seen = start.hex(" ") or "nothing"
        if expected:
            want = MAGIC[expected].hex(" ")
            raise InputError(
                f"{self.path}: byte 0: expected {expected[1:]} data ({want}) by its name, found {seen}"
                + ("; rename the file" if start else "")
            )
        raise InputError(
            f"{self.path}: byte 0: found {found[1:] if found else ''} data ({seen}) in a file that is not named so;"
            f" rename it to {self.name}{found}"
        )

    @property
    def fraction(self) -> float | None:
        """Share of the input file read so far, or None where its size is unknown."""
        return min(self._raw.position / self._size, 1.0) if self._size else None

    @property
    def sha256(self) -> str | None:
        """Hash of the bytes read so far, hexadecimal; None if it was not asked for."""
        return self._digest.hexdigest() if self._digest else None

    def readinto(self, target: memoryview) -> int:
        """Fill ``target`` and return how many bytes it got: fewer only at the end. Raises InputError on read errors."""
        fill = self._fill_expanded if self._chunks else self._fill_raw
        count = _guard(self.path, lambda: fill(target))
        self.bytes += count
        if self._digest:
            self._digest.update(target[:count])
        return count

    def _fill_raw(self, target: memoryview) -> int:
        done = 0
        while done < len(target) and (count := self._raw.readinto(target[done:])):
            done += count
        return done

    def _fill_expanded(self, target: memoryview) -> int:
        done = 0
        while done < len(target):
            if not self._rest and not self._next_chunk():
                break
            count = min(len(self._rest), len(target) - done)
            target[done : done + count] = self._rest[:count]
            self._rest = self._rest[count:]
            done += count
        return done

    def _next_chunk(self) -> bool:
        """Expand some more; False at the end, be it the regular one or a fault."""
        if self._chunks is None or self.fault:
            return False
        try:
            for chunk in self._chunks:
                if chunk:
                    self._rest = memoryview(chunk)
                    return True
        except EOFError:
            self.fault = "the compressed stream is cut off"
        except (lzma.LZMAError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
            self.fault = f"the compressed stream is damaged ({error})"
        return False

    def close(self) -> None:
        """Release the file; standard input stays open."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Rewound(io.RawIOBase):
    """A file of which the first bytes have been read already: they come again, then the rest; pipes cannot seek."""

    def __init__(self, start: bytes, file: io.FileIO) -> None:
        self._start, self._file = start, file
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:  # noqa: ANN401 (any writable buffer, as the base class says)
        if self._start:
            count = min(len(self._start), len(target))
            target[:count] = self._start[:count]
            self._start = self._start[count:]
        else:
            count = _patiently(self._file, partial(self._file.readinto, target))
        self.position += count
        return count


def _open(path: str) -> io.FileIO:
    """Open unbuffered: a thread that waits in a buffered read of standard input would hold its lock at exit."""
    return _guard(path, lambda: io.FileIO(0, closefd=False) if path == "-" else io.FileIO(path))


def _first_bytes(file: io.FileIO) -> bytes:
    """Return the bytes that tell the compression; a pipe may give them one by one, and there may be fewer in all."""
    start = memoryview(bytearray(len(MAGIC[".xz"])))
    done = 0
    while rest := start[done:]:
        count = _patiently(file, partial(file.readinto, rest))
        if not count:
            break
        done += count
    return bytes(start[:done])


def _patiently(file: io.FileIO, read: Callable[[], T | None]) -> T:
    """Return what ``read`` reads, waiting where there is nothing yet: standard input may be set not to block."""
    while (result := read()) is None:
        select([file], [], [])
    return result


def _guard(path: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory, expected a xentrace file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
