"""Columns with BigQuery's types and modes, and the base class of all parts of a contract."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=128)]
Type = Literal[
    "STRING", "BYTES", "INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "JSON", "STRUCT"
]
Row = dict[str, Any]


class ContractModel(BaseModel):
    """Base class of all parts of a contract: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(ContractModel):
    """A column: a GoogleSQL type, a BigQuery mode, and for a STRUCT its `fields`."""

    name: Name
    type: Type
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = "NULLABLE"
    description: str = Field(min_length=1)
    fields: tuple[Self, ...] = ()

    @model_validator(mode="after")
    def _fields_belong_to_structs(self) -> Self:
        if (self.type == "STRUCT") != bool(self.fields):
            raise ValueError(f"{self.name}: `fields` are required for a STRUCT, not allowed otherwise")
        refuse_twice("field", [f.name for f in self.fields])
        return self

    @property
    def is_load_metadata(self) -> bool:
        """Whether the column describes the load, not the record: its name starts with `_`."""
        return self.name.startswith("_")

    def sql_type(self) -> str:
        """GoogleSQL type of the column, such as `ARRAY<STRUCT<sku STRING, quantity INT64>>`."""
        inner = f"STRUCT<{', '.join(f'{f.name} {f.sql_type()}' for f in self.fields)}>" if self.fields else self.type
        return f"ARRAY<{inner}>" if self.mode == "REPEATED" else inner

    def ddl(self) -> str:
        """Column definition for CREATE TABLE, with the descriptions of the column and of its fields."""
        inner = f"STRUCT<{', '.join(f.ddl() for f in self.fields)}>" if self.fields else self.type
        kind = f"ARRAY<{inner}>" if self.mode == "REPEATED" else inner
        required = " NOT NULL" if self.mode == "REQUIRED" else ""
        return f"`{self.name}` {kind}{required} OPTIONS(description={quoted(self.description)})"


def quoted(text: str) -> str:
    """Text as a GoogleSQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def refuse_twice(what: str, names: Sequence[str]) -> None:
    """Refuse duplicate names; `what` is the noun for the error, such as `column`.

    Raises:
        ValueError: a name occurs more than once.
    """
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"{what} {twice[0]} stands twice")
