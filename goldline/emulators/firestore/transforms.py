"""Field transforms: changes that the server computes from a field's current value.

https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#fieldtransform
"""

import math

from goldline.emulators.firestore import document_values as values
from goldline.emulators.firestore import fields
from goldline.emulators.firestore.grpc_errors import invalid, unimplemented
from goldline.emulators.firestore.messages import Proto, Value, set_time

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_NUMERIC = ("integer_value", "double_value")


def transform(document: Proto, wanted: Proto, now: int) -> Proto:
    """Apply a transform to a document, at the moment `now`; returns the value for the write's result.

    Raises:
        FirestoreError: the transform is unknown, or its operand is of the wrong type.
    """
    field = fields.place(document.fields, fields.parse(wanted.field_path))
    match kind := wanted.WhichOneof("transform_type"):
        case "set_to_server_value":
            set_time(field.timestamp_value, now - now % 1000)  # REQUEST_TIME has milliseconds
        case "increment":
            _increment(field, _operand(wanted.increment))
        case "maximum" | "minimum":
            _extreme(field, _operand(getattr(wanted, kind)), 1 if kind == "maximum" else -1)
        case "append_missing_elements":
            _append(field, wanted.append_missing_elements)
            return Value(null_value=0)
        case "remove_all_from_array":
            _remove(field, wanted.remove_all_from_array)
            return Value(null_value=0)
        case _:
            raise unimplemented(f"transform {kind}")
    result = Value()
    result.CopyFrom(field)
    return result


def _operand(value: Proto) -> Proto:
    if value.WhichOneof("value_type") not in _NUMERIC:
        raise invalid("the operand of a numeric transform is not a number")
    return value


def _number(value: Proto) -> int | float | None:
    kind = value.WhichOneof("value_type")
    number: int | float | None = getattr(value, kind) if kind in _NUMERIC else None
    return number


def _increment(field: Proto, operand: Proto) -> None:
    old, by = _number(field), _number(operand)
    if old is None or by is None:
        field.CopyFrom(operand)
    elif isinstance(old, int) and isinstance(by, int):
        field.integer_value = min(max(old + by, _INT64_MIN), _INT64_MAX)
    else:
        field.double_value = float(old) + float(by)


def _extreme(field: Proto, operand: Proto, sign: int) -> None:
    old, other = _number(field), _number(operand)
    # Of equal numbers the stored one stays; NaN wins over all.
    if old is None or other is None or math.isnan(other) or (other - old) * sign > 0:
        field.CopyFrom(operand)


def _append(field: Proto, wanted: Proto) -> None:
    elements = _array(field)
    there = {values.encode(element) for element in elements}
    for element in wanted.values:
        if (encoded := values.encode(element)) not in there:
            there.add(encoded)
            elements.add().CopyFrom(element)


def _remove(field: Proto, wanted: Proto) -> None:
    elements = _array(field)
    unwanted = set(map(values.encode, wanted.values))
    kept = [element for element in elements if values.encode(element) not in unwanted]
    if len(kept) < len(elements):
        fresh = Value()
        fresh.array_value.values.extend(kept)
        fresh.array_value.SetInParent()
        field.CopyFrom(fresh)


def _array(field: Proto) -> Proto:
    if not field.HasField("array_value"):
        field.array_value.SetInParent()
    return field.array_value.values
