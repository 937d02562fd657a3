"""What ends a cost or a wait of a program, and what the row does next: go on with itself, or end.

Functions that take a setting, a host and a pCPU are steps, see ``eptreplay.model.turns``.
"""

from __future__ import annotations

from eptreplay.model.broadcast import finish, invalidates_itself, locked_targets, request
from eptreplay.model.facts import BroadcastLocked, Outcome
from eptreplay.model.holds import acquire, ask_again, begin_next_write
from eptreplay.model.host import NO_CALL, Host, Phase, locks_of
from eptreplay.model.setting import Setting
from eptreplay.model.steps import in_phase
from eptreplay.model.writes import write_once


def acquired(setting: Setting, host: Host, c: int) -> Outcome:
    """Have a p2m lock. HOLD_BEGIN ends; within a PML drain SET does, unless it has repetitions left."""
    outcome = acquire(host, c)
    if has_writes_left(setting, outcome.host, c):
        return write_once(setting, outcome.host, c).behind(*outcome.facts)
    return outcome._replace(host=in_phase(outcome.host, c, Phase.GAP))


def stored(setting: Setting, host: Host, c: int) -> Outcome:
    """Send the broadcast that an action has decided on, now that its stores are over, or go on."""
    call = host.pcpus[c].call
    return go_on(setting, host, c) if call == NO_CALL else request(setting, host, c, call)


def locked(setting: Setting, host: Host, c: int) -> Outcome:
    """Start to send, now that the call lock is acquired, or be done if there is nothing to do."""
    targets = locked_targets(setting, host, c)
    fact = BroadcastLocked(targets)
    if not targets and not invalidates_itself(setting, host, c):
        return answered(setting, host, c).behind(fact)
    for target in targets:
        host = host.with_pcpu(target, host.pcpus[target]._replace(signal=c))
    return Outcome(in_phase(host, c, Phase.SEND), (fact,))


def answered(setting: Setting, host: Host, c: int) -> Outcome:
    """Be done with a broadcast, now that the last acknowledgement has arrived."""
    call = host.pcpus[c].call
    done = finish(host, c)
    if call.released and setting.last_row(host, c).op == "SET":
        return ask_again(setting, done.host, c, call.p, call.hold).behind(*done.facts)
    return go_on(setting, done.host, c).behind(*done.facts)


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
