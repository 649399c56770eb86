"""Encoding of values as bytes that sort, and are equal, as Firestore sorts and compares the values.

null < booleans < NaN < numbers < timestamps < text < bytes < references < points < arrays < vectors < maps. Integers
and doubles are compared by their exact values. No encoding is a prefix of another, so encodings can be concatenated to
sort by several fields, and inverted bit by bit to sort in descending order.
https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
"""

import math
import struct
from collections.abc import Callable
from typing import Final

from goldline.emulators.firestore.grpc_errors import invalid
from goldline.emulators.firestore.keys import reference, terminated
from goldline.emulators.firestore.messages import Proto

NULL: Final = b"\x01"
NAN: Final = b"\x03"
_END = b"\x00"  # of arrays and maps; sorts before any kind
_BOOLEAN, _NUMBER, _TIMESTAMP, _TEXT, _BYTES, _REFERENCE, _POINT, _ARRAY, _VECTOR, _MAP = (
    bytes((kind,)) for kind in (2, 4, 5, 6, 7, 8, 9, 10, 11, 12)
)
_SIGN = 1 << 63
_INVERTED = bytes(range(255, -1, -1))
_VECTOR_TYPE = "__vector__"


def encode(value: Proto) -> bytes:
    """Encode a Value message.

    Raises:
        FirestoreError: the value has no type.
    """
    kind = value.WhichOneof("value_type")
    if (encoder := _ENCODERS.get(kind)) is None:
        raise invalid("a value without a type")
    return encoder(getattr(value, kind))


def encode_reference(name: str) -> bytes:
    """Encode a document's name like a reference value to the document."""
    return _REFERENCE + reference(name)


def inverted(encoded: bytes) -> bytes:
    """Encoding that sorts in the opposite order."""
    return encoded.translate(_INVERTED)


def same_kind(encoded: bytes, other: bytes) -> bool:
    """Whether two encoded values are of one type, so that a range filter can compare them."""
    return encoded[:1] == other[:1]


def _number(number: float) -> bytes:
    if math.isnan(number):
        return NAN
    return _NUMBER + _amount(number)


def _amount(number: float) -> bytes:
    """Encode the greatest double not above the number, then the rest: doubles cannot hold every integer."""
    below = float(number)
    rest = 0
    if isinstance(number, int):
        if int(below) > number:
            below = math.nextafter(below, -math.inf)
        rest = number - int(below)
    [bits] = struct.unpack(">Q", struct.pack(">d", below or 0.0))  # -0.0 equals 0
    ordered = ~bits & (2 * _SIGN - 1) if bits & _SIGN else bits | _SIGN
    return struct.pack(">QH", ordered, rest)


def _timestamp(timestamp: Proto) -> bytes:
    return _TIMESTAMP + struct.pack(">QI", timestamp.seconds + _SIGN, timestamp.nanos)


def _array(array: Proto) -> bytes:
    return _ARRAY + b"".join(map(encode, array.values)) + _END


def _map(content: Proto) -> bytes:
    fields = content.fields
    if "__type__" in fields and fields["__type__"].string_value == _VECTOR_TYPE:
        numbers = fields["value"].array_value.values
        return _VECTOR + struct.pack(">I", len(numbers)) + b"".join(map(encode, numbers))
    return _MAP + b"".join(_text(name) + encode(fields[name]) for name in sorted(fields, key=str.encode)) + _END


def _text(text: str) -> bytes:
    return _TEXT + terminated(text.encode())


_ENCODERS: dict[str | None, Callable[[Proto], bytes]] = {
    "null_value": lambda _: NULL,
    "boolean_value": lambda flag: _BOOLEAN + bytes((flag,)),
    "integer_value": _number,
    "double_value": _number,
    "timestamp_value": _timestamp,
    "string_value": _text,
    "bytes_value": lambda content: _BYTES + terminated(content),
    "reference_value": encode_reference,
    "geo_point_value": lambda point: _POINT + _amount(point.latitude) + _amount(point.longitude),
    "array_value": _array,
    "map_value": _map,
}
