"""Access to fields of documents by path, and checks of fields before they are stored."""

import re
from collections.abc import Iterable
from functools import lru_cache

from goldline.emulators.firestore.grpc_errors import invalid
from goldline.emulators.firestore.messages import Document, Proto

type Path = tuple[str, ...]

NAME: Path = ("__name__",)
# https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
_SEGMENT = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_RESERVED = re.compile(r"__.*__", re.DOTALL)
_VECTOR_NAMES = {"__type__"}
_SUSPECT = {"", "_"}  # first characters of empty and reserved names
_PLAIN = {
    "null_value",
    "boolean_value",
    "integer_value",
    "double_value",
    "string_value",
    "bytes_value",
    "reference_value",
    "geo_point_value",
}
_SECONDS_MIN, _SECONDS_MAX = -62135596800, 253402300799  # the years 1 to 9999


@lru_cache(maxsize=4096)
def parse(path: str) -> Path:
    """Segments of a path as written in a request: separated by dots, and quoted in backticks where needed.

    Raises:
        FirestoreError: it is not a valid path.
    """
    segments: list[str] = []
    position = 0
    while found := _SEGMENT.match(path, position):
        segments.append(found[1] or re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL))
        position = found.end() + 1
        if found.end() == len(path):
            return tuple(segments)
        if path[found.end()] != ".":
            break
    raise invalid(f'invalid property path "{path}": names other than [a-zA-Z_][a-zA-Z_0-9]* are quoted in backticks')


def find(fields: Proto, path: Path) -> Proto | None:
    """Value at a path; None if there is none."""
    for segment in path[:-1]:
        if segment not in fields or not fields[segment].HasField("map_value"):
            return None
        fields = fields[segment].map_value.fields
    return fields.get(path[-1])  # indexing would create it


def place(fields: Proto, path: Path) -> Proto:
    """Value at a path, created if there is none; values on the way that are no maps become maps."""
    for segment in path[:-1]:
        inner = fields[segment].map_value
        inner.SetInParent()
        fields = inner.fields
    return fields[path[-1]]


def remove(fields: Proto, path: Path) -> None:
    """Remove the value at a path, if there is one."""
    for segment in path[:-1]:
        if segment not in fields or not fields[segment].HasField("map_value"):
            return
        fields = fields[segment].map_value.fields
    if path[-1] in fields:
        del fields[path[-1]]


def project(document: Proto, paths: Iterable[Path]) -> Proto:
    """Copy of a document with only the fields at the given paths."""
    chosen = Document()
    chosen.CopyFrom(document)
    chosen.ClearField("fields")
    for path in paths:
        if (value := find(document.fields, path)) is not None:
            place(chosen.fields, path).CopyFrom(value)
    return chosen


def settle(fields: Proto) -> None:
    """Check fields before they are stored, and cut timestamps to microseconds, as Firestore does.

    Raises:
        FirestoreError: Firestore does not store such a name or value.
    """
    for name in fields:  # runs for each value of each write, so plain ones are skipped at once
        if name[:1] in _SUSPECT:
            _check_name(name)
        value = fields[name]  # takes half the time of items()
        if (kind := value.WhichOneof("value_type")) not in _PLAIN:
            _settle_value(value, kind)


def _check_name(name: str) -> None:
    if not name:
        raise invalid("the name of a field is empty")
    if name not in _VECTOR_NAMES and _RESERVED.fullmatch(name):
        raise invalid(f"field name {name} is reserved")


def _settle_value(value: Proto, kind: str | None) -> None:
    match kind:
        case "map_value":
            settle(value.map_value.fields)
        case "array_value":
            for item in value.array_value.values:
                if (kind := item.WhichOneof("value_type")) == "array_value":
                    raise invalid("cannot convert an array value in an array value")
                if kind not in _PLAIN:
                    _settle_value(item, kind)
        case "timestamp_value":
            _settle_timestamp(value.timestamp_value)
        case _:  # also the types that only pipelines use
            raise invalid(f"cannot store a value of type {kind}")


def _settle_timestamp(timestamp: Proto) -> None:
    if not _SECONDS_MIN <= timestamp.seconds <= _SECONDS_MAX:
        raise invalid("a timestamp lies outside the years 1 to 9999")
    if timestamp.nanos % 1000:
        timestamp.nanos -= timestamp.nanos % 1000
