"""Catalog lookups in DuckLake's own tables, where upstream asks DuckDB, which lists every table of every database.

Each statement looks up its tables several times, and the result of each earlier query is a table too: this took a third
of the warehouse's time. https://ducklake.select/docs/stable/specification/tables/overview
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, cast

import duckdb
from local_bigquery.catalog import names, tabledata, tables
from local_bigquery.engine import database, types
from local_bigquery.engine.database import quote
from local_bigquery.errors import not_found
from local_bigquery.jobs import query
from local_bigquery.sql.rules import partitions
from sqlglot import exp

from goldline.emulators.warehouse.upstream import Answer, Connection, Field, replace, require

REQUIRED = "AND NOT c.nulls_allowed"

_original: dict[str, Any] = {}
_fields: dict[tuple[Any, ...], list[Field]] = {}  # by a table's rows in ducklake_column


def objects(project_id: str, dataset_id: str, table_id: str | None = None) -> list[tuple[str, str, int]]:
    """Tables and views of a dataset, or that of one name: (name, `TABLE` or `VIEW`, number of rows)."""
    if (project_id, dataset_id) == ("emulator", tables.RESULTS) and table_id:
        return _result(table_id)
    if not _is_lake(project_id):
        found: list[tuple[str, str, int]] = _original["objects"](project_id, dataset_id, table_id)
        return found
    return _fetched(
        f"SELECT table_name, 'TABLE', coalesce(record_count, 0) FROM {_living(project_id, 'table')} "
        f"LEFT JOIN {_meta(project_id)}.ducklake_table_stats USING (table_id) WHERE {_named('table')} "
        f"UNION ALL SELECT view_name, 'VIEW', 0 FROM {_living(project_id, 'view')} WHERE {_named('view')} ORDER BY 1",
        [dataset_id, table_id],
    )


def columns(project_id: str, dataset_id: str, table_id: str) -> list[Field]:
    """Columns of a table or view, with BigQuery's types and modes."""
    project, dataset, table = tables.physical(project_id, dataset_id, table_id)
    required = _columns(project, dataset, table, REQUIRED)
    with database.cursor() as cur:
        try:
            relation = cur.sql(f"SELECT * FROM {tables.name(project_id, dataset_id, table_id)} LIMIT 0")
        except duckdb.CatalogException:
            raise not_found("Table", names.label(project_id, dataset_id, table_id)) from None
        return [
            types.field(name, kind, name in required)
            for name, kind in zip(relation.columns, relation.types, strict=True)
            if name != tables.INGESTION_TIME or dataset_id == tables.RESULTS
        ]


def hidden(table: exp.Table) -> bool:
    """Whether a table has the hidden column of ingestion time."""
    if not (table.catalog and table.db) or not isinstance(table.this, exp.Identifier):
        return False
    return tables.INGESTION_TIME in _columns(table.catalog, table.db, table.name)


def _columns(project_id: str, dataset_id: str, table_id: str, which: str = "") -> set[str]:
    if not _is_lake(project_id):  # a query's result, which has no REQUIRED columns
        return set()
    rows = _fetched(
        f"SELECT column_name FROM {_living(project_id, 'table')} "
        f"JOIN {_meta(project_id)}.ducklake_column AS c USING (table_id) "
        f"WHERE {_named('table')} AND c.end_snapshot IS NULL AND c.parent_column IS NULL {which}",
        [dataset_id, table_id],
    )
    return {name for (name,) in rows}


@dataclass(frozen=True)
class Described:
    """Catalog entry of a table or view, or of a name that is neither.

    Attributes:
        objects: as `objects` gives them.
        names: names of the top-level columns; empty for a view.
        required: those of them that may not be NULL.
        fields: as `columns` gives them; None where only DuckDB knows them.
    """

    objects: list[tuple[str, str, int]]
    names: set[str]
    required: set[str]
    fields: list[Field] | None


def described(project_id: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Described]:
    """Catalog entries by (dataset, table) for some such names, all looked up at once; empty outside the lake."""
    if not wanted or not _is_lake(project_id):
        return {}
    stats = f"LEFT JOIN {_meta(project_id)}.ducklake_table_stats AS t ON t.table_id = o.table_id"
    living = "o.end_snapshot IS NULL AND s.end_snapshot IS NULL"
    found = _fetched(
        f"SELECT schema_name, table_name, 'TABLE', coalesce(record_count, 0), o.table_id "
        f"FROM {_living(project_id, 'table')} {stats} "
        f"WHERE {living} AND list_contains($1, schema_name || '.' || table_name) "
        f"UNION ALL SELECT schema_name, view_name, 'VIEW', 0, NULL "
        f"FROM {_living(project_id, 'view')} WHERE {living} AND list_contains($1, schema_name || '.' || view_name)",
        [[".".join(name) for name in wanted]],
    )
    shapes = _shapes(project_id, [table_id for *_, table_id in found if table_id is not None])
    entries = {
        (dataset, name): _described(project_id, dataset, name, kind, count, shapes.get(table_id, ()))
        for dataset, name, kind, count, table_id in found
    }
    return {name: entries.get(name) or Described([], set(), set(), None) for name in wanted}


def _shapes(project_id: str, table_ids: list[int]) -> dict[int, tuple[Any, ...]]:
    """Rows of ducklake_column by table id, in the order of the columns."""
    rows = _fetched(
        "SELECT table_id, column_id, parent_column, column_name, column_type, nulls_allowed "
        f"FROM {_meta(project_id)}.ducklake_column "
        "WHERE end_snapshot IS NULL AND list_contains($1, table_id) ORDER BY table_id, column_order",
        [table_ids],
    )
    return {table_id: tuple(row[1:] for row in group) for table_id, group in groupby(rows, key=itemgetter(0))}


def _described(project_id: str, dataset_id: str, name: str, kind: str, count: int, shape: tuple[Any, ...]) -> Described:
    top = [column for column in shape if column[1] is None]
    fields = None
    if kind == "TABLE":
        if shape not in _fields:  # tables with equal columns share them
            _fields[shape] = tables.columns(project_id, dataset_id, name)
        fields = _fields[shape]
    required = {column[2] for column in top if not column[4]}
    return Described([(name, kind, count)], {column[2] for column in top}, required, fields)


class Fresh:
    """Cursor of one new statement or script, which has no temporary tables yet: upstream lists them all first."""

    def __init__(self, cur: Connection) -> None:
        self._cur = cur

    def __getattr__(self, name: str) -> object:  # noqa: D105
        return getattr(self._cur, name)

    def sql(self, statement: str, *others: Any, **named: Any) -> Answer:  # noqa: ANN401
        """Run a statement; upstream's listing of temporary tables gives no rows."""
        if "FROM duckdb_tables() WHERE temporary" in statement:
            statement = "SELECT NULL WHERE false"
        return self._cur.sql(statement, *others, **named)


def execute(cur: Connection, *others: Any, session: object = None, **named: Any) -> Answer:  # noqa: ANN401
    """Call upstream's query.execute with a Fresh cursor, unless a session may have temporary tables."""
    return _original["execute"](cur if session else Fresh(cur), *others, session=session, **named)


def evaluator(cur: Connection) -> Callable[[exp.Expr], object]:
    """Evaluator like query._evaluator's, but a string, such as a column's description, is read without a query."""
    evaluate: Callable[[exp.Expr], object] = _original["evaluator"](cur)

    def value(node: exp.Expr) -> object:
        return node.this if isinstance(node, exp.Literal) and node.is_string else evaluate(node)

    return value


def _result(table_id: str) -> list[tuple[str, str, int]]:
    try:
        [(rows,)] = database.fetch(f"SELECT count(*) FROM {quote('emulator', tables.RESULTS, table_id)}")
    except duckdb.CatalogException:
        return []
    return [(table_id, "TABLE", rows)]


def _is_lake(project_id: str) -> bool:
    return project_id in database._attached


def _meta(project_id: str) -> str:
    return str(quote(f"__ducklake_metadata_{project_id}", "main"))


def _living(project_id: str, kind: str) -> str:
    return f"{_meta(project_id)}.ducklake_{kind} AS o JOIN {_meta(project_id)}.ducklake_schema AS s USING (schema_id)"


def _named(kind: str) -> str:
    return (
        f"o.end_snapshot IS NULL AND s.end_snapshot IS NULL AND schema_name = $1 "
        f"AND {kind}_name = coalesce($2, {kind}_name)"
    )


def _fetched(sql: str, params: list[Any]) -> list[Any]:
    return cast("list[Any]", database.fetch(sql, params))


def install() -> None:
    """Replace database.objects, tables.columns (also in tabledata), partitions._hidden, query.execute, _evaluator."""
    require(database, "_attached")
    _original["objects"] = replace(database, "objects", objects)
    replace(tables, "columns", columns)
    replace(tabledata, "columns", columns)
    replace(partitions, "_hidden", hidden)
    _original["execute"] = replace(query, "execute", execute)
    _original["evaluator"] = replace(query, "_evaluator", evaluator)
