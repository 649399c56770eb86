"""Contracts' columns as Arrow types, for what is read and written as Parquet."""

from collections.abc import Iterable

import pyarrow as pa

from goldline.contracts.columns import Column

# BigQuery reads these back as the types named: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet
TYPES = {
    "STRING": pa.string(),
    "JSON": pa.string(),
    "BYTES": pa.binary(),
    "INT64": pa.int64(),
    "FLOAT64": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9),
    "BOOL": pa.bool_(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}


def schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of columns."""
    return pa.schema([pa.field(c.name, type_of(c)) for c in columns])


def type_of(column: Column) -> pa.DataType:
    """The Arrow type of a column."""
    kind = pa.struct([pa.field(f.name, type_of(f)) for f in column.fields]) if column.fields else TYPES[column.type]
    return pa.list_(kind) if column.mode == "REPEATED" else kind
