"""How the result tables are made from the log of a replay."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from eptreplay.model.facts import (
    HANDLER,
    VMENTER,
    Acked,
    BroadcastDone,
    BroadcastLocked,
    BroadcastRequested,
    BroadcastSent,
    Delivered,
    Entered,
    Executed,
    HoldAcquired,
    HoldEnded,
    HoldReleased,
    HoldRequested,
    Stored,
)
from eptreplay.model.log import Logged, Run
from eptreplay.model.measures import measure_table
from eptreplay.model.tables import Ack, Broadcast, Hold, Invept, Result


def make_result(run: Run) -> Result:
    """Return all tables of a replay."""
    setting, pcpus = run.setting, run.setting.pcpus
    holds, acks, invepts = hold_table(run), ack_table(run), invept_table(run)
    broadcasts = broadcast_table(run, acks)
    received = Counter(ack.pcpu for ack in acks)
    return Result(
        holds,
        broadcasts,
        acks,
        invepts,
        modes=dict(zip(pcpus, run.modes, strict=True)),
        measures=measure_table(run, holds, broadcasts, invepts),
        vmenters=sum(isinstance(fact, Entered) and fact.counts for _, _, fact in run.log),
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
    )


def hold_table(run: Run) -> list[Hold]:
    """Return the holds that have ended."""
    log, setting = run.log, run.setting
    acquired = {fact.hold: t for t, _, fact in log if isinstance(fact, HoldAcquired)}
    released = {fact.hold: t for t, _, fact in log if isinstance(fact, HoldReleased)}
    ended = {fact.hold: t for t, _, fact in log if isinstance(fact, HoldEnded)}
    sets: Counter[int] = Counter()
    for _, _, fact in log:
        if isinstance(fact, Stored):
            sets[fact.hold] += fact.sets
    broadcasts = Counter(fact.hold for _, _, fact in log if isinstance(fact, BroadcastRequested))
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
        for t, c, fact in log
        if isinstance(fact, HoldRequested) and (n := fact.hold) in ended
    )


def numbered(log: tuple[Logged, ...]) -> Iterator[tuple[int, Logged]]:
    """Yield all facts about broadcasts, with the number of the broadcast: it is the latest one of its sender."""
    latest: dict[int, int] = {}
    count = 0
    for entry in log:
        match entry.fact:
            case BroadcastRequested():
                latest[entry.c], count = count, count + 1
                yield latest[entry.c], entry
            case BroadcastLocked() | BroadcastSent() | BroadcastDone():
                yield latest[entry.c], entry
            case Delivered(sender=sender) | Acked(sender=sender):
                yield latest[sender], entry
            case _:
                pass


def ack_table(run: Run) -> list[Ack]:
    """Return all answers to broadcasts."""
    pcpus, costs = run.setting.pcpus, run.costs
    delivered: dict[tuple[int, int], tuple[str, int]] = {}
    acks = []
    for broadcast, (t, c, fact) in numbered(run.log):
        if isinstance(fact, Delivered):
            delivered[broadcast, c] = fact.mode, t
        elif isinstance(fact, Acked):
            mode, t_deliver_ns = delivered[broadcast, c]
            t_ack_ns = t + costs.ack_ns[costs.distance(pcpus[c], pcpus[fact.sender])]
            acks.append(Ack(broadcast, pcpus[c], mode, t_deliver_ns, t_ack_ns))
    return sorted(acks)


def broadcast_table(run: Run, acks: list[Ack]) -> list[Broadcast]:
    """Return all broadcasts."""
    times = {(broadcast, type(fact)): t for broadcast, (t, _, fact) in numbered(run.log)}
    answers = defaultdict(list)
    for ack in acks:
        answers[ack.broadcast].append(ack)
    broadcasts = []
    for n, (t, c, fact) in numbered(run.log):
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
                    t_locked_ns=times[n, BroadcastLocked],
                    t_sent_ns=times.get((n, BroadcastSent), times[n, BroadcastLocked]),
                    t_done_ns=times[n, BroadcastDone],
                    targets=len(answers[n]),
                    slowest_pcpu=slowest.pcpu if slowest else None,
                )
            )
    return broadcasts


def invept_table(run: Run) -> list[Invept]:
    """Return all INVEPTs. Those in handlers are logged at their end."""
    invepts = []
    for t, c, fact in run.log:
        if isinstance(fact, Executed):
            start = t - run.costs.invept_ns if fact.where == HANDLER else t
            invepts.append(Invept(run.setting.pcpus[c], start, fact.blame[0], fact.where, fact.blame[1]))
    return sorted(invepts, key=lambda invept: (invept.t_ns, invept.pcpu))
