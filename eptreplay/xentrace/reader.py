"""Reads recordings into batches of rows: bytes from sources, through the decoder, in file order, in bounded memory.

A fixed number of input buffers goes round: read (and decompressed, and hashed) ahead in a thread, decoded, handed out
with the rows that point into it, given back by the consumer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from eptreplay.errors import DamageError, InputError
from eptreplay.xentrace import state as st
from eptreplay.xentrace.chain import LOOKAHEAD
from eptreplay.xentrace.damage import describe
from eptreplay.xentrace.decode import KEEP_NONE, decode
from eptreplay.xentrace.skip import append_damage
from eptreplay.xentrace.source import Source
from eptreplay.xentrace.table import event_table

INPUT_BYTES = 1 << 21
"""Bytes read at a time: a buffer and the rows that it makes stay within the processor's caches."""
RESERVE_BYTES = 4 * LOOKAHEAD
"""Room before the input for what the buffer before left over: less than LOOKAHEAD and a record."""
BUFFERS = 6
WINDOW_ROWS = 1 << 14
DAMAGE_ROWS = 1 << 14
SAMPLES = 1 << 16

Progress = Callable[[int, float | None], None]
"""Called with the bytes read so far (decompressed) and the share of the current file, or None where that is unknown."""


@dataclass(frozen=True)
class SourceFacts:
    """What is known of a source once it has been read. ``sha256`` is of the decompressed bytes, or None."""

    name: str
    bytes: int
    sha256: str | None


class ByteSource(Protocol):
    """Where a reader's bytes come from: ``Source``, or a part of a file."""

    path: str
    name: str
    bytes: int
    fault: str | None

    @property
    def fraction(self) -> float | None:
        """Share read so far."""

    @property
    def sha256(self) -> str | None:
        """Hash of what has been read so far."""

    def readinto(self, target: memoryview) -> int:
        """Fill ``target``; fewer bytes only at the end."""

    def close(self) -> None:
        """Release what it holds."""


def batch_rows(input_bytes: int) -> int:
    """Return how many records there can be in a buffer for so many bytes of input."""
    return (RESERVE_BYTES + input_bytes) // 4


class Buffer:
    """Input bytes, and room for as many rows as there can be records in them."""

    def __init__(self, size: int) -> None:
        self.bytes = np.zeros(RESERVE_BYTES + size + 2 * LOOKAHEAD, np.uint8)
        self.start = RESERVE_BYTES
        self.avail = 0
        self.rows = st.new_rows(batch_rows(size))

    @property
    def words(self) -> NDArray[np.uint32]:
        """The words from the first byte that counts to beyond the last one by at least LOOKAHEAD."""
        return self.bytes[self.start :].view(np.uint32)

    @property
    def input(self) -> memoryview:
        """Where new bytes go."""
        return self.bytes.data[RESERVE_BYTES : -2 * LOOKAHEAD]

    def take(self, left: NDArray[np.uint8], new: int) -> None:
        """Put ``left`` in front of ``new`` bytes of input, such that its first byte starts a word."""
        self.start = (RESERVE_BYTES - left.size) & ~3
        behind = self.start + left.size
        if new and behind != RESERVE_BYTES:
            self.bytes[behind : behind + new] = self.bytes[RESERVE_BYTES : RESERVE_BYTES + new]
        self.bytes[self.start : behind] = left
        self.avail = left.size + new


@dataclass
class Batch:
    """Consecutive records of one source, and the windows and damage that ended since the batch before.

    ``base``: offset of the buffer's first byte, as far as none of the buffer's ``shifts`` changes it for rows further
    on. ``count`` rows; ``memory`` numbers of rows of memory events. Give the buffer back with ``Reader.recycle`` once
    it is used up.
    """

    source: int
    buffer: Buffer | None
    base: int
    count: int
    memory: int
    windows: st.Windows
    damages: st.Damages
    shifts: int = 0


@dataclass
class Reader:
    """Iterate over it for batches; totals are complete when the iteration is.

    Raises InputError if a source holds no record, DamageError on the first damage if ``strict``.
    """

    paths: Sequence[str | os.PathLike[str] | ByteSource]
    keep: int = KEEP_NONE
    strict: bool = False
    digest: bool = True
    input_bytes: int = INPUT_BYTES
    progress: Progress | None = None
    sources: list[SourceFacts] = field(default_factory=list)
    pcpus: st.Pcpus = field(default_factory=st.new_pcpus)
    tally: st.Tally = field(default_factory=lambda: st.new_tally(SAMPLES))
    cursor: NDArray[np.int64] = field(default_factory=st.new_cursor)

    def __post_init__(self) -> None:
        self._free: SimpleQueue[Buffer] = SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(Buffer(self.input_bytes))
        self._windows = st.new_windows(WINDOW_ROWS)
        self._damages = st.new_damages(DAMAGE_ROWS)

    def __iter__(self) -> Iterator[Batch]:
        for number, path in enumerate(self.paths):
            source = Source(path, digest=self.digest) if isinstance(path, str | os.PathLike) else path
            with closing(source), _ReadAhead(source, self._free) as ahead:
                yield from self._read(number, source, ahead)
                self.sources.append(SourceFacts(source.name, source.bytes, source.sha256))

    def recycle(self, batch: Batch) -> None:
        """Take back the buffer of a batch."""
        if batch.buffer is not None:
            self._free.put(batch.buffer)

    @property
    def records(self) -> int:
        """Records decoded so far, CPU_CHANGE included."""
        return int(self.tally.events.sum())

    def _read(self, number: int, source: ByteSource, ahead: _ReadAhead) -> Iterator[Batch]:
        cursor = self.cursor
        cursor[st.EPOCH] += 1
        cursor[st.BASE] = cursor[st.POS] = 0
        cursor[st.MODE] = st.AT_WINDOW
        before, first_bytes = self.records, b""
        left = np.zeros(0, np.uint8)
        status, final = st.NEED_INPUT, False
        while status != st.END:
            buffer, count = ahead.take()
            final = count < self.input_bytes
            buffer.take(left, count)
            cursor[st.BASE] += cursor[st.POS]
            cursor[st.POS] = cursor[st.SHIFTS] = 0
            cursor[st.AVAIL] = buffer.avail
            base = int(cursor[st.BASE])
            if cursor[st.BASE] == 0:
                first_bytes = buffer.words[:1].tobytes()[: buffer.avail]
            if self.progress:
                self.progress(source.bytes, source.fraction)
            status = st.FLUSH
            while status == st.FLUSH:
                status = self._decode(buffer, final=final)
                if status == st.FLUSH:
                    yield self._batch(number, source, None, base)
            if status == st.END and source.fault:
                self._note_fault(source)
            # The consumer may give the buffer back, and have it refilled, before this generator goes on.
            left = buffer.bytes[buffer.start + int(cursor[st.POS]) : buffer.start + int(cursor[st.AVAIL])].copy()
            yield self._batch(number, source, buffer, base)
        if self.records == before:
            raise InputError(_nothing_found(source, first_bytes))

    def _decode(self, buffer: Buffer, *, final: bool) -> int:
        return decode(
            buffer.words,
            final,
            self.cursor,
            self.pcpus,
            event_table(),
            self.keep,
            buffer.rows,
            self._windows,
            self._damages,
            self.tally,
        )

    def _batch(self, number: int, source: ByteSource, buffer: Buffer | None, base: int) -> Batch:
        cursor = self.cursor
        if self.strict:
            self._raise_damage(source)
        windows = st.Windows._make(column[: cursor[st.WINDOWS]].copy() for column in self._windows)
        damages = st.Damages._make(column[: cursor[st.DAMAGES]].copy() for column in self._damages)
        cursor[st.WINDOWS] = cursor[st.DAMAGES] = 0
        if buffer is None:
            return Batch(number, None, 0, 0, 0, windows, damages)
        count, memory = int(cursor[st.ROWS]), int(cursor[st.MEMORY_ROWS])
        cursor[st.ROWS] = cursor[st.MEMORY_ROWS] = 0
        return Batch(number, buffer, base, count, memory, windows, damages, int(cursor[st.SHIFTS]))

    def _note_fault(self, source: ByteSource) -> None:
        """Enter that the compressed stream broke off behind the last byte."""
        append_damage(self.cursor, self._damages, source.bytes, 0, st.UNKNOWN, st.STREAM, 0, 0, 0, 0)

    def _raise_damage(self, source: ByteSource) -> None:
        count = self.cursor[st.DAMAGES]
        real = np.flatnonzero(self._damages.reason[:count] != st.LOST)
        if real.size:
            i = real[0]
            spot = describe(int(self._damages.offset[i]), int(self._damages.reason[i]), int(self._damages.word[i]))
            raise DamageError(f"{source.path}: {spot}{f' ({source.fault})' if source.fault else ''}")


class _ReadAhead:
    """Fills buffers from a source, one ahead of the decoder.

    The thread is a daemon: a read from a pipe that nobody writes to must not keep an interrupted process alive. Only
    simple queues, since Ctrl-C in the midst of the others, which are Python code, may leave their locks locked.
    """

    def __init__(self, source: ByteSource, free: SimpleQueue[Buffer]) -> None:
        self._source, self._free = source, free
        self._filled: SimpleQueue[tuple[Buffer, int] | BaseException] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()  # an item for each buffer that may still wait in ``_filled``
        self._room.put(None)
        self._stopped = False
        self._thread = Thread(target=self._run, name="read-ahead", daemon=True)

    def _run(self) -> None:
        try:
            count, size = 0, 0
            while count == size and not self._stopped:
                buffer = self._free.get()
                size = len(buffer.input)
                count = self._source.readinto(buffer.input)
                self._room.get()
                self._filled.put((buffer, count))
        except BaseException as error:  # noqa: BLE001  (whatever it is, it belongs to the thread that waits)
            self._filled.put(error)

    def take(self) -> tuple[Buffer, int]:
        """Return a buffer and the number of new bytes in it: fewer than fit only at the end of the source."""
        filled = self._filled.get()
        self._room.put(None)
        if isinstance(filled, BaseException):
            raise filled
        return filled

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._room.put(None)


def _nothing_found(source: ByteSource, first: bytes) -> str:
    expected = f"{source.path}: byte 0: expected a CPU_CHANGE record (03 f0 01 20)"
    if not source.bytes:
        return f"{expected}, found {source.fault or 'an empty file'}"
    return (
        f"{expected}, found {first.hex(' ')},"
        f" and no xentrace record in all {source.bytes} bytes; is this the output of xentrace?"
    )
