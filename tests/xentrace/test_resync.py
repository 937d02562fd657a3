"""Damage costs what it touches and little more: reading goes on behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from eptreplay.xentrace.columns import offsets_of
from eptreplay.xentrace.decode import KEEP_ALL
from eptreplay.xentrace.reader import Reader
from tests.conftest import Unpack
from tests.xentrace.mutants import seeded

TRIALS = 1000
DAMAGE_BYTES = 64
LEAST_MEAN_R12 = 0.999
"""Mean share of untouched records on r12 that must be decoded as if nothing had happened."""


class Rows(NamedTuple):
    """What is known of each record besides its own bytes, by ascending offset. ``end``: offset of the next record."""

    offset: NDArray[np.int64]
    pcpu: NDArray[np.uint16]
    tsc: NDArray[np.int64]
    flags: NDArray[np.uint8]
    place: NDArray[np.uint32]

    def part(self, rows: slice) -> Rows:
        """Return some of the rows."""
        return Rows._make(column[rows] for column in self)

    def same(self, other: Rows) -> NDArray[np.bool_]:
        """Compare row by row; where a TSC or a place is unknown, what stands there does not matter."""
        flags = self.flags == other.flags
        tsc = (self.tsc == other.tsc) | (self.flags & 1 == 0)
        place = (self.place == other.place) | (self.flags & 2 == 0)
        same: NDArray[np.bool_] = flags & tsc & place & (self.pcpu == other.pcpu)
        return same


def read_rows(path: Path) -> Rows:
    """Decode a whole file."""
    reader = Reader([path], keep=KEEP_ALL, digest=False)
    parts = []
    for batch in reader:
        if batch.buffer is not None:
            rows, count = batch.buffer.rows, batch.count
            columns = (offsets_of(batch), rows.pcpu, rows.tsc, rows.flags, rows.place)
            parts.append(Rows._make(column[:count].copy() for column in columns))
        reader.recycle(batch)
    return Rows._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


@dataclass(frozen=True)
class Mishap:
    """``lost`` bytes at ``at`` are replaced by ``new`` ones; overwriting is losing as many."""

    at: int
    lost: int
    new: bytes

    @property
    def shift(self) -> int:
        """How far what stands behind moves."""
        return len(self.new) - self.lost

    def strike(self, path: Path, data: bytes) -> None:
        """Damage the file at ``path``, which holds ``data``."""
        with path.open("r+b") as file:
            file.seek(self.at)
            file.write(self.new)
            if self.shift:
                file.write(memoryview(data)[self.at + self.lost :])
                file.truncate()

    def repair(self, path: Path, data: bytes) -> None:
        """Undo it."""
        with path.open("r+b") as file:
            file.seek(self.at)
            file.write(memoryview(data)[self.at :] if self.shift else data[self.at : self.at + len(self.new)])
            file.truncate(len(data))


def overwriting(rng: Random, data: bytes) -> Mishap:
    count = rng.randint(1, DAMAGE_BYTES)
    return Mishap(rng.randrange(len(data) - count + 1), count, rng.randbytes(count))


def cutting(rng: Random, data: bytes) -> Mishap:
    count = rng.randint(1, DAMAGE_BYTES)
    return Mishap(rng.randrange(len(data) - count + 1), count, b"")


def inserting(rng: Random, data: bytes) -> Mishap:
    return Mishap(rng.randrange(len(data)), 0, rng.randbytes(rng.randint(1, DAMAGE_BYTES)))


def share_unharmed(before: Rows, size: int, after: Rows, mishap: Mishap) -> float:
    """Return the share of records that the damage did not touch and that are decoded as before.

    An untouched record that is found where it now stands has the same event and words, as its bytes are the same.
    """
    # Records in front of the damage, and behind it: from the first one that starts where or after it ends.
    ends = np.append(before.offset[1:], size)
    front = int(np.searchsorted(ends, mishap.at, side="right"))
    behind = int(np.searchsorted(before.offset, mishap.at + mishap.lost))
    untouched = front + before.offset.size - behind

    unharmed = int(np.count_nonzero(_match(before.part(slice(front)), after, 0)))
    unharmed += int(np.count_nonzero(_match(before.part(slice(behind, None)), after, mishap.shift)))
    return unharmed / untouched


def _match(before: Rows, after: Rows, shift: int) -> NDArray[np.bool_]:
    """Tell of each row whether it is found, ``shift`` bytes further on, with the same contents."""
    wanted = before.offset + shift
    first = int(np.searchsorted(after.offset, wanted[0])) if wanted.size else 0
    last = int(np.searchsorted(after.offset, wanted[-1], side="right")) if wanted.size else 0
    found = after.part(slice(first, last))
    if found.offset.size == wanted.size and np.array_equal(found.offset, wanted):
        return before.same(found)
    index = np.searchsorted(found.offset, wanted)
    index[index == found.offset.size] = 0
    if not found.offset.size:
        return np.zeros(wanted.size, np.bool_)
    at = Rows._make(column[index] for column in found)
    unharmed: NDArray[np.bool_] = before.same(at) & (at.offset == wanted)
    return unharmed


@pytest.mark.slow
@pytest.mark.parametrize("mishap", [overwriting, cutting, inserting])
@pytest.mark.parametrize("name", ["r04", "r12", pytest.param("r20", marks=pytest.mark.recordings)])
def test_untouched_records_are_read_as_if_nothing_had_happened(
    name: str,
    mishap: Callable[[Random, bytes], Mishap],
    unpacked: Unpack,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    data = unpacked(name).read_bytes()
    path = tmp_path / "damaged.xentrace"
    path.write_bytes(data)
    before = read_rows(path)
    rng = seeded(f"{name} {mishap.__name__}")

    shares = []
    for _ in range(TRIALS):
        damage = mishap(rng, data)
        damage.strike(path, data)
        shares.append(share_unharmed(before, len(data), read_rows(path), damage))
        damage.repair(path, data)

    figures = f"mean {mean(shares):.4%}, worst {min(shares):.2%}"
    record_property("measured", f"{name}, {mishap.__name__}, {TRIALS} times: untouched records unharmed: {figures}")
    assert path.read_bytes() == data
    assert mean(shares) >= (LEAST_MEAN_R12 if name == "r12" else 0.99)
