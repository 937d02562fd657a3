"""What all calls of a replay add up to, broadcasts and others."""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.apic import messages
from eptreplay.model.facts import BroadcastRequested, CallDone, CallLocked, FlushRequested, OtherCallRequested
from eptreplay.model.log import Run


class CallCounts(NamedTuple):
    """Counts that are charged to nobody."""

    icr_writes: int
    other_calls: int
    other_ipis: int
    alloc_flushes: int


def call_counts(run: Run) -> CallCounts:
    """Return how often was called, and what was written to send it."""
    setting = run.setting
    why: dict[int, type] = {}
    writes = calls = ipis = flushes = 0
    for _, c, fact, _ in run.log:
        match fact:
            case BroadcastRequested() | OtherCallRequested() | FlushRequested():
                why[c] = type(fact)
                calls += isinstance(fact, OtherCallRequested)
                flushes += isinstance(fact, FlushRequested)
            case CallLocked(targets=targets):
                ipis += len(targets) if why[c] is OtherCallRequested else 0
                sent = messages(setting.costs, setting.online, [setting.pcpus[x] for x in targets])
                writes += sum(message.writes for message in sent)
            case _:
                pass
    return CallCounts(writes, calls, ipis, flushes)


def call_times(run: Run) -> tuple[int, int]:
    """Return how long pCPUs waited for the call lock, from request to acquisition, and how long they had it, in all."""
    wait_ns = held_ns = 0
    since: dict[int, int] = {}
    if run.setting.lockless:
        return 0, 0
    for t, c, fact, _ in run.log:
        match fact:
            case BroadcastRequested() | OtherCallRequested():
                since[c] = t
            case FlushRequested():
                since.pop(c, None)
            case CallLocked() if c in since:
                wait_ns, since[c] = wait_ns + t - since[c], t
            case CallDone() if c in since:
                held_ns += t - since.pop(c)
            case _:
                pass
    return wait_ns, held_ns
