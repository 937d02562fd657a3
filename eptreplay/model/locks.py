"""Locks: who is let in, who waits, and whom a lock is passed on to. ``docs/background/timing.md`` has the policies.

That of p2m locks is the setting's. The call lock and the flush lock are of policy ``queue``, and nobody reads them.
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.draw import draw
from eptreplay.model.host import CALL_LOCK, FLUSH_LOCK, NOBODY, Ask, Host, Lock, Phase, Waiter
from eptreplay.model.setting import Setting
from eptreplay.model.steps import in_phase


class Policy(NamedTuple):
    """What makes locks differ."""

    queues: bool
    """Who comes while others wait has to wait too, and the first of them is let in first."""
    per_cpu: bool
    """Readers only note in a slot of their pCPU that they read; a writer polls the slots of all."""


POLICIES = {
    "unfair": Policy(queues=False, per_cpu=False),  # up to 4.6
    "queue": Policy(queues=True, per_cpu=False),  # 55d8424e4e alone
    "percpu": Policy(queues=True, per_cpu=True),  # 66ea5ed478
}


def policy_of(setting: Setting, lock: int) -> Policy:
    """Return the policy of a lock."""
    return POLICIES["queue" if lock in {CALL_LOCK, FLUSH_LOCK} else setting.lock]


def get_lock(host: Host, lock: int) -> Lock:
    """Return the state of a lock."""
    if lock == CALL_LOCK:
        return host.call_lock
    return host.flush_lock if lock == FLUSH_LOCK else host.p2ms[lock].lock


def with_lock(host: Host, lock: int, state: Lock) -> Host:
    """Return the host with a lock in another state."""
    if lock == CALL_LOCK:
        return host._replace(call_lock=state)
    if lock == FLUSH_LOCK:
        return host._replace(flush_lock=state)
    return host.with_p2m(lock, host.p2ms[lock]._replace(lock=state))


def request_lock(setting: Setting, host: Host, c: int, ask: Ask) -> Host:
    """Ask for a lock: come in, or wait behind all others."""
    host = host.with_pcpu(c, host.pcpus[c]._replace(asks=ask))
    state, policy = get_lock(host, ask.lock), policy_of(setting, ask.lock)
    if comes_in(policy, state, writes=ask.writes):
        return let_in(policy, host, Waiter(c, ask.writes), Phase.ACQUIRE)
    state = state._replace(waiting=(*state.waiting, Waiter(c, ask.writes)))
    return in_phase(with_lock(host, ask.lock, state), c, Phase.QUEUE)


def comes_in(policy: Policy, state: Lock, *, writes: bool) -> bool:
    """Tell whether who asks for a lock need not wait."""
    if policy.per_cpu and not writes:
        return not state.active
    return state.writer == NOBODY and not (policy.queues and state.waiting)


def let_in(policy: Policy, host: Host, waiter: Waiter, phase: Phase) -> Host:
    """Make a pCPU the writer, or one of the readers, on its way to the lock; readers may have to go first."""
    lock = host.pcpus[waiter.c].asks.lock
    state = get_lock(host, lock)
    if not waiter.writes:
        return in_phase(with_lock(host, lock, state._replace(readers=(*state.readers, waiter.c))), waiter.c, phase)
    drains = bool(state.readers) and not policy.per_cpu
    host = with_lock(host, lock, state._replace(writer=waiter.c))
    return in_phase(host, waiter.c, Phase.DRAIN if drains else phase)


def pass_on(setting: Setting, host: Host, c: int, lock: int) -> Host:
    """Let somebody in who waits, if there is no writer: the first, or, where all race, whoever is drawn."""
    state, policy = get_lock(host, lock), policy_of(setting, lock)
    if state.writer != NOBODY or not state.waiting:
        return host
    host, heir = (host, state.waiting[0]) if policy.queues else draw(setting, host, c, state.waiting)
    rest = tuple(waiter for waiter in state.waiting if waiter != heir)
    return let_in(policy, with_lock(host, lock, state._replace(waiting=rest)), heir, Phase.HANDOFF)


def arrive(setting: Setting, host: Host, c: int) -> tuple[Host, bool]:
    """Be at the lock that was asked for; also tells whether it is acquired. A reader that had waited passes it on."""
    lock, writes = host.pcpus[c].asks
    if not writes:
        return (pass_on(setting, host, c, lock) if host.pcpus[c].phase is Phase.HANDOFF else host), True
    if not policy_of(setting, lock).per_cpu:
        return host, True
    host = with_lock(host, lock, get_lock(host, lock)._replace(active=True))
    return in_phase(host, c, Phase.POLL), False


def poll(host: Host, c: int) -> tuple[Host, bool]:
    """See whether there are readers, as all slots have been looked at; also tells whether the lock is acquired."""
    if not get_lock(host, host.pcpus[c].asks.lock).readers:
        return host, True
    return in_phase(host, c, Phase.DRAIN), False


def release_write(setting: Setting, host: Host, c: int, lock: int) -> Host:
    """Release the write side."""
    state = get_lock(host, lock)._replace(writer=NOBODY, active=False)
    return pass_on(setting, with_lock(host, lock, state), c, lock)


def release_read(host: Host, c: int, lock: int) -> Host:
    """Release the read side; a writer that drains is let go on by the last reader."""
    state = get_lock(host, lock)
    state = state._replace(readers=tuple(reader for reader in state.readers if reader != c))
    host = with_lock(host, lock, state)
    if state.readers or state.writer == NOBODY or host.pcpus[state.writer].phase is not Phase.DRAIN:
        return host
    return in_phase(host, state.writer, Phase.DRAINED)
