"""Lazy Polars frames over the tables of a dataset."""

from __future__ import annotations

import os

import polars as pl

from eptreplay.errors import unknown_choice
from eptreplay.trace.dataset import table_files
from eptreplay.trace.schema import TABLES


def scan(dataset: str | os.PathLike[str], table: str = "events") -> pl.LazyFrame:
    """Return a table of a trace dataset (events, p2m, windows, damage) as a LazyFrame, rows in file order.

    Raises InputError if ``dataset`` is no dataset, UsageError if it has no such table.
    """
    if table not in TABLES:
        raise unknown_choice("table", table, TABLES)
    return pl.scan_parquet(table_files(dataset, table), glob=False)
