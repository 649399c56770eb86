"""JSON of the column `_rest`: what a row's typed columns do not hold, without loss.

Values that JSON can express stay as they are: null, booleans, integers, finite doubles (always with a point or an
exponent), texts, arrays and maps. Everything else is an object with one key, named as in Firestore's REST API:

    {"timestampValue": "2026-11-20T12:00:05Z"}      {"bytesValue": "AP8="}      {"doubleValue": "NaN"}
    {"referenceValue": "projects/P/databases/D/documents/orders/b"}
    {"geoPointValue": {"latitude": 1.5, "longitude": 2.0}}

A map that would look like one of these is wrapped: {"mapValue": {...}}. The rest of a struct is a map of the fields
that did not land. The rest of an array is as long as the array: null where an element landed, {"nullValue": null} where
it is null, the rest of the struct where only that did not land, and the element itself otherwise.

https://cloud.google.com/firestore/docs/reference/rest/v1/Value
"""

import base64
import datetime
import math
from collections.abc import Callable, Mapping
from typing import Any

from google.cloud.firestore import GeoPoint

from goldline.firestore.values import Reference

NULL_ITEM: Mapping[str, None] = {"nullValue": None}
_DOUBLES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_READ: Mapping[str, Callable[[Any], Any]] = {
    "nullValue": lambda _: None,
    "timestampValue": datetime.datetime.fromisoformat,
    "bytesValue": base64.b64decode,
    "doubleValue": float,
    "referenceValue": Reference,
    "geoPointValue": lambda point: GeoPoint(point["latitude"], point["longitude"]),
    "mapValue": lambda fields: {name: from_json(kept) for name, kept in fields.items()},
}


def to_json(value: Any) -> Any:  # noqa: ANN401, PLR0911, a case a kind
    """Convert a document's value to the JSON of `_rest`."""
    match value:
        case float() if not math.isfinite(value):
            return {"doubleValue": _DOUBLES[str(value)]}
        case None | bool() | int() | float() | str():
            return value
        case datetime.datetime():
            return {"timestampValue": value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case Reference():
            return {"referenceValue": value.name}
        case GeoPoint():
            return {"geoPointValue": {"latitude": value.latitude, "longitude": value.longitude}}
        case Mapping():
            return map_to_json({name: to_json(part) for name, part in value.items()})
        case list() | tuple():
            return [to_json(item) for item in value]
    raise TypeError(f"no document holds a value of type {type(value).__name__}")


def map_to_json(kept: dict[str, Any]) -> dict[str, Any]:
    """JSON of a map whose values are JSON already; wrapped if it looks like another kind of value."""
    return {"mapValue": kept} if len(kept) == 1 and kept.keys() <= _READ.keys() else kept


def from_json(kept: Any) -> Any:  # noqa: ANN401
    """Convert JSON of `_rest` back to the value: the inverse of `to_json`."""
    match kept:
        case Mapping():
            if tag := tag_of(kept):
                return _READ[tag](kept[tag])
            return {name: from_json(part) for name, part in kept.items()}
        case list():
            return [from_json(item) for item in kept]
    return kept


def tag_of(kept: object) -> str | None:
    """Kind of value that a JSON object stands for, such as `bytesValue`; None for a plain map or no object."""
    if not isinstance(kept, Mapping) or len(kept) != 1:
        return None
    [name] = kept
    return name if name in _READ else None
