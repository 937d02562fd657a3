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


class Lookups(NamedTuple):
    """A row LOOKUP that has ended: its lookups, from when it was carried out."""

    row: int
    pcpu: int
    p2m: tuple[int, int]
    count: int  # type: ignore[assignment]  # tuple.count() is no use here
    t_ns: int
    wait_ns_total: int
    wait_ns_max: int
    elapsed_ns: int


class Result(NamedTuple):
    """Everything that a replay says; pCPUs, and rows of the workload, by their numbers.

    ``holds`` by number, ``broadcasts`` by request, ``acks`` by broadcast and pCPU, ``invepts`` by time and pCPU.
    ``lookups`` by row; ``read_waits``, of each single one, by length. ``modes``: ns by pCPU and mode; ``spans``: pCPU,
    mode, begin and end, by pCPU and begin. ``timeline``: measures in buckets of ``bucket_ns``. ``watchdog``: when it
    fires first, on which pCPU, and the row with which the stall began. ``edge_waits``: rows that waited for another,
    and how long. ``carried_ns``: when each row was carried out. ``row_costs``: what is to be taken from the gap before
    each row, of a replay as recorded. ``tables`` and ``marks``: of each p2m at the end; a table is its root, and
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
    lookups: list[Lookups]
    read_waits: list[int]
    spans: list[tuple[int, str, int, int]]
    timeline: list[dict[str, int]]
    bucket_ns: int
    icr_writes: int
    other_calls: int
    other_ipis: int
    alloc_flushes: int
    call_wait_ns: int
    call_held_ns: int
    held_ns: dict[tuple[int, int], int]
    stall_ns_max: int
    watchdog: tuple[int, int, int] | None
    edge_waits: dict[int, tuple[int, int]]
    row_costs: dict[int, int]
    carried_ns: dict[int, int]
