"""Reference executor: runs a SELECT on small tables, by GoogleSQL's own definition."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2
from zetasql.wasi._pb2.zetasql.proto import simple_catalog_pb2

from goldline.emulators.googlesql.analyse import PARAMETERS, Analyser, add_table
from goldline.emulators.googlesql.sql_types import Field, SqlType
from goldline.emulators.googlesql.sql_values import decode, encode, normal

Row = dict[str, Any]


@dataclass(frozen=True)
class Relation:
    """A small table: its columns, and its rows as normalised values (see sql_values.normal)."""

    fields: tuple[Field, ...]
    rows: tuple[Row, ...] = ()

    @classmethod
    def of(cls, name: str, fields: Sequence[Field], rows: Sequence[Row]) -> Self:
        """Relation of rows as YAML gives them; missing columns are NULL, and `name` is for errors.

        Raises:
            NotOfTypeError: a column is unknown, or a value is not of its column's type.
        """
        row_type = SqlType("STRUCT", fields=tuple(fields))
        return cls(tuple(fields), tuple(normal(row, row_type, f"{name} row {i}") for i, row in enumerate(rows, 1)))


class Executor:
    """Executor of SELECTs on tables that are given as rows.

    Approximate functions (APPROX_QUANTILES, HLL_COUNT) and geography can be analysed but not run.
    """

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser

    def select(
        self,
        sql: str,
        given: Mapping[str, Sequence[Row]],
        run_date: datetime.date | None = None,
        since: datetime.date | None = None,
        lookback_start: datetime.date | None = None,
    ) -> Relation:
        """Result of a SELECT over the analyser's tables; tables without `given` rows are empty.

        The dates are the query parameters of the same names; None: the parameter is not declared.

        Raises:
            SqlError: the SELECT is invalid, or fails on these rows.
            NotOfTypeError: a given value is not of its column's type.
        """
        whole, reads = self._analyser.with_whole_names(sql)
        tables = {name: Relation.of(name, self._analyser.tables[name], given.get(name, ())) for name in reads}
        return self.run(whole, tables, run_date, since, lookback_start)

    def run(
        self,
        sql: str,
        tables: Mapping[str, Relation],
        run_date: datetime.date | None = None,
        since: datetime.date | None = None,
        lookback_start: datetime.date | None = None,
    ) -> Relation:
        """Result of a query on these tables only, whose names must be back-ticked whole in it; dates as in `select`.

        Raises:
            SqlError: the query is invalid, or fails on these rows.
        """
        dates = {"run_date": run_date, "since": since, "lookback_start": lookback_start}
        given = {name: day for name, day in dates.items() if day is not None}
        session = self._analyser.session
        options = session.options({name: PARAMETERS[name] for name in given})
        request = local_service_pb2.EvaluateQueryRequest(sql=sql, options=options)
        request.simple_catalog.CopyFrom(_catalog(session.functions, tables))
        for name, table in tables.items():
            _fill(request.table_content[name].table_data, table)
        for name, day in given.items():
            request.params.add(name=name, value=encode(day, SqlType(PARAMETERS[name])))
        answer = session.call("EvaluateQuery", request, local_service_pb2.EvaluateQueryResponse)
        return _relation(answer)


def _catalog(functions: Any, tables: Mapping[str, Relation]) -> Any:  # noqa: ANN401, zetasql's messages are untyped
    # ZetaSQL's service takes rows only for tables of the root catalog, hence the names back-ticked whole.
    catalog = simple_catalog_pb2.SimpleCatalogProto(name="root", builtin_function_options=functions)
    for name, table in tables.items():
        add_table(catalog, name, name, table.fields)
    return catalog


def _fill(data: Any, table: Relation) -> None:  # noqa: ANN401
    data.SetInParent()  # else an empty table would count as one without content
    for row in table.rows:
        data.row.add(cell=[encode(row[field.name], field.type) for field in table.fields])


def _relation(answer: Any) -> Relation:  # noqa: ANN401
    fields = tuple(
        Field(column.name or f"_field_{i}", SqlType.from_message(column.type))
        for i, column in enumerate(answer.prepared.columns, 1)
    )
    rows = (
        {field.name: decode(cell, field.type) for field, cell in zip(fields, row.cell, strict=True)}
        for row in answer.content.table_data.row
    )
    return Relation(fields, tuple(rows))
