"""Analyser: whether SQL is valid against the columns of tables, and the columns of its result."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2
from zetasql.wasi._pb2.zetasql.proto import simple_catalog_pb2
from zetasql.wasi._pb2.zetasql.public import options_pb2

from goldline.emulators.googlesql.dialect import Session, SqlError, shared_session
from goldline.emulators.googlesql.engine import default_cache
from goldline.emulators.googlesql.sql_types import Field, SqlType

__all__ = ["PARAMETERS", "Analyser", "SqlError", "Statement", "add_table"]

# Query parameters of a table's SELECT, with their types. Declared, so that a misspelt name is an error.
PARAMETERS: Mapping[str, str] = {"run_date": "DATE", "since": "DATE", "lookback_start": "DATE"}


@dataclass(frozen=True)
class Statement:
    """A valid statement.

    Attributes:
        kind: `query`, `merge`, `create`, ...
        columns: columns of a query's result; empty for other kinds.
    """

    kind: str
    columns: tuple[Field, ...] = ()


class Analyser:
    """Resolver of SQL against tables, given as fields by `dataset.table`: names, types, functions, as in BigQuery.

    SQL may name a table `silver.t` or `project.silver.t`, and either name may be back-ticked whole.
    """

    def __init__(
        self, tables: Mapping[str, tuple[Field, ...]], *, project: str = "project", cache: Path | None = None
    ) -> None:
        self.session = shared_session(cache or default_cache())
        self.tables = tables
        self._catalog = _catalog(self.session, self.tables, project)
        self._registered = (0, 0)
        self._whole: dict[str, tuple[str, frozenset[str]]] = {}

    def resolve(self, sql: str, parameters: Mapping[str, str] = PARAMETERS) -> list[Field]:
        """Columns of a query's result; `parameters` are types by name.

        Raises:
            SqlError: the text is not exactly one valid query; with line and column where they are known.
        """
        statement = self.statement(sql, parameters)
        if statement.kind != "query":
            raise SqlError(f"expected a query, got a statement that is none ({statement.kind})", 1, 1)
        return list(statement.columns)

    def statement(self, sql: str, parameters: Mapping[str, str] = PARAMETERS) -> Statement:
        """Kind, and for a query the columns, of one statement; `parameters` are types by name.

        Raises:
            SqlError: the statement is invalid; with line and column where they are known.
        """
        resolved = self._analyse(sql, self.session.options(parameters))
        node = resolved.WhichOneof("node")
        columns = getattr(resolved, node).output_column_list if node == "resolved_query_stmt_node" else ()
        fields = tuple(Field(c.name, SqlType.from_message(c.column.type)) for c in columns)
        return Statement(node.split("_")[1], fields)

    def with_whole_names(self, sql: str) -> tuple[str, frozenset[str]]:
        """The same query with each table's name back-ticked whole, and the tables that it reads.

        Raises:
            SqlError: the query is invalid.
        """
        if sql not in self._whole:
            options = self.session.options(PARAMETERS)
            options.parse_location_record_type = options_pb2.PARSE_LOCATION_RECORD_FULL_NODE_SCOPE
            scans = list(_scans(self._analyse(sql, options)))
            self._whole[sql] = _requoted(sql, scans), frozenset(scan.table.full_name for scan in scans)
        return self._whole[sql]

    def _analyse(self, sql: str, options: Any) -> Any:  # noqa: ANN401, zetasql's messages are untyped
        request = local_service_pb2.AnalyzeRequest(
            options=options, registered_catalog_id=self._catalog_id(), sql_statement=sql
        )
        return self.session.call("Analyze", request, local_service_pb2.AnalyzeResponse).resolved_statement

    def _catalog_id(self) -> int:
        """Id of the catalog in the engine; it is registered again when a crashed engine was replaced."""
        starts, known = self._registered
        if starts != self.session.starts:
            request = local_service_pb2.RegisterCatalogRequest(simple_catalog=self._catalog)
            known = self.session.call("RegisterCatalog", request, local_service_pb2.RegisterResponse).registered_id
            self._registered = (self.session.starts, known)
        return known


def add_table(catalog: Any, name: str, full_name: str, fields: Sequence[Field]) -> None:  # noqa: ANN401
    """Add a table to a SimpleCatalog message."""
    table = catalog.table.add(name=name, full_name=full_name)
    for field in fields:
        table.column.add(name=field.name, type=field.type.message())


def _catalog(session: Session, tables: Mapping[str, Sequence[Field]], project: str) -> Any:  # noqa: ANN401
    root = simple_catalog_pb2.SimpleCatalogProto(name="root", builtin_function_options=session.functions)
    in_project = root.catalog.add(name=project)
    datasets = {
        dataset: (root.catalog.add(name=dataset), in_project.catalog.add(name=dataset))
        for dataset in sorted({name.split(".")[0] for name in tables})
    }
    for full_name, fields in tables.items():
        dataset, name = full_name.split(".")
        for catalog in datasets[dataset]:
            add_table(catalog, name, full_name, fields)
        for whole in (full_name, f"{project}.{full_name}"):
            add_table(root, whole, full_name, fields)
    return root


def _scans(message: Message) -> Iterator[Any]:
    """All table scans inside a resolved statement."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for inner in value if field.is_repeated else (value,):
            if field.message_type.name == "ResolvedTableScanProto":
                yield inner
            yield from _scans(inner)


def _requoted(sql: str, scans: Sequence[Any]) -> str:
    text = sql.encode()  # positions are in bytes
    places = {}
    for scan in scans:
        place = scan.parent.parent.parse_location_range
        name = scan.table.full_name
        # The implicit alias of a table is the last part of its name, which back-ticking it whole would hide.
        places[place.start, place.end] = f"`{name}`" if scan.alias else f"`{name}` as `{name.split('.')[-1]}`"
    for (start, end), name in sorted(places.items(), reverse=True):
        text = text[:start] + name.encode() + text[end:]
    return text.decode()
