"""Contracts' columns as fields of the analyser's, which knows no contracts."""

from collections.abc import Iterable

from goldline.contracts.columns import Column
from goldline.emulators.googlesql import Field, SqlType


def field_of(column: Column) -> Field:
    """Name and type of a column."""
    one = SqlType(column.type, fields=fields_of(column.fields))
    return Field(column.name, SqlType("ARRAY", element=one) if column.mode == "REPEATED" else one)


def fields_of(columns: Iterable[Column]) -> tuple[Field, ...]:
    """Names and types of columns, in their order."""
    return tuple(map(field_of, columns))
