"""The state of the modelled host, packed into immutable tuples, and what can be read off it.

There is no time in it but for what decision functions are told: a host and a setting say what can happen next, and a
clock, if there is one, says when. pCPUs, and p2ms, go by their position in the setting, mostly ``c`` and ``p``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeVar

from eptreplay.model.ept import Table, Work
from eptreplay.model.logdirty import LogDirty

GUEST, XEN, IRQOFF, SPIN, IDLE, UNKNOWN = MODES = ("guest", "xen", "irqoff", "spin", "idle", "unknown")

Blame = tuple[int, str]
"""Whom something is charged to: the domain of a p2m, and the cause of a write to it."""

NOBODY = -1
"""In place of the position of a pCPU."""

_T = TypeVar("_T")


class Phase(StrEnum):
    """What a pCPU's program is at."""

    GAP = "gap"  # until its next row is due, and while that waits for its edge or for its domain
    QUEUE = "queue"  # for the lock that it has asked for, until it is let in
    ACQUIRE = "acquire"  # let in without waiting
    HANDOFF = "handoff"  # let in by whoever passed the lock on
    POLL = "poll"  # at a per-CPU rwlock, as its active writer
    DRAIN = "drain"  # the writer waits until readers have gone
    DRAINED = "drained"  # they have, and the writer is about to see it
    LOOKUP = "lookup"
    STORE = "store"  # in SET, MISCONFIG or GLOBAL_CHANGE, behind the stores
    READY = "ready"  # to send, as there is no call lock; only within a step
    SEND = "send"  # interrupts are off
    OWN_INVEPT = "own invept"  # here as well
    ACKS = "acks"  # it waits for acknowledgements
    UNEXPLAINED = "unexplained"  # what broadcasts take besides
    FLUSH = "flush"  # its own TLB, before it allocates pages
    ENTRY_INVEPT = "entry invept"  # before a VM entry or at a switch, interrupts off


INTERRUPTS_OFF = frozenset({Phase.SEND, Phase.OWN_INVEPT, Phase.ENTRY_INVEPT})
NOT_SPINNING = frozenset({Phase.GAP, Phase.LOOKUP, Phase.STORE, Phase.FLUSH})
SPINNING = frozenset(Phase) - NOT_SPINNING - INTERRUPTS_OFF


class Waiter(NamedTuple):
    """A pCPU that wants a lock, to write or to read."""

    c: int
    writes: bool


class Lock(NamedTuple):
    """A p2m lock, the call lock or the flush lock; the latter two have no readers."""

    writer: int = NOBODY
    """Who has been let in as the writer. It may not have acquired the lock yet."""
    readers: tuple[int, ...] = ()
    """Who has been let in as a reader, likewise."""
    waiting: tuple[Waiter, ...] = ()
    """In the order of their requests."""
    active: bool = False
    """The writer of a per-CPU rwlock makes readers wait (``writer_activating``, 66ea5ed478)."""


CALL_LOCK, FLUSH_LOCK = -1, -2
"""Names of the two locks that are no p2m's. A p2m lock is called as the p2m is, by its position."""


class Ask(NamedTuple):
    """The lock that a pCPU has asked for last."""

    lock: int
    writes: bool


NO_ASK = Ask(-3, writes=False)


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


class Kind(StrEnum):
    """Why a pCPU interrupts others."""

    SYNC = "sync"  # a broadcast: translations of a p2m are to go
    NESTED = "nested"  # a broadcast for a nested p2m, whose handler does nothing
    OTHER = "other"  # a call that has nothing to do with EPT
    FLUSH = "flush"  # the allocator's: TLBs are to be flushed


BROADCASTS = frozenset({Kind.SYNC, Kind.NESTED})


class Call(NamedTuple):
    """What others are interrupted for, from the decision until it is done."""

    kind: Kind
    p: int = -1
    """Of a broadcast: the p2m that was written."""
    hold: int = -1
    cause: str = ""
    released: bool = False
    """It follows the release of the lock of ``p``."""
    mask: tuple[int, ...] = ()
    """``ipi="invept"``: the pCPUs that were dirty when it was requested. Of no broadcast: its targets."""
    targets: tuple[int, ...] = ()
    """Once they are decided."""


NO_CALL = Call(Kind.SYNC)


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
    asks: Ask = NO_ASK
    """The lock that its program has asked for last."""
    writes: int = 0
    """So many writes of its last row, a SET, have been carried out."""
    lookups: int = 0
    """So many lookups of its last row, a LOOKUP, have begun."""
    draws: int = 0
    """So often it has drawn who is to have a lock next."""
    work: Work = Work()
    """What the action that its program is at has written."""
    call: Call = NO_CALL
    """What its program is about to interrupt others for, or is at."""
    overdue: bool = False
    """Its next row is due, and waits for another row or for its domain."""
    masked: bool = False
    """Just behind a VM exit, interrupts off."""
    calls: tuple[int, ...] = ()
    """Senders of calls that an interrupt is on its way for, or waits."""
    flusher: int = NOBODY
    """Sender of a flush interrupt that is on its way, or waits."""
    handling: tuple[int, ...] = ()
    """Senders of what the handler that it is in has still to do, in order."""
    acking: bool = False
    """The first of these calls is over, and waits for the cache line in which it is acknowledged."""
    entering: bool = False
    """On its way back into the guest, after a handler or a pause, interrupts off."""
    flushed: int = 0
    """The clock of TLB flushes when it last flushed (``tlbflush_time``)."""


class Host(NamedTuple):
    """Everything that changes."""

    pcpus: tuple[Pcpu, ...]
    p2ms: tuple[P2m, ...]
    call_lock: Lock = Lock()
    flush_lock: Lock = Lock()
    flushes: int = 0
    """The clock of TLB flushes (``tlbflush_clock``)."""
    freed: tuple[tuple[int, int], ...] = ()
    """Numbers of the rows PAGE_FREE that have been carried out, each with that clock then."""
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
    return bool(pcpu.handling) or pcpu.entering


def runs(pcpu: Pcpu) -> bool:
    """Tell whether neither an interrupt nor a pause keeps a pCPU from its program."""
    return not is_interrupted(pcpu) and not pcpu.stopped


def mode_of(pcpu: Pcpu) -> str:
    """Return the mode that a pCPU counts as being in."""
    if is_interrupted(pcpu) or pcpu.masked or pcpu.phase in INTERRUPTS_OFF:
        return IRQOFF
    return mode_without_interrupt(pcpu)


def mode_without_interrupt(pcpu: Pcpu) -> str:
    """Return the mode that an interrupt meets, or met."""
    if pcpu.phase in SPINNING:
        return SPIN
    return XEN if pcpu.stopped else pcpu.mode


def dirty(host: Host, dom: int) -> tuple[int, ...]:
    """Return the dirty mask of a domain: the pCPUs on which the state of one of its vCPUs is loaded."""
    return tuple(c for c, pcpu in enumerate(host.pcpus) if pcpu.loaded is not None and pcpu.loaded[0] == dom)


def locks_of(host: Host, c: int) -> tuple[int, ...]:
    """Return the p2ms whose locks a pCPU has, as their writer."""
    return tuple(p for p, p2m in enumerate(host.p2ms) if p2m.lock.writer == c)
