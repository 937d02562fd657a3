"""What a row of the table says, and the words that rows are written with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, NamedTuple

from eptreplay.p2m_types import RAM_RW
from eptreplay.workload.paths import Acts
from tests.workload.path_host import mapped

GFN, MFN, FAR = 0x40000, 0x140000, 0x50000
"""Where paths work: 1 GiB into the guest. ``FAR``: in another table."""

EITHER = (False, True)


class Sent(NamedTuple):
    """Broadcasts of S3: ``points`` L, ``after`` u, of which ``beneath`` with another p2m's lock still held."""

    points: int = 0
    after: int = 0
    beneath: int = 0


class Columns(NamedTuple):
    """Columns of the table, and what differs from step to step."""

    holds: int
    w: int
    s0: int | None
    """None: the path did not exist then."""
    s3: Sent
    sets: int | None = None
    """Set-entry calls, each as many as it has entries; None: as many as ``w``."""
    misconfigs: int = 0
    """How many of S0 are for marks that were resolved, and so gone with S1."""
    batch: tuple[int, Sent] | None = None
    """Holds and S3 with the PML drain in one hold."""
    bad: Sent | None = None
    """S3-bad."""


def each(n: int, s3: Sent, sets: int | None = None, batch: tuple[int, Sent] | None = None) -> Columns:
    """Return the columns of n operations that have a hold, a write and a broadcast each."""
    return Columns(holds=n, w=n, s0=n, s3=s3, sets=sets, batch=batch)


class Row(NamedTuple):
    """A row of the table: the path, its parameters, its columns, and what it finds.

    Columns, and what it finds, may depend on the parameters.
    """

    name: str
    path: Callable[..., Acts]
    over: list[dict[str, Any]]
    """Parameters to try. Those that begin with ``given_`` are none of the path."""
    columns: Columns | Callable[[Any], Columns]
    given: Iterable[Acts] | Callable[[Any], Iterable[Acts]] = ()


def over(**values: Iterable[Any]) -> list[dict[str, Any]]:
    """Return all combinations of values."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def later(count: int) -> Sent:
    """Return broadcasts behind releases: u."""
    return Sent(after=count)


def points(count: int) -> Sent:
    """Return broadcasts at sync points: L."""
    return Sent(points=count)


def leaf(order: int) -> int:
    """Return the order of the entries of an aligned set-entry call (R1)."""
    return max(size for size in (0, 9, 18) if size <= order)


def c(order: int) -> int:
    """Return how many these are."""
    return 1 << order - leaf(order)


def blocks(first: int, last: int) -> int:
    """Return how many aligned blocks of 1, 512, 512^2 .. frames a range consists of."""
    count = 0
    while first <= last:
        size = next(512**k for k in (3, 2, 1, 0) if first % 512**k == 0 and first + 512**k - 1 <= last)
        first, count = first + size, count + 1
    return count


def behind(order: int) -> Acts:
    """Map what lies behind 2^order frames, so that all tables are there."""
    return mapped(GFN + (1 << order), leaf=leaf(order))


def region(order: int, kind: int = RAM_RW) -> Acts:
    """Map 2^order frames with as large entries as can be."""
    return mapped(GFN, leaf=leaf(order), count=c(order), kind=kind)


def pages_at(*gfns: int, kind: int = RAM_RW) -> list[Acts]:
    """Map pages of 4 KiB."""
    return [mapped(gfn, kind=kind) for gfn in gfns]
