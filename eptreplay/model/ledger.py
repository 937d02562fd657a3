"""How the result tables are made from the log of a replay."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from eptreplay.model.calls import call_counts, call_times
from eptreplay.model.facts import (
    HANDLER,
    VMENTER,
    Acked,
    BroadcastRequested,
    CallDone,
    CallLocked,
    CallSent,
    Delivered,
    Entered,
    Executed,
    FlushRequested,
    HoldAcquired,
    HoldEnded,
    HoldReleased,
    HoldRequested,
    OtherCallRequested,
    RowCarriedOut,
    Stored,
)
from eptreplay.model.host import MODES
from eptreplay.model.log import Logged, Run
from eptreplay.model.measures import counted, measure_table, timeline
from eptreplay.model.stalls import longest, watchdog
from eptreplay.model.tables import Ack, Broadcast, Hold, Invept, Result
from eptreplay.model.waits import edge_waits, lookup_table, lookup_waits


def make_result(run: Run) -> Result:
    """Return all tables of a replay."""
    setting, pcpus = run.setting, run.setting.pcpus
    holds, acks, invepts = hold_table(run), ack_table(run), invept_table(run)
    broadcasts = broadcast_table(run, acks)
    received = Counter(ack.pcpu for ack in acks)
    counts = list(counted(run, holds, broadcasts, invepts))
    bucket_ns, buckets = timeline(run, counts)
    waits = lookup_waits(run)
    calls = call_counts(run)
    wait_ns, call_held_ns = call_times(run)
    return Result(
        holds,
        broadcasts,
        acks,
        invepts,
        modes={pcpu: mode_times(spans) for pcpu, spans in zip(pcpus, run.spans, strict=True)},
        measures=measure_table(counts),
        vmenters=sum(isinstance(entry.fact, Entered) and entry.fact.counts for entry in run.log),
        vmenter_invepts=sum(invept.where == VMENTER for invept in invepts),
        broadcasts_under_lock=sum(broadcast.under_lock for broadcast in broadcasts),
        simulated_ns=run.now_ns,
        drift_ns=dict(zip(pcpus, run.drift_ns, strict=True)),
        ipis_received={pcpu: received[pcpu] for pcpu in pcpus},
        tables={name: p2m.table for name, p2m in zip(setting.p2ms, run.host.p2ms, strict=True)},
        marks={
            name: frozenset(n for n, mark in zip(pcpus, p2m.marks, strict=True) if mark is not None)
            for name, p2m in zip(setting.p2ms, run.host.p2ms, strict=True)
        },
        lookups=lookup_table(run, waits),
        read_waits=sorted(ns for waited in waits.values() for ns in waited),
        spans=[(pcpu, *span) for pcpu, spans in zip(pcpus, run.spans, strict=True) for span in spans],
        timeline=buckets,
        bucket_ns=bucket_ns,
        icr_writes=calls.icr_writes,
        other_calls=calls.other_calls,
        other_ipis=calls.other_ipis,
        alloc_flushes=calls.alloc_flushes,
        call_wait_ns=wait_ns,
        call_held_ns=call_held_ns,
        held_ns=held_times(run, holds),
        stall_ns_max=longest(run),
        watchdog=watchdog(run),
        edge_waits=edge_waits(run),
        row_costs=run.row_costs,
        carried_ns={entry.row: entry.t_ns for entry in run.log if isinstance(entry.fact, RowCarriedOut)},
    )


def mode_times(spans: Iterable[tuple[str, int, int]]) -> dict[str, int]:
    """Return the time in each mode."""
    times = dict.fromkeys(MODES, 0)
    for mode, begin, end in spans:
        times[mode] += end - begin
    return times


def held_times(run: Run, holds: list[Hold]) -> dict[tuple[int, int], int]:
    """Return how long the write side of each p2m lock was held."""
    times = dict.fromkeys(run.setting.p2ms, 0)
    for hold in holds:
        times[hold.p2m] += hold.t_release_ns - hold.t_acquire_ns
    return times


def hold_table(run: Run) -> list[Hold]:
    """Return the holds that have ended."""
    log, setting = run.log, run.setting
    acquired = {fact.hold: t for t, _, fact, _ in log if isinstance(fact, HoldAcquired)}
    released = {fact.hold: t for t, _, fact, _ in log if isinstance(fact, HoldReleased)}
    ended = {fact.hold: t for t, _, fact, _ in log if isinstance(fact, HoldEnded)}
    sets: Counter[int] = Counter()
    for _, _, fact, _ in log:
        if isinstance(fact, Stored):
            sets[fact.hold] += fact.sets
    broadcasts = Counter(fact.hold for _, _, fact, _ in log if isinstance(fact, BroadcastRequested))
    return sorted(
        Hold(
            n,
            setting.pcpus[c],
            fact.p2m,
            fact.cause,
            t_request_ns=t,
            t_acquire_ns=acquired[n],
            t_release_ns=released[n],
            t_end_ns=ended[n],
            sets=sets[n],
            broadcasts=broadcasts[n],
        )
        for t, c, fact, _ in log
        if isinstance(fact, HoldRequested) and (n := fact.hold) in ended
    )


def numbered(log: tuple[Logged, ...]) -> Iterator[tuple[int, Logged]]:
    """Yield all facts about broadcasts, with the number of the broadcast: it is the latest one of its sender."""
    latest: dict[int, int | None] = {}
    count = 0
    for entry in log:
        sender = entry.c
        match entry.fact:
            case BroadcastRequested():
                latest[sender], count = count, count + 1
            case OtherCallRequested() | FlushRequested():
                latest[sender] = None
            case Delivered(sender=asker) | Acked(sender=asker):
                sender = asker
            case CallLocked() | CallSent() | CallDone():
                pass
            case _:
                continue
        number = latest[sender]
        if number is not None:
            yield number, entry


def ack_table(run: Run) -> list[Ack]:
    """Return all answers to broadcasts."""
    pcpus, costs = run.setting.pcpus, run.setting.costs
    delivered: dict[tuple[int, int], tuple[str, int]] = {}
    acks = []
    for broadcast, (t, c, fact, _) in numbered(run.log):
        if isinstance(fact, Delivered):
            delivered[broadcast, c] = fact.mode, t
        elif isinstance(fact, Acked):
            mode, t_deliver_ns = delivered[broadcast, c]
            t_ack_ns = t + costs.ack_ns[costs.distance(pcpus[c], pcpus[fact.sender])]
            acks.append(Ack(broadcast, pcpus[c], mode, t_deliver_ns, t_ack_ns))
    return sorted(acks)


def broadcast_table(run: Run, acks: list[Ack]) -> list[Broadcast]:
    """Return all broadcasts."""
    times = {(broadcast, type(fact)): t for broadcast, (t, _, fact, _) in numbered(run.log)}
    answers = defaultdict(list)
    for ack in acks:
        answers[ack.broadcast].append(ack)
    broadcasts = []
    for n, (t, c, fact, _) in numbered(run.log):
        if isinstance(fact, BroadcastRequested):
            slowest = max(answers[n], key=lambda ack: (ack.t_ack_ns, -ack.pcpu), default=None)
            broadcasts.append(
                Broadcast(
                    n,
                    fact.hold,
                    run.setting.pcpus[c],
                    fact.p2m,
                    fact.cause,
                    fact.under_lock,
                    t_request_ns=t,
                    t_locked_ns=times[n, CallLocked],
                    t_sent_ns=times.get((n, CallSent), times[n, CallLocked]),
                    t_done_ns=times[n, CallDone],
                    targets=len(answers[n]),
                    slowest_pcpu=slowest.pcpu if slowest else None,
                )
            )
    return broadcasts


def invept_table(run: Run) -> list[Invept]:
    """Return all INVEPTs. Those in handlers are logged at their end."""
    invepts = []
    for t, c, fact, _ in run.log:
        if isinstance(fact, Executed):
            start = t - run.setting.costs.invept_ns if fact.where == HANDLER else t
            invepts.append(Invept(run.setting.pcpus[c], start, fact.blame[0], fact.where, fact.blame[1]))
    return sorted(invepts, key=lambda invept: (invept.t_ns, invept.pcpu))
