"""GoogleSQL types, and their conversion to and from ZetaSQL's messages."""

from dataclasses import dataclass
from typing import Any, Self

from zetasql.wasi._pb2.zetasql.public import type_pb2

# FLOAT64 is TYPE_DOUBLE to ZetaSQL; every other kind is named alike.
_DOUBLE = "DOUBLE"


@dataclass(frozen=True)
class SqlType:
    """A type: its kind, such as `STRING`, the element of an ARRAY, the fields of a STRUCT."""

    kind: str
    fields: tuple["Field", ...] = ()
    element: "SqlType | None" = None

    def __str__(self) -> str:
        """The type as GoogleSQL writes it."""
        if self.element:
            return f"ARRAY<{self.element}>"
        return f"STRUCT<{', '.join(map(str, self.fields))}>" if self.kind == "STRUCT" else self.kind

    @classmethod
    def from_message(cls, message: Any) -> Self:  # noqa: ANN401, zetasql's messages are untyped
        """Type of a ZetaSQL Type message."""
        kind = type_pb2.TypeKind.Name(message.type_kind).removeprefix("TYPE_")
        if kind == "ARRAY":
            return cls(kind, element=cls.from_message(message.array_type.element_type))
        fields = (Field(f.field_name, cls.from_message(f.field_type)) for f in message.struct_type.field)
        return cls("FLOAT64" if kind == _DOUBLE else kind, fields=tuple(fields))

    def message(self) -> Any:  # noqa: ANN401, as above
        """ZetaSQL Type message of the type."""
        kind = _DOUBLE if self.kind == "FLOAT64" else self.kind
        made = type_pb2.TypeProto(type_kind=type_pb2.TypeKind.Value(f"TYPE_{kind}"))
        if self.element:
            made.array_type.element_type.CopyFrom(self.element.message())
        if self.kind == "STRUCT":
            made.struct_type.SetInParent()
        for field in self.fields:
            made.struct_type.field.add(field_name=field.name, field_type=field.type.message())
        return made


@dataclass(frozen=True)
class Field:
    """A name and its type: a column of a table or of a result, or a field of a STRUCT."""

    name: str
    type: SqlType

    def __str__(self) -> str:
        """Name and type, as in a STRUCT."""
        return f"{self.name} {self.type}"
