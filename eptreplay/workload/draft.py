"""Rows of the workload while they are being made: groups of rows, each with the place where it belongs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eptreplay.workload.schema import FROM_RECORD, HOST_VIEW, INFERRED, NO_GFN

UNKNOWN = -1

COLUMNS: dict[str, tuple[type, int]] = {
    "at": (np.int64, 0),
    "sub": (np.int64, 0),
    "slot": (np.int64, 0),
    "op": (np.uint8, 0),
    "run_dom": (np.int32, UNKNOWN),
    "run_vcpu": (np.int32, UNKNOWN),
    "p2m_dom": (np.int32, UNKNOWN),
    "p2m_view": (np.int32, UNKNOWN),
    "hold": (np.int64, UNKNOWN),
    "gfn": (np.uint64, 0),
    "order": (np.int32, UNKNOWN),
    "mfn": (np.uint64, 0),
    "old_type": (np.int16, UNKNOWN),
    "old_known": (np.int8, UNKNOWN),
    "new_type": (np.int16, UNKNOWN),
    "cause": (np.int8, UNKNOWN),
    "origin": (np.int8, FROM_RECORD),
    "count": (np.int64, 1),
    "last_gfn": (np.uint64, NO_GFN),
    "access": (np.int8, UNKNOWN),
    "old_present": (np.int8, UNKNOWN),
    "preemptible": (np.int8, UNKNOWN),
    "tsc": (np.int64, UNKNOWN),
    "target": (np.int32, UNKNOWN),
}
"""Columns of a draft, their types, and what stands where a group does not say.

``at``: the record that a row belongs to, as a position in the program order of all pCPUs; ``sub``: its place among the
rows of that record; ``slot``: the record that its time is that of; ``tsc``: its time in ticks, where it is another.
"""

REFERENCES = ("outer_begin", "outer_end", "edge", "freed_by")
"""Columns that hold numbers of other rows, if they are there yet."""

Draft = dict[str, NDArray[Any]]


@dataclass
class Drafts:
    """Collects groups of rows."""

    groups: list[Draft] = field(default_factory=list)

    def add(self, at: NDArray[np.int64], **columns: ArrayLike) -> None:
        """Add rows, one for each element of ``at``; single values hold for all of them."""
        group: Draft = {"at": at, "slot": at}
        for name, value in columns.items():
            group[name] = np.broadcast_to(np.asarray(value), at.shape)
        if "p2m_dom" in columns and "p2m_view" not in columns:
            group["p2m_view"] = np.full(at.shape, HOST_VIEW)
        self.groups.append(group)

    def collect(self) -> Draft:
        """Return all rows, each in its place."""
        merged: Draft = {
            name: np.concatenate(
                [np.zeros(0, kind)]
                + [group.get(name, np.full(group["at"].size, missing)).astype(kind) for group in self.groups]
            )
            for name, (kind, missing) in COLUMNS.items()
        }
        return take(merged, np.lexsort((merged["sub"], merged["at"])))


def p2m_keys(rows: Draft, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the p2m that each of some rows is about, domain and view in one number."""
    keys: NDArray[np.int64] = rows["p2m_dom"][at].astype(np.int64) << 32 | rows["p2m_view"][at]
    return keys


def take(draft: Draft, rows: NDArray[Any]) -> Draft:
    """Return chosen rows of a draft."""
    return {name: column[rows] for name, column in draft.items()}


def inferred_rows(rows: Draft, size: int) -> Draft:
    """Return rows that no record stands for, outside of holds; all that is not said of them is unknown."""
    new = {name: np.full(size, 0 if c.dtype.kind == "u" else UNKNOWN, c.dtype) for name, c in rows.items()}
    new["origin"][:], new["count"][:], new["depth"][:] = INFERRED, 1, 0
    new["gfn"][:], new["last_gfn"][:], new["mfn"][:] = NO_GFN, NO_GFN, NO_GFN
    return new


def refer_to(rows: Draft, moved: NDArray[np.int64]) -> None:
    """Let rows refer to others by their new numbers, ``moved`` being those of all that there were."""
    for name in REFERENCES:
        if name in rows:
            known = rows[name] >= 0
            rows[name][known] = moved[rows[name][known]]


def insert(
    rows: Draft, t_ns: NDArray[np.int64], place: NDArray[np.int64], new: Draft, new_t: NDArray[np.int64]
) -> tuple[Draft, NDArray[np.int64]]:
    """Insert rows before the rows ``place``; what refers to row numbers follows."""
    size = t_ns.size
    key = np.concatenate([place * 2, np.arange(size) * 2 + 1])
    order = np.argsort(key, kind="stable")
    moved = np.empty(order.size, np.int64)
    moved[order] = np.arange(order.size)
    moved = moved[place.size :]
    merged = take({name: np.concatenate([new[name], rows[name]]) for name in rows}, order)
    refer_to(merged, moved)
    return merged, np.concatenate([new_t, t_ns])[order]
