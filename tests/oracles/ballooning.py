"""When populate-on-demand looks into pages, or steals what a guest gives back: a loop over a recording's p2m records.

Only the p2m records of each pCPU are looked at, in file order, and a dictionary of entries is kept. Both are Xen's
explicit sync points: ``p2m_pod_zero_check()``, after pages were unmapped and before they are looked into, and
``p2m_pod_decrease_reservation()``, after each page that goes to the cache.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.oracles.recalculations import SET_P2M_ENTRY, records

DECREASE, POPULATE, ZERO_RECLAIM = 0x10F005, 0x10F010, 0x10F011
RAM_RW, INVALID, LOGDIRTY, POD = 0, 1, 2, 6
RESTORED = -2
SUPERPAGE = 9
PAGES = 1 << SUPERPAGE


@dataclass
class Write:
    """A write of an entry.

    ``given_back``: it follows a DECREASE_RESERVATION of that frame; ``populated``: a POD_POPULATE follows it.
    """

    dom: int
    gfn: int
    order: int
    kind: int
    given_back: bool
    populated: bool = False


@dataclass
class P2m:
    """A p2m as its writes tell it: types of 4 KiB and 2 MiB entries, whichever was written last there."""

    pages: dict[int, int] = field(default_factory=dict)
    superpages: dict[int, int] = field(default_factory=dict)
    waiting: int = 0
    least: int = 0

    def old_type(self, gfn: int, order: int) -> int | None:
        """Return what an entry is; None where nothing was written."""
        if order == SUPERPAGE:
            return self.superpages.get(gfn >> SUPERPAGE)
        return self.pages.get(gfn, self.superpages.get(gfn >> SUPERPAGE))

    def write(self, write: Write, old: int | None) -> None:
        """Write an entry, and count pages that wait for memory."""
        self.waiting += ((write.kind == POD) - (old == POD)) << write.order
        self.least = min(self.least, self.waiting)
        if write.order == SUPERPAGE:
            self.superpages[write.gfn >> SUPERPAGE] = write.kind
            for page in range(write.gfn, write.gfn + PAGES):
                self.pages.pop(page, None)
        else:
            self.pages[write.gfn] = write.kind


def sync_points(data: bytes, *, timed: bool) -> Counter[str]:  # noqa: C901 (one branch for each kind of record)
    """Count ``looked into`` and ``stolen``; ``timed``: records of different pCPUs are in the order of their times.

    Those of one pCPU follow each other in any case. None of them has a TSC: operations are spread evenly between the
    timed records around them. One begins with each write that does not follow one which made its entry
    populate-on-demand, or the record that tells of that.
    """
    found: Counter[str] = Counter()
    writes: list[tuple[float, Write]] = []
    pending: dict[int, tuple[int, list[list[Write]]]] = {}
    decreased: dict[int, int] = {}
    last: dict[int, tuple[int, int, int]] = {}
    latest: dict[int, Write] = {}

    def settle(pcpu: int, until: int) -> None:
        since, operations = pending.pop(pcpu, (until, []))
        for number, operation in enumerate(operations, 1):
            t = since + (until - since) * number / (len(operations) + 1)
            writes.extend((t if timed else 0, write) for write in operation)

    for pcpu, event, tsc, words in records(data):
        if timed and pcpu in pending and pending[pcpu][0] != tsc:
            settle(pcpu, tsc)
        if event == POPULATE and latest[pcpu].kind == RAM_RW:
            latest[pcpu].populated = True
        if event not in (SET_P2M_ENTRY, DECREASE, ZERO_RECLAIM):
            continue
        gfn, before = words[0] | words[1] << 32, last.get(pcpu, (0, 0, 0))
        kind = words[4] if event == SET_P2M_ENTRY else -1
        restored = kind in (RAM_RW, LOGDIRTY) and before == (SET_P2M_ENTRY, gfn, POD)
        found["looked into"] += restored or (event == ZERO_RECLAIM and before == (SET_P2M_ENTRY, gfn, POD))
        if event == DECREASE:
            decreased[pcpu] = gfn
        elif event == SET_P2M_ENTRY:
            given_back = kind == INVALID and decreased.get(pcpu) == gfn
            write = Write(words[5] & 0xFFFF, gfn, words[5] >> 16, kind, given_back)
            latest[pcpu] = write
            operations = pending.setdefault(pcpu, (tsc, []))[1]
            if operations and (before[2] == POD or before[0] == ZERO_RECLAIM or before[2] == RESTORED):
                operations[-1].append(write)
            else:
                operations.append([write])
            if not timed:
                settle(pcpu, tsc)
        last[pcpu] = (event, gfn, RESTORED if restored else kind)
    for pcpu, (since, _) in list(pending.items()):
        settle(pcpu, since)
    found["stolen"] = _stolen([write for _, write in sorted(writes, key=lambda x: x[0])])
    return found


def _stolen(writes: list[Write]) -> int:
    """Count pages that were given back while entries waited for a page: how many did at first is the least possible."""
    p2ms: dict[int, P2m] = defaultdict(P2m)
    waiting_then: dict[int, list[int]] = defaultdict(list)
    for write in writes:
        p2m = p2ms[write.dom]
        old = POD if write.populated else p2m.old_type(write.gfn, write.order)
        if write.given_back and old not in (POD, INVALID):
            waiting_then[write.dom].append(p2m.waiting)
        p2m.write(write, old)
    return sum(waiting > p2ms[dom].least for dom, then in waiting_then.items() for waiting in then)
