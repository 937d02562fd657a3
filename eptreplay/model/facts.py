"""What steps report besides the new state of the host: the facts that result tables are made of.

Each is about the pCPU that takes the step. Other pCPUs are named by their position.
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.host import Blame, Host

HANDLER, VMENTER, SWITCH, SELF = "handler", "vmenter", "switch", "self"
"""Where INVEPT is executed."""


class HoldRequested(NamedTuple):
    """HOLD_BEGIN, the outermost one of its p2m."""

    hold: int
    p2m: tuple[int, int]
    cause: str


class HoldAcquired(NamedTuple):
    """The lock has been acquired."""

    hold: int


class HoldReleased(NamedTuple):
    """The lock has been released."""

    hold: int


class HoldEnded(NamedTuple):
    """HOLD_END has ended, a broadcast after the release included."""

    hold: int


class Stored(NamedTuple):
    """SET has stored an entry. ``synced``: the decision was another than NOTHING."""

    hold: int
    blame: Blame
    order: int
    synced: bool


class BroadcastRequested(NamedTuple):
    """A broadcast has been asked for."""

    hold: int
    p2m: tuple[int, int]
    cause: str
    under_lock: bool


class BroadcastLocked(NamedTuple):
    """The call lock has been acquired, and the targets are known."""

    targets: tuple[int, ...]


class BroadcastSent(NamedTuple):
    """The last interrupt has been written."""


class BroadcastDone(NamedTuple):
    """Everything is acknowledged, and the call lock handed on."""


class Delivered(NamedTuple):
    """An interrupt takes effect on a target, which was in ``mode``."""

    sender: int
    mode: str
    blame: Blame


class Acked(NamedTuple):
    """The handler is over. ``reenters``: the pCPU begins to go back into the guest."""

    sender: int
    reenters: bool


class Executed(NamedTuple):
    """INVEPT: in a handler it is over now, elsewhere it begins."""

    where: str
    blame: Blame


class Entered(NamedTuple):
    """The pCPU is in guest. ``counts``: a VMENTER row or a re-entry; ``refill``: why translations were cold."""

    counts: bool
    refill: Blame | None


Fact = (
    HoldRequested
    | HoldAcquired
    | HoldReleased
    | HoldEnded
    | Stored
    | BroadcastRequested
    | BroadcastLocked
    | BroadcastSent
    | BroadcastDone
    | Delivered
    | Acked
    | Executed
    | Entered
)


class Outcome(NamedTuple):
    """What a step leads to."""

    host: Host
    facts: tuple[Fact, ...] = ()
