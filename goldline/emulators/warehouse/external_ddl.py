"""Statements CREATE and DROP EXTERNAL TABLE, which neither sqlglot nor upstream knows."""

import re
from typing import Any

import sqlglot
from local_bigquery.catalog import ddl as catalog_ddl
from local_bigquery.catalog import metadata, names, options, tables
from local_bigquery.errors import BigQueryError
from local_bigquery.jobs import query
from local_bigquery.models import JobStatistics2
from local_bigquery.sql import script
from local_bigquery.sql.dialect import BigQueryDialect
from local_bigquery.sql.rules import strings
from sqlglot import exp

from goldline.emulators.warehouse import external
from goldline.emulators.warehouse.upstream import Answer, Connection, Context, Resource, Table, replace, require

STATEMENT = re.compile(
    r"^\s*(CREATE|DROP)\s+(OR\s+REPLACE\s+)?EXTERNAL\s+TABLE\s+(IF\s+(?:NOT\s+)?EXISTS\s+)?(.*?);?\s*$",
    re.IGNORECASE | re.DOTALL,
)
PARTITION_COLUMNS = re.compile(r"\bWITH\s+PARTITION\s+COLUMNS\b\s*(\([^()]*\))?", re.IGNORECASE)
CONNECTION = re.compile(r"\bWITH\s+CONNECTION\s+\S+", re.IGNORECASE)
# Names in the API's resource of the statement's options.
CONFIG = {
    "uris": "sourceUris",
    "ignore_unknown_values": "ignoreUnknownValues",
    "max_bad_records": "maxBadRecords",
    "compression": "compression",
}
CSV = {
    "allow_jagged_rows": "allowJaggedRows",
    "allow_quoted_newlines": "allowQuotedNewlines",
    "encoding": "encoding",
    "field_delimiter": "fieldDelimiter",
    "null_marker": "nullMarker",
    "preserve_ascii_control_characters": "preserveAsciiControlCharacters",
    "quote": "quote",
    "skip_leading_rows": "skipLeadingRows",
}
PARQUET = {"enable_list_inference": "enableListInference", "enum_as_string": "enumAsString"}
HIVE = ("hive_partition_uri_prefix", "require_hive_partition_filter")
OTHERS = ("format", *HIVE, *options.TABLE_OPTIONS)

_original: dict[str, Any] = {}


def parse(sql: str) -> list[exp.Expr]:
    """Parse these statements as a Command, which keeps their text; upstream parses the others."""
    if STATEMENT.match(sql):
        verb, rest = sql.split(None, 1)
        return [exp.Command(this=verb.upper(), expression=f" {rest}")]
    trees: list[exp.Expr] = _original["parse"](sql)
    return trees


def run(cur: Connection, tree: exp.Expr, context: Context, *others: object) -> Answer:
    """Run a CREATE or DROP EXTERNAL TABLE; upstream runs the others."""
    text = f"{tree.this} {tree.text('expression')}" if isinstance(tree, exp.Command) else ""
    if not (match := STATEMENT.match(text)):
        return _original["run"](cur, tree, context, *others)
    _, _, dry_run, _ = others
    return _run(cur, match, context, bool(dry_run))


def _run(cur: Connection, match: re.Match[str], context: Context, dry_run: bool) -> Resource:
    verb, replaces, exists, rest = match.groups()
    plain = CONNECTION.sub("", PARTITION_COLUMNS.sub("", rest))
    ddl = sqlglot.parse_one(f"CREATE TABLE {plain}", dialect=BigQueryDialect)
    reference = names.reference(ddl.find(exp.Table), context.project_id, context.dataset_id)
    found, drop = tables.exists(*reference), verb.upper() == "DROP"
    label = names.label(*reference)
    if drop and found and not external.definition(reference):
        raise BigQueryError("invalidQuery", f"{label} is not an external table. Use DROP TABLE")
    outcome = metadata.outcome("Table", label, found, drop, bool(exists), bool(replaces))
    target = dict(zip(("projectId", "datasetId", "tableId"), reference, strict=True))
    if not dry_run and outcome != "SKIP":
        body = None if drop else external.described(cur, reference, _resource(cur, ddl, rest, target, context))
        if found:
            tables.delete(*reference)
        if body:
            external.store(reference[0], reference[1], body)
    performed = {"ddlOperationPerformed": outcome, "ddlTargetTable": target}
    return JobStatistics2.model_validate({"statementType": f"{verb.upper()}_EXTERNAL_TABLE"} | performed)


def _resource(cur: Connection, ddl: exp.Expr, rest: str, target: dict[str, str], context: Context) -> Table:
    """Body of a tables.insert request for the statement."""
    properties = ddl.args.get("properties")
    evaluate = query._evaluator(cur)
    given = _given(properties, evaluate)
    form = str(given.get("format", "")).upper()
    config: dict[str, Any] = {key: given[name] for name, key in CONFIG.items() if name in given}
    config["sourceFormat"] = "NEWLINE_DELIMITED_JSON" if form == "JSON" else form
    for group, mapping in (("csvOptions", CSV), ("parquetOptions", PARQUET)):
        if values := {key: given[name] for name, key in mapping.items() if name in given}:
            config[group] = values
    columns = _columns(cur, ddl, context, evaluate)
    config |= {"schema": {"fields": columns}} if columns else {"autodetect": True}
    if hive := _hive(cur, given, rest, context):
        config["hivePartitioningOptions"] = hive
    extras = options.options(properties, options.TABLE_OPTIONS, evaluate)
    return Table.model_validate({"tableReference": target, "externalDataConfiguration": config} | extras)


def _given(properties: exp.Expr | None, evaluate: options.Evaluate) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for prop in properties.expressions if properties else []:
        generic = type(prop) is exp.Property
        name = prop.name.lower() if generic else "format"
        if name not in {*CONFIG, *CSV, *PARQUET, *OTHERS}:
            raise BigQueryError("invalidQuery", f"Unknown option: {name}")
        if name not in options.TABLE_OPTIONS:  # upstream reads these itself
            value = (prop.args["value"] if generic else prop.this).copy()
            # Escapes, as in the delimiter '\x01', are still as they were written.
            given[name] = evaluate(value.transform(strings.string_escapes, None))
    return given


def _columns(cur: Connection, ddl: exp.Expr, context: Context, evaluate: options.Evaluate) -> list[dict[str, Any]]:
    if not isinstance(ddl.this, exp.Schema):
        return []
    extras = {extra["name"].casefold(): extra for extra in catalog_ddl._fields(ddl.this, evaluate)}
    fields = [field.dump() for field in query._declared_schema(cur, ddl, context)]
    return [extras.get(field["name"].casefold(), {}) | field for field in fields]


def _hive(cur: Connection, given: dict[str, Any], rest: str, context: Context) -> dict[str, Any] | None:
    prefix = given.get("hive_partition_uri_prefix")
    if prefix is None:
        return None
    mode = "AUTO"
    declared = next((match[1] for match in PARTITION_COLUMNS.finditer(rest)), None)
    if declared:
        columns = sqlglot.parse_one(f"CREATE TABLE x {declared}", dialect=BigQueryDialect)
        keys = query._declared_schema(cur, columns, context)
        mode, prefix = "CUSTOM", "/".join([prefix.rstrip("/"), *(f"{{{key.name}:{key.type}}}" for key in keys)])
    required = bool(given.get("require_hive_partition_filter"))
    return {"mode": mode, "sourceUriPrefix": prefix, "requirePartitionFilter": required}


def install() -> None:
    """Replace script.parse and query._run."""
    require(query, "_evaluator", "_declared_schema")
    require(catalog_ddl, "_fields")
    _original["parse"] = replace(script, "parse", parse)
    _original["run"] = replace(query, "_run", run)
