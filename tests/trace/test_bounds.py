"""What a predicate says about a column: never less than is true, and all that literals say."""

from __future__ import annotations

import polars as pl
import pytest

from eptreplay.trace.bounds import EVERYTHING, Range, column_range

TSC, PCPU = pl.col("tsc"), pl.col("pcpu")
NOTHING_SAID = "nothing"


@pytest.mark.parametrize(
    ("predicate", "low", "high"),
    [
        (TSC == 5, 5, 5),
        (TSC < 5, None, 4),
        (TSC <= 5, None, 5),
        (TSC > 5, 6, None),
        (TSC >= 5, 5, None),
        (pl.lit(5) == TSC, 5, 5),
        (pl.lit(5) < TSC, 6, None),
        (pl.lit(5) <= TSC, 5, None),
        (pl.lit(5) > TSC, None, 4),
        (pl.lit(5) >= TSC, None, 5),
        (TSC > -5, -4, None),
        (TSC < pl.lit(5, dtype=pl.UInt8), None, 4),
        (TSC < pl.lit(5).cast(pl.Int16), None, 4),
        (TSC < pl.lit(5).cast(pl.UInt64, strict=False), None, 4),
        (TSC.is_between(3, 7), 3, 7),
        (TSC.is_between(3, 7, closed="left"), 3, 6),
        (TSC.is_between(3, 7, closed="right"), 4, 7),
        (TSC.is_between(3, 7, closed="none"), 4, 6),
        ((TSC > 3) & (TSC < 7), 4, 6),
        ((TSC > 3) & (PCPU == 1) & (TSC < 7), 4, 6),
        ((TSC > 3) & ((PCPU == 1) | (TSC < 7)), 4, None),
        ((TSC > 7) & (TSC < 3), 8, 2),
        (TSC.gt(3).and_(TSC.lt(7)), 4, 6),
    ],
    ids=str,
)
def test_comparisons_with_literals_bound_a_column(predicate: pl.Expr, low: int | None, high: int | None) -> None:
    expected = Range(*(x if x is not None else y for x, y in ((low, EVERYTHING.low), (high, EVERYTHING.high))))
    assert column_range(predicate, "tsc") == expected


@pytest.mark.parametrize(
    "predicate",
    [
        PCPU == 5,
        TSC == PCPU,
        TSC + 1 == 5,
        -TSC > 5,
        TSC != 5,
        TSC > 5.5,
        TSC == True,  # noqa: E712 (one as a number, and not a literal number)
        TSC == pl.lit(None),
        TSC.eq_missing(5),
        TSC.is_null(),
        TSC.is_in([1, 2]),
        ~(TSC == 5),
        (TSC == 5) | (TSC == 7),
        (TSC == 5) ^ (PCPU == 5),
        TSC.is_between(PCPU, 7),
        TSC.is_between(2.5, 7),
        TSC.cast(pl.Int8) == 5,
        TSC == pl.lit(5).cast(pl.Boolean),
        TSC == pl.lit((1 << 40) + 1).cast(pl.Float32),
        TSC == pl.lit(65537).cast(pl.UInt16, wrap_numerical=True),
        TSC == pl.lit("5").cast(pl.Int64),
        pl.when(PCPU == 1).then(TSC > 5).otherwise(TSC < 3),
        TSC.map_batches(lambda x: x > 5, return_dtype=pl.Boolean),
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
