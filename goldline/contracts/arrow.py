"""Arrow types of contract columns, for Parquet files."""

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
    """Arrow schema: one field per column, in the given order."""
    return pa.schema([pa.field(c.name, type_of(c)) for c in columns])


def type_of(column: Column) -> pa.DataType:
    """Arrow type of a column: a struct if it has fields, a list if it is REPEATED."""
    kind = pa.struct([pa.field(f.name, type_of(f)) for f in column.fields]) if column.fields else TYPES[column.type]
    return pa.list_(kind) if column.mode == "REPEATED" else kind
