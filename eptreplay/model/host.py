"""The state of the modelled host, packed into immutable tuples, and what can be read off it.

There is no time in it but for what decision functions are told: a host and a setting say what can happen next, and a
clock, if there is one, says when. pCPUs, and p2ms, go by their position in the setting, mostly ``c`` and ``p``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeVar

from eptreplay.model.ept import Table, Work
from eptreplay.model.logdirty import LogDirty

GUEST, XEN, SPIN, IDLE, UNKNOWN = MODES = ("guest", "xen", "spin", "idle", "unknown")

Blame = tuple[int, str]
"""Whom something is charged to: the domain of a p2m, and the cause of a write to it."""

NOBODY = -1
"""In place of the position of a pCPU."""

_T = TypeVar("_T")


class Phase(StrEnum):
    """What a pCPU's program is at."""

    GAP = "gap"  # until its next row is due, and while that waits for its edge or for its domain
    ACQUIRE = "acquire"  # it owns a p2m lock that was free, and is taking it
    QUEUE = "queue"
    HANDOFF = "handoff"  # it owns a p2m lock that is on its way to it
    STORE = "store"  # in SET, MISCONFIG or GLOBAL_CHANGE, behind the stores
    CALL_ACQUIRE = "call acquire"  # the same three for the call lock
    CALL_QUEUE = "call queue"
    CALL_HANDOFF = "call handoff"
    SEND = "send"  # interrupts, one after the other
    OWN_INVEPT = "own invept"
    ACKS = "acks"  # it waits for acknowledgements
    ENTRY_INVEPT = "entry invept"  # before a VM entry or at a switch, interrupts off


SPINNING = frozenset(Phase) - {Phase.GAP, Phase.STORE, Phase.ENTRY_INVEPT}


class Lock(NamedTuple):
    """First come, first served: the p2m locks, and ``call_lock``. An owner may not have acquired it yet."""

    owner: int = NOBODY
    queue: tuple[int, ...] = ()


class Owed(NamedTuple):
    """The ``need_flush`` of a p2m (09fc40ed30): cause of the first sync that decided DEFER, and how many did."""

    cause: str
    syncs: int


class P2m(NamedTuple):
    """One p2m. All from ``depth`` to ``owed`` is about the present hold."""

    marks: tuple[str | None, ...]
    """``ept->invalidate`` (8eb2235599), or the inverse of ``synced_mask``: per pCPU the cause of its mark, if any."""
    table: Table = Table()
    """The root."""
    log_dirty: LogDirty = LogDirty()
    lock: Lock = Lock()
    depth: int = 0
    """0: nobody has acquired it; more than 1: entered again by its owner."""
    hold: int = 0
    drains: bool = False
    """Each write is to be a hold of its own: ``pml_drain="entry"``."""
    sets: int = 0
    synced: bool = False
    """Something has needed a sync, and got a decision other than NOTHING."""
    acquired_ns: int = 0
    owed: Owed | None = None


class Wish(NamedTuple):
    """A hold that has been asked for. ``p``: the p2m."""

    p: int
    hold: int
    cause: str
    drains: bool


NO_WISH = Wish(-1, -1, "", drains=False)


class Call(NamedTuple):
    """A broadcast, from the decision until it is done. ``p``: the p2m that was written."""

    p: int
    hold: int
    cause: str
    released: bool = False
    """It follows the release of the lock of ``p``."""
    only_kicks: bool = False
    """The row CALL: whatever the strategy, handlers do nothing, and nobody invalidates."""
    mask: tuple[int, ...] = ()
    """``ipi="invept"``: the pCPUs that were dirty when it was requested."""


NO_CALL = Call(-1, -1, "")


class Pcpu(NamedTuple):
    """One pCPU: its program, its guest, and its interrupts."""

    carried: int = 0
    """So many rows of its program have been carried out, the last of which may not have ended."""
    phase: Phase = Phase.GAP
    mode: str = UNKNOWN
    """But for spinning, interrupts and pauses; see ``mode_of``."""
    loaded: tuple[int, int | None] | None = None
    """Domain and vCPU whose state is loaded."""
    entered: int | None = None
    """The domain of the last VM entry, None if unknown."""
    cold: Blame | None = None
    """Translations are cold, because of this."""
    stopped: bool = False
    """In guest with a vCPU of a paused domain, and so kept in Xen."""
    wish: Wish = NO_WISH
    """The hold that its program has asked for last."""
    writes: int = 0
    """So many writes of its last row, a SET, have been carried out."""
    work: Work = Work()
    """What the action that its program is at has written."""
    call: Call = NO_CALL
    """The broadcast that its program has decided on or is at."""
    signal: int = NOBODY
    """Sender of an interrupt that is on its way, or waits."""
    handling: int = NOBODY
    """Sender of the interrupt whose handler it is in."""
    entering: bool = False
    """On its way back into the guest, after a handler or a pause, interrupts off."""


class Host(NamedTuple):
    """Everything that changes."""

    pcpus: tuple[Pcpu, ...]
    p2ms: tuple[P2m, ...]
    call_lock: Lock = Lock()
    paused: tuple[int, ...] = ()
    """Domains, each as often as it was paused."""
    now_ns: int = 0
    """Set by a clock, and read by nothing but decision functions."""

    def with_pcpu(self, c: int, pcpu: Pcpu) -> Host:
        """Return the host with one pCPU in another state."""
        return self._replace(pcpus=put(self.pcpus, c, pcpu))

    def with_p2m(self, p: int, p2m: P2m) -> Host:
        """Return the host with one p2m in another state."""
        return self._replace(p2ms=put(self.p2ms, p, p2m))


def put(items: tuple[_T, ...], i: int, item: _T) -> tuple[_T, ...]:
    """Return a tuple with another item in one place."""
    return (*items[:i], item, *items[i + 1 :])


def is_interrupted(pcpu: Pcpu) -> bool:
    """Tell whether a pCPU is in a handler, or on its way back into the guest."""
    return pcpu.handling != NOBODY or pcpu.entering


def runs(pcpu: Pcpu) -> bool:
    """Tell whether neither an interrupt nor a pause keeps a pCPU from its program."""
    return not is_interrupted(pcpu) and not pcpu.stopped


def mode_of(pcpu: Pcpu) -> str:
    """Return the mode that a pCPU counts as being in."""
    return XEN if is_interrupted(pcpu) else mode_without_interrupt(pcpu)


def mode_without_interrupt(pcpu: Pcpu) -> str:
    """Return the mode that an interrupt meets, or met."""
    if pcpu.phase in SPINNING:
        return SPIN
    return XEN if pcpu.stopped else pcpu.mode


def dirty(host: Host, dom: int) -> tuple[int, ...]:
    """Return the dirty mask of a domain: the pCPUs on which the state of one of its vCPUs is loaded."""
    return tuple(c for c, pcpu in enumerate(host.pcpus) if pcpu.loaded is not None and pcpu.loaded[0] == dom)


def locks_of(host: Host, c: int) -> tuple[int, ...]:
    """Return the p2ms whose locks a pCPU owns."""
    return tuple(p for p, p2m in enumerate(host.p2ms) if p2m.lock.owner == c)
