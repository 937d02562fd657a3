"""What an SVM host's recording tells of NPT recalculations, by a loop over its records and with dictionaries.

A nested page fault (VMEXIT 0x400) that neither writes an entry nor leaves an NPF record is a recalculation. Its
instruction runs again; if that faults for log-dirty, the page that was written then is the one that was recalculated.
A page that is recalculated, or faults for log-dirty, for a second time was cleaned since it was written.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

CPU_CHANGE, RUNSTATE_CHANGE = 0x1F003, 0x21001
VMENTRY, VMEXIT, VMEXIT64 = 0x81001, 0x81002, 0x81102
NPF, SET_P2M_ENTRY = 0x82021, 0x10F004
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
    """A nested page fault: when and where, what it wrote first, and whether there was anything but VM entry in it."""

    tsc: int
    pcpu: int
    written: list[tuple[int, int]] = field(default_factory=list)
    silent: bool = True
    entered: bool = False
    page: int | None = None


@dataclass
class Recalculations:
    """``pages``: when each recovered one was, and of which page; ``unknown``: how many others there are."""

    pages: list[tuple[int, int]] = field(default_factory=list)
    unknown: int = 0
    cleans: int = 0
    mended_before: int = 0


def find(data: bytes) -> Recalculations:
    """Return the recalculations of a recording in which one guest runs."""
    faults = _faults(data)
    found = Recalculations()
    for fault in faults:
        if fault.silent and fault.entered:
            if fault.page is None:
                found.unknown += 1
            else:
                found.pages.append((fault.tsc, fault.page))
    _count_cleans(faults, found)
    return found


def _faults(data: bytes) -> list[Fault]:  # noqa: C901 (one branch for each kind of record)
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
            now.entered, current[pcpu] = True, None
            if now.silent:
                at_instruction[pcpu].append(now)
            else:
                _tell(at_instruction.pop(pcpu, []), now)
        elif event == NPF:
            now.silent = False
        elif event == SET_P2M_ENTRY:
            now.written.append((words[0] | words[1] << 32, words[4]))
            now.silent = False
    return faults


def _tell(silent: list[Fault], fault: Fault) -> None:
    """Let the page of a log-dirty fault be that of the recalculation directly before it."""
    match fault.written:
        case [(page, kind)] if kind == RAM_RW:
            fault.page = page
            if silent:
                silent[-1].page = page


def _count_cleans(faults: list[Fault], found: Recalculations) -> None:
    """Clean as late, and as seldom, as explains that pages fault again; count what EPT had mended since the last."""
    written: dict[int, int] = {}
    mended: set[int] = set()
    last_clean = -1
    for fault in sorted((x for x in faults if x.page is not None), key=lambda x: x.tsc):
        page = fault.page or 0
        if last_clean < 0 or written.get(page, -1) >= last_clean:
            found.cleans += last_clean >= 0
            last_clean, mended = fault.tsc, set()
        if fault.silent:
            found.mended_before += page // PAGES_OF_A_REGION in mended
            mended.add(page // PAGES_OF_A_REGION)
        else:
            written[page] = fault.tsc
