"""The executable specification of reading an undamaged xentrace file: a loop of ``struct`` calls, one record at a time.

A file is a chain of windows, each holding records of one pCPU: a CPU_CHANGE record, then as many bytes of records as
it says. A record is a header word (event, number of payload words, whether it has a TSC), the TSC, and the payload.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import polars as pl

LOST_RECORDS, WRAP_BUFFER, CPU_CHANGE = 0x1F001, 0x1F002, 0x1F003
CONTINUE_RUNNING = 0x21002
RUNNING = 0

HEADER = struct.Struct("<I")
TSC = struct.Struct("<Q")
PAYLOADS = [struct.Struct(f"<{n}I") for n in range(8)]

SCHEMA = pl.Schema(
    {
        "source": pl.Int16,
        "offset": pl.Int64,
        "pcpu": pl.UInt16,
        "tsc": pl.Int64,
        "timed": pl.Boolean,
        "event": pl.UInt32,
        "run_dom": pl.UInt16,
        "run_vcpu": pl.UInt16,
        "n": pl.UInt8,
        **{f"w{i}": pl.UInt32 for i in range(7)},
    }
)
"""The columns of ``eptreplay.scan_xentrace``."""

_BATCH = 20_000  # records held as Python objects at a time
_ABSENT = [(None,) * (7 - n) for n in range(8)]


class Vcpu(NamedTuple):
    """A virtual CPU; ``NOBODY`` where it is not known who runs, or nobody does."""

    dom: int | None
    vcpu: int | None


NOBODY = Vcpu(None, None)


class Record(NamedTuple):
    """One record as it stands in the file, with the TSC and the running vCPU that hold for it."""

    offset: int
    pcpu: int
    tsc: int | None
    timed: bool
    event: int
    running: Vcpu
    words: tuple[int, ...]


@dataclass
class Pcpu:
    """What a pCPU's earlier records say about its next one."""

    tsc: int | None = None
    running: Vcpu = NOBODY


def read_records(data: bytes) -> Iterator[Record]:
    """Yield every record of an undamaged file in file order, CPU_CHANGE included."""
    pcpus: dict[int, Pcpu] = {}
    number, window_end = 0, 0
    offset = 0
    while offset < len(data):
        (header,) = HEADER.unpack_from(data, offset)
        event, payload, timed = header & 0x0FFF_FFFF, PAYLOADS[header >> 28 & 7], bool(header >> 31)
        words = payload.unpack_from(data, offset + HEADER.size + (TSC.size if timed else 0))
        end = offset + HEADER.size + (TSC.size if timed else 0) + payload.size

        if event == CPU_CHANGE:
            if offset != window_end:
                raise ValueError(f"byte {offset}: CPU_CHANGE, but the window ends at {window_end}")
            number, window_end = words[0], end + words[1]
        elif end > window_end:
            raise ValueError(f"byte {offset}: the record runs over its window's end at {window_end}")

        pcpu = pcpus.setdefault(number, Pcpu())
        if timed:
            (pcpu.tsc,) = TSC.unpack_from(data, offset + HEADER.size)
        if event == LOST_RECORDS:  # says who was running when recording resumed
            pcpu.running = Vcpu(dom=words[1] & 0xFFFF, vcpu=words[1] >> 16)
        yield Record(offset, number, pcpu.tsc, timed, event, pcpu.running, words)
        pcpu.running = running_after(event, words, pcpu.running)
        offset = end


def running_after(event: int, words: tuple[int, ...], before: Vcpu) -> Vcpu:
    """Return who runs on a pCPU once a record has taken effect there."""
    if event == CONTINUE_RUNNING:
        return runstate_vcpu(words)
    if event & ~0xFF0 == 0x21001:  # RUNSTATE_CHANGE: the old state in bits 8-11, the new one in bits 4-7
        old, new = event >> 8 & 0xF, event >> 4 & 0xF
        if new == RUNNING:
            return runstate_vcpu(words)
        if old == RUNNING:
            return NOBODY
    return before


def runstate_vcpu(words: tuple[int, ...]) -> Vcpu:
    """Return the vCPU that a runstate record is about."""
    return Vcpu(dom=words[0] >> 16, vcpu=words[0] & 0xFFFF)


def read_frame(data: bytes) -> pl.DataFrame:
    """Return all records as ``eptreplay.scan_xentrace`` should: one row each, absent words null.

    Records before the first TSC of their pCPU take that first TSC; on a pCPU without any, ``tsc`` is null.
    """
    records = read_records(data)
    frames = []
    while batch := list(islice(records, _BATCH)):
        offset, pcpu, tsc, timed, event, running, words = zip(*batch, strict=True)
        count = [len(w) for w in words]
        padded = [w + _ABSENT[len(w)] for w in words]
        columns = [[0] * len(batch), offset, pcpu, tsc, timed, event, *zip(*running, strict=True), count]
        frames.append(pl.DataFrame([*columns, *zip(*padded, strict=True)], schema=SCHEMA))
    return pl.concat(frames).with_columns(pl.col("tsc").backward_fill().over("pcpu"))
