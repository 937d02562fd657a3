"""Tables of columns: name, type and meaning, for datasets and results alike."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from _ext.markdown import list_table
from eptreplay.trace.schema import Column


def columns_table(columns: Iterable[Column]) -> str:
    """Return columns as a table: name, type, whether it may be null, meaning."""
    rows = [
        (f"`{column.name}`", type_name(column.type), "yes" if column.nullable else "", column.about)
        for column in columns
    ]
    return list_table(("column", "type", "null", "meaning"), rows, (18, 16, 8, 60))


def type_name(kind: pa.DataType) -> str:
    """Return what Polars calls an Arrow type."""
    if pa.types.is_dictionary(kind):
        return "Categorical"
    named = {"bool": "Boolean", "string": "String", "double": "Float64"}
    return named.get(str(kind), str(kind).replace("uint", "UInt").replace("int", "Int"))
