"""Features: rows of a table as the numbers that a model takes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from goldline.contracts import arrow
from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract
from goldline.ml.signature import Feature, ModelError, sha256

FEATURE_TYPES = ("INT64", "FLOAT64", "NUMERIC")


LABEL = "label"


BASELINE = "baseline"


Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def keys(contract: TableContract) -> list[str]:
    """The columns that identify what a row of features is of; the run date of its partition only says as of when."""
    date = contract.partition_by if contract.mode.replaces_run_date else None
    return [name for name in contract.primary_key if name != date]


def feature_columns(contract: TableContract) -> list[Column]:
    """The columns that models learn from: all numbers but those of the key."""
    return [
        c
        for c in contract.columns
        if c.type in FEATURE_TYPES and c.mode != "REPEATED" and c.name not in contract.primary_key
    ]


def filled(columns: Sequence[Column], rows: pa.Table) -> tuple[Feature, ...]:
    """Columns as a signature has them, with the rows' medians for NULL; 0 where all is NULL."""
    found = []
    for column in columns:
        values = _floats(rows, column.name)
        known = values[~np.isnan(values)]
        fill = float(np.median(known)) if known.size else 0.0
        found.append(Feature.model_validate({"name": column.name, "type": column.type, "fill": fill}))
    return tuple(found)


def matrix(rows: pa.Table, columns: Sequence[Feature]) -> Matrix:
    """The rows' features in order, without NULLs.

    Values go through single precision: sums that the warehouse added up in another order come out the same.
    """
    made = np.empty((rows.num_rows, len(columns)))
    for i, column in enumerate(columns):
        values = _floats(rows, column.name)
        made[:, i] = np.where(np.isnan(values), column.fill, values).astype(np.float32)
    return made


def conformed(rows: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """Rows with the contract's columns, in their declared types.

    Raises:
        ModelError: a column is missing, or its values do not fit.
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
    """What is to be predicted, by row."""
    return np.asarray(rows.column(LABEL).to_numpy(), dtype=np.float64)


def fingerprint(columns: Sequence[Feature], *tables: pa.Table) -> str:
    """SHA-256 of rows and labels as the model sees them."""
    parts = [part for rows in tables for part in (matrix(rows, columns), labels(rows))]
    return sha256(b"".join([repr(columns).encode(), *(part.tobytes() for part in parts)]))


def types_of(rows: pa.Table) -> dict[str, str]:
    """GoogleSQL's types of Arrow columns, as far as goldline writes them."""
    names = {kind: name for name, kind in reversed(arrow.TYPES.items())}
    return {field.name: names.get(field.type, str(field.type)) for field in rows.schema}


def _floats(rows: pa.Table, name: str) -> Vector:
    column = rows.column(name).cast(pa.float64()).combine_chunks()
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
