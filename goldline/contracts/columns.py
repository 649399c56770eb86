"""Columns as BigQuery knows them, and what all parts of a contract have in common."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=128)]
Type = Literal[
    "STRING", "BYTES", "INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "JSON", "STRUCT"
]
Row = dict[str, Any]


class ContractModel(BaseModel):
    """A part of a contract: never changed once it is read, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(ContractModel):
    """A column as BigQuery knows it: type names are GoogleSQL's, modes are BigQuery's."""

    name: Name
    type: Type
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = "NULLABLE"
    description: str = Field(min_length=1)
    fields: tuple[Self, ...] = ()

    @model_validator(mode="after")
    def _fields_belong_to_structs(self) -> Self:
        if (self.type == "STRUCT") != bool(self.fields):
            raise ValueError(f"{self.name}: a STRUCT has fields, and nothing else has")
        refuse_twice("field", [f.name for f in self.fields])
        return self

    @property
    def is_load_metadata(self) -> bool:
        """Whether the column tells of the loading, not of the record (its name starts with `_`)."""
        return self.name.startswith("_")

    def sql_type(self) -> str:
        """The column's GoogleSQL type, such as `ARRAY<STRUCT<sku STRING, quantity INT64>>`."""
        inner = f"STRUCT<{', '.join(f'{f.name} {f.sql_type()}' for f in self.fields)}>" if self.fields else self.type
        return f"ARRAY<{inner}>" if self.mode == "REPEATED" else inner

    def ddl(self) -> str:
        """The column as CREATE TABLE takes it, its description and those of its fields included."""
        inner = f"STRUCT<{', '.join(f.ddl() for f in self.fields)}>" if self.fields else self.type
        kind = f"ARRAY<{inner}>" if self.mode == "REPEATED" else inner
        required = " NOT NULL" if self.mode == "REQUIRED" else ""
        return f"`{self.name}` {kind}{required} OPTIONS(description={quoted(self.description)})"


def quoted(text: str) -> str:
    """A GoogleSQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def refuse_twice(what: str, names: Sequence[str]) -> None:
    """Refuse names of which one stands twice.

    Raises:
        ValueError: naming it.
    """
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"{what} {twice[0]} stands twice")
