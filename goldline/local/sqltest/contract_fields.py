"""Conversion of contract columns to fields of the analyser, which knows no contracts."""

from collections.abc import Iterable

from goldline.contracts.columns import Column
from goldline.emulators.googlesql import Field, SqlType


def field_of(column: Column) -> Field:
    """Field with name and type of a column; REPEATED becomes an ARRAY."""
    one = SqlType(column.type, fields=fields_of(column.fields))
    return Field(column.name, SqlType("ARRAY", element=one) if column.mode == "REPEATED" else one)


def fields_of(columns: Iterable[Column]) -> tuple[Field, ...]:
    """Fields of columns, in their order."""
    return tuple(map(field_of, columns))
