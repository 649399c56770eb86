"""Values of GoogleSQL types: normalised to one Python form per type, and converted to and from ZetaSQL's messages."""

import base64
import datetime
import json
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from zetasql.wasi._pb2.zetasql.public import value_pb2

from goldline.emulators.googlesql.sql_types import SqlType

SCALES = {"NUMERIC": 9, "BIGNUMERIC": 38}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)
_WIDE = Context(prec=80)


class NotOfTypeError(ValueError):
    """A value is not of its column's type; the message says which type was expected, where, and what came."""


def normal(value: object, kind: SqlType, where: str = "value", *, partial: bool = False) -> Any:  # noqa: ANN401
    """Normalise a value from YAML, BigQuery's client or JSON to the one Python form of its type.

    A NULL array becomes an empty one, as in a BigQuery table. For JSON, a string is parsed as JSON text; for BYTES, a
    string is decoded from base64.

    Args:
        value: value to normalise.
        kind: type to read it as.
        where: name of the value in errors.
        partial: leave a STRUCT's missing fields out instead of making them NULL.

    Raises:
        NotOfTypeError: it cannot be read as that type.
    """
    if kind.element:
        return _array(value, kind.element, where, partial)
    if value is None:
        return None
    if kind.kind == "STRUCT":
        return _struct(value, kind, where, partial)
    try:
        return _READERS[kind.kind](value)
    except KeyError:
        raise NotOfTypeError(f"{where}: values of type {kind} are not supported here") from None
    except (ValueError, TypeError, InvalidOperation):
        raise NotOfTypeError(f"{where}: expected {kind}, got {value!r}") from None


def encode(value: Any, kind: SqlType) -> Any:  # noqa: ANN401, zetasql's messages are untyped
    """ZetaSQL Value message of a normalised value."""
    message = value_pb2.ValueProto()
    if value is None:
        return message
    if kind.element:
        message.array_value.SetInParent()
        message.array_value.element.extend(encode(item, kind.element) for item in value)
    elif kind.kind == "STRUCT":
        message.struct_value.SetInParent()
        message.struct_value.field.extend(encode(value[f.name], f.type) for f in kind.fields)
    elif kind.kind in SCALES:
        scaled = int(value.scaleb(SCALES[kind.kind], _WIDE))
        setattr(
            message, f"{kind.kind.lower()}_value", scaled.to_bytes(scaled.bit_length() // 8 + 1, "little", signed=True)
        )
    elif kind.kind == "TIMESTAMP":
        seconds, micros = divmod((value - EPOCH) // MICROSECOND, 1_000_000)
        message.timestamp_value.seconds, message.timestamp_value.nanos = seconds, micros * 1000
    elif kind.kind == "DATETIME":
        message.datetime_value.bit_field_datetime_seconds = _packed(value)
        message.datetime_value.nanos = value.microsecond * 1000
    else:
        name, write = _WRITERS[kind.kind]
        setattr(message, name, write(value))
    return message


def decode(message: Any, kind: SqlType) -> Any:  # noqa: ANN401, zetasql's messages are untyped
    """Normalised value of a ZetaSQL Value message.

    Raises:
        NotOfTypeError: values of the type are not supported.
    """
    if kind.element:
        return [decode(item, kind.element) for item in message.array_value.element]
    if message.WhichOneof("value") is None:
        return None
    if kind.kind == "STRUCT":
        return {f.name: decode(v, f.type) for f, v in zip(kind.fields, message.struct_value.field, strict=True)}
    if kind.kind in SCALES:
        scaled = int.from_bytes(getattr(message, f"{kind.kind.lower()}_value"), "little", signed=True)
        return _shortest(Decimal(scaled).scaleb(-SCALES[kind.kind], _WIDE))
    if kind.kind not in _DECODERS:
        raise NotOfTypeError(f"values of type {kind} are not supported here")
    return _DECODERS[kind.kind](message)


def _array(value: object, element: SqlType, where: str, partial: bool) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise NotOfTypeError(f"{where}: expected ARRAY<{element}>, got {value!r}")
    return [normal(item, element, f"{where}[{i}]", partial=partial) for i, item in enumerate(value)]


def _struct(value: object, kind: SqlType, where: str, partial: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise NotOfTypeError(f"{where}: expected {kind}, got {value!r}")
    names = [f.name for f in kind.fields]
    if unknown := [key for key in value if key not in names]:
        raise NotOfTypeError(f"{where}: {unknown[0]} is not one of {', '.join(names)}")
    wanted = [f for f in kind.fields if f.name in value or not partial]
    return {f.name: normal(value.get(f.name), f.type, f"{where}.{f.name}", partial=partial) for f in wanted}


def _integer(value: Any) -> int:  # noqa: ANN401, the readers take anything
    if isinstance(value, bool) or (isinstance(value, float | Decimal) and value != int(value)):
        raise ValueError
    return int(value)


def _float(value: Any) -> float:  # noqa: ANN401
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _decimal(digits: int) -> Callable[[Any], Decimal]:
    def read(value: Any) -> Decimal:  # noqa: ANN401
        if isinstance(value, bool):
            raise TypeError
        number = Decimal(str(value))  # the shortest digits of a float, as its author wrote it
        if not number.is_finite() or number != number.quantize(Decimal(1).scaleb(-digits), context=_WIDE):
            raise ValueError
        return _shortest(number)

    return read


def _shortest(number: Decimal) -> Decimal:
    """Number without trailing zeros or exponent, so that equal numbers print alike."""
    short = number.normalize(_WIDE)
    return short.quantize(Decimal(1), context=_WIDE) if short == short.to_integral_value() else short


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bytes(value: object) -> bytes:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(_bytes_like(value))


def _bytes_like(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _date(value: object) -> datetime.date:
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise TypeError
    return value


def _moment(value: object) -> datetime.datetime:
    if isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        return value
    if not isinstance(value, datetime.date):
        raise TypeError
    return datetime.datetime.combine(value, datetime.time())


def _datetime(value: object) -> datetime.datetime:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise ValueError
    return moment


def _timestamp(value: object) -> datetime.datetime:
    moment = _moment(value)
    return moment.astimezone(datetime.UTC) if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else json.loads(json.dumps(value))


def _packed(value: datetime.datetime) -> int:
    """Bit field in which ZetaSQL packs a DATETIME: year, then month (4 bits), day, hour (5), minute, second (6)."""
    packed = value.year
    for part, bits in ((value.month, 4), (value.day, 5), (value.hour, 5), (value.minute, 6), (value.second, 6)):
        packed = packed << bits | part
    return packed


def _unpacked(message: Any) -> datetime.datetime:  # noqa: ANN401
    packed, parts = message.bit_field_datetime_seconds, []
    for bits in (6, 6, 5, 5, 4):
        parts.append(packed & ((1 << bits) - 1))
        packed >>= bits
    second, minute, hour, day, month = parts
    return datetime.datetime(packed, month, day, hour, minute, second, message.nanos // 1000)


def _instant(message: Any) -> datetime.datetime:  # noqa: ANN401
    return EPOCH + datetime.timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "INT64": _integer,
    "FLOAT64": _float,
    "NUMERIC": _decimal(SCALES["NUMERIC"]),
    "BIGNUMERIC": _decimal(SCALES["BIGNUMERIC"]),
    "BOOL": _bool,
    "STRING": _string,
    "BYTES": _bytes,
    "DATE": _date,
    "DATETIME": _datetime,
    "TIMESTAMP": _timestamp,
    "JSON": _json,
}
_WRITERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "INT64": ("int64_value", int),
    "FLOAT64": ("double_value", float),
    "BOOL": ("bool_value", bool),
    "STRING": ("string_value", str),
    "BYTES": ("bytes_value", bytes),
    "DATE": ("date_value", lambda value: (value - EPOCH.date()).days),
    "JSON": ("json_value", json.dumps),
}
_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "INT64": lambda message: message.int64_value,
    "FLOAT64": lambda message: message.double_value,
    "BOOL": lambda message: message.bool_value,
    "STRING": lambda message: message.string_value,
    "BYTES": lambda message: message.bytes_value,
    "DATE": lambda message: EPOCH.date() + datetime.timedelta(days=message.date_value),
    "DATETIME": lambda message: _unpacked(message.datetime_value),
    "TIMESTAMP": lambda message: _instant(message.timestamp_value),
    "JSON": lambda message: json.loads(message.json_value),
}
