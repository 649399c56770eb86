"""Features: columns of a table as the numeric matrix that a model takes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from goldline.contracts import arrow
from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract
from goldline.ml.signature import Feature, ModelError, sha256

FEATURE_TYPES = ("INT64", "FLOAT64", "NUMERIC")
LABEL = "label"  # column of a model's test rows; BASELINE begins the names of its baselines' columns
BASELINE = "baseline"
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def keys(contract: TableContract) -> list[str]:
    """Primary key of a table of features, without the run date that it is partitioned by."""
    date = contract.partition_by if contract.mode.replaces_run_date else None
    return [name for name in contract.primary_key if name != date]


def feature_columns(contract: TableContract) -> list[Column]:
    """Columns that models learn from: all numeric ones, without arrays and the primary key."""
    return [
        c
        for c in contract.columns
        if c.type in FEATURE_TYPES and c.mode != "REPEATED" and c.name not in contract.primary_key
    ]


def filled(columns: Sequence[Column], rows: pa.Table) -> tuple[Feature, ...]:
    """Features for a signature: each column with its median over `rows` as the fill for NULL, 0 if all are NULL."""
    found = []
    for column in columns:
        values = _floats(rows, column.name)
        known = values[~np.isnan(values)]
        fill = float(np.median(known)) if known.size else 0.0
        found.append(Feature.model_validate({"name": column.name, "type": column.type, "fill": fill}))
    return tuple(found)


def matrix(rows: pa.Table, columns: Sequence[Feature]) -> Matrix:
    """Matrix of shape (rows, columns), with each NULL replaced by its column's fill.

    Values are rounded to single precision, so that sums that the warehouse adds up in another order come out the same.
    """
    made = np.empty((rows.num_rows, len(columns)))
    for i, column in enumerate(columns):
        values = _floats(rows, column.name)
        made[:, i] = np.where(np.isnan(values), column.fill, values).astype(np.float32)
    return made


def conformed(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Rows with exactly these columns, cast to their declared types.

    Raises:
        ModelError: a column is missing, or its values do not fit its type.
    """
    if missing := [c.name for c in columns if c.name not in rows.column_names]:
        raise ModelError(f"expected the columns {', '.join(c.name for c in columns)}, got none named {missing[0]}")
    schema = arrow.schema(columns)
    try:
        return rows.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        expected = {c.name: c.type for c in columns}
        raise ModelError(f"expected the columns {expected}, got {types_of(rows)}: {error}") from error


def labels(rows: pa.Table) -> Vector:
    """Labels, the values to predict, one per row."""
    return np.asarray(rows.column(LABEL).to_numpy(), dtype=np.float64)


def fingerprint(columns: Sequence[Feature], *tables: pa.Table) -> str:
    """SHA-256 of the features and labels of tables, as the model takes them."""
    parts = [part for rows in tables for part in (matrix(rows, columns), labels(rows))]
    return sha256(b"".join([repr(columns).encode(), *(part.tobytes() for part in parts)]))


def types_of(rows: pa.Table) -> dict[str, str]:
    """GoogleSQL types of Arrow columns by name; a type that goldline does not write keeps its Arrow name."""
    names = {kind: name for name, kind in reversed(arrow.TYPES.items())}
    return {field.name: names.get(field.type, str(field.type)) for field in rows.schema}


def _floats(rows: pa.Table, name: str) -> Vector:
    column = rows.column(name).cast(pa.float64()).combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
