"""The result tables. Times are in ns from the start of the recording; pCPUs go by their numbers."""

from __future__ import annotations

from typing import NamedTuple

from eptreplay.model.ept import Table
from eptreplay.model.host import Blame

MEASURES = (
    "holds",
    "hold_ns_total",
    "p2m_sets",
    "ept_stores",
    "syncs",
    "broadcasts",
    "ipis",
    "invepts",
    "guest_stolen_ns",
)
"""What is added up for each p2m's domain and cause."""


class Hold(NamedTuple):
    """A hold of a p2m lock. ``t_end_ns``: the end of HOLD_END, which may broadcast after the release."""

    hold: int
    pcpu: int
    p2m: tuple[int, int]
    cause: str
    t_request_ns: int
    t_acquire_ns: int
    t_release_ns: int
    t_end_ns: int
    sets: int
    broadcasts: int


class Broadcast(NamedTuple):
    """A broadcast. ``t_sent_ns``: the last write; ``slowest_pcpu``: the target whose acknowledgement came last."""

    broadcast: int
    hold: int
    pcpu: int
    p2m: tuple[int, int]
    cause: str
    under_lock: bool
    t_request_ns: int
    t_locked_ns: int
    t_sent_ns: int
    t_done_ns: int
    targets: int
    slowest_pcpu: int | None


class Ack(NamedTuple):
    """A target of a broadcast. It took effect at ``t_deliver_ns``; the answer was with the sender at ``t_ack_ns``."""

    broadcast: int
    pcpu: int
    mode: str
    t_deliver_ns: int
    t_ack_ns: int


class Invept(NamedTuple):
    """An INVEPT, from its start. ``dom``: whose p2m; ``where``: handler, vmenter, switch or self."""

    pcpu: int
    t_ns: int
    dom: int
    where: str
    cause: str


class Result(NamedTuple):
    """Everything that a replay says; pCPUs by their numbers.

    ``holds`` by number, ``broadcasts`` by request, ``acks`` by broadcast and pCPU, ``invepts`` by time and pCPU.
    ``modes``: ns by pCPU and mode. ``tables`` and ``marks``: of each p2m at the end; a table is its root, and
    ``eptreplay.model.ept.look_up`` finds an entry in it.
    """

    holds: list[Hold]
    broadcasts: list[Broadcast]
    acks: list[Ack]
    invepts: list[Invept]
    modes: dict[int, dict[str, int]]
    measures: dict[Blame, dict[str, int]]
    vmenters: int
    vmenter_invepts: int
    broadcasts_under_lock: int
    simulated_ns: int
    drift_ns: dict[int, int]
    ipis_received: dict[int, int]
    tables: dict[tuple[int, int], Table]
    marks: dict[tuple[int, int], frozenset[int]]
