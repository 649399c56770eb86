"""Landing by document, in Python alone: the reference of the fast landing's tests and measurements."""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from goldline.contracts import arrow
from goldline.contracts.source_contract import SourceColumn, SourceContract
from goldline.firestore import values
from goldline.firestore.calls import RunQueryResponse
from goldline.landing.timestamps import parse
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore.rest import NULL_ITEM, map_to_json
from goldline.stages.export_firestore.rules import NOT_KEPT, Findings, Rules

_FITS: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "INT64": (int,),
    "FLOAT64": (float, int),
    "BOOL": (bool,),
    "BYTES": (bytes,),
    "TIMESTAMP": (datetime.datetime,),
}


class RowLanding:
    """Converter of documents of one source to rows, one by one."""

    def __init__(self, contract: SourceContract, key: Key) -> None:
        self.contract = contract
        self.key = key
        self.schema = arrow.schema(contract.file_columns)
        self._rules = Rules(contract, key)
        self._mixed = [c for c in contract.columns if c.parse == "mixed"]

    @property
    def findings(self) -> Findings:
        """Counts of unread, ambiguous, drifted, undeclared and held-back values so far."""
        return self._rules.findings

    def land(self, responses: Sequence[bytes]) -> pa.RecordBatch:
        """Convert encoded RunQueryResponses to rows: see landed_documents.py."""
        rows: list[dict[str, Any]] = []
        rests: list[dict[str, Any]] = []
        for response in map(RunQueryResponse.FromString, responses):
            if not response.HasField("document"):
                continue
            document = response.document
            row, rest = self._record(self.contract.columns, values.decode_map(document), "")
            row["_document"] = document.name.split("/documents/", 1)[1]
            for name, time in (("_created", "create_time"), ("_updated", "update_time")):
                row[name] = values.moment(getattr(document, time)) if document.HasField(time) else None
            row |= {"_is_deleted": False, "_pii_key_version": self.key.version}
            rows.append(row)
            rests.append(rest)
        for column in self._mixed:
            self._read_mixed(column, rows, rests)
        for row, rest in zip(rows, rests, strict=True):
            row["_rest"] = json.dumps(rest, ensure_ascii=False, sort_keys=True) if rest else None
        return pa.RecordBatch.from_pylist(rows, schema=self.schema)

    def _record(
        self, columns: Sequence[SourceColumn], fields: Mapping[str, Any], path: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split a map into its declared columns and its rest."""
        row: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        declared = {c.name: c for c in columns}
        for name, value in fields.items():
            column = declared.get(name)
            if column is None:
                left = self._rules.undeclared(value, path + name)
            elif column.pii == "drop":
                continue
            else:
                row[name], left = self._value(column, value, path + name) if value is not None else (None, None)
            if left is not NOT_KEPT:
                rest[name] = left
        return row, rest

    def _value(self, column: SourceColumn, value: Any, path: str) -> tuple[Any, Any]:  # noqa: ANN401, documents hold anything
        """Value for the column, and the part that goes to the rest (NOT_KEPT: nothing)."""
        if column.mode == "REPEATED":
            return self._list(column, value, path)
        if column.pii != "none":
            return self._rules.pseudonym(column, value, path), NOT_KEPT
        if column.parse == "mixed" and not isinstance(value, dict | list | bool | bytes):
            return value, NOT_KEPT  # parsed later, with the whole batch
        if column.fields and isinstance(value, Mapping):
            row, rest = self._record(column.fields, value, f"{path}.")
            return row, map_to_json(rest) if rest else NOT_KEPT
        if _fits(column, value):
            return float(value) if column.type == "FLOAT64" else value, NOT_KEPT
        return None, self._rules.drifted(column, value, path)

    def _list(self, column: SourceColumn, value: Any, path: str) -> tuple[Any, Any]:  # noqa: ANN401
        if not isinstance(value, list):
            return [], self._rules.drifted(column, value, path)
        single = column.model_copy(update={"mode": "NULLABLE"})
        pairs = [self._value(single, item, path) if item is not None else (None, NULL_ITEM) for item in value]
        left = [None if rest is NOT_KEPT else rest for _, rest in pairs]
        # BigQuery's arrays hold no NULL: an item that did not fit is only in the rest, at its place.
        landed = [item for item, _ in pairs if item is not None]
        return landed, left if any(rest is not None for rest in left) else NOT_KEPT

    def _read_mixed(self, column: SourceColumn, rows: list[dict[str, Any]], rests: list[dict[str, Any]]) -> None:
        """Parse a batch's timestamps at once; those that cannot be read go to the rest as they came."""
        name = column.name
        texts = [
            None if isinstance(v := row.get(name), datetime.datetime | None) else number_or_text(v) for row in rows
        ]
        if not any(t is not None for t in texts):
            return
        parsed = parse(pa.array(texts, pa.string()), day_first=bool(self.contract.day_first))
        self.findings.ambiguous[name] += parsed.ambiguous
        moments = parsed.values.to_pylist()
        for i, text in enumerate(texts):
            if text is not None:
                if parsed.unread[i] and (kept := self._rules.unread(rows[i][name], name)) is not NOT_KEPT:
                    rests[i][name] = kept
                rows[i][name] = moments[i]


def _fits(column: SourceColumn, value: object) -> bool:
    if isinstance(value, bool) and column.type != "BOOL":
        return False
    if column.type == "FLOAT64" and isinstance(value, int):
        return float(value) == value  # beyond 2 to the 53rd not every integer is a double
    return isinstance(value, _FITS.get(column.type, ()))


def number_or_text(value: object) -> str:
    """Text of a mixed timestamp for the parser: a whole float is written as an integer."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
