"""Landing by column: decoded in Rust, typed by Arrow; Python handles only values that do not fit."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from goldline.contracts import arrow
from goldline.contracts.source_contract import SourceColumn, SourceContract
from goldline.landing.timestamps import parse
from goldline.privacy.pseudonym import Key
from goldline.stages.export_firestore import wire
from goldline.stages.export_firestore.landing_rows import number_or_text
from goldline.stages.export_firestore.rest import NULL_ITEM, map_to_json
from goldline.stages.export_firestore.rules import NOT_KEPT, Findings, Rules
from goldline.stages.export_firestore.wire import CODES, NULL, Flags, Integers, Maps, Values

# Kind of value that lands as it is, by type of column; all other kinds have drifted.
_FITS: Mapping[str, str] = {
    "STRING": "string",
    "INT64": "integer",
    "BOOL": "boolean",
    "BYTES": "bytes",
    "TIMESTAMP": "timestamp",
}
_NO_TEXT = ("map", "array", "boolean", "bytes")  # kinds that no timestamp of mixed form has

Rests = defaultdict[int, dict[str, Any]]
Note = Callable[[int, Any], None]  # takes the number of a row and what goes to its rest


@dataclass(frozen=True)
class Cells:
    """Values of a column to build, none of them null.

    Attributes:
        values: all values that were decoded with them.
        places: position of each cell among those.
        rows: row of each cell in the column.
        count: number of rows of the column.
    """

    values: Values
    places: Integers
    rows: Integers
    count: int

    def kind_is(self, *kinds: str) -> Flags:
        """Flags of the cells that are of one of these kinds."""
        return np.isin(self.values.kinds[self.places], [CODES[kind] for kind in kinds])

    def where(self, flags: Flags) -> "Cells":
        """Cells whose flag is true."""
        return self if flags.all() else replace(self, places=self.places[flags], rows=self.rows[flags])

    def python(self) -> list[Any]:
        """Values of the cells as Python objects."""
        return self.values.python(self.places)

    def arrow(self, kind: str) -> pa.Array:
        """Values of the cells as an Arrow array; all must be of this kind."""
        return self.values.of_kind(kind).take(pa.array(self.places))

    def spread(self, values: pa.Array) -> pa.Array:
        """Column from one value per cell: `count` rows, null in those without a cell."""
        if len(self.rows) == self.count:
            return values
        source, is_empty = np.zeros(self.count, np.int64), np.ones(self.count, np.bool_)
        source[self.rows], is_empty[self.rows] = np.arange(len(self.rows)), False
        return values.take(pa.array(source, mask=is_empty))


class ColumnLanding:
    """Converter of documents of one source to rows, column by column."""

    def __init__(self, contract: SourceContract, key: Key) -> None:
        self.contract = contract
        self.key = key
        self.schema = arrow.schema(contract.file_columns)
        self._rules = Rules(contract, key)

    @property
    def findings(self) -> Findings:
        """Counts of unread, ambiguous, drifted, undeclared and held-back values so far."""
        return self._rules.findings

    def land(self, responses: Sequence[bytes]) -> pa.RecordBatch:
        """Convert encoded RunQueryResponses to rows: see landed_documents.py."""
        documents = wire.documents(responses)
        count = len(documents.names)
        columns, rests = self._record(self.contract.columns, documents.fields, "")
        columns["_document"] = _paths(documents.names)
        columns["_created"], columns["_updated"] = documents.created, documents.updated
        texts: list[str | None] = [None] * count
        for row, rest in rests.items():
            texts[row] = json.dumps(rest, ensure_ascii=False, sort_keys=True)
        columns["_rest"] = pa.array(texts, pa.string())
        columns["_is_deleted"] = pa.repeat(False, count)
        columns["_pii_key_version"] = pa.repeat(self.key.version, count)
        return pa.RecordBatch.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)

    def _record(self, columns: Sequence[SourceColumn], maps: Maps, path: str) -> tuple[dict[str, pa.Array], Rests]:
        """Split maps into their declared columns and their rests, the latter by the map's number."""
        landed: dict[str, pa.Array] = {}
        rests: Rests = defaultdict(dict)
        declared = {c.name for c in columns}
        for column in columns:
            if column.pii == "drop":
                continue
            places = maps.places.get(column.name, np.empty(0, np.int64))
            rows = maps.parents[places]
            is_null = maps.values.kinds[places] == NULL
            for row in rows[is_null].tolist():
                rests[row][column.name] = None
            cells = Cells(maps.values, places[~is_null], rows[~is_null], maps.count)
            landed[column.name] = self._column(column, cells, path + column.name, _into(rests, column.name))
        for name in maps.places.keys() - declared:
            places = maps.places[name]
            for row, value in zip(maps.parents[places].tolist(), maps.values.python(places), strict=True):
                if (left := self._rules.undeclared(value, path + name)) is not NOT_KEPT:
                    rests[row][name] = left
        return landed, rests

    def _column(self, column: SourceColumn, cells: Cells, path: str, note: Note) -> pa.Array:  # noqa: PLR0911, a case a kind
        """Build a column; `note` takes what does not land in it."""
        if column.mode == "REPEATED":
            return self._lists(column, cells, path, note)
        if column.pii != "none":
            found = [self._rules.pseudonym(column, value, path) for value in cells.python()]
            return cells.spread(pa.array(found, pa.string()))
        if column.parse == "mixed":
            return self._mixed(column, cells, path, note)
        if column.fields:
            return self._structs(column, cells, path, note)
        if column.type == "FLOAT64":
            return self._doubles(column, cells, path, note)
        if not (fits := _FITS.get(column.type)):
            self._drifted(column, cells, path, note)
            return pa.nulls(cells.count, arrow.TYPES[column.type])
        is_fit = cells.kind_is(fits)
        self._drifted(column, cells.where(~is_fit), path, note)
        if not is_fit.any():
            return pa.nulls(cells.count, arrow.TYPES[column.type])
        fitting = cells.where(is_fit)
        return fitting.spread(fitting.arrow(fits))

    def _drifted(self, column: SourceColumn, cells: Cells, path: str, note: Note) -> None:
        if len(cells.rows):
            for row, value in zip(cells.rows.tolist(), cells.python(), strict=True):
                if (left := self._rules.drifted(column, value, path)) is not NOT_KEPT:
                    note(row, left)

    def _doubles(self, column: SourceColumn, cells: Cells, path: str, note: Note) -> pa.Array:
        found, is_there = np.zeros(cells.count), np.zeros(cells.count, np.bool_)
        for kind in ("double", "integer"):
            if not len((some := cells.where(cells.kind_is(kind))).rows):
                continue
            numbers = some.arrow(kind).to_numpy(zero_copy_only=False)
            doubles = numbers.astype(np.float64)
            is_exact = np.ones(len(doubles), np.bool_)
            if kind == "integer":  # beyond 2 to the 53rd not every integer is a double
                is_exact = np.abs(doubles) < 2.0**53
                is_exact[~is_exact] = [float(n) == n for n in numbers[~is_exact].tolist()]
            found[some.rows[is_exact]], is_there[some.rows[is_exact]] = doubles[is_exact], True
        self._drifted(column, cells.where(~is_there[cells.rows]), path, note)
        return pa.array(found, pa.float64(), mask=~is_there)

    def _mixed(self, column: SourceColumn, cells: Cells, path: str, note: Note) -> pa.Array:
        is_no_text, is_native = cells.kind_is(*_NO_TEXT), cells.kind_is("timestamp")
        self._drifted(column, cells.where(is_no_text), path, note)
        landed = pa.nulls(cells.count, arrow.TYPES["TIMESTAMP"])
        if is_native.any():
            native = cells.where(is_native)
            landed = native.spread(native.arrow("timestamp"))
        texts = cells.where(~is_no_text & ~is_native)
        if not len(texts.rows):
            return landed
        given = texts.python()
        parsed = parse(pa.array(map(number_or_text, given), pa.string()), day_first=bool(self.contract.day_first))
        self.findings.ambiguous[path] += parsed.ambiguous
        for i in np.flatnonzero(parsed.unread).tolist():
            if (left := self._rules.unread(given[i], path)) is not NOT_KEPT:
                note(int(texts.rows[i]), left)
        return pc.coalesce(landed, texts.spread(parsed.values))

    def _structs(self, column: SourceColumn, cells: Cells, path: str, note: Note) -> pa.Array:
        is_map = cells.kind_is("map")
        self._drifted(column, cells.where(~is_map), path, note)
        kind = _landed_type(column)
        if not is_map.any():
            return pa.nulls(cells.count, kind)
        structs = cells.where(is_map)
        fields, rests = self._record(column.fields, wire.maps(structs.arrow("map")), f"{path}.")
        for number, rest in rests.items():
            note(int(structs.rows[number]), map_to_json(rest))
        if pa.types.is_null(kind):
            return pa.nulls(cells.count)
        return structs.spread(pa.StructArray.from_arrays([fields[f.name] for f in kind], fields=list(kind)))

    def _lists(self, column: SourceColumn, cells: Cells, path: str, note: Note) -> pa.Array:
        is_array = cells.kind_is("array")
        self._drifted(column, cells.where(~is_array), path, note)
        items = pa.nulls(0, _landed_type(column))
        lengths = np.zeros(cells.count, np.int64)
        if is_array.any():
            lists = cells.where(is_array)
            found = wire.arrays(lists.arrow("array"))
            items, lefts = self._items(column, found.values, path)
            sizes = np.bincount(found.parents, minlength=found.count)
            for number in np.unique(found.parents[[*lefts]]).tolist() if lefts else ():
                first = int(np.searchsorted(found.parents, number))
                note(int(lists.rows[number]), [lefts.get(first + i) for i in range(int(sizes[number]))])
            # BigQuery's arrays hold no NULL: an item that did not fit is only in the rest, at its place.
            is_landed = items.is_valid().to_numpy(zero_copy_only=False)
            lengths += np.bincount(lists.rows[found.parents[is_landed]], minlength=cells.count)
            items = items.drop_null() if items.null_count else items
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        is_missing = np.ones(cells.count, np.bool_)
        is_missing[cells.rows] = False
        return pa.ListArray.from_arrays(pa.array(offsets), items, mask=pa.array(is_missing))

    def _items(self, column: SourceColumn, items: Values, path: str) -> tuple[pa.Array, dict[int, Any]]:
        """Items of all arrays, null where one did not land, and the rests by the item's number."""
        single = column.model_copy(update={"mode": "NULLABLE"})
        lefts: dict[int, Any] = dict.fromkeys(np.flatnonzero(items.kinds == NULL).tolist(), NULL_ITEM)
        there = np.flatnonzero(items.kinds != NULL)
        return self._column(single, Cells(items, there, there, len(items.kinds)), path, lefts.__setitem__), lefts


def _landed_type(column: SourceColumn) -> pa.DataType:
    """Arrow type of a column's values in the source's files, of its items if repeated; null if all is dropped."""
    landed = column.landed()
    return arrow.type_of(landed.model_copy(update={"mode": "NULLABLE"})) if landed else pa.null()


def _into(rests: Rests, name: str) -> Note:
    def note(row: int, left: object) -> None:
        rests[row][name] = left

    return note


def _paths(names: pa.StringArray) -> pa.StringArray:
    """Paths of documents within their database, from full names."""
    if not len(names):
        return names
    start = names[0].as_py().index("/documents/") + len("/documents/")  # the same for all names of one database
    return pc.utf8_slice_codeunits(names, start)
