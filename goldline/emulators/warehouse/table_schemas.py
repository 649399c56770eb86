"""Modes and descriptions of columns, nested ones too, where upstream loses them."""

from typing import Any

from local_bigquery.catalog import ddl as catalog_ddl
from local_bigquery.catalog import names, options, tables
from local_bigquery.engine import database, types
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError
from local_bigquery.models import JobConfigurationLoad, JobConfigurationTableCopy
from sqlglot import exp

from goldline.emulators.warehouse.partitions import plain
from goldline.emulators.warehouse.upstream import (
    Answer,
    Connection,
    Field,
    Reference,
    Resource,
    Table,
    replace,
    require,
)

# One type, two names.
SAME_TYPE = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD", "BIGDECIMAL": "BIGNUMERIC"}

_original: dict[str, Any] = {}


def described_fields(schema: exp.Expr, evaluate: options.Evaluate) -> list[dict[str, Any]]:
    """Options and modes of a CREATE's columns, nested ones too; upstream gives a column those of its first child."""
    columns = schema.expressions if isinstance(schema, exp.Schema) else []
    return [extra for column in columns if len(extra := _described(column, evaluate, False)) > 1]


def _described(column: exp.Expr, evaluate: options.Evaluate, nested: bool) -> dict[str, Any]:
    kinds = [constraint.args["kind"] for constraint in column.args.get("constraints") or []]
    given = next((kind for kind in kinds if isinstance(kind, exp.Properties)), None)
    if given is None and not isinstance(column, exp.ColumnDef):
        given = column.find(exp.Properties)  # a view's column
    extras: dict[str, Any] = {"name": column.name}
    extras |= options.options(given, options.COLUMN_OPTIONS, evaluate)
    kind = column.args.get("kind")
    if not isinstance(kind, exp.DataType):
        return extras
    extras |= catalog_ddl._parameters(kind)
    if nested and any(isinstance(kind, exp.NotNullColumnConstraint) for kind in kinds):
        extras["mode"] = "REQUIRED"
    if kind.this == exp.DataType.Type.ARRAY and kind.expressions:
        kind = kind.expressions[0]
    children = [_described(child, evaluate, True) for child in kind.expressions if isinstance(child, exp.ColumnDef)]
    if children := [child for child in children if len(child) > 1]:
        extras["fields"] = children
    return extras


def alteration(stored: Table, action: exp.Expr, reference: Reference, evaluate: options.Evaluate) -> Answer:
    """Changes by an ALTER TABLE, in which an added column keeps its OPTIONS."""
    if not isinstance(action, exp.ColumnDef):
        return _original["alteration"](stored, action, reference, evaluate)
    extras = _described(action, evaluate, False)
    fields = [
        field.replace(**extras | {"name": field.name})
        if field.name.casefold() == action.name.casefold() and not field.description
        else field
        for field in tables.fields(stored)
    ]
    return {"schema": {"fields": [field.dump() for field in fields]}}


def alter(project_id: str, dataset_id: str, table_id: str, fields: list[Field]) -> None:
    """Add columns, also in records, and refuse what BigQuery refuses; upstream does both for top-level columns only."""
    reference = (project_id, dataset_id, table_id)
    # From the stored resource: only it has nested modes.
    current = tables.fields(tables.load(*reference))
    added = _added(names.label(*reference), current, fields, [])
    _original["alter"](*reference, fields)
    for path, field in added:
        if len(path) > 1:
            statement = f"ADD COLUMN {quote(*path)} {types.duckdb_type(field)}"
            database.execute(f"ALTER TABLE {tables.name(*reference)} {statement}")


def _added(label: str, current: list[Field], given: list[Field], path: list[str]) -> list[tuple[list[str], Field]]:
    """New fields, each with its path; `element` is DuckLake's name for the items of an array."""
    olds = {field.name.casefold(): field for field in current}
    new: list[tuple[list[str], Field]] = []
    for field in given:
        here = [*path, field.name]
        if (old := olds.pop(field.name.casefold(), None)) is None:
            if field.mode == "REQUIRED":
                refused = f"Cannot add required fields to an existing schema. (field: {'.'.join(here)})"
                raise BigQueryError("invalid", f"Provided Schema does not match Table {label}. {refused}")
            new.append((here, field))
            continue
        _check_change(label, old, field)
        inner = [*here, "element"] if field.mode == "REPEATED" else here
        new += _added(label, old.fields or [], field.fields or [], inner)
    if olds and path:
        removed = ".".join([*path, next(iter(olds.values())).name])
        raise BigQueryError("invalid", f"Provided Schema does not match Table {label}. Field {removed} is missing")
    return new


def _check_change(label: str, old: Field, new: Field) -> None:
    was, now = (SAME_TYPE.get(field.type.upper(), field.type.upper()) for field in (old, new))
    modes = (old.mode or "NULLABLE", new.mode or "NULLABLE")
    if was != now:
        change = f"type from {was} to {now}"
    elif modes[0] != modes[1] and modes != ("REQUIRED", "NULLABLE"):
        change = f"mode from {modes[0]} to {modes[1]}"
    else:
        return
    raise BigQueryError(
        "invalid", f"Provided Schema does not match Table {label}. Field {old.name} has changed {change}"
    )


def write(
    cur: Connection,
    sql: str,
    params: object,
    reference: Reference,
    config: Resource,
    default: str = "WRITE_EMPTY",
    *others: object,
) -> Answer:
    """Write a job's rows; a table that a load or copy job makes has the REQUIRED columns of its schema or source."""
    model = _model(config) if not _kept(reference, config, default) else None
    if model is None:
        return _original["write"](cur, sql, params, reference, config, default, *others)
    required = [field.name for field in tables.fields(model) if field.mode == "REQUIRED"]
    _check_present(cur, sql, params, required)
    # Not in one transaction: from 1.5.3 on DuckDB's DuckLake may read freed memory at the end of one that made a table
    # and took several statements, when others write meanwhile: https://github.com/duckdb/ducklake/issues/1248
    created = _original["write"](cur, sql, params, reference, config, default, *others)
    for name in required:
        cur.execute(f"ALTER TABLE {tables.name(*reference)} ALTER COLUMN {quote(name)} SET NOT NULL")
    tables.annotate(reference, model)
    return created


def _check_present(cur: Connection, sql: str, params: object, required: list[str]) -> None:
    """Refuse NULL in a REQUIRED column, before anything is written."""
    if required:
        missing = ", ".join(f"count(*) FILTER ({quote(name)} IS NULL)" for name in required)
        [counts] = cur.execute(f"SELECT {missing} FROM ({sql})", params).fetchall()
        if absent := [name for name, count in zip(required, counts, strict=True) if count]:
            raise BigQueryError("invalid", f"Missing required field: {absent[0]}")


def _kept(reference: Reference, config: Resource, default: str) -> bool:
    """Whether the destination's schema stays as it is."""
    if reference != plain(reference):
        return True
    truncates = (config.writeDisposition or default) == "WRITE_TRUNCATE"
    return bool(tables.exists(*reference)) and not truncates


def _model(config: Resource) -> Table | None:
    """Schema, and for a copy the layout, that a job gives the table; None if it gives none."""
    if isinstance(config, JobConfigurationLoad) and config.schema_ and config.schema_.fields:
        return Table(schema=config.schema_)
    if isinstance(config, JobConfigurationTableCopy) and config.operationType in (None, "COPY"):
        first = (config.sourceTables or [config.sourceTable])[0]
        source = tables.load(*plain(tables.reference(first)))
        return source.only("schema", "description", *tables.LAYOUT) if source.type == "TABLE" else None
    return None


def load(project_id: str, dataset_id: str, table_id: str) -> Table:
    """Resource of a table, with its rows counted: DuckLake's own count includes rows that a MERGE has replaced."""
    resource: Table = _original["load"](project_id, dataset_id, table_id)
    if resource.type != "TABLE" or not tables.fields(resource) or resource.numRows == "0":
        return resource
    [(rows,)] = database.fetch(f"SELECT count(*) FROM {tables.name(project_id, dataset_id, table_id)}")
    return resource.replace(numRows=str(rows))


def install() -> None:
    """Replace catalog.ddl._fields and _alteration, tables._alter, tables.write and tables.load."""
    require(catalog_ddl, "_parameters")
    replace(catalog_ddl, "_fields", described_fields)
    _original["alteration"] = replace(catalog_ddl, "_alteration", alteration)
    _original["alter"] = replace(tables, "_alter", alter)
    _original["write"] = replace(tables, "write", write)
    _original["load"] = replace(tables, "load", load)
