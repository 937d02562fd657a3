"""The trace dataset: a recording as Parquet tables, who ran where, how fast the TSC ticks, and what is missing."""
