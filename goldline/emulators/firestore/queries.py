"""Translation of structured queries into SQL over the stored versions.

Results by name, the order of storage, are streamed as they are read. Any other order is sorted by SQLite, on disk if
it exceeds its cache, by keys that are computed here.
https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#structuredquery
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from goldline.emulators.firestore import document_values as values
from goldline.emulators.firestore import fields, filters
from goldline.emulators.firestore.document_store import LIVES, Scope
from goldline.emulators.firestore.fields import NAME, Path
from goldline.emulators.firestore.grpc_errors import invalid, unimplemented
from goldline.emulators.firestore.keys import AFTER, depth, descendants, reference
from goldline.emulators.firestore.messages import Document, Proto

_DESCENDING = 2  # StructuredQuery.Direction


@dataclass(frozen=True)
class Order:
    """Sort order; the document's name is always its last part."""

    fields: Sequence[tuple[Path, bool]]  # True: descending
    name_descends: bool

    def key(self, document: Proto, path: bytes) -> bytes | None:
        """Sort key of a document; None if it lacks a field of the order, and so is no result."""
        parts = []
        for field, descends in self.fields:
            if (value := filters.field_value(document, field)) is None:
                return None
            parts.append(values.inverted(value) if descends else value)
        return b"".join(parts) + (values.inverted(path) if self.name_descends else path)

    def position(self, cursor: Sequence[Proto]) -> bytes:
        """Prefix of the sort keys of documents at a cursor."""
        parts = []
        for value, (field, descends) in zip(cursor, [*self.fields, (NAME, self.name_descends)], strict=False):
            part = reference(filters.checked_reference(value)) if field == NAME else values.encode(value)
            parts.append(values.inverted(part) if descends else part)
        return b"".join(parts)


class Selection:
    """Selection of results: a filter, fields that must be there, and bounds of the sort key."""

    def __init__(
        self, passes: filters.Predicate, needed: Sequence[Path], order: Order, bounds: tuple[bytes, bytes]
    ) -> None:
        self._passes = passes
        self._needed = needed
        self._order = order
        self._bounds = bounds
        self._last: tuple[bytes, bytes | None] | None = None

    def key(self, path: bytes, encoded: bytes) -> bytes | None:
        """Sort key of a stored document; None if it is no result."""
        # SQLite calls it twice, to filter and to sort; a statement sees one version of a path.
        if self._last is None or self._last[0] != path:
            self._last = path, self._key(path, Document.FromString(encoded))
        return self._last[1]

    def _key(self, path: bytes, document: Proto) -> bytes | None:
        if not self._passes(document) or any(fields.find(document.fields, path) is None for path in self._needed):
            return None
        key = self._order.key(document, path)
        return key if key is not None and self._bounds[0] <= key < self._bounds[1] else None


@dataclass(frozen=True)
class Plan:
    """A query that is ready to run; moments are in microseconds since 1970."""

    scope: Scope
    depth: int | None
    selection: Selection | None
    order_by: str
    limit: int
    offset: int
    mask: Sequence[Path] | None

    def rows(self, connection: sqlite3.Connection, at: int, columns: str = "document") -> sqlite3.Cursor:
        """Results as of a moment, in order."""
        return self._run(connection, self._sql(columns), at)

    def count(self, connection: sqlite3.Connection, at: int) -> int:
        """Number of results as of a moment."""
        [[count]] = self._run(connection, f"select count(*) from ({self._sql('1')})", at)
        return int(count)

    def _run(self, connection: sqlite3.Connection, sql: str, at: int) -> sqlite3.Cursor:
        if self.selection:
            connection.create_function("sort_key", 2, self.selection.key, deterministic=True)
        parameters = {"depth": self.depth, "limit": self.limit, "offset": self.offset, "at": at}
        return connection.execute(sql, {**self.scope._asdict(), **parameters})

    def _sql(self, columns: str) -> str:
        conditions = ["path >= :low", "path < :high", LIVES]
        if self.scope.collection:
            conditions.append("collection = :collection")
        if self.depth is not None:
            conditions.append("depth = :depth")
        if self.selection:
            conditions.append("sort_key(path, document) is not null")
        where = " and ".join(conditions)
        return f"select {columns} from versions where {where} order by {self.order_by} limit :limit offset :offset"


def plan(parent: str, query: Proto, needed: Sequence[Path] = ()) -> Plan:
    """Plan a query.

    Args:
        parent: name of the document, or of the root, whose collections are queried.
        query: StructuredQuery message.
        needed: fields that a result must have.

    Raises:
        FirestoreError: the query is invalid, or needs what is not implemented.
    """
    _check(query)
    parts = filters.conjuncts(query.where)
    ranges = [found for part in parts if (found := filters.name_range(part))]
    rest = [part for part in parts if not filters.name_range(part)]
    order = _order(query)
    collection, scope_depth, whole = _collections(parent, query)
    low, high = _intersection([whole, *ranges, _name_bounds(query, order)])
    selection = None
    if order.fields or rest or needed:
        selection = Selection(filters.predicate(rest), needed, order, _key_bounds(query, order))
    by_name = "path desc" if order.name_descends else "path"
    return Plan(
        scope=Scope(collection, low, high),
        depth=scope_depth,
        selection=selection,
        order_by="sort_key(path, document)" if order.fields else by_name,
        limit=query.limit.value if query.HasField("limit") else -1,
        offset=query.offset,
        mask=_mask(query),
    )


def _check(query: Proto) -> None:
    if query.HasField("find_nearest"):
        raise unimplemented("find_nearest")
    if query.limit.value < 0 or query.offset < 0:
        raise invalid("limit or offset is negative")
    if max(len(query.start_at.values), len(query.end_at.values)) > len(query.order_by):
        raise invalid("cursor has too many values")
    if len(query.from_) > 1:
        raise invalid("a query has one collection selector")
    filters.check(query.where)


def _collections(parent: str, query: Proto) -> tuple[str, int | None, tuple[bytes, bytes]]:
    """Id of the collections, depth of their documents (None if it varies), and range of their paths."""
    selector = query.from_[0] if query.from_ else None
    collection = selector.collection_id if selector else ""
    if selector and selector.all_descendants:
        return collection, None, descendants(parent)
    return collection, depth(parent) + 2, descendants(f"{parent}/{collection}" if collection else parent)


def _order(query: Proto) -> Order:
    """Order that a query asks for, with Firestore's implicit additions.

    Fields of range filters and negations that it leaves out follow in order of their names, then the document's name,
    all in the last direction given.
    """
    wanted = [(fields.parse(part.field.field_path), part.direction == _DESCENDING) for part in query.order_by]
    descends = wanted[-1][1] if wanted else False
    named = [position for position, (path, _) in enumerate(wanted) if path == NAME]
    inequalities = map(fields.parse, sorted(filters.inequality_fields(query.where)))
    implied = [path for path in inequalities if path != NAME and path not in (field for field, _ in wanted)]
    if named and (named[0] < len(wanted) - 1 or implied):
        raise invalid("order by clause cannot contain more fields after the key")
    return Order([part for part in wanted if part[0] != NAME] + [(path, descends) for path in implied], descends)


def _key_bounds(query: Proto, order: Order) -> tuple[bytes, bytes]:
    """Range of sort keys, low (inclusive) to high (exclusive), within the query's cursors."""
    low, high = b"", AFTER
    if query.HasField("start_at"):
        low = order.position(query.start_at.values) + (b"" if query.start_at.before else AFTER)
    if query.HasField("end_at"):
        high = order.position(query.end_at.values) + (b"" if query.end_at.before else AFTER)
    return low, high


def _name_bounds(query: Proto, order: Order) -> tuple[bytes, bytes]:
    """Range of paths within the cursors of a query by name; all paths if the query has another order."""
    low, high = b"", AFTER
    if order.fields:
        return low, high
    lower, upper = (query.end_at, query.start_at) if order.name_descends else (query.start_at, query.end_at)
    if lower.values:
        low = _bound(lower, order)
    if upper.values:
        high = _bound(upper, order)
    return low, high


def _bound(cursor: Proto, order: Order) -> bytes:
    # In ascending order "before" a name is below it; in descending order, above it.
    path = reference(filters.checked_reference(cursor.values[0]))
    return path if cursor.before != order.name_descends else path + AFTER


def _intersection(ranges: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    return max(low for low, _ in ranges), min(high for _, high in ranges)


def _mask(query: Proto) -> list[Path] | None:
    if not query.select.fields:
        return None
    return [path for field in query.select.fields if (path := fields.parse(field.field_path)) != NAME]
