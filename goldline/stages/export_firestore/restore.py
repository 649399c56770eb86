"""Rebuild the document of an exported row.

The contract's own changes stay: personal fields are pseudonyms, last characters or missing; values that were held back
or dropped are missing; a timestamp of another form is a timestamp; a whole number in a FLOAT64 column is a double;
times end at microseconds. All else is as it was; null and missing fields stay distinct.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from goldline.contracts.source_contract import SourceColumn, SourceContract
from goldline.stages.export_firestore.rest import from_json, tag_of

_MISSING = object()


@dataclass(frozen=True)
class Document:
    """Firestore document.

    Attributes:
        path: path within the database, such as `orders/o1`.
        fields: values by name, in the Python types of goldline.firestore.values.
    """

    path: str
    fields: dict[str, Any]


def restore(row: Mapping[str, Any], contract: SourceContract) -> Document:
    """Rebuild the document of a row of the source's files (a dict of pyarrow's `to_pylist`)."""
    rest = json.loads(row["_rest"]) if row["_rest"] is not None else {}
    return Document(row["_document"], _fields(contract.columns, row, rest))


def _fields(columns: Sequence[SourceColumn], row: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for column in columns:
        if column.pii != "drop":
            value = _value(column, row.get(column.name), rest.get(column.name, _MISSING))
            if value is not _MISSING:
                found[column.name] = value
    declared = {c.name for c in columns}
    return found | {name: from_json(kept) for name, kept in rest.items() if name not in declared}


def _value(column: SourceColumn, landed: Any, left: Any) -> Any:  # noqa: ANN401, documents hold anything
    if column.mode == "REPEATED" and isinstance(left, list):
        return list(_items(column, landed, left))
    if landed is None or (column.mode == "REPEATED" and left is not _MISSING):
        return _MISSING if left is _MISSING else from_json(left)
    if column.mode == "REPEATED":
        single = column.model_copy(update={"mode": "NULLABLE"})
        return [_value(single, item, _MISSING) for item in landed]
    if column.fields:
        return _fields(column.fields, landed, {} if left is _MISSING else _map(left))
    return landed


def _items(column: SourceColumn, landed: Sequence[Any], lefts: Sequence[Any]) -> Iterator[Any]:
    """Items of an array, from the landed ones and from the rest, which is null where an item landed."""
    single = column.model_copy(update={"mode": "NULLABLE"})
    items = iter(landed)
    for left in lefts:
        is_of_struct = column.fields and isinstance(left, Mapping) and tag_of(left) in (None, "mapValue")
        if left is not None and not is_of_struct:
            yield from_json(left)
        elif (item := next(items, None)) is not None:  # fewer landed where some were held back
            yield _value(single, item, _MISSING if left is None else left)


def _map(kept: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields in the rest of a struct, unwrapped."""
    fields: Mapping[str, Any] = kept["mapValue"] if tag_of(kept) == "mapValue" else kept
    return fields
