"""Small recordings that hold what a real one does: guests that move, p2m writes, losses, late clocks, many pCPUs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import polars as pl

import eptreplay
from eptreplay.xentrace.encode import Trace
from eptreplay.xentrace.record import CPU_CHANGE

GHZ = 1_000_000_000


def write(folder: Path, data: bytes | Trace, name: str = "made.xentrace") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.bytes())
    return path


def busy_recording(xen: str = "4.17") -> Trace:
    """Return a recording of three pCPUs with a record of each kind that tables are made of.

    pCPU 0 runs d1v0 and then d1v1 and writes d1's p2m; pCPU 3 begins without a TSC; pCPU 300 never has any.
    """
    trace = Trace(xen)
    trace.window(3)
    trace.add("HVM_NPF", gpa=0x1234567, mfn=0x88, qualification=0x182, p2mt=2)
    trace.add("MEM_DECREASE_RESERVATION", gfn=0x200, domid=2, order=9)
    trace.window(300)
    trace.add("MEM_SET_P2M_ENTRY", gfn=0x300, mfn=0x301, p2mt=0, domid=2, order=0)
    trace.window(0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1000, domid=1, vcpu=0)
    trace.add("HVM_VMENTRY", tsc=1100)
    trace.add("HVM_VMEXIT64", tsc=1200, reason=0x400, rip=0xFFFF_8000_0000_1000)
    trace.add("MEM_SET_P2M_ENTRY", gfn=0x1_0000_0001, mfn=(1 << 64) - 1, p2mt=1, domid=1, order=9)
    trace.add("HVM_NPF", gpa=0x1_0000_0001_0FF, mfn=0x99, p2mt=0)
    trace.add("MEM_POD_POPULATE", gfn=0x42, mfn=0x43, domid=1, order=9)
    trace.add("MEM_POD_ZERO_RECLAIM", gfn=0x44, mfn=0x45, domid=1, order=0)
    trace.add("SCHED_WAKE", tsc=1300, domid=1, vcpu=1)
    trace.add("RUNSTATE_RUNNING_TO_BLOCKED", tsc=1400, domid=1, vcpu=0)
    trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=1500, domid=1, vcpu=1)
    trace.window(3)
    trace.add("MEM_PAGE_GRANT_MAP", tsc=2000, domid=5)
    trace.add("MEM_PAGE_GRANT_UNMAP", tsc=1900, domid=5)
    trace.add("MEM_PAGE_GRANT_TRANSFER", tsc=2100, domid=6)
    trace.add("LOST_RECORDS", tsc=2500, count=17, domid=1, vcpu=2, first_tsc=2200)
    trace.add("HVM_NPF", gpa=0x5000, mfn=0x5, p2mt=0)
    trace.add("WRAP_BUFFER", pad0=0x80081001, pad1=0)
    trace.window(0)
    trace.add("P2M_SET", tsc=3000, gfn=7, mfn=8, old_type=2, new_type=0, order=0, domid=1, view=0, access=3)
    trace.add("PAGE_FREE", tsc=3100, mfn=9, domid=1, order=0)
    trace.add("MEM_POD_SUPERPAGE_SPLINTER", gfn=0x600, domid=1)
    trace.window(300)
    return trace


def long_recording(records: int, pcpus: int = 3) -> Trace:
    """Return a recording of so many timed records, and as many untimed ones, in windows of about a hundred."""
    trace = Trace()
    for number in range(records):
        if number % 50 == 0:
            trace.window(number // 50 % pcpus)
        trace.add("HVM_VMENTRY", tsc=10_000 + 10 * number)
        trace.add("MEM_SET_P2M_ENTRY", gfn=number, mfn=2 * number, p2mt=0, domid=number % 5)
    return trace


def scheduled_recording(hz: int, runs: int = 40) -> Trace:
    """Return the records of so many runs of d1v0 and d2v0 in turn, from which ``hz`` can be estimated."""
    trace, tsc = Trace(), 1_000_000
    trace.window(0)
    domain = 1
    trace.add("SCHED_SWITCH_INFPREV", tsc=tsc, domid=2, vcpu=0, runtime=1_000_000)
    for run in range(runs):
        runtime = 1_000_000 + 10_000 * run  # nanoseconds
        trace.add("SCHED_SWITCH_INFNEXT", tsc=tsc + 40, domid=domain, vcpu=0, wait=0, slice=10_000_000)
        tsc += runtime * hz // GHZ
        trace.add("SCHED_SWITCH_INFPREV", tsc=tsc, domid=domain, vcpu=0, runtime=runtime)
        domain = 3 - domain
    return trace


def dataset(folder: Path, *data: bytes | Trace, events: str = "all", **options: object) -> Path:
    """Ingest recordings and return the dataset's folder, a new one for each call."""
    number = len(list(folder.iterdir()))
    sources = [write(folder, one, f"{number}-{i}.xentrace") for i, one in enumerate(data)]
    target = folder / f"{number}.ds"
    eptreplay.ingest(sources, target, events=events, **options)  # type: ignore[arg-type]  # as the caller says
    return target


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    """Return all tables of a dataset."""
    return {name: eptreplay.scan(folder, name).collect() for name in ("events", "p2m", "windows", "damage")}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def leftovers(folder: Path) -> list[str]:
    """Return what is hidden in a folder, as outputs are until they are complete."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def window_sizes(data: bytes) -> Sequence[int]:
    """Return the byte counts of an undamaged file's windows."""
    sizes, at = [], 0
    while at < len(data):
        header, _, size = struct.unpack_from("<III", data, at)
        assert header & 0xFFFFFFF == CPU_CHANGE
        sizes.append(size)
        at += 12 + size
    return sizes
