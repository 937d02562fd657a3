"""What the recording of a live migration holds, counted by hand: each pCPU's records in order, and nothing else.

A file is windows; a window is a CPU_CHANGE record (pCPU, bytes) and that many bytes of records of this pCPU. No table,
no rule and no array: whoever doubts a number can follow the loop.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator

CPU_CHANGE, RUNSTATE_CHANGE, DOM_ADD = 0x1F003, 0x21001, 0x28001
VMENTRY, VMEXIT, VMEXIT64 = 0x81001, 0x81002, 0x81102
NPF, SET_P2M_ENTRY = 0x82021, 0x10F004
NESTED_PAGE_FAULT = 0x400
RUNNING = 0


def records(data: bytes) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield pCPU, event and payload words of every record in file order."""
    at, pcpu = 0, -1
    while at < len(data):
        (header,) = struct.unpack_from("<I", data, at)
        event, words, timed = header & 0xFFFFFFF, header >> 28 & 7, header >> 31
        payload = struct.unpack_from(f"<{words}I", data, at + 4 + 8 * timed)
        if event == CPU_CHANGE:
            pcpu = payload[0]
        yield pcpu, event, payload
        at += 4 + 8 * timed + 4 * words


def count(data: bytes) -> Counter[str]:  # noqa: C901, PLR0912 (one branch for each kind of record)
    """Count p2m writes: whose, by whom, in which fault, after which VM exit.

    ``faults of dN``: VMEXIT 0x400, one write of dN's p2m, NPF, directly behind each other on a pCPU; those that other
    records follow than a VMENTRY are among them. ``writes of dN``; ``... by dM``: while dM runs; ``... before its
    SCHED_DOM_ADD``. ``... by dM after a fault of dK``: dM was switched in after dK's VMEXIT 0x400, and the pCPU has not
    entered a guest since.
    """
    found: Counter[str] = Counter()
    runs: dict[int, int | None] = defaultdict(lambda: None)
    fault: dict[int, int | None] = defaultdict(lambda: None)
    last: dict[int, list[str]] = defaultdict(list)
    added: set[int] = set()
    for pcpu, event, words in records(data):
        if event == CPU_CHANGE:
            continue
        kind = "?"
        if event & ~0xFF0 == RUNSTATE_CHANGE:  # the old state in bits 8-11, the new one in bits 4-7
            old, new = event >> 8 & 0xF, event >> 4 & 0xF
            if new == RUNNING:
                runs[pcpu] = words[0] >> 16
            elif old == RUNNING:
                runs[pcpu] = None
        elif event == DOM_ADD:
            added.add(words[0])
        elif event == VMENTRY:
            fault[pcpu] = None
        elif event in (VMEXIT, VMEXIT64):
            fault[pcpu] = runs[pcpu] if words[0] == NESTED_PAGE_FAULT else None
            kind = "fault" if words[0] == NESTED_PAGE_FAULT else "?"
        elif event == SET_P2M_ENTRY:
            dom, by = words[5] & 0xFFFF, runs[pcpu]
            found[f"writes of d{dom}"] += 1
            found[f"writes of d{dom} by d{by}"] += 1
            if dom not in added:
                found[f"writes of d{dom} before its SCHED_DOM_ADD"] += 1
            if fault[pcpu] is not None and by != fault[pcpu]:
                found[f"writes of d{dom} by d{by} after a fault of d{fault[pcpu]}"] += 1
            kind = f"d{dom}"
        elif event == NPF:
            found["NPF"] += 1
            if last[pcpu][-2:-1] == ["fault"] and last[pcpu][-1] != "?":
                found[f"faults of {last[pcpu][-1]}"] += 1
            elif last[pcpu][-1:] == ["fault"]:
                found["faults without a write"] += 1
        last[pcpu] = [*last[pcpu][-1:], kind]
    return found
