"""Aggregations over the results of a query: count, sum, average.

https://firebase.google.com/docs/firestore/query-data/aggregation-queries
"""

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence

from goldline.emulators.firestore import fields
from goldline.emulators.firestore.fields import Path
from goldline.emulators.firestore.grpc_errors import invalid
from goldline.emulators.firestore.messages import Document, Proto, Value
from goldline.emulators.firestore.queries import Plan

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_AGGREGATIONS_MAX = 5


class _Sum:
    """Sum of one field's numbers: integers exactly, doubles in order of arrival."""

    def __init__(self) -> None:
        self._count = 0
        self._whole = 0
        self._doubles = 0.0
        self._all_whole = True

    def add(self, value: Proto) -> None:
        match value.WhichOneof("value_type"):
            case "integer_value":
                self._whole += value.integer_value
            case "double_value":
                self._doubles += value.double_value
                self._all_whole = False
            case _:
                return
        self._count += 1

    def sum(self) -> Proto:
        if self._all_whole and _INT64_MIN <= self._whole <= _INT64_MAX:
            return Value(integer_value=self._whole)
        return Value(double_value=self._whole + self._doubles)

    def average(self) -> Proto:
        return Value(double_value=(self._whole + self._doubles) / self._count) if self._count else Value(null_value=0)


def needed_fields(aggregations: Sequence[Proto]) -> list[Path]:
    """Fields of sums and averages, sorted; a document without one of them is left out of all aggregations.

    Raises:
        FirestoreError: there are no aggregations, too many, or one without an operator.
    """
    if not 0 < len(aggregations) <= _AGGREGATIONS_MAX:
        raise invalid(f"a query has from 1 to {_AGGREGATIONS_MAX} aggregations")
    if any(part.WhichOneof("operator") is None for part in aggregations):
        raise invalid("an aggregation without an operator")
    return sorted({path for part in aggregations if (path := _path(part))})


def aggregate(plan: Plan, aggregations: Sequence[Proto], connection: sqlite3.Connection, at: int) -> dict[str, Proto]:
    """Results of aggregations by alias, as of the moment `at`, in microseconds since 1970."""
    sums = {path: _Sum() for part in aggregations if (path := _path(part))}
    count = _add_up(plan, sums, connection, at) if sums else plan.count(connection, at)
    results: dict[str, Proto] = {}
    unnamed = 0
    for part in aggregations:
        unnamed += not part.alias
        results[part.alias or f"field_{unnamed}"] = _result(part, count, sums)
    return results


def _add_up(plan: Plan, sums: Mapping[Path, _Sum], connection: sqlite3.Connection, at: int) -> int:
    count = 0
    with contextlib.closing(plan.rows(connection, at)) as rows:
        for (encoded,) in rows:
            document = Document.FromString(encoded)
            for path, total in sums.items():
                if (value := fields.find(document.fields, path)) is not None:
                    total.add(value)
            count += 1
    return count


def _path(aggregation: Proto) -> Path | None:
    kind = aggregation.WhichOneof("operator")
    return None if kind == "count" else fields.parse(getattr(aggregation, kind).field.field_path)


def _result(aggregation: Proto, count: int, sums: Mapping[Path, _Sum]) -> Proto:
    path = _path(aggregation)
    if path is None:
        limit = aggregation.count.up_to.value if aggregation.count.HasField("up_to") else count
        return Value(integer_value=min(count, limit))
    return sums[path].sum() if aggregation.WhichOneof("operator") == "sum" else sums[path].average()
