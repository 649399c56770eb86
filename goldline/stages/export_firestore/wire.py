"""Decode encoded documents to Arrow arrays, in Rust, by ptars.

ptars takes a message's descriptor and gives its fields as columns. Firestore's own messages are recursive (a map holds
values, a value holds a map), so ptars gets others that read the same bytes: in them a map, an array and a geo point
within a value are plain bytes. These are decoded later, where a contract declares their content. Maps come as one list
of their entries, with the number of the map that each belongs to.

Protobuf's rules for reading one message as another: https://protobuf.dev/programming-guides/proto3/#updating
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import ptars
import pyarrow as pa
import pyarrow.compute as pc
from google.cloud.firestore import GeoPoint
from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from goldline.firestore.values import ArrayValue, MapValue, Point, Reference, decode, decode_map

Integers = npt.NDArray[np.int64]
Kinds = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

_PACKAGE = "goldline.wire"
_TIMESTAMP = f".{timestamp_pb2.Timestamp.DESCRIPTOR.full_name}"
# Name, field number and type of each kind of Value: the numbers are Firestore's.
_KINDS: Sequence[tuple[str, int, "Field.Type.ValueType"]] = (
    ("null", 11, Field.TYPE_INT32),
    ("boolean", 1, Field.TYPE_BOOL),
    ("integer", 2, Field.TYPE_INT64),
    ("double", 3, Field.TYPE_DOUBLE),
    ("timestamp", 10, Field.TYPE_MESSAGE),
    ("string", 17, Field.TYPE_STRING),
    ("bytes", 18, Field.TYPE_BYTES),
    ("reference", 5, Field.TYPE_STRING),
    ("geo_point", 8, Field.TYPE_BYTES),
    ("array", 9, Field.TYPE_BYTES),
    ("map", 6, Field.TYPE_BYTES),
)
CODES: Mapping[str, int] = {name: code for code, (name, _, _) in enumerate(_KINDS)}
NULL = CODES["null"]
UNKNOWN = -1


class Values:
    """Sequence of Firestore values of any kinds.

    Attributes:
        kinds: kind of each value, as its code in CODES.
    """

    def __init__(self, content: pa.StructArray) -> None:
        self.kinds: Kinds = np.full(len(content), UNKNOWN, np.int8)
        self._children: dict[int, pa.Array] = {}
        for code, (name, _, _) in enumerate(_KINDS):
            child = content.field(name)
            if child.null_count < len(child):
                self._children[code] = child
                self.kinds[child.is_valid().to_numpy(zero_copy_only=False)] = code
        if len(content) and self.kinds.min() == UNKNOWN:
            raise ValueError("a value of no known kind: this version of goldline cannot read it")

    def of_kind(self, kind: str) -> pa.Array:
        """Values of a kind, null at the places of others; there must be at least one."""
        return self._children[CODES[kind]]

    def python(self, places: Integers) -> list[Any]:
        """Values at some places as Python objects, in the types of goldline.firestore.values."""
        found: list[Any] = [None] * len(places)
        kinds = self.kinds[places]
        for code, child in self._children.items():
            at = np.flatnonzero(kinds == code)
            if code != NULL and len(at):
                read = _PYTHON.get(_KINDS[code][0])
                for i, value in zip(at.tolist(), child.take(pa.array(places[at])).to_pylist(), strict=True):
                    found[i] = read(value) if read else value
        return found


@dataclass(frozen=True)
class Maps:
    """Maps, as one list of all their entries.

    Attributes:
        count: number of maps.
        parents: number of the map that each entry belongs to, ascending.
        names: name of each entry.
        values: value of each entry.
    """

    count: int
    parents: Integers
    names: pa.DictionaryArray
    values: Values

    @cached_property
    def places(self) -> dict[str, Integers]:
        """Positions of the entries of each name."""
        names = self.names.dictionary.to_pylist()
        codes = self.names.indices.to_numpy()
        order = np.argsort(codes.astype(np.int16) if len(names) < 2**15 else codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        return {
            name: order[end - size : end] for name, end, size in zip(names, ends, np.diff(ends, prepend=0), strict=True)
        }


@dataclass(frozen=True)
class Arrays:
    """Arrays, as one list of all their items.

    Attributes:
        count: number of arrays.
        parents: number of the array that each item belongs to, ascending.
        values: all items.
    """

    count: int
    parents: Integers
    values: Values


@dataclass(frozen=True)
class Documents:
    """Documents: full names, times of creation and update, and fields, in the order that they came."""

    names: pa.StringArray
    created: pa.TimestampArray
    updated: pa.TimestampArray
    fields: Maps


def documents(responses: Sequence[bytes]) -> Documents:
    """Decode RunQueryResponses; those without a document are left out."""
    found = _handler("RunQueryResponse").list_to_record_batch(list(responses)).column("document")
    if found.null_count:
        found = found.drop_null()
    times = (found.field("create_time"), found.field("update_time"))
    return Documents(found.field("name"), *times, _maps(found.field("fields")))


def maps(encoded: pa.BinaryArray) -> Maps:
    """Decode MapValues."""
    return _maps(_handler("MapValue").array_to_record_batch(encoded).column("fields"))


def arrays(encoded: pa.BinaryArray) -> Arrays:
    """Decode ArrayValues."""
    lists = _handler("ArrayValue").array_to_record_batch(encoded).column("values")
    return Arrays(len(lists), _parents(lists), Values(lists.flatten()))


def _maps(lists: pa.ListArray) -> Maps:
    entries = lists.flatten()
    names = entries.field("key").dictionary_encode()
    return Maps(len(lists), _parents(lists), names, Values(entries.field("value")))


def _parents(lists: pa.ListArray) -> Integers:
    return np.asarray(pc.list_parent_indices(lists).to_numpy(zero_copy_only=False), np.int64)


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.astimezone(datetime.UTC)


def _geo_point(encoded: bytes) -> GeoPoint:
    point = Point.FromString(encoded)
    return GeoPoint(point.latitude, point.longitude)


# Conversion of Arrow's value to Python's, by kind; the kinds that are not here need none.
_PYTHON: Mapping[str, Callable[[Any], Any]] = {
    "timestamp": _utc,
    "reference": Reference,
    "geo_point": _geo_point,
    "array": lambda encoded: [decode(item) for item in ArrayValue.FromString(encoded).values],
    "map": lambda encoded: decode_map(MapValue.FromString(encoded)),
}


@cache
def _handler(message: str) -> Any:  # noqa: ANN401, ptars has no types
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_messages().SerializeToString())
    found = pool.FindMessageTypeByName(f"{_PACKAGE}.{message}")
    config = ptars.PtarsConfig(timestamp_unit="us", timestamp_tz="UTC")
    return ptars.HandlerPool([found.file], config=config).get_for_message(found)


def _messages() -> descriptor_pb2.FileDescriptorProto:
    """Descriptors of the messages for ptars: names are free, field numbers and types are Firestore's."""
    file = descriptor_pb2.FileDescriptorProto(
        name="goldline/wire.proto", package=_PACKAGE, syntax="proto3", dependency=[timestamp_pb2.DESCRIPTOR.name]
    )
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value_type")
    for name, number, kind in _KINDS:
        field = value.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL, oneof_index=0)
        if kind == Field.TYPE_MESSAGE:
            field.type_name = _TIMESTAMP
    _add(file, "Entry", {"key": (1, None), "value": (2, "Value")})
    _add(file, "MapValue", {"fields": (1, "[Entry]")})
    _add(file, "ArrayValue", {"values": (1, "[Value]")})
    times = {"create_time": (3, _TIMESTAMP), "update_time": (4, _TIMESTAMP)}
    _add(file, "Document", {"name": (1, None), "fields": (2, "[Entry]"), **times})
    _add(file, "RunQueryResponse", {"document": (1, "Document")})
    return file


def _add(file: descriptor_pb2.FileDescriptorProto, name: str, fields: Mapping[str, tuple[int, str | None]]) -> None:
    """Add a message: by field, its number and its message (in brackets: repeated) or None for a string."""
    message = file.message_type.add(name=name)
    for field_name, (number, of) in fields.items():
        label = Field.LABEL_REPEATED if of and of.startswith("[") else Field.LABEL_OPTIONAL
        field = message.field.add(name=field_name, number=number, label=label)
        field.type = Field.TYPE_MESSAGE if of else Field.TYPE_STRING
        if of:
            field.type_name = of if of.startswith(".") else f".{_PACKAGE}.{of.strip('[]')}"
