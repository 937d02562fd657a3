"""Files that something happened to: what disks, networks, tools and full ring buffers do, and what only malice does."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import pairwise
from random import Random

HEADER = b"\x03\xf0\x01\x20"
"""The header of CPU_CHANGE."""

Mutation = Callable[[Random, bytes], bytes]


def seeded(name: str) -> Random:
    """Return random numbers that are the same in every run of the test of this name."""
    return Random(name)  # noqa: S311 (nothing here is secret)


def flip_bits(rng: Random, data: bytes) -> bytes:
    """Flip up to eight bits within four bytes."""
    changed = bytearray(data)
    at = rng.randrange(len(data))
    for _ in range(rng.randint(1, 8)):
        changed[min(at + rng.randrange(4), len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def some_bytes(rng: Random, data: bytes) -> bytes:
    """Return 1 to 64 bytes: anything, zeros, ones, or a piece of the file itself."""
    count = rng.randint(1, 64)
    match rng.randrange(4):
        case 0:
            return rng.randbytes(count)
        case 1:
            return bytes(count)
        case 2:
            return b"\xff" * count
        case _:
            start = rng.randrange(len(data))
            return data[start : start + count]


def overwrite(rng: Random, data: bytes) -> bytes:
    """Write other bytes over some, at any position."""
    at, new = rng.randrange(len(data)), some_bytes(rng, data)
    return (data[:at] + new + data[at + len(new) :])[: len(data)]


def insert(rng: Random, data: bytes) -> bytes:
    """Push bytes in, at any position."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + some_bytes(rng, data) + data[at:]


def cut(rng: Random, data: bytes) -> bytes:
    """Take up to 64 bytes out, at any position."""
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randint(1, 64) :]


def truncate(rng: Random, data: bytes) -> bytes:
    """Lose the end."""
    return data[: rng.randrange(len(data))]


def behead(rng: Random, data: bytes) -> bytes:
    """Lose the beginning: records come before any CPU_CHANGE."""
    return data[rng.choice([4, 8, 12, 1, rng.randrange(len(data))]) :]


def window_starts(data: bytes) -> list[int]:
    """Return where CPU_CHANGE headers are seen."""
    return [match.start() for match in re.finditer(re.escape(HEADER), data)]


def rearrange_windows(rng: Random, data: bytes) -> bytes:
    """Double, swap or lose windows."""
    starts = [*window_starts(data), len(data)]
    windows = [data[a:b] for a, b in pairwise(starts)]
    if not windows:
        return data
    i, j = rng.randrange(len(windows)), rng.randrange(len(windows))
    match rng.randrange(3):
        case 0:
            windows.insert(j, windows[i])
        case 1:
            windows[i], windows[j] = windows[j], windows[i]
        case _:
            del windows[i]
    return data[: starts[0]] + b"".join(windows)


def _set_word(data: bytes, at: int, word: int) -> bytes:
    return data[:at] + struct.pack("<I", word & 0xFFFFFFFF) + data[at + 4 :] if at + 4 <= len(data) else data


def resize_window(rng: Random, data: bytes) -> bytes:
    """Put a wrong byte count into a CPU_CHANGE, a little wrong or absurd."""
    starts = window_starts(data)
    at = rng.choice(starts) if starts else 0
    size = int.from_bytes(data[at + 8 : at + 12], "little")
    near = size + rng.choice([-24, -12, -8, -4, -2, -1, 1, 3, 4, 8, 12, 40, 4 * rng.randrange(64)])
    far = rng.choice([0, 1, 4, len(data), len(data) - at - 12, 1 << 31, 0xFFFFFFF0, 0xFFFFFFFC, 0xFFFFFFFF])
    return _set_word(data, at + 8, rng.choice([near, far]))


def renumber_pcpu(rng: Random, data: bytes) -> bytes:
    """Put another pCPU into a CPU_CHANGE, a possible one or not."""
    starts = window_starts(data)
    at = rng.choice(starts) if starts else 0
    return _set_word(data, at + 4, rng.choice([0, 1, 257, 16383, 16384, 65536, 0x80000000, 0xFFFFFFFF]))


def shift_time(rng: Random, data: bytes) -> bytes:
    """Put another TSC behind a header that announces one: an earlier, a later, or one that cannot be."""
    places = [i for i in range(0, len(data) - 11, 4) if data[i + 3] & 0x80]
    if not places:
        return data
    at = rng.choice(places) + 4
    tsc = int.from_bytes(data[at : at + 8], "little")
    new = rng.choice([tsc - 1, tsc - 10**6, tsc // 2, 0, tsc + (1 << 40), (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
    return data[:at] + struct.pack("<Q", max(new, 0)) + data[at + 8 :]


MUTATIONS: list[Mutation] = [
    flip_bits,
    overwrite,
    insert,
    cut,
    truncate,
    behead,
    rearrange_windows,
    resize_window,
    renumber_pcpu,
    shift_time,
]


def mutate(rng: Random, data: bytes) -> bytes:
    """Return the file after one to four mishaps."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        if data:
            data = rng.choice(MUTATIONS)(rng, data)
    return data
