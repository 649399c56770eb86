"""External tables: an empty stub table holds the schema; a query reads the files as they are at that moment."""

from typing import Any

import duckdb
import sqlglot
from local_bigquery.api import tables as tables_api
from local_bigquery.catalog import datasets, metadata, names, tabledata, tables
from local_bigquery.engine import database
from local_bigquery.errors import BigQueryError, already_exists
from local_bigquery.jobs import copy, load, query, runner
from local_bigquery.sql import rules
from local_bigquery.sql.dialect import BigQueryDialect, DuckDBDialect
from local_bigquery.sql.rules import typing as typing_rules
from local_bigquery.sql.rules.tables import resolve
from local_bigquery.sql.translate import parse, translate
from sqlglot import exp

from goldline.emulators.warehouse import files
from goldline.emulators.warehouse.files import FILE_NAME, Scan
from goldline.emulators.warehouse.upstream import (
    Answer,
    Connection,
    Context,
    Reference,
    Resource,
    Table,
    replace,
    require,
)

# Keys in a statement's Context.system. SCANS: the files that it reads, so that an error can name its file.
# STUBS: set for the text of a view, whose names stay names: else the view would freeze today's list of files.
# TEMPORARY: the job's own external tables, by name (`tableDefinitions`).
SCANS, STUBS, TEMPORARY = "goldline.scans", "goldline.stubs", "goldline.temporary"
MOST_VIEWS_DEEP = 16  # as in BigQuery

_original: dict[str, Any] = {}


def definition(reference: Reference) -> Resource | None:
    """Configuration of an external table; None for another table, and for none."""
    stored = metadata.load(Table, *reference)
    return stored and stored.externalDataConfiguration


def refuse(reference: Reference) -> None:
    """Refuse an external table, where BigQuery allows native tables only."""
    if definition(reference):
        label = names.label(*reference)
        what = "is not allowed for this operation because it is currently an EXTERNAL table."
        raise BigQueryError("invalid", f"{label} {what}")


def described(cur: Connection, reference: Reference, body: Resource) -> Resource:
    """Resource of a new external table as BigQuery returns it, with the schema and partition keys filled in."""
    config = body.externalDataConfiguration
    _check(config)
    fields = (config.schema_ and config.schema_.fields) or tables.fields(body)
    hive = config.hivePartitioningOptions
    uris = files.expand(config, reference) if hive or not fields else []
    keys = files.partition_keys(hive, uris)
    fields = fields or files.infer(cur, config, reference, uris, keys)
    own = {key.name.casefold() for key in keys}
    columns = [field.dump() for field in [*(f for f in fields if f.name.casefold() not in own), *keys]]
    if hive:
        config = config.replace(hivePartitioningOptions=hive.replace(fields=[key.name for key in keys]))
    schema = {"fields": columns}
    return body.replace(type="EXTERNAL", schema=schema, externalDataConfiguration=config.replace(schema=schema))


def _check(config: Resource) -> None:
    if config.sourceFormat not in files.FORMATS:
        raise BigQueryError("notImplemented", f"External tables of format {config.sourceFormat} are not emulated")
    if not config.sourceUris:
        raise BigQueryError("invalid", "Required parameter is missing: sourceUris")


def create(project_id: str, dataset_id: str, body: Resource, translate_view: object) -> Table:
    """Create a table, also an external one, for the API's tables.insert."""
    if body.externalDataConfiguration and body.tableReference:
        reference = (project_id, dataset_id, body.tableReference.tableId)
        datasets.get(project_id, dataset_id)
        if tables.exists(*reference):
            raise already_exists("Table", names.label(*reference))
        with database.cursor() as cur:
            body = described(cur, reference, body)
    return store(project_id, dataset_id, body, translate_view)


def store(project_id: str, dataset_id: str, body: Resource, translate_view: object = None) -> Table:
    """Create a table from its complete resource."""
    return _original["create"](project_id, dataset_id, body, translate_view)


class Raw(exp.Expression):
    """DuckDB's SQL in a tree, which the rules for BigQuery's SQL must not change."""

    arg_types = {"this": True}  # noqa: RUF012 (sqlglot's own way)


def expand_views(tree: exp.Expr, context: Context) -> exp.Expr:
    """First SQL rule: a view over an external table is replaced by its text, as DuckDB's view would read the stub."""
    if not _is_definition(tree) and not context.system.get(STUBS):
        _expand(tree, context, 0)
    return tree


def _expand(tree: exp.Expr, context: Context, depth: int) -> bool:
    """Expand views over external tables; returns whether the tree reads an external table."""
    if depth > MOST_VIEWS_DEEP:
        raise BigQueryError("invalidQuery", f"Views are nested more than {MOST_VIEWS_DEEP} deep")
    ctes = {cte.alias_or_name.casefold() for cte in tree.find_all(exp.CTE)}
    found = False
    for table in list(tree.find_all(exp.Table)):
        reference = resolve(table, context, ctes)
        stored = metadata.load(Table, *reference) if reference else None
        if stored and stored.externalDataConfiguration:
            found = True
        elif stored and stored.view and stored.view.query:
            inner = sqlglot.parse_one(stored.view.query, dialect=BigQueryDialect)
            # Names in a view are resolved in the view's project, not in the reader's.
            if _expand(inner, Context(reference[0], None), depth + 1):
                _qualify(inner, reference[0])
                table.replace(_aliased(inner, table))
                found = True
    return found


def _qualify(view: exp.Expr, project_id: str) -> None:
    for table in view.find_all(exp.Table):
        if table.db and not table.catalog:
            table.set("catalog", exp.to_identifier(project_id, quoted=True))


def _aliased(select: exp.Expr, table: exp.Table) -> exp.Subquery:
    alias = table.args.get("alias")
    name = alias.copy() if alias else exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
    return exp.Subquery(this=select, alias=name)


def _is_definition(tree: exp.Expr) -> bool:
    """Whether a statement names a table without reading it."""
    return isinstance(tree, exp.Drop | exp.Alter | exp.Command) or tree.args.get("kind") == "VIEW"


def read_files(tree: exp.Expr, context: Context) -> exp.Expr:
    """Last SQL rule: each external table is replaced by DuckDB's reader of its files."""
    stubs = bool(context.system.get(STUBS)) or tree.args.get("kind") == "VIEW"
    if isinstance(tree, exp.Drop | exp.Alter | exp.Command):
        return tree
    target = names.target(tree)
    for table in list(tree.find_all(exp.Table)):
        reference = (table.catalog, table.db, table.name)
        if not table.db and (config := context.system.get(TEMPORARY, {}).get(table.name)):
            scan = context.system.setdefault(SCANS, {})[reference] = _temporary_scan(reference, config)
            table.replace(_aliased(Raw(this=scan.sql(_wants_file_name(table))), table))
            continue
        if table is target or not all(reference) or not (config := definition(reference)):
            continue
        if tree.args.get("kind") == "FUNCTION":
            raise BigQueryError("notImplemented", "Functions over external tables are not emulated")
        file_name = _wants_file_name(table)
        if stubs:
            _read_stub(table, file_name)
            continue
        _check_filter(tree, reference, config)
        scan = _scan(reference, config)
        context.system.setdefault(SCANS, {})[reference] = scan
        table.replace(_aliased(Raw(this=scan.sql(file_name)), table))
    return tree


def _scan(reference: Reference, config: Resource) -> Scan:
    hive = config.hivePartitioningOptions
    own = {key.casefold() for key in (hive and hive.fields) or []}
    columns = tables.columns(*reference)
    fields = [field for field in columns if field.name.casefold() not in own]
    keys = [field for field in columns if field.name.casefold() in own]
    return Scan(reference, config, fields, keys, files.expand(config, reference))


def _temporary_scan(reference: Reference, config: Resource) -> Scan:
    _check(config)
    hive = config.hivePartitioningOptions
    uris = files.expand(config, reference)
    keys = files.partition_keys(hive, uris)
    with database.cursor() as cur:
        fields = (config.schema_ and config.schema_.fields) or files.infer(cur, config, reference, uris, keys)
    own = {key.name.casefold() for key in keys}
    return Scan(reference, config, [field for field in fields if field.name.casefold() not in own], keys, uris)


def _read_stub(table: exp.Table, file_name: bool) -> None:
    if file_name:
        select = exp.select("*", f"CAST(NULL AS TEXT) AS {FILE_NAME}").from_(exp.table_(*_parts(table), quoted=True))
        table.replace(_aliased(select, table))


def _parts(table: exp.Table) -> tuple[str, str, str]:
    return table.name, table.db, table.catalog


def _wants_file_name(table: exp.Table) -> bool:
    """Whether the table's SELECT names `_FILE_NAME`; if so, makes its stars leave it out, as it is no column."""
    select = table.find_ancestor(exp.Select)
    if select is None or not any(column.name.upper() == FILE_NAME for column in select.find_all(exp.Column)):
        return False
    for item in select.expressions:
        if isinstance(item, exp.Star):
            _leave_out(item)
        elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star) and item.table == table.alias_or_name:
            _leave_out(item.this)
    return True


def _leave_out(star: exp.Star) -> None:
    star.set("except_", [*(star.args.get("except_") or []), exp.column(FILE_NAME)])


def _check_filter(tree: exp.Expr, reference: Reference, config: Resource) -> None:
    hive = config.hivePartitioningOptions
    if not (hive and hive.requirePartitionFilter):
        return
    used = {column.name.casefold() for where in tree.find_all(exp.Where) for column in where.find_all(exp.Column)}
    if not used & {key.casefold() for key in hive.fields}:
        columns = ", ".join(f"'{key}'" for key in hive.fields)
        raise BigQueryError(
            "invalidQuery",
            f"Cannot query over table '{'.'.join(reference)}' without a filter over column(s) {columns} "
            "that can be used for partition elimination",
        )


def translate_view(project_id: str, dataset_id: str, sql: str) -> str:
    """DuckDB's SQL for the text of a view, over the stub tables."""
    context = Context(project_id, dataset_id, system={STUBS: True})
    text: str = translate(parse(sql)[0], context)[0]
    return text


def schema_of(tree: exp.Expr) -> Answer:
    """Columns from which types are inferred, with `_FILE_NAME` for each external table."""
    schema = _original["schema"](tree)
    for project_id, in_project in schema.items():
        for dataset_id, in_dataset in in_project.items():
            for table_id, columns in in_dataset.items():
                if definition((project_id, dataset_id, table_id)):
                    columns[FILE_NAME] = "STRING"
    return schema


def run(cur: Connection, tree: exp.Expr, context: Context, *others: object) -> Answer:
    """Run a statement: DML on an external table is refused, and errors name the file."""
    config: Resource = others[1]
    context.system[TEMPORARY] = config.tableDefinitions or {}
    context.temporary.update(name.casefold() for name in context.system[TEMPORARY])  # not in the default dataset
    if isinstance(tree, names.DML) and (target := names.target(tree)):
        reference = names.reference(target, context.project_id, context.dataset_id)
        is_temporary = not target.db and target.name in context.system[TEMPORARY]
        if is_temporary or definition(reference):
            label = target.name if is_temporary else ".".join(reference)
            raise BigQueryError("invalidQuery", f"DML over external table {label} is not supported")
    context.system.pop(SCANS, None)
    try:
        return _original["run"](cur, tree, context, *others)
    except duckdb.Error as error:
        for scan in context.system.get(SCANS, {}).values():
            with database.cursor() as other:  # the failed one may be in a transaction
                if explained := scan.explain(other, error):
                    raise explained from error
        raise


def write(
    cur: Connection, sql: str, params: object, reference: Reference, *others: object, **options: object
) -> Answer:
    """Refuse jobs that write to an external table."""
    refuse(reference)
    return _original["write"](cur, sql, params, reference, *others, **options)


def list_rows(project_id: str, dataset_id: str, table_id: str, *others: object) -> Answer:
    """Refuse to list the rows of an external table, which only queries read."""
    if definition((project_id, dataset_id, table_id)):
        raise BigQueryError("invalid", "Cannot list a table of type EXTERNAL.")
    return _original["list_rows"](project_id, dataset_id, table_id, *others)


def extract(cur: Connection, config: Resource, upload: object) -> Answer:
    """Refuse extract jobs of an external table."""
    if config.sourceTable:
        refuse(tables.reference(config.sourceTable))
    return _original["extract"](cur, config, upload)


def copy_source(reference: Reference) -> Answer:
    """Refuse copy jobs of an external table."""
    refuse(reference)
    return _original["copy_source"](reference)


def insert_all(project_id: str, dataset_id: str, table_id: str, body: Resource) -> Answer:
    """Refuse to stream rows into an external table."""
    refuse((project_id, dataset_id, table_id))
    return _original["insert_all"](project_id, dataset_id, table_id, body)


def install() -> None:
    """Replace tables.create and what must refuse an external table; add the first and the last SQL rule."""
    require(load, "_struct", "_decoded", "_textual")
    replace(tables, "STORED_TYPES", (*tables.STORED_TYPES, "EXTERNAL"))
    DuckDBDialect.Generator.TRANSFORMS[Raw] = lambda generator, node: node.args["this"]
    rules.STATEMENT_RULES.insert(0, expand_views)
    rules.STATEMENT_RULES.append(read_files)
    replace(query, "translate_view", translate_view)
    replace(tables_api, "translate_view", translate_view)
    _original["create"] = replace(tables, "create", create)
    _original["schema"] = replace(typing_rules, "_schema", schema_of)
    _original["run"] = replace(query, "_run", run)
    _original["write"] = replace(tables, "write", write)
    _original["list_rows"] = replace(tabledata, "list_rows", list_rows)
    _original["insert_all"] = replace(tabledata, "insert_all", insert_all)
    _original["copy_source"] = replace(copy, "_source", copy_source)
    _original["extract"] = runner.HANDLERS["extract"]
    runner.HANDLERS["extract"] = extract
