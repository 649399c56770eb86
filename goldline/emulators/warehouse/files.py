"""DuckDB's SQL that reads the files of an external table as they are at this moment."""

import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

import duckdb
from local_bigquery.catalog import names
from local_bigquery.engine import types
from local_bigquery.engine.database import quote
from local_bigquery.errors import DUCKDB_PREFIX, BigQueryError
from local_bigquery.jobs import load
from local_bigquery.jobs.storage import literal

from goldline.emulators.warehouse import objects
from goldline.emulators.warehouse.upstream import Connection, Field, Reference, Resource

FILE_NAME = "_FILE_NAME"
JSON_FORMATS = ("NEWLINE_DELIMITED_JSON", "JSON")
FORMATS = ("PARQUET", "CSV", *JSON_FORMATS)
# DuckDB's default of 2 MB is too little for a raw line. A buffer must hold a line, and each thread has several.
MAX_LINE_BYTES = 32 * 1024 * 1024
# DuckDB reads '1.5' as the integer 2, BigQuery refuses it.
WHOLE_NUMBER = r"\s*[+-]?[0-9]+\s*"
HIVE_KEY = re.compile(r"\{(\w+):(\w+)\}")
HIVE_VALUE = re.compile(r"([^/=]+)=([^/]*)(?=/)")
HIVE_KINDS = {"DATE": r"\d{4}-\d\d-\d\d", "INTEGER": r"-?\d{1,18}"}


def failure(reference: Reference, message: str) -> str:
    """BigQuery's error text for a file that it cannot read."""
    return f"Error while reading table: {'.'.join(filter(None, reference))}, error message: {message}"


def expand(config: Resource, reference: Reference) -> list[str]:
    """URIs of the objects that match the table's URIs; an error, as in BigQuery, where one matches none."""
    found: list[str] = []
    for uri in config.sourceUris or []:
        matched = objects.matching(uri)
        if not matched and "*" not in uri:
            raise BigQueryError("notFound", f"Not found: Files {uri}")
        if not matched:
            label = names.label(*reference)
            what = f"Failed to expand table {label} with file pattern {uri}: matched no files. File: {uri}"
            raise BigQueryError("invalid", failure(reference, what))
        found += matched
    return list(dict.fromkeys(found))


def partition_keys(hive: Resource | None, uris: list[str]) -> list[Field]:
    """Columns from the names of folders: declared as `{key:TYPE}`, else with types inferred from their values."""
    if not hive:
        return []
    prefix = hive.sourceUriPrefix or ""
    if declared := HIVE_KEY.findall(prefix):
        return [_field(key, kind.upper()) for key, kind in declared]
    values: dict[str, set[str]] = {}
    for uri in uris:
        for key, value in HIVE_VALUE.findall(uri.removeprefix(prefix)):
            values.setdefault(key, set()).add(urllib.parse.unquote(value))
    return [_field(key, "STRING" if hive.mode == "STRINGS" else _kind(seen)) for key, seen in values.items()]


def _kind(values: set[str]) -> str:
    fitting = (kind for kind, form in HIVE_KINDS.items() if all(re.fullmatch(form, value) for value in values))
    return next(fitting, "STRING")


def _field(name: str, kind: str) -> Field:
    return Field(name=name, type=kind, mode="NULLABLE")


def infer(cur: Connection, config: Resource, reference: Reference, uris: list[str], keys: list[Field]) -> list[Field]:
    """Schema inferred from the files, for a table that declares none."""
    if config.sourceFormat == "CSV":
        raise BigQueryError("notImplemented", "A CSV external table needs a declared schema here")
    if config.sourceFormat == "PARQUET":
        reader = _parquet(uris, keys)
    else:
        extra = _options(_common(config, keys))
        reader = f"read_json({_list(uris)}, format = 'newline_delimited', union_by_name = true{extra})"
    try:
        found = cur.sql(f"SELECT * FROM {reader} LIMIT 0")
    except duckdb.Error as error:
        raise BigQueryError("invalid", failure(reference, _message(error))) from error
    hidden = {FILE_NAME.casefold(), *(key.name.casefold() for key in keys)}
    columns = zip(found.columns, found.types, strict=True)
    fields = [types.field(name, kind) for name, kind in columns if name.casefold() not in hidden]
    if config.sourceFormat == "PARQUET":
        return fields
    return [field.replace(type="TIMESTAMP") if field.type == "DATETIME" else field for field in fields]


@dataclass(frozen=True)
class Scan:
    """Files of one external table, as one statement reads them."""

    reference: Reference
    config: Resource
    fields: list[Field]
    keys: list[Field]
    uris: list[str]

    def sql(self, file_name: bool) -> str:
        """SELECT of the rows, with `_FILE_NAME` if `file_name` is true."""
        if self.config.sourceFormat == "PARQUET":
            source, values, where = self._parquet_rows()
        elif self.config.sourceFormat == "CSV":
            source, values, where = self._csv_rows()
        else:
            source, values, where = self._json_rows()
        values += [quote(key.name) for key in self.keys]
        values += [FILE_NAME] if file_name else []
        return f"SELECT {', '.join(values)} FROM {source} WHERE {' AND '.join(where) or 'true'}"

    def _parquet_rows(self) -> tuple[str, list[str], list[str]]:
        # The empty side gives the columns that no file has. A Parquet LIST is always read as a plain ARRAY: that is
        # BigQuery with enable_list_inference, and without it BigQuery gives STRUCT<list ARRAY<STRUCT<element T>>>.
        nothing = ", ".join(f"CAST(NULL AS {types.duckdb_type(f)}) AS {quote(f.name)}" for f in self.fields)
        both = f"SELECT {nothing} WHERE false UNION ALL BY NAME SELECT * FROM {_parquet(self.uris, self.keys)}"
        values = [f"CAST({quote(f.name)} AS {types.duckdb_type(f)}) AS {quote(f.name)}" for f in self.fields]
        return f"({both})", values, []

    def _csv_rows(self) -> tuple[str, list[str], list[str]]:
        options = _csv(self.config, self.fields) | _common(self.config, self.keys)
        source = f"read_csv({_list(self.uris)}{_options(options)})"
        values, where = [], []
        for position, field in enumerate(self.fields):
            column = quote(field.name)
            typed = _typed(column, field)
            name, kind = types.bigquery_type(field), f" for field {field.name} (position {position})"
            message = f"'Could not parse ''' || {column} || {literal(f"' as {name}{kind}")}"
            value, kept = self._checked(f"{column} IS NOT NULL AND {typed} IS NULL", typed, message)
            values.append(f"{value} AS {column}")
            where += kept
        return source, values, where

    def _json_rows(self) -> tuple[str, list[str], list[str]]:
        shape = json.dumps({f.name: "JSON" for f in self.fields})
        known = f"[{', '.join(literal(f.name) for f in self.fields)}]"
        unknown = f"list_filter(json_keys(json), lambda k: NOT list_contains({known}, k))"
        extra = ", ".join([FILE_NAME, *(quote(key.name) for key in self.keys)])
        options = _options({"format": "'newline_delimited'"} | _common(self.config, self.keys))
        source = (
            f"(SELECT unnest(from_json(json, {literal(shape)})), {extra}, {unknown} AS __unknown "
            f"FROM read_json_objects({_list(self.uris)}{options}) WHERE json IS NOT NULL)"
        )
        values, where = [], []
        for field in self.fields:
            column, typed = quote(field.name), _json_typed(field)
            bad = f"{column} IS NOT NULL AND json_type({column}) <> 'NULL' AND {typed} IS NULL"
            message = literal(f"JSON parsing error: Could not convert value. Field: {field.name}; Value: ")
            value, kept = self._checked(bad, typed, f"{message} || CAST({column} AS VARCHAR)")
            values.append(f"{value} AS {column}")
            where += kept
        if not self.config.ignoreUnknownValues:
            message = "'JSON parsing error: No such field: ' || __unknown[1]"
            value, kept = self._checked("len(__unknown) > 0", "true", message)
            where.append(value)
            where += kept
        return source, values, where

    def _checked(self, bad: str, value: str, message: str) -> tuple[str, list[str]]:
        """SQL of a value that fails the query where it is bad; with max_bad_records, a condition that drops the row.

        BigQuery fails when more rows are bad than max_bad_records; here any number above 0 allows all.
        """
        if self.config.maxBadRecords:
            return value, [f"NOT coalesce({bad}, false)"]
        text = f"{literal(failure(self.reference, ''))} || {message} || ' File: ' || {FILE_NAME}"
        return f"CASE WHEN {bad} THEN error({text}) ELSE {value} END", []

    def explain(self, cur: Connection, error: duckdb.Error) -> BigQueryError | None:
        """BigQuery's error in place of DuckDB's, if one of these files caused it; else None."""
        message = _message(error)
        if "Error while reading table" in message:
            return BigQueryError("invalid", message)
        named = next((uri for uri in self.uris if uri in str(error) or _path(uri) in str(error)), None)
        if named is None and self.config.sourceFormat == "PARQUET":
            named = self._unreadable(cur)
        if named is None:
            return None
        return BigQueryError("invalid", failure(self.reference, f"{message} File: {named}"))

    def _unreadable(self, cur: Connection) -> str | None:
        """URI of the Parquet file that cannot be read, by trying each: DuckDB does not always name it."""
        for uri in self.uris:
            try:
                cur.execute(f"SELECT count(COLUMNS(*)) FROM read_parquet({literal(uri)}, hive_partitioning = false)")
            except (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException):
                return uri
        return None


def _parquet(uris: list[str], keys: list[Field]) -> str:
    return f"read_parquet({_list(uris)}, union_by_name = true{_options(_hive(keys))})"


def _csv(config: Resource, fields: list[Field]) -> dict[str, str]:
    # Laxer than BigQuery: newlines inside quotes are read whether or not allow_quoted_newlines is set.
    given = config.csvOptions
    quoting = '"' if given is None or given.quote is None else given.quote
    jagged, skip = bool(given and given.allowJaggedRows), int((given and given.skipLeadingRows) or 0)
    return {
        "columns": load._struct(fields, lambda _: "VARCHAR"),
        "auto_detect": "false",
        "header": "false",
        "skip": str(skip),
        "delim": literal((given and given.fieldDelimiter) or ","),
        "quote": literal(quoting),
        "escape": literal(quoting),
        "nullstr": literal((given and given.nullMarker) or ""),
        # An empty field is NULL, a quoted empty one is ''.
        "allow_quoted_nulls": "false",
        "null_padding": str(jagged).lower(),
        "parallel": str(not jagged).lower(),  # DuckDB cannot pad in parallel
        "max_line_size": str(MAX_LINE_BYTES),
        "buffer_size": str(2 * MAX_LINE_BYTES),
    }


def _common(config: Resource, keys: list[Field]) -> dict[str, str]:
    options = _hive(keys)
    if config.compression == "GZIP":  # else known by the suffix .gz
        options["compression"] = "'gzip'"
    if config.maxBadRecords:
        options["ignore_errors"] = "true"
    return options


def _hive(keys: list[Field]) -> dict[str, str]:
    options = {"filename": literal(FILE_NAME), "hive_partitioning": str(bool(keys)).lower()}
    if keys:
        options |= {"hive_types_autocast": "false", "hive_types": load._struct(keys, types.duckdb_type)}
    return options


def _options(options: dict[str, str]) -> str:
    return "".join(f", {name} = {value}" for name, value in options.items())


def _list(uris: list[str]) -> str:
    return f"[{', '.join(map(literal, uris))}]"


def _path(uri: str) -> str:
    return "/" + uri.removeprefix("gs://")


def _message(error: duckdb.Error) -> str:
    """Cause of an error, without the record itself, which may hold personal data."""
    first, *others = str(DUCKDB_PREFIX.sub("", str(error))).strip().splitlines()
    if not first.startswith("CSV Error"):
        return first
    details = [line for line in others[:3] if line and not line.startswith(("Original Line", "Possible", " "))]
    return "; ".join([first, *details])


def _typed(text: str, field: Field) -> str:
    """SQL of a field's value, or NULL where the text is not one."""
    if field.type in ("INTEGER", "INT64"):
        return f"CASE WHEN regexp_full_match({text}, {literal(WHOLE_NUMBER)}) THEN TRY_CAST({text} AS BIGINT) END"
    if field.type == "BYTES":
        return f"TRY(from_base64({text}))"
    if field.type == "STRING":
        return text
    return f"TRY_CAST({text} AS {types.duckdb_type(field)})"


def _json_typed(field: Field) -> str:
    column = quote(field.name)
    if field.type in ("RECORD", "STRUCT") or field.mode == "REPEATED":
        # Bytes are base64 text, also in nested fields: read all as text first, then decode.
        value = f"TRY(from_json({column}, {literal(json.dumps(_json_shape(field)))}))"
        value = load._decoded(f"CAST({value} AS {types.duckdb_type(load._textual(field))})", field)
        return f"CAST({value} AS {types.duckdb_type(field)})"
    return column if field.type == "JSON" else _typed(f"({column} ->> '$')", field)


def _json_shape(field: Field) -> object:
    inner: Any = {child.name: _json_shape(child) for child in field.fields or []}
    inner = inner or types.duckdb_type(load._textual(field.replace(mode="NULLABLE")))
    return [inner] if field.mode == "REPEATED" else inner
