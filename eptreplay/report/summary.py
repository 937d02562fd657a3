"""The document of ``eptreplay report``: the rows of a result, and their sums by domain and by cause."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import polars as pl

from eptreplay import __version__
from eptreplay.errors import unknown_choice
from eptreplay.replay.results import read_result
from eptreplay.replay.schema import MEASURES
from eptreplay.report.compare import label
from eptreplay.report.verdict import verdict

REPORT_SCHEMA = 1

Document = dict[str, Any]


def summarise_result(folder: str | os.PathLike[str], baseline: str | None = None) -> Document:
    """Return the report on a result dataset, as one JSON document.

    ``baseline``: the preset or strategy that the others are compared with; None: the first row's. Raises UsageError if
    there is no such row, InputError if ``folder`` is no result.
    """
    manifest, tables = read_result(folder)
    runs = pl.DataFrame(pl.from_arrow(tables["runs"])).sort("run")
    causes = pl.DataFrame(pl.from_arrow(tables["causes"]))
    rows = runs.to_dicts()
    chosen = _baseline(rows, baseline)
    return {
        "schema": REPORT_SCHEMA,
        "version": __version__,
        "source": manifest["source"],
        "sources": manifest["sources"],
        "trace": manifest["trace"],
        "assumptions": manifest["assumptions"],
        "baseline": chosen,
        "verdict": verdict(rows, chosen),
        "runs": rows,
        "lookups": batches(pl.DataFrame(pl.from_arrow(tables["lookups"]))).to_dicts(),
        "by_domain": sums(causes, ("run", "p2m_dom")).to_dicts(),
        "by_cause": sums(causes, ("run", "cause")).to_dicts(),
    }


def check_baseline(name: str | None, labels: Sequence[str]) -> None:
    """Raise UsageError if no row is called ``name``."""
    if name is not None and name not in labels:
        raise unknown_choice("--baseline", name, list(dict.fromkeys(labels)))


def _baseline(rows: Sequence[dict[str, Any]], name: str | None) -> int:
    """Return the number of the first run that is called so, and that others are compared with."""
    check_baseline(name, [label(row) for row in rows])
    return next((int(row["run"]) for row in rows if name is None or name == label(row)), 0)


def sums(causes: pl.DataFrame, by: tuple[str, str]) -> pl.DataFrame:
    """Return the table ``causes`` summed by two of its columns; what is unknown in part is unknown."""
    measures = [column.name for column in MEASURES]
    return causes.group_by(by).agg(map(_sum, measures)).sort(by, nulls_last=True).select(*by, *measures)


def batches(lookups: pl.DataFrame) -> pl.DataFrame:
    """Return for each run and domain how long the toolstack's lookups took: in all, and the worst of them."""
    by = ("run", "p2m_dom")
    return (
        lookups.group_by(by)
        .agg(
            pl.len().cast(pl.Int64).alias("batches"),
            pl.col("count").sum().alias("lookups"),
            _sum("wait_ns_total"),
            pl.col("wait_ns_max").max(),
            _sum("elapsed_ns").alias("elapsed_ns_total"),
            pl.col("elapsed_ns").max().alias("elapsed_ns_max"),
        )
        .sort(by, nulls_last=True)
    )


def _sum(name: str) -> pl.Expr:
    """Return the sum of a column, null if anything in it is unknown."""
    return pl.when(pl.col(name).is_null().any()).then(None).otherwise(pl.col(name).sum()).alias(name)
