"""Partition decorators: `table$20261121` in jobs, in tabledata.list and in tables.get and delete."""

import contextlib
import datetime
import re
from dataclasses import dataclass
from typing import Any

from local_bigquery.catalog import metadata, names, tabledata, tables
from local_bigquery.engine import database, results
from local_bigquery.engine.database import quote
from local_bigquery.errors import BigQueryError, already_exists, not_found
from local_bigquery.jobs import copy, runner
from local_bigquery.jobs import extract as extract_jobs
from local_bigquery.models import JobConfigurationTableCopy, JobStatistics4
from local_bigquery.sql import rules
from sqlglot import exp

from goldline.emulators.warehouse.upstream import (
    Answer,
    Connection,
    Context,
    Field,
    Reference,
    Resource,
    Table,
    replace,
    require,
)

DECORATOR = re.compile(r"^(.+)\$(\d{4}|\d{6}|\d{8}|\d{10})$")
UNITS = {4: ("YEAR", "%Y"), 6: ("MONTH", "%Y%m"), 8: ("DAY", "%Y%m%d"), 10: ("HOUR", "%Y%m%d%H")}
STAGE = "temp.main.__partition"

_original: dict[str, Any] = {}


@dataclass(frozen=True)
class Partition:
    """One partition of a table: the SQL of its first moment, and `unit` for its length, such as DAY."""

    base: Reference
    label: str
    column: str
    start: str
    unit: str

    @property
    def ingestion_time(self) -> bool:
        """Whether the table is partitioned by ingestion time, not by one of its own columns."""
        return self.column == str(tables.INGESTION_TIME)

    @property
    def condition(self) -> str:
        """SQL that is true for the partition's rows."""
        bounds = [self.start, f"{self.start} + INTERVAL 1 {self.unit}"]
        if self.ingestion_time:
            bounds = [f"CAST({bound} AS TIMESTAMPTZ)" for bound in bounds]
        return f"{quote(self.column)} >= ({bounds[0]}) AND {quote(self.column)} < ({bounds[1]})"

    @property
    def source(self) -> str:
        """SQL of the partition's rows, for a FROM."""
        return f"(SELECT * FROM {tables.name(*self.base)} WHERE {self.condition})"


def find(reference: Reference, config: Resource = None) -> Partition | None:
    """Partition of a decorated name; None for a plain one. `config` may hold the layout of a table yet to be made."""
    if not (match := DECORATOR.match(reference[2])):
        return None
    base, (unit, form) = (*reference[:2], match[1]), UNITS[len(match[2])]
    stored = metadata.load(Table, *base)
    layout = (stored and stored.timePartitioning) or getattr(config, "timePartitioning", None)
    if not stored and not layout:
        raise not_found("Table", names.label(*base))
    if not layout or (layout.type or "DAY") != unit:
        raise BigQueryError("invalid", f"Invalid partition decorator ${match[2]} for table {names.label(*base)}")
    try:
        moment = datetime.datetime.strptime(match[2], form)
    except ValueError:
        raise BigQueryError("invalid", f"Invalid partition decorator ${match[2]}") from None
    column = layout.field or tables.INGESTION_TIME
    return Partition(base, names.label(*reference), column, f"TIMESTAMP '{moment}'", unit)


def physical(project_id: str, dataset_id: str, table_id: str) -> Answer:
    """Place where a table is stored; a decorated name is stored in its table."""
    match = DECORATOR.match(table_id)
    return _original["physical"](project_id, dataset_id, match[1] if match else table_id)


def refuse_in_sql(tree: exp.Expr, context: Context) -> exp.Expr:
    """SQL rule: refuse decorators, which GoogleSQL does not have; unrefused, they would read the whole table."""
    for table in tree.find_all(exp.Table):
        if DECORATOR.match(table.name):
            written = ".".join(part for part in (table.db, table.name) if part)
            raise BigQueryError("invalidQuery", f'Table "{written}" cannot include decorator')
    return tree


def write(
    cur: Connection,
    sql: str,
    params: object,
    reference: Reference,
    config: Resource,
    default: str = "WRITE_EMPTY",
    prefix: str = "Invalid schema update. ",
    isolated: bool = False,
) -> Answer:
    """Write the rows of a query, load or copy job; with a decorator, into that partition alone."""
    if not (partition := find(reference, config)):
        return _original["write"](cur, sql, params, reference, config, default, prefix, isolated)
    if isinstance(config, JobConfigurationTableCopy):
        _check_copy(partition, config)
    if partition.ingestion_time:
        others = f"COLUMNS(name -> name <> '{partition.column}')"
        sql = f"SELECT {others}, CAST({partition.start} AS TIMESTAMPTZ) AS {quote(partition.column)} FROM ({sql})"
    cur.execute(f"CREATE OR REPLACE TEMP TABLE {STAGE} AS {sql}", params)
    try:
        _check_rows(cur, partition)
        if not tables.exists(*partition.base):
            rows = f"SELECT * FROM {STAGE}"
            return _original["write"](cur, rows, None, partition.base, config, default, prefix, isolated)
        _replace_rows(cur, partition, config, config.writeDisposition or default, prefix, isolated)
        return False
    finally:
        cur.execute(f"DROP TABLE IF EXISTS {STAGE}")


def _check_rows(cur: Connection, partition: Partition) -> None:
    [(strangers,)] = cur.sql(f"SELECT count(*) FROM {STAGE} WHERE ({partition.condition}) IS NOT TRUE").fetchall()
    if strangers:
        what = "Some rows belong to different partitions rather than destination partition"
        raise BigQueryError("invalid", f"{what} {partition.label.rsplit('$', 1)[-1]}")


def _replace_rows(
    cur: Connection, partition: Partition, config: Resource, disposition: str, prefix: str, isolated: bool
) -> None:
    table, base = tables.name(*partition.base), partition.base
    writing = database.cursor() if isolated else contextlib.nullcontext(cur)
    with database.writing(*base), writing as writer:
        occupied = f"SELECT 1 FROM {table} WHERE {partition.condition} LIMIT 1"
        if disposition == "WRITE_EMPTY" and cur.sql(occupied).fetchall():
            raise already_exists("Table", partition.label)
        writer.execute("BEGIN")
        try:
            if disposition.startswith("WRITE_TRUNCATE"):
                writer.execute(f"DELETE FROM {table} WHERE {partition.condition}")
            visible = f"SELECT * EXCLUDE ({quote(partition.column)})" if partition.ingestion_time else "SELECT *"
            staged = cur.sql(f"{visible} FROM {STAGE}")
            tables.evolve(writer, base, staged, getattr(config, "schemaUpdateOptions", None), prefix)
            rows = f"SELECT * FROM {STAGE}"
            results.materialise(cur, rows, table, None, True, writer if isolated else None)
            writer.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(Exception):  # a failed COMMIT has ended it
                writer.execute("ROLLBACK")
            raise


def _check_copy(partition: Partition, config: Resource) -> None:
    """Require equal partitioning and no looser schema for a copy, as BigQuery does; upstream copies whatever fits."""
    if not tables.exists(*partition.base):
        return
    destination = tables.load(*partition.base)
    for given in config.sourceTables or [config.sourceTable]:
        reference = tables.reference(given)
        source = tables.load(*plain(reference))
        if (theirs := _specification(source)) != (ours := _specification(destination)):
            raise BigQueryError(
                "invalid",
                "Incompatible table partitioning specification. Destination table exists with partitioning "
                f"specification {ours}, but transfer target partitioning specification is {theirs}. Please retry "
                "after updating either the destination table or transfer partitioning specification.",
            )
        _check_schema(names.label(*partition.base), tables.fields(source), tables.fields(destination))


def _specification(table: Table) -> str:
    layout = table.timePartitioning
    if not layout:
        return "none"
    field = f",field:{layout.field}" if layout.field else ""
    return f"interval(type:{(layout.type or 'DAY').lower()}{field})"


def _check_schema(label: str, source: list[Field], destination: list[Field]) -> None:
    theirs = {field.name.casefold(): field for field in source}
    for field in destination:
        if (given := theirs.get(field.name.casefold())) is None:
            problem = f"Field {field.name} is missing in new schema"
        elif given.type != field.type:
            problem = f"Field {field.name} has changed type from {field.type} to {given.type}"
        elif (given.mode != field.mode and "REPEATED" in (given.mode, field.mode)) or _loosened(given, field):
            problem = f"Field {field.name} has changed mode from {field.mode} to {given.mode}"
        else:
            continue
        raise BigQueryError("invalid", f"Provided Schema does not match Table {label}. {problem}")


def _loosened(given: Field, field: Field) -> bool:
    return bool(field.mode == "REQUIRED" and given.mode != "REQUIRED")


def plain(reference: Reference) -> Reference:
    """Reference of the table, without a decorator."""
    match = DECORATOR.match(reference[2])
    return (*reference[:2], match[1] if match else reference[2])


def annotate(reference: Reference, changes: Table) -> None:
    """Store metadata under the plain name; under a decorated name it would look like another table."""
    _original["annotate"](plain(reference), changes)


def copy_source(reference: Reference) -> Answer:
    """SQL source of a copy job: a partition or a table."""
    partition = find(reference)
    return partition.source if partition else _original["copy_source"](reference)


def extract(cur: Connection, config: Resource, upload: object) -> Answer:
    """Extract a partition, where upstream would write out the whole table."""
    partition = config.sourceTable and find(tables.reference(config.sourceTable))
    if not partition:
        return _original["extract"](cur, config, upload)
    hidden = f" EXCLUDE ({quote(partition.column)})" if partition.ingestion_time else ""
    extract_jobs.write(cur, f"SELECT *{hidden} FROM {partition.source}", {}, config)
    counts = ["1" for _ in extract_jobs._uris(config)]
    return JobStatistics4(destinationUriFileCounts=counts, inputBytes="0")


def list_rows(
    project_id: str,
    dataset_id: str,
    table_id: str,
    max_results: int | None,
    start: int,
    selected: str | None,
    int64_timestamps: bool,
) -> Answer:
    """Rows of a partition or a table, for the API's tabledata.list."""
    reference = (project_id, dataset_id, table_id)
    if not (partition := find(reference)):
        return _original["list_rows"](*reference, max_results, start, selected, int64_timestamps)
    wanted = [name.strip() for name in (selected or "").casefold().split(",") if name.strip()]
    fields = [field for field in tables.columns(*partition.base) if not wanted or field.name.casefold() in wanted]
    # results.page puts this after FROM and orders by rowid, which a subquery does not have.
    source = f"{tables.name(*partition.base)} WHERE {partition.condition}"
    with database.cursor() as cur:
        chosen = [field.name.casefold() for field in fields]
        return results.page(cur, source, max_results, start, chosen, int64_timestamps), fields


def get(project_id: str, dataset_id: str, table_id: str, *others: object) -> Answer:
    """Resource of a table, with the partition's number of rows if one is named, for the API's tables.get."""
    reference = (project_id, dataset_id, table_id)
    if not (partition := find(reference)):
        return _original["get"](*reference, *others)
    resource = _original["get"](*partition.base, *others)
    [(rows,)] = database.fetch(f"SELECT count(*) FROM {partition.source}")
    size = str(tables.logical_bytes(rows, len(tables.fields(resource))))
    return resource.replace(id=partition.label, numRows=str(rows), numBytes=size)


def delete(project_id: str, dataset_id: str, table_id: str) -> None:
    """Delete a table, or a partition's rows alone, for the API's tables.delete."""
    reference = (project_id, dataset_id, table_id)
    if not (partition := find(reference)):
        _original["delete"](*reference)
        return
    with database.writing(*partition.base):
        database.execute(f"DELETE FROM {tables.name(*partition.base)} WHERE {partition.condition}")


def refuse(project_id: str, dataset_id: str, table_id: str) -> None:
    """Refuse a decorator where it is not emulated: upstream would change the whole table or make a phantom one."""
    if DECORATOR.match(table_id):
        raise BigQueryError("invalid", f"Table decorators cannot be used here: {table_id}")


def update(project_id: str, dataset_id: str, table_id: str, *others: object) -> Answer:
    """Refuse decorators in the API's tables.update and tables.patch."""
    refuse(project_id, dataset_id, table_id)
    return _original["update"](project_id, dataset_id, table_id, *others)


def insert_all(project_id: str, dataset_id: str, table_id: str, body: Resource) -> Answer:
    """Refuse decorators in the API's tabledata.insertAll."""
    refuse(project_id, dataset_id, table_id)
    return _original["insert_all"](project_id, dataset_id, table_id, body)


def install() -> None:
    """Replace upstream's functions that read, write, copy, extract and delete tables; add a SQL rule."""
    require(extract_jobs, "_uris")
    rules.STATEMENT_RULES.insert(0, refuse_in_sql)
    for name, new in (("physical", physical), ("write", write), ("delete", delete), ("get", get), ("update", update)):
        _original[name] = replace(tables, name, new)
    _original["annotate"] = replace(tables, "annotate", annotate)
    _original["list_rows"] = replace(tabledata, "list_rows", list_rows)
    _original["insert_all"] = replace(tabledata, "insert_all", insert_all)
    _original["copy_source"] = replace(copy, "_source", copy_source)
    _original["extract"] = runner.HANDLERS["extract"]
    runner.HANDLERS["extract"] = extract
