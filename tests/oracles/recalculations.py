"""What an SVM host's recording tells of NPT recalculations, by a loop over its records and with dictionaries.

A nested page fault (VMEXIT 0x400) that neither writes an entry nor leaves an NPF record is a recalculation. Its
instruction runs again; if that faults for log-dirty, the page that was written then is the one that was recalculated.
A page that is recalculated, or faults for log-dirty, for a second time was cleaned since it was written.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

CPU_CHANGE, RUNSTATE_CHANGE = 0x1F003, 0x21001
VMENTRY, VMEXIT, VMEXIT64 = 0x81001, 0x81002, 0x81102
NPF, SET_P2M_ENTRY, POD_POPULATE, POD_ZERO_RECLAIM = 0x82021, 0x10F004, 0x10F010, 0x10F011
NESTED_PAGE_FAULT, RAM_RW, RUNNING = 0x400, 0, 0
PAGES_OF_A_REGION = 512


class Record(NamedTuple):
    """A record; ``tsc`` is that of the last timed one of its pCPU."""

    pcpu: int
    event: int
    tsc: int
    words: tuple[int, ...]


def records(data: bytes) -> Iterator[Record]:
    """Yield every record in file order."""
    at, pcpu = 0, -1
    tsc: dict[int, int] = defaultdict(int)
    while at < len(data):
        (header,) = struct.unpack_from("<I", data, at)
        event, words, timed = header & 0xFFFFFFF, header >> 28 & 7, header >> 31
        payload = struct.unpack_from(f"<{words}I", data, at + 4 + 8 * timed)
        if event == CPU_CHANGE:
            pcpu = payload[0]
        elif timed:
            (tsc[pcpu],) = struct.unpack_from("<Q", data, at + 4)
        yield Record(pcpu, event, tsc[pcpu], payload)
        at += 4 + 8 * timed + 4 * words


@dataclass
class Fault:
    """A nested page fault: when the VM exit was and when the entry after it, where, and what was written first.

    ``silent``: nothing but the VM entry followed; ``on_demand``: pages were populated or taken back; ``page``: that it
    was about, as far as that is known.
    """

    exit: int
    pcpu: int
    entry: int = -1
    written: list[tuple[int, int]] = field(default_factory=list)
    silent: bool = True
    on_demand: bool = False
    page: int | None = None

    @property
    def tsc(self) -> int:
        """When it was: a write lies between exit and entry, a recalculation counts as of the exit."""
        return self.exit if self.silent else (self.exit + self.entry) // 2


@dataclass
class Recalculations:
    """``known`` and ``unknown``: recalculations whose page is told by the fault that follows, and the others.

    ``of_npt``: how many of the known ones EPT would not have had; ``taken``: how many of the unknown ones must have
    been about the page of a log-dirty fault.
    """

    known: list[int]
    unknown: int
    cleans: int
    of_npt: int
    taken: int


def find(data: bytes) -> Recalculations:
    """Return the recalculations of a recording in which one guest runs, and nobody knows when the toolstack does."""
    faults = _faults(data)
    recalculated = [x for x in faults if x.silent and x.entry >= 0]
    told = sorted((x for x in faults if x.page is not None), key=lambda x: x.tsc)
    doubtful = [x for x in recalculated if x.page is None]
    first = min(record.tsc for record in records(data) if record.tsc)
    changes = [(first, told[0].tsc), *_cleans(told)] if told else []
    epochs = [high for _, high in changes]
    of_npt, lacking = _exits_of_ept(told, epochs)
    return Recalculations(
        [x.page for x in recalculated if x.page is not None],
        len(doubtful),
        len(changes[1:]),
        of_npt,
        _taken(lacking, doubtful, epochs),
    )


def _faults(data: bytes) -> list[Fault]:  # noqa: C901, PLR0912 (one branch for each kind of record)
    """Return the nested page faults, each with the page that its instruction wrote to, as far as that is known."""
    faults: list[Fault] = []
    current: dict[int, Fault | None] = defaultdict(lambda: None)
    at_instruction: dict[int, list[Fault]] = defaultdict(list)
    where: dict[int, tuple[object, ...]] = {}
    runs: dict[int, int | None] = defaultdict(lambda: None)
    for pcpu, event, tsc, words in records(data):
        now = current[pcpu]
        if event in (VMEXIT, VMEXIT64):
            here = (runs[pcpu], *words[1:])
            if where.get(pcpu) != here:
                where[pcpu], at_instruction[pcpu] = here, []
            current[pcpu] = Fault(tsc, pcpu) if words[0] == NESTED_PAGE_FAULT else None
            faults += [fault for fault in (current[pcpu],) if fault]
        elif event & ~0xFF0 == RUNSTATE_CHANGE:  # the old state in bits 8-11, the new one in bits 4-7
            if event >> 4 & 0xF == RUNNING:
                runs[pcpu] = words[0]
            elif event >> 8 & 0xF == RUNNING:
                runs[pcpu] = None
        elif now is None:
            continue
        elif event == VMENTRY:
            now.entry, current[pcpu] = tsc, None
            if now.silent:
                at_instruction[pcpu].append(now)
            else:
                _tell(at_instruction.pop(pcpu, []), now)
        elif event == NPF:
            now.silent = False
        elif event in (POD_POPULATE, POD_ZERO_RECLAIM):
            now.silent, now.on_demand = False, True
        elif event == SET_P2M_ENTRY:
            now.written.append((words[0] | words[1] << 32, words[4]))
            now.silent = False
    return faults


def _tell(silent: list[Fault], fault: Fault) -> None:
    """Let the page of a log-dirty fault be that of the recalculation directly before it."""
    match fault.written:
        case [(page, kind)] if kind == RAM_RW and not fault.on_demand:
            fault.page = page
            if silent:
                silent[-1].page = page


def _cleans(told: list[Fault]) -> list[tuple[int, int]]:
    """Return the fewest times between which pages were cleaned: each was between a write and the next of its page."""
    written: dict[int, int] = {}
    between: list[tuple[int, int]] = []
    for fault in told:
        page = fault.page or 0
        if page in written:
            between.append((written.pop(page), fault.tsc))
        if not fault.silent:
            written[page] = fault.tsc
    chosen: list[tuple[int, int]] = []
    for low, high in sorted(between, key=lambda x: x[1]):
        if not chosen or low >= chosen[-1][1]:
            chosen.append((low, high))
        else:
            chosen[-1] = (max(low, chosen[-1][0]), chosen[-1][1])
    return chosen


def _exits_of_ept(told: list[Fault], epochs: list[int]) -> tuple[int, list[Fault]]:
    """Return how many known recalculations EPT would not have had, and the faults that lack one."""
    of_npt, lacking = 0, []
    mended: set[tuple[int, int]] = set()
    for fault in told:
        region = bisect_right(epochs, fault.tsc), (fault.page or 0) // PAGES_OF_A_REGION
        if region in mended:
            of_npt += fault.silent
        elif not fault.silent:
            lacking.append(fault)
        mended.add(region)
    return of_npt, lacking


def _taken(lacking: list[Fault], doubtful: list[Fault], epochs: list[int]) -> int:
    """Count faults before which there was an unknown recalculation since the last clean: one of that pCPU, or of any.

    Each is the latest that is left.
    """
    left, taken = list(doubtful), 0
    for same_pcpu in (True, False):
        found = []
        for fault in lacking:
            since = max((t for t in epochs if t <= fault.tsc), default=0)
            able = [x for x in left if since <= x.tsc < fault.tsc and (x.pcpu == fault.pcpu or not same_pcpu)]
            if able:
                left.remove(max(able, key=lambda x: x.tsc))
                found.append(fault)
        taken += len(found)
        lacking = [fault for fault in lacking if fault not in found]
    return taken
