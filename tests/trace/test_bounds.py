"""What a predicate says about a column: never less than is true, and all that literals say."""

from __future__ import annotations

import polars as pl
import pytest

from eptreplay.trace.bounds import EVERYTHING, Range, column_range

tsc, pcpu = pl.col("tsc"), pl.col("pcpu")


@pytest.mark.parametrize(
    ("predicate", "low", "high"),
    [
        (tsc == 5, 5, 5),
        (tsc < 5, None, 4),
        (tsc <= 5, None, 5),
        (tsc > 5, 6, None),
        (tsc >= 5, 5, None),
        (pl.lit(5) == tsc, 5, 5),
        (pl.lit(5) < tsc, 6, None),
        (pl.lit(5) <= tsc, 5, None),
        (pl.lit(5) > tsc, None, 4),
        (pl.lit(5) >= tsc, None, 5),
        (tsc > -5, -4, None),
        (tsc < pl.lit(5, dtype=pl.UInt8), None, 4),
        (tsc < pl.lit(5).cast(pl.Int16), None, 4),
        (tsc < pl.lit(5).cast(pl.UInt64, strict=False), None, 4),
        (tsc.is_between(3, 7), 3, 7),
        (tsc.is_between(3, 7, closed="left"), 3, 6),
        (tsc.is_between(3, 7, closed="right"), 4, 7),
        (tsc.is_between(3, 7, closed="none"), 4, 6),
        ((tsc > 3) & (tsc < 7), 4, 6),
        ((tsc > 3) & (pcpu == 1) & (tsc < 7), 4, 6),
        ((tsc > 3) & ((pcpu == 1) | (tsc < 7)), 4, None),
        ((tsc > 7) & (tsc < 3), 8, 2),
        (tsc.gt(3).and_(tsc.lt(7)), 4, 6),
    ],
    ids=str,
)
def test_comparisons_with_literals_bound_a_column(predicate: pl.Expr, low: int | None, high: int | None) -> None:
    expected = Range(*(x if x is not None else y for x, y in ((low, EVERYTHING.low), (high, EVERYTHING.high))))
    assert column_range(predicate, "tsc") == expected


@pytest.mark.parametrize(
    "predicate",
    [
        pcpu == 5,
        tsc == pcpu,
        tsc + 1 == 5,
        -tsc > 5,
        tsc != 5,
        tsc > 5.5,
        tsc == True,  # noqa: E712 (one as a number, and not a literal number)
        tsc == pl.lit(None),
        tsc.eq_missing(5),
        tsc.is_null(),
        tsc.is_in([1, 2]),
        ~(tsc == 5),
        (tsc == 5) | (tsc == 7),
        (tsc == 5) ^ (pcpu == 5),
        tsc.is_between(pcpu, 7),
        tsc.is_between(2.5, 7),
        tsc.cast(pl.Int8) == 5,
        tsc == pl.lit(5).cast(pl.Boolean),
        tsc == pl.lit((1 << 40) + 1).cast(pl.Float32),
        tsc == pl.lit(65537).cast(pl.UInt16, wrap_numerical=True),
        tsc == pl.lit("5").cast(pl.Int64),
        pl.when(pcpu == 1).then(tsc > 5).otherwise(tsc < 3),
        tsc.map_batches(lambda x: x > 5, return_dtype=pl.Boolean),
        pl.lit(value=True),
        None,
    ],
    ids=str,
)
def test_anything_else_bounds_nothing(predicate: pl.Expr | None) -> None:
    assert column_range(predicate, "tsc") == EVERYTHING


def test_ranges_meet_where_both_hold() -> None:
    assert Range(1, 9) & Range(3, 12) == Range(3, 9)
    assert EVERYTHING & Range(3, 4) == Range(3, 4)
