"""Random holds, and all that is done within them."""

from __future__ import annotations

from eptreplay.causes import CAUSES
from eptreplay.model import Row
from eptreplay.p2m_types import ACCESSES, RAM_LOGDIRTY, RAM_RW, RWX, TYPES
from tests.model.recorder import Recorder

NESTED = 256
P2MS = ((1, 0), (1, 1), (1, 2), (1, NESTED), (2, 0), (2, 1))
"""Host p2m and views of each guest; those from 256 are of its own guests."""
LIKELY = (*P2MS, P2MS[0], P2MS[0], P2MS[0], P2MS[0])
FRAMES = (0, 1, 511, 512, 513, 1023, (1 << 18) - 1, 1 << 18, (1 << 18) + 512, (1 << 27) + 5)
"""Corners of regions of 2 MiB and 1 GiB, and one beyond 512 GiB."""
RAM = (RAM_RW, RAM_RW, RAM_LOGDIRTY)


class HoldRows(Recorder):
    """Rows of holds."""

    def begin(self, number: int) -> None:
        """Add the begin of a hold: of a p2m that is held already, or of one behind all of those."""
        pcpu = self.pcpus[number]
        held = [p2m for p2m, _ in pcpu.holds]
        p2m = self.choose([p2m for p2m in LIKELY if p2m in held or not held or p2m > max(held)])
        self.holds += 1
        hold = dict(pcpu.holds).get(p2m, self.holds)
        row = Row("HOLD_BEGIN", 0, p2m=p2m, hold=hold, cause=self.choose((*CAUSES, *["pml"] * 6)))
        self.add(number, row, None if held else self.any_edge())
        pcpu.holds.append((p2m, hold))

    def in_hold(self, number: int, op: str) -> Row:
        """Return a row about one of the p2ms that are held."""
        p2m, hold = self.choose(self.pcpus[number].holds)
        return Row(op, 0, p2m=p2m, hold=hold, cause=self.choose(CAUSES))

    def write(self, number: int) -> None:
        """Add a write. Whether the entry was present is as random as what it becomes."""
        order = self.choose((0, 0, 0, 9, 9, 18))
        types = range(len(TYPES))
        row = self.in_hold(number, "SET")._replace(
            gfn=self.choose(FRAMES) >> order << order,
            order=order,
            mfn=self.choose(range(4)) << order,
            access=self.choose((RWX, RWX, RWX, *range(len(ACCESSES)))),
            old_type=self.choose((None, *RAM, *types)),
            present=self.choose((True, True, True, False)),
            new_type=self.choose((*RAM, *types)),
        )
        self.add(number, row)

    def unknown_write(self, number: int) -> None:
        """Add writes to entries that nobody knows."""
        row = self.in_hold(number, "SET")._replace(
            gfn=None,
            count=self.choose((1, 2, 3)),
            old_type=self.choose((None, *RAM)),
            present=True,
            new_type=self.choose(RAM),
        )
        self.add(number, row)

    def misconfig(self, number: int) -> None:
        """Add an exit for EPT_MISCONFIG, or something else that resolves marks."""
        row = self.in_hold(number, "MISCONFIG")
        cause = self.choose(("misconfig", "misconfig", row.cause))
        self.add(number, row._replace(gfn=self.choose((*FRAMES, None)), new_type=None, cause=cause))

    def global_change(self, number: int) -> None:
        """Add a change of types, or of memory types, for everything, or of types for a range."""
        row = self.in_hold(number, "GLOBAL_CHANGE")
        if self.choose((True, False)):
            first, last = sorted((self.choose(FRAMES), self.choose(FRAMES)))
            row = row._replace(gfn=first, last_gfn=last, new_type=self.choose(RAM))
        else:
            row = row._replace(gfn=None, new_type=self.choose((*RAM, None)))
        self.add(number, row)

    def free_table(self, number: int) -> None:
        """Add the end of a page of a p2m."""
        self.add(number, self.in_hold(number, "FREE_TABLE")._replace(gfn=self.choose((*FRAMES, None))))

    def pod_reclaim(self, number: int) -> None:
        """Add pages that go to the cache of populate-on-demand."""
        row = self.in_hold(number, "POD_RECLAIM")
        order, cause = self.choose((0, 9)), self.choose(("decrease", "pod_reclaim", row.cause))
        self.add(number, row._replace(gfn=self.choose(FRAMES) >> order << order, order=order, cause=cause))

    def lookup(self, number: int) -> None:
        """Add lookups, of a p2m that is held already, or of one behind all of those."""
        pcpu = self.pcpus[number]
        held = [p2m for p2m, _ in pcpu.holds]
        others = [p2m for p2m in LIKELY if not held or (self.features.nested and p2m > max(held))]
        p2m = self.choose([*held, *others])
        row = Row("LOOKUP", 0, p2m=p2m, count=self.choose((1, 1, 2, 3, 6)), preemptible=self.choose((False, True)))
        self.add(number, row, None if held else self.any_edge())

    def call(self, number: int) -> None:
        """Add the call of a nested p2m, mostly of the domain whose host p2m is held; or a sync of what is held."""
        row = self.in_hold(number, "CALL")._replace(new_type=None)
        dom, view = row.p2m or P2MS[0]
        self.add(number, row._replace(p2m=(dom, self.choose((NESTED, NESTED, view)))))
