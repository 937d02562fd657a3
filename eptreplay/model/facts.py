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


class OtherCallRequested(NamedTuple):
    """A call that has nothing to do with EPT has been asked for."""


class FlushRequested(NamedTuple):
    """The allocator's flush of other pCPUs has been asked for."""


class CallLocked(NamedTuple):
    """The call lock, or the flush lock, is acquired, if there is one, and the targets are known."""

    targets: tuple[int, ...]


class CallSent(NamedTuple):
    """The last interrupt has been written, if any."""


class CallDone(NamedTuple):
    """Everything is acknowledged, and the lock passed on."""


class LookupRequested(NamedTuple):
    """A single lookup begins."""


class LookupAcquired(NamedTuple):
    """It has the read side of the lock."""


class LookupEnded(NamedTuple):
    """It is over. ``last``: of its row."""

    last: bool


class Delivered(NamedTuple):
    """An interrupt takes effect on a target, which was in ``mode``; of each call that its handler will carry out."""

    sender: int
    mode: str
    blame: Blame | None


class Acked(NamedTuple):
    """A call has been carried out. ``last``: of its handler; ``reenters``: the pCPU begins to re-enter the guest."""

    sender: int
    last: bool
    reenters: bool


class Executed(NamedTuple):
    """INVEPT: in a handler it is over now, elsewhere it begins."""

    where: str
    blame: Blame


class Entered(NamedTuple):
    """The pCPU is in guest. ``counts``: a VMENTER row or a re-entry; ``refill``: why translations were cold."""

    counts: bool
    refill: Blame | None


class RowCarriedOut(NamedTuple):
    """The next row of the program is carried out."""


class RowEnded(NamedTuple):
    """It has ended."""


class RowDue(NamedTuple):
    """A row is due and cannot be carried out yet. ``edge``: the number of the row that it waits for, if any."""

    row: int
    edge: int | None


Fact = (
    RowCarriedOut
    | RowEnded
    | RowDue
    | HoldRequested
    | HoldAcquired
    | HoldReleased
    | HoldEnded
    | Stored
    | BroadcastRequested
    | OtherCallRequested
    | FlushRequested
    | CallLocked
    | CallSent
    | CallDone
    | LookupRequested
    | LookupAcquired
    | LookupEnded
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
