"""Results of replays, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from eptreplay.replay import replay
from eptreplay.replay.results import read_result
from eptreplay.xentrace.encode import Trace
from tests.trace.made_recordings import GHZ, dataset

Tables = dict[str, pl.DataFrame]
STRATEGIES = ("eager", "vmenter", "deferred", "never")


def tables_of(result: Path) -> Tables:
    """Return the tables of a result, ``workload`` included."""
    _, tables = read_result(result)
    found = {name: pl.DataFrame(pl.from_arrow(table)) for name, table in tables.items()}
    return {**found, "workload": pl.read_parquet(result / "workload.parquet")}


def replayed(folder: Path, trace: Trace, **options: Any) -> Tables:  # noqa: ANN401 (those of replay)
    """Replay a recording whose TSC counts nanoseconds, with every detail unless something else is said."""
    made = dataset(folder, trace, events="ept", tsc_hz=GHZ)
    target = folder / f"{len(list(folder.iterdir()))}.result"
    replay(made, target, **{"strategies": STRATEGIES, "detail": "full", **options})
    return tables_of(target)


def run(tables: Tables, strategy: str, **others: object) -> dict[str, Any]:
    """Return the row of ``runs`` of a strategy."""
    [row] = tables["runs"].filter(strategy=strategy, **others).to_dicts()
    return row


class Guest:
    """A recording of an AMD host in which d3 runs on some pCPUs, each vCPU on its own, and takes faults in turn."""

    def __init__(self, *pcpus: int, step: int = 10_000, entries: bool = True) -> None:
        self.trace, self.tsc, self.step, self.entries = Trace(), 1_000, step, entries
        for vcpu, pcpu in enumerate(pcpus):
            self.trace.window(pcpu)
            self.tsc += 10
            self.trace.add("RUNSTATE_RUNNABLE_TO_RUNNING", tsc=self.tsc, domid=3, vcpu=vcpu)
            if entries:
                self.trace.add("HVM_VMENTRY", tsc=self.tsc + 5)

    def fault(self, pcpu: int, gfn: int, *, tracked: bool = True) -> None:
        """Let the guest write to a page that is tracked, or else to one that is not there."""
        self.trace.window(pcpu)
        self.tsc += self.step
        self.trace.add("HVM_VMEXIT64", tsc=self.tsc, reason=0x400, rip=0)
        self.trace.add("MEM_SET_P2M_ENTRY", gfn=gfn, mfn=gfn, p2mt=0 if tracked else 5, domid=3)
        self.trace.add("HVM_NPF", gpa=gfn << 12, mfn=gfn, p2mt=0)
        self.trace.add("HVM_VMENTRY", tsc=self.tsc + 100)

    def hold(self, pcpu: int, think: int, *gfns: int, old: int = 0, new: int = 1) -> None:
        """Let the hypervisor hold the lock for a time, and write entries meanwhile."""
        self.trace.window(pcpu)
        self.tsc += self.step
        self.trace.add("HVM_VMEXIT64", tsc=self.tsc, reason=0x81, rip=0)
        self.trace.add("P2M_HOLD_BEGIN", tsc=self.tsc + 10, domid=3, view=0, cause=6)
        for number, gfn in enumerate(gfns):
            self.trace.add("P2M_SET", tsc=self.tsc + 10 + number, gfn=gfn, mfn=gfn, old_type=old, new_type=new,
                           order=0, domid=3, view=0, access=0)  # fmt: skip
        self.tsc += think
        self.trace.add("P2M_HOLD_END", tsc=self.tsc + 10, domid=3, view=0)
        self.trace.add("HVM_VMENTRY", tsc=self.tsc + 100)

    def busy(self, *pcpus: int, faults: int = 12) -> Guest:
        """Take faults and holds on these pCPUs in turn."""
        for number in range(faults):
            pcpu = pcpus[number % len(pcpus)]
            self.fault(pcpu, number % 5, tracked=number % 3 > 0)
            if number % 4 == 0:
                self.hold(pcpu, 3000 + number, number, number + 1)
        return self
