"""What steps report besides the new state of the host: the facts that result tables are made of.

Each is about the pCPU that takes the step. Other pCPUs are named by their position.
"""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.host import Blame, Host

HANDLER, VMENTER, SWITCH, SELF = "handler", "vmenter", "switch", "self"
"""Where INVEPT is executed."""


class HoldRequested(NamedTuple):
    """HOLD_BEGIN, the outermost one of its p2m; or the next write of a PML drain."""

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
    """HOLD_END has ended, or a write of a PML drain, a broadcast after the release included."""

    hold: int


class Stored(NamedTuple):
    """A SET, or a repetition of one, a MISCONFIG, a GLOBAL_CHANGE or a sync without a write has been carried out.

    ``sets``: how many SETs it counts as; ``stores``: entries that were stored; ``synced``: the decision was another
    than NOTHING.
    """

    hold: int
    blame: Blame
    sets: int
    stores: int
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
    """The last interrupt has been written, if any."""


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

    def behind(self, *facts: Fact) -> Outcome:
        """Return the same with facts that come before its own."""
        return self._replace(facts=(*facts, *self.facts))
