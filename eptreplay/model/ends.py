"""What ends a cost or a wait of a program, and what the row does next: go on with itself, or end.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.allocator import flushed
from eptreplay.model.broadcast import finish, invalidates_itself, ready, request, request_flush
from eptreplay.model.facts import Outcome
from eptreplay.model.holds import acquire, ask_again, begin_next_write
from eptreplay.model.host import CALL_LOCK, FLUSH_LOCK, NO_CALL, Host, Kind, Phase, locks_of
from eptreplay.model.locks import arrive, poll
from eptreplay.model.lookups import begin_lookup, end_lookup, has_lookups_left, look_up
from eptreplay.model.setting import Setting
from eptreplay.model.steps import in_phase
from eptreplay.model.writes import write_once

# Locks.


def at_lock(setting: Setting, host: Host, c: int) -> Outcome:
    """Be at the lock that was asked for."""
    host, has_it = arrive(setting, host, c)
    return acquired(setting, host, c) if has_it else Outcome(host)


def polled(setting: Setting, host: Host, c: int) -> Outcome:
    """Have looked at all slots of a per-CPU rwlock."""
    host, has_it = poll(host, c)
    return acquired(setting, host, c) if has_it else Outcome(host)


def acquired(setting: Setting, host: Host, c: int) -> Outcome:
    """Have the lock that was asked for.

    HOLD_BEGIN ends; within a PML drain SET does, unless it has repetitions left.
    """
    lock, writes = host.pcpus[c].asks
    if lock in {CALL_LOCK, FLUSH_LOCK}:
        return locked(setting, host, c)
    if not writes:
        return look_up(host, c)
    outcome = acquire(host, c)
    if has_writes_left(setting, outcome.host, c):
        return write_once(setting, outcome.host, c).behind(*outcome.facts)
    return outcome._replace(host=in_phase(outcome.host, c, Phase.GAP))


def looked_up(setting: Setting, host: Host, c: int) -> Outcome:
    """End a lookup, and begin the next of its row, if there is one."""
    outcome = end_lookup(setting, host, c)
    if has_lookups_left(setting, outcome.host, c):
        return begin_lookup(setting, outcome.host, c).behind(*outcome.facts)
    return outcome._replace(host=in_phase(outcome.host, c, Phase.GAP))


# Calls.


def stored(setting: Setting, host: Host, c: int) -> Outcome:
    """Send the broadcast that an action has decided on, now that its stores are over, or go on."""
    call = host.pcpus[c].call
    return go_on(setting, host, c) if call == NO_CALL else request(setting, host, c, call)


def locked(setting: Setting, host: Host, c: int) -> Outcome:
    """Start to send, now that the call lock is acquired, or be done if there is nothing to do."""
    host, fact = ready(setting, host, c)
    if not fact.targets and not invalidates_itself(setting, host, c):
        return done(setting, host, c).behind(fact)
    return Outcome(in_phase(host, c, Phase.SEND), (fact,))


def answered(setting: Setting, host: Host, c: int) -> Outcome:
    """See that the last acknowledgement has arrived. Broadcasts about p2ms take a while more that nothing explains."""
    call = host.pcpus[c].call
    if call.targets and call.kind not in {Kind.FLUSH, Kind.OTHER}:
        return Outcome(in_phase(host, c, Phase.UNEXPLAINED))
    return done(setting, host, c)


def done(setting: Setting, host: Host, c: int) -> Outcome:
    """Be done with a call."""
    call = host.pcpus[c].call
    outcome = finish(setting, host, c)
    if call.released and setting.last_row(host, c).op == "SET":
        return ask_again(setting, outcome.host, c, call.p, call.hold).behind(*outcome.facts)
    return go_on(setting, outcome.host, c).behind(*outcome.facts)


def flushed_itself(setting: Setting, host: Host, c: int) -> Outcome:
    """Have flushed the own TLB for pages that are allocated, and see to those of others."""
    host = flushed(host, c)
    return Outcome(in_phase(host, c, Phase.GAP)) if host.pcpus[c].call == NO_CALL else request_flush(setting, host, c)


# Rows.


def go_on(setting: Setting, host: Host, c: int) -> Outcome:
    """Go on with a row that has nothing under way: with a PML drain's next hold, with a repetition, or with its end."""
    if is_followed_in_drain(setting, host, c):
        return begin_next_write(setting, host, c, locks_of(host, c)[0])
    if has_writes_left(setting, host, c):
        return write_once(setting, host, c)
    return Outcome(in_phase(host, c, Phase.GAP))


def has_writes_left(setting: Setting, host: Host, c: int) -> bool:
    """Tell whether a pCPU is at a SET that is to be repeated."""
    row = setting.last_row(host, c)
    return row.op == "SET" and host.pcpus[c].writes < row.count


def is_followed_in_drain(setting: Setting, host: Host, c: int) -> bool:
    """Tell whether a pCPU has made a write of a PML drain, each write being a hold, and another write comes next."""
    row, following, locks = setting.last_row(host, c), setting.next_row(host, c), locks_of(host, c)
    if row.op != "SET" or len(locks) != 1:
        return False
    p2m = host.p2ms[locks[0]]
    if not p2m.drains or p2m.depth > 1:
        return False
    return has_writes_left(setting, host, c) or (following is not None and following.op == "SET")
