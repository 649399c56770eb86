"""Documents to rows of a source's contract: typed, personal data treated, nothing lost and nothing let through.

A value that fits its declared type lands in its column. What drifted from its type, and what nobody declared, lands in
the JSON column `_rest`, so that SQL can still read it or reject the row with a reason. A personal value never lands
there, whatever its type.
"""

import base64
import datetime
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import pyarrow as pa

from goldline import arrow
from goldline.contract import SourceColumn, SourceContract
from goldline.pseudonym import Key
from goldline.timestamps import parse

BATCH = 2000
# An undeclared field is held back, not kept, when its name or its value looks like a person's.
PERSONAL_NAME = re.compile(
    r"e-?mail|phone|mobile|street|address|first_?name|last_?name|full_?name|surname|birth|passport|iban|card|ssn",
    re.IGNORECASE,
)
# One character before the @ is enough; a run of them would cost the square of a long text's length.
PERSONAL_VALUE = re.compile(r"[^@\s]@[^@\s]+\.[a-z]{2,}", re.IGNORECASE)
UNSHOWN = "(a personal value)"
_FITS: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "INT64": (int,),
    "FLOAT64": (float, int),
    "BOOL": (bool,),
    "BYTES": (bytes,),
    "TIMESTAMP": (datetime.datetime,),
}


class UndeclaredError(ValueError):
    """A document has a field that nobody declared, and the contract refuses those."""


@dataclass(frozen=True)
class Document:
    """A document as its source gave it."""

    path: str
    created: datetime.datetime | None
    updated: datetime.datetime | None
    fields: Mapping[str, Any]


@dataclass
class Findings:
    """What landing found, by field: names and counts, never values.

    Attributes:
        unread: timestamps of mixed form that could not be read.
        ambiguous: timestamps that were read with the contract's order of day and month and fit the other one too.
        drifted: values that were not of their declared type.
        undeclared: fields that nobody declared.
        held_back: values that looked personal and stood where no rule treats them.
    """

    unread: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)
    drifted: Counter[str] = field(default_factory=Counter)
    undeclared: Counter[str] = field(default_factory=Counter)
    held_back: Counter[str] = field(default_factory=Counter)


class Landing:
    """Lands documents of one source."""

    def __init__(self, contract: SourceContract, key: Key) -> None:
        self.contract = contract
        self.key = key
        self.findings = Findings()
        self.schema = arrow.schema(contract.file_columns)
        self._mixed = [c for c in contract.columns if c.parse == "mixed"]

    def batches(self, documents: Iterable[Document]) -> Iterator[pa.RecordBatch]:
        """The documents as record batches of the contract's file columns, some thousand rows each.

        Raises:
            UndeclaredError: a field is undeclared, and the contract says `undeclared: refuse`.
        """
        for batch in batched(documents, BATCH, strict=False):
            yield self._batch(batch)

    def _batch(self, documents: Sequence[Document]) -> pa.RecordBatch:
        rows: list[dict[str, Any]] = []
        rests: list[dict[str, Any]] = []
        for document in documents:
            row, rest = self._record(self.contract.columns, document.fields, "")
            row |= {"_document": document.path, "_created": document.created, "_updated": document.updated}
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
        """The declared columns of a map, and the rest of it."""
        row: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        declared = {c.name: c for c in columns}
        for column in columns:
            if column.pii != "drop" and (value := fields.get(column.name)) is not None:
                landed, left = self._value(column, value, path + column.name)
                row[column.name] = landed
                if left is not None:
                    rest[column.name] = left
        for name in fields.keys() - declared.keys():
            kept = self._undeclared(fields[name], path + name)
            if kept is not None:
                rest[name] = kept
        return row, rest

    def _value(self, column: SourceColumn, value: Any, path: str) -> tuple[Any, Any]:  # noqa: ANN401, documents hold anything
        """A value for its column, and what of it goes to the rest."""
        if column.mode == "REPEATED":
            return self._list(column, value, path)
        if column.pii != "none":
            return self._pseudonymised(column, value, path), None
        if column.parse == "mixed" and not isinstance(value, dict | list | bool | bytes):
            return value, None  # read with the whole batch
        if column.fields and isinstance(value, Mapping):
            row, rest = self._record(column.fields, value, f"{path}.")
            return row, rest or None
        if _fits(column, value):
            return float(value) if column.type == "FLOAT64" else value, None
        return None, self._drifted(column, value, path)

    def _list(self, column: SourceColumn, value: Any, path: str) -> tuple[Any, Any]:  # noqa: ANN401
        if not isinstance(value, list):
            return [], self._drifted(column, value, path)
        single = column.model_copy(update={"mode": "NULLABLE"})
        pairs = [self._value(single, item, path) if item is not None else (None, None) for item in value]
        left = [rest for _, rest in pairs]
        # BigQuery's arrays hold no NULL: what did not fit stands, at its place, in the rest alone.
        landed = [item for item, _ in pairs if item is not None]
        return landed, left if any(rest is not None for rest in left) else None

    def _pseudonymised(self, column: SourceColumn, value: Any, path: str) -> str | None:  # noqa: ANN401
        if not isinstance(value, str | int | float | datetime.datetime):
            self.findings.held_back[path] += 1
            return None
        text = str(value)
        return self.key.pseudonym(text) if column.pii == "hmac" else text[-4:]

    def _drifted(self, column: SourceColumn, value: Any, path: str) -> Any:  # noqa: ANN401
        self.findings.drifted[path] += 1
        kept = plain(value)
        if _holds_personal(column) or _looks_personal(kept):
            self.findings.held_back[path] += 1
            return None
        return kept

    def _undeclared(self, value: Any, path: str) -> Any:  # noqa: ANN401
        # A map may be keyed by what is personal; neither errors nor counts may show that.
        shown = UNSHOWN if PERSONAL_VALUE.search(path) else path
        if self.contract.undeclared == "refuse":
            raise UndeclaredError(f"{self.contract.source}: the field {shown} is not declared (`undeclared: refuse`)")
        self.findings.undeclared[shown] += 1
        if self.contract.undeclared == "drop" or value is None:
            return None
        kept = plain(value)
        if shown != path or PERSONAL_NAME.search(path) or _looks_personal(kept):
            self.findings.held_back[shown] += 1
            return None
        return kept

    def _read_mixed(self, column: SourceColumn, rows: list[dict[str, Any]], rests: list[dict[str, Any]]) -> None:
        """Read a batch's timestamps at once; those that cannot be read go to the rest as they came."""
        name = column.name
        texts = [
            None if isinstance(v := row.get(name), datetime.datetime | None) else _number_or_text(v) for row in rows
        ]
        if not any(t is not None for t in texts):
            return
        parsed = parse(pa.array(texts, pa.string()), day_first=bool(self.contract.day_first))
        self.findings.ambiguous[name] += parsed.ambiguous
        self.findings.unread[name] += int(parsed.unread.sum())
        values = parsed.values.to_pylist()
        for i, text in enumerate(texts):
            if text is not None:
                if parsed.unread[i]:
                    kept = plain(rows[i][name])
                    if _looks_personal(kept):
                        self.findings.held_back[name] += 1
                    else:
                        rests[i][name] = kept
                rows[i][name] = values[i]


def plain(value: Any) -> Any:  # noqa: ANN401, PLR0911, a case a kind
    """A Firestore value as JSON holds it; what JSON has no form for becomes a text."""
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case datetime.datetime():
            return value.astimezone(datetime.UTC).isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:  # references and geo points
            return getattr(value, "path", None) or str(vars(value))


def _fits(column: SourceColumn, value: object) -> bool:
    if isinstance(value, bool) and column.type != "BOOL":
        return False
    return isinstance(value, _FITS.get(column.type, ()))


def _holds_personal(column: SourceColumn) -> bool:
    return column.pii != "none" or any(_holds_personal(f) for f in column.fields)


def _looks_personal(kept: object) -> bool:
    """Whether a text, or a name or a text within a map or a list, looks like a person's."""
    match kept:
        case Mapping():
            return any(PERSONAL_NAME.search(k) or _looks_personal(k) or _looks_personal(v) for k, v in kept.items())
        case list():
            return any(_looks_personal(item) for item in kept)
        case str():
            return bool(PERSONAL_VALUE.search(kept))
        case _:
            return False


def _number_or_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
