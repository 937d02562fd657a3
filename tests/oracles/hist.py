"""What is written down about each recording: its ``oracle/NAME.hist.txt``, and its row in the table of ``README.md``.

Both were made by programs of their own when the recordings were made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_EVENT = re.compile(r"0x([0-9a-f]{7}) +(\d+)  (.*)")
_SHAPE = re.compile(r"extra(\d)(\+tsc)?:(\d+)")
_P2M = re.compile(r"types (\{.*?\}) orders (\{.*?\}) doms (\{.*?\})")


@dataclass(frozen=True)
class Shape:
    """An event together with its number of payload words and whether it has a TSC."""

    event: int
    words: int
    timed: bool


@dataclass(frozen=True)
class P2mCounts:
    """How many SET_P2M_ENTRY records have each p2m type, each order and each domain."""

    types: Mapping[int, int]
    orders: Mapping[int, int]
    doms: Mapping[int, int]


@dataclass(frozen=True)
class Histogram:
    """The counts in one ``hist.txt``. ``pcpu_records`` leaves CPU_CHANGE out."""

    bytes: int
    records: int
    windows: int
    pcpu_records: Mapping[int, int]
    lost_rows: int
    lost_records: int
    span_ticks: int
    first_tsc: Mapping[int, int]
    last_tsc: Mapping[int, int]
    smallest_window: int
    largest_window: int
    p2m: P2mCounts
    svm_exits: Mapping[str, int]
    events: Mapping[int, int] = field(default_factory=dict)
    shapes: Mapping[Shape, int] = field(default_factory=dict)


def read_histogram(text: str) -> Histogram:
    """Return the counts in the text of a ``hist.txt``."""
    size = _search(r"bytes (\d+) records (\d+) windows (\d+) badwin 0", text)
    lost = _search(r"lost_records recs (\d+) lost total (\d+)", text)
    tsc = _search(r"tsc span (\d+) first (\{.*?\}) last (\{.*?\})", text)
    window = _search(r"window bytes min/max (\d+) (\d+)", text)
    rows = _EVENT.findall(text)
    return Histogram(
        bytes=int(size[1]),
        records=int(size[2]),
        windows=int(size[3]),
        pcpu_records=ast.literal_eval(_search(r"cpus (\{.*\})", text)[1]),
        lost_rows=int(lost[1]),
        lost_records=int(lost[2]),
        span_ticks=int(tsc[1]),
        first_tsc=ast.literal_eval(tsc[2]),
        last_tsc=ast.literal_eval(tsc[3]),
        smallest_window=int(window[1]),
        largest_window=int(window[2]),
        p2m=_p2m_counts(text),
        svm_exits=ast.literal_eval(_search(r"exits (\{.*\})", text)[1]),
        events={int(event, 16): int(count) for event, count, _ in rows},
        shapes={
            Shape(int(event, 16), int(words), bool(timed)): int(count)
            for event, _, shapes in rows
            for words, timed, count in _SHAPE.findall(shapes)
        },
    )


@dataclass(frozen=True)
class Row:
    """One recording in the README: its row of the table, by column name, and the p2m counts in the list below."""

    columns: Mapping[str, str]
    p2m: P2mCounts

    def __getitem__(self, column: str) -> int:
        """Return a column that holds a number."""
        return int(self.columns[column])

    @property
    def pcpus(self) -> list[int]:
        """The pCPUs that have records."""
        return [int(pcpu) for pcpu in self.columns["pCPUs"].split(",")]

    @property
    def seconds(self) -> float:
        """From the first TSC to the last, to one decimal."""
        return float(self.columns["s"])


def read_readme(text: str) -> dict[str, Row]:
    """Return the rows of the README's table of recordings by name."""
    table = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    header = next(cells for cells in table if "SPLINTER" in cells)
    rows = {}
    for cells in table:
        if len(cells) == len(header) and re.match(r"r\d\d-", cells[0]):
            counts = _search(rf"\*\*{cells[0]}\*\*[^\n]*\n([^\n]*)", text)[1]
            rows[cells[0]] = Row(dict(zip(header, cells, strict=True)), _p2m_counts(counts))
    return rows


def _p2m_counts(text: str) -> P2mCounts:
    return P2mCounts(*map(ast.literal_eval, _search(_P2M.pattern, text).groups()))


def _search(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"no '{pattern}' in it")
    return match
