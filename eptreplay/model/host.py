"""The state of the modelled host, packed into immutable tuples, and what can be read off it.

There is no time in it but for what decision functions are told: a host and a setting say what can happen next, and a
clock, if there is one, says when. pCPUs, and p2ms, go by their position in ``Setting``, mostly ``c`` and ``p``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeVar

from eptreplay.model.rows import HOST_VIEW, Recording, Row
from eptreplay.strategies import Strategy

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
    STORE = "store"  # in SET, behind the store
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
    """The ``need_flush`` of a p2m (09fc40ed30): cause of the first write that decided DEFER, and how many did."""

    cause: str
    syncs: int


class P2m(NamedTuple):
    """One p2m. ``depth``, ``hold``, ``sets``, ``acquired_ns`` and ``owed`` are those of the present hold."""

    marks: tuple[str | None, ...]
    """``ept->invalidate`` (8eb2235599), or the inverse of ``synced_mask``: per pCPU the cause of its mark, if any."""
    lock: Lock = Lock()
    depth: int = 0
    """0: nobody has acquired it; more than 1: entered again by its owner."""
    hold: int = 0
    sets: int = 0
    acquired_ns: int = 0
    owed: Owed | None = None
    entries: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()
    """(order, gfn), (type, mfn) of each entry, in the order in which they were first stored."""


class Call(NamedTuple):
    """A broadcast, from the decision until it is done. ``p``: the p2m that was written."""

    p: int
    hold: int
    cause: str
    under_lock: bool
    mask: tuple[int, ...] = ()
    """``ipi="invept"``: the pCPUs that were dirty when it was requested."""


NO_CALL = Call(-1, -1, "", under_lock=False)


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


class Setting(NamedTuple):
    """Everything that does not change, with the numbers of pCPUs in ascending order."""

    recording: Recording
    strategy: Strategy
    pcpus: tuple[int, ...]
    p2ms: tuple[tuple[int, int], ...]
    position: dict[tuple[int, int], int]
    """Of each p2m in ``p2ms``."""

    def rows(self, c: int) -> tuple[Row, ...]:
        """Return the program of a pCPU."""
        return self.recording.programs[self.pcpus[c]][1]

    def next_row(self, host: Host, c: int) -> Row | None:
        """Return the row that a pCPU carries out next, None behind the last."""
        rows, carried = self.rows(c), host.pcpus[c].carried
        return rows[carried] if carried < len(rows) else None

    def last_row(self, host: Host, c: int) -> Row:
        """Return the row that a pCPU has carried out last; there must be one."""
        return self.rows(c)[host.pcpus[c].carried - 1]


def put(items: tuple[_T, ...], i: int, item: _T) -> tuple[_T, ...]:
    """Return a tuple with another item in one place."""
    return (*items[:i], item, *items[i + 1 :])


def new_setting(recording: Recording, strategy: Strategy) -> Setting:
    """Return what stays the same: the p2ms are those that rows name, and the host p2m of every domain."""
    named = {row.p2m for _, rows in recording.programs.values() for row in rows if row.p2m is not None}
    p2ms = tuple(sorted(named | {(dom, HOST_VIEW) for dom in recording.domains}))
    return Setting(recording, strategy, tuple(sorted(recording.programs)), p2ms, {p2m: p for p, p2m in enumerate(p2ms)})


def new_host(setting: Setting) -> Host:
    """Return the host at the start of the recording.

    p2ms of created domains begin with all pCPUs marked (8eb2235599), unless the strategy never invalidates.
    """
    strategy, domains = setting.strategy, setting.recording.domains
    invalidates = strategy.broadcast != "none" or strategy.decide is not None
    marked = [invalidates and domains[dom].created for dom, _ in setting.p2ms]
    p2ms = tuple(P2m(marks=("other" if x else None,) * len(setting.pcpus)) for x in marked)
    return Host(tuple(Pcpu() for _ in setting.pcpus), p2ms)


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


def is_carried_out(setting: Setting, host: Host, number: int) -> bool:
    """Tell whether the row of the workload with a number has been carried out."""
    for c, pcpu in enumerate(host.pcpus):
        first, rows = setting.recording.programs[setting.pcpus[c]]
        if first <= number < first + len(rows):
            return pcpu.carried > number - first
    return False
