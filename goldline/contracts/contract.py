"""Contracts: what a table or a source promises, read from the .yml beside its SELECT.

A contract is the one place where a table's schema stands. BigQuery's schemas and descriptions, the catalog that
ZetaSQL resolves SQL against, the audits, the unit tests and the documentation are all made from it.
"""

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

DATASETS = ("bronze", "silver", "gold", "ops")
LAYER_PREFIXES = ("ext_", "stg_", "dim_", "fct_", "agg_")
# What goldline itself writes beside a source's columns, and the keys of the folders that the files lie in.
LANDED_METADATA = {
    "_document": ("STRING", "Path of the record in its source."),
    "_created": ("TIMESTAMP", "When the source first had the record."),
    "_updated": ("TIMESTAMP", "When the source last changed the record."),
    "_rest": ("STRING", "JSON of what has no column: fields that are undeclared, not of their declared type, or null."),
    "_is_deleted": ("BOOL", "Whether the record is no longer in the source."),
    "_pii_key_version": ("STRING", "Version of the key that the pseudonyms were made with."),
}
# What the view of a source of raw lines shows beside each line.
LINE_METADATA = {
    "_file": ("STRING", "The landed file that holds the line; its name is that of the file that came."),
    "_pii_key_version": ("STRING", "Version of the key that the line's pseudonyms were made with."),
}
LANDED_KEYS = {
    "run_date": ("DATE", "Run date of the landing."),
    "attempt": ("STRING", "The landing's attempt; the newest commit of a date counts."),
}
IDENTIFIER = r"[a-z_][a-z0-9_]*"

Name = Annotated[str, Field(pattern=rf"^{IDENTIFIER}$", max_length=128)]
TableName = Annotated[str, Field(pattern=rf"^({'|'.join(DATASETS)})\.[a-z][a-z0-9_]*$")]
Type = Literal[
    "STRING", "BYTES", "INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "JSON", "STRUCT"
]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Row = dict[str, Any]


class ContractError(ValueError):
    """A contract says what it must not: the message names file and key."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    """A column as BigQuery knows it: type names are GoogleSQL's, modes are BigQuery's."""

    name: Name
    type: Type
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = "NULLABLE"
    description: str = Field(min_length=1)
    fields: tuple[Self, ...] = ()

    @model_validator(mode="after")
    def _fields_belong_to_structs(self) -> Self:
        if (self.type == "STRUCT") != bool(self.fields):
            raise ValueError(f"{self.name}: a STRUCT has fields, and nothing else has")
        _unique("field", [f.name for f in self.fields])
        return self

    @property
    def is_load_metadata(self) -> bool:
        """Whether the column tells of the loading, not of the record (its name starts with `_`)."""
        return self.name.startswith("_")

    def sql_type(self) -> str:
        """The column's GoogleSQL type, such as `ARRAY<STRUCT<sku STRING, quantity INT64>>`."""
        inner = f"STRUCT<{', '.join(f'{f.name} {f.sql_type()}' for f in self.fields)}>" if self.fields else self.type
        return f"ARRAY<{inner}>" if self.mode == "REPEATED" else inner

    def ddl(self) -> str:
        """The column as CREATE TABLE takes it, its description and those of its fields included."""
        inner = f"STRUCT<{', '.join(f.ddl() for f in self.fields)}>" if self.fields else self.type
        kind = f"ARRAY<{inner}>" if self.mode == "REPEATED" else inner
        required = " NOT NULL" if self.mode == "REQUIRED" else ""
        return f"`{self.name}` {kind}{required} OPTIONS(description={quoted(self.description)})"


class SourceColumn(Column):
    """A column of a source: besides its type, how it is read and what becomes of it if it is personal.

    Attributes:
        parse: `mixed`: a timestamp that comes in several forms (native, ISO, epoch, RFC 2822, day/month/year).
        pii: `hmac` keeps a pseudonym, `last4` the last four characters, `drop` nothing. Applied before the first
            byte reaches the lake, on nested fields too.
    """

    parse: Literal["exact", "mixed"] = "exact"
    pii: Literal["none", "hmac", "last4", "drop"] = "none"

    @model_validator(mode="after")
    def _rules_fit_types(self) -> Self:
        if self.parse == "mixed" and self.type != "TIMESTAMP":
            raise ValueError(f"{self.name}: `parse: mixed` is for a TIMESTAMP, this is {self.type}")
        if (self.parse == "mixed" and self.mode == "REPEATED") or any(f.parse == "mixed" for f in self.fields):
            raise ValueError(f"{self.name}: `parse: mixed` is for whole columns, not for arrays or fields")
        if self.pii in ("hmac", "last4") and self.type != "STRING":
            raise ValueError(f"{self.name}: `pii: {self.pii}` gives a STRING, this is {self.type}")
        return self

    def landed(self) -> Column | None:
        """The column as the lake holds it, without what the PII rules drop; None where nothing of it is left."""
        fields = tuple(landed for f in self.fields if (landed := f.landed()))
        if self.pii == "drop" or (self.fields and not fields):
            return None
        return Column(name=self.name, type=self.type, mode=self.mode, description=self.description, fields=fields)


class Check(_Model):
    """A condition that no row may meet; `block` keeps the table from being published, `warn` is only recorded."""

    name: str = Field(min_length=1)
    where: str = Field(min_length=1)
    level: Literal["block", "warn"] = "block"


def _iso_date(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.date) else value


IsoDate = Annotated[str, BeforeValidator(_iso_date), Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class Case(_Model):
    """A unit test of a table: rows given in its sources, rows expected in it.

    Attributes:
        given: rows by table; a column that is left out is NULL, a table that is left out is empty. The table itself
            may be given too: what stands in it before the build.
        expect: the rows that stand in the table after the build; columns that are left out are not compared.
        rejected: the rows that it rejects, as `{reason: ...}` and any columns of the rejects table.
    """

    name: str = Field(min_length=1)
    run_date: IsoDate = "2026-11-20"
    since: IsoDate = "2026-11-20"
    given: dict[TableName, list[Row]]
    expect: list[Row]
    rejected: list[Row] = []


class TableContract(_Model):
    """What a table promises, and how its SELECT is published.

    Attributes:
        table: dataset and name, such as `silver.stg_sales`.
        grain: one sentence: what one row is.
        version: merge only: a row is replaced by one with a greater version; ties are decided by content.
        write: `merge`, `snapshot`, `replace`, `rebuild` or `view` (see docs of components/build_table); `load`: a
            component loads it, and there is no SELECT.
        partition_by: a DATE column; of a key it must never change.
        rejects: whether the SELECT gives `_reject_reason`.
        reads_published: tables that are read as last published, without an edge in the graph.
        model: the model whose predictions the rows are; its task predicts first, for the rows of `predict_<model>.sql`.
    """

    table: TableName
    description: str = Field(min_length=1)
    grain: str = Field(min_length=1)
    primary_key: tuple[Name, ...] = Field(min_length=1)
    version: Name | None = None
    write: Literal["merge", "snapshot", "replace", "rebuild", "view", "load"]
    partition_by: Name | None = None
    cluster_by: tuple[Name, ...] = Field(default=(), max_length=4)
    rejects: bool = False
    reads_published: tuple[TableName, ...] = ()
    model: Name | None = None
    columns: tuple[Column, ...] = Field(min_length=1)
    checks: tuple[Check, ...] = ()
    tests: tuple[Case, ...] = ()

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        columns = {c.name: c for c in self.columns}
        _unique("column", [c.name for c in self.columns])
        _unique("check", [c.name for c in self.checks])
        _unique("test", [t.name for t in self.tests])
        used = {"primary_key": self.primary_key, "cluster_by": self.cluster_by}
        used |= {"version": (self.version,) if self.version else ()}
        used |= {"partition_by": (self.partition_by,) if self.partition_by else ()}
        for key, names in used.items():
            if missing := [n for n in names if n not in columns]:
                raise ValueError(f"{key}: {missing[0]} is not one of the columns {', '.join(columns)}")
        for name in self.primary_key if self.write not in ("view", "load") else ():
            if columns[name].mode != "REQUIRED":
                raise ValueError(f"primary_key: {name} must have mode REQUIRED")
        if self.partition_by and columns[self.partition_by].type != "DATE":
            raise ValueError(f"partition_by: {self.partition_by} must be a DATE")
        return self

    @model_validator(mode="after")
    def _write_mode_has_what_it_needs(self) -> Self:
        if (self.version is not None) != (self.write == "merge"):
            raise ValueError("version: `write: merge` needs it, and nothing else takes it")
        if self.version is not None and self.column(self.version).mode != "REQUIRED":
            raise ValueError(f"version: {self.version} must have mode REQUIRED")
        if self.write in ("snapshot", "replace") and not self.partition_by:
            raise ValueError(f"partition_by: `write: {self.write}` replaces whole partitions, so it needs one")
        if self.write == "view" and (self.partition_by or self.cluster_by or self.rejects):
            raise ValueError("write: a view has neither partition_by, cluster_by nor rejects")
        if self.write == "load" and (self.rejects or self.reads_published or self.checks or self.tests):
            raise ValueError("write: a table that a component loads has no SELECT, so nothing that is about one")
        if self.partition_by and self.write != "rebuild" and self.column(self.partition_by).mode != "REQUIRED":
            raise ValueError(f"partition_by: {self.partition_by} must have mode REQUIRED")
        return self

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(c for c in self.columns if c.name == name)

    @property
    def dataset(self) -> str:
        """`silver` of `silver.stg_sales`."""
        return self.table.split(".")[0]

    @property
    def name(self) -> str:
        """`stg_sales` of `silver.stg_sales`."""
        return self.table.split(".")[1]

    @property
    def rejected_table(self) -> str:
        """Where rejected rows go: `silver.rejected_sales` for `silver.stg_sales`."""
        return f"silver.rejected_{bare_name(self.name)}"

    @property
    def names(self) -> tuple[str, ...]:
        """All tables that the contract makes, its own first."""
        return (self.table, self.rejected_table) if self.rejects else (self.table,)

    @property
    def takes_dates(self) -> bool:
        """Whether the SELECT may use `@run_date` (and, for merge, `@since`)."""
        return self.write in ("merge", "snapshot", "replace")

    @property
    def takes_since(self) -> bool:
        """Whether the SELECT may use `@since`: it reads what arrived from then on."""
        return self.write in ("merge", "replace")

    @property
    def is_built(self) -> bool:
        """Whether a SELECT fills it: neither a view, which is none to fill, nor what a component loads."""
        return self.write not in ("view", "load")


class SourceContract(_Model):
    """What a source promises, where its files lie, and what becomes of personal data.

    Attributes:
        source: the external table over the files; the view on their newest commits is named alike without `ext_`.
        format: of the files in the lake: `parquet` as goldline writes it, or `jsonl`, lines that others write. These
            are kept as they came, a raw line a row; the columns say what is inside and what of it is personal.
        incoming: jsonl only: the folder of the bucket where the files arrive, each date's in `run_date=YYYY-MM-DD/`.
        key: the column that identifies a record.
        change_column: the column that grows with each change of a record.
        overlap_minutes: how far before the last export's read time an incremental one starts to read: the clocks of
            those who write the change column may differ, and a record may be written some time after it was dated.
        sweep_on: the weekday (of the run's date) on which everything is read, so that deletions are found.
        day_first: whether 03/04/2026 is the third of April; it cannot be guessed.
        undeclared: what becomes of fields that nobody declared: kept in one JSON column, dropped, or refused.
    """

    source: Annotated[str, Field(pattern=r"^bronze\.ext_[a-z][a-z0-9_]*$")]
    description: str = Field(min_length=1)
    grain: str = Field(min_length=1)
    format: Literal["parquet", "jsonl"]
    incoming: Annotated[str, Field(pattern=r"^[^/].*[^/]$")] | None = None
    key: Name
    change_column: Name | None = None
    overlap_minutes: int = Field(default=60, ge=0)
    sweep_on: Weekday = "sunday"
    day_first: bool | None = None
    undeclared: Literal["keep", "drop", "refuse"] = "keep"
    columns: tuple[SourceColumn, ...] = Field(min_length=1)

    @field_validator("columns")
    @classmethod
    def _columns_are_unique(cls, columns: tuple[SourceColumn, ...]) -> tuple[SourceColumn, ...]:
        _unique("column", [c.name for c in columns])
        for column in columns:
            if column.is_load_metadata:
                raise ValueError(f"{column.name}: names that start with `_` are goldline's own")
            if column.name in LANDED_KEYS:
                raise ValueError(f"{column.name}: the key of a folder that the files lie in, no column of theirs")
        return columns

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        names = [c.name for c in self.columns]
        for key, name in {"key": self.key, "change_column": self.change_column}.items():
            if name is not None and name not in names:
                raise ValueError(f"{key}: {name} is not one of the columns {', '.join(names)}")
            if name is not None and name not in [c.name for c in self.columns if c.landed()]:
                raise ValueError(f"{key}: {name} is dropped by its `pii` rule")
        if self.day_first is None and any(c.parse == "mixed" for c in self.columns):
            raise ValueError("day_first: needed where a timestamp is parsed from mixed forms (`parse: mixed`)")
        return self

    @model_validator(mode="after")
    def _lines_stay_as_they_came(self) -> Self:
        if (self.incoming is not None) != (self.format == "jsonl"):
            raise ValueError("incoming: `format: jsonl` needs it, and nothing else takes it")
        if self.format == "jsonl" and self.undeclared != "keep":
            raise ValueError("undeclared: lines are kept as they came (`format: jsonl`), only `keep` is possible")
        if self.format == "jsonl" and any(c.parse == "mixed" for c in self.columns):
            raise ValueError("parse: lines are read by SQL (`format: jsonl`), `parse: mixed` has no effect on them")
        return self

    @property
    def name(self) -> str:
        """`sales` of `bronze.ext_sales`: the source's name, its view's, and its folder's in the lake."""
        return bare_name(self.source.split(".")[1])

    @property
    def view(self) -> str:
        """The view that shows each date's newest commit: `bronze.sales`."""
        return f"bronze.{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """All tables that the contract makes, its own first."""
        return (self.source, self.view)

    @property
    def change_clock(self) -> str | None:
        """The change column if it is a timestamp of one form: only then can a source be asked for a range of it."""
        column = next((c for c in self.columns if c.name == self.change_column), None)
        is_clock = column and (column.type, column.mode, column.parse) == ("TIMESTAMP", "NULLABLE", "exact")
        return self.change_column if is_clock else None

    @property
    def has_pii(self) -> bool:
        """Whether a column, or a field of one, has a PII rule."""
        return any(_has_pii(c) for c in self.columns)

    @property
    def file_columns(self) -> tuple[Column, ...]:
        """The columns that the source's files hold: one of raw lines, or what is declared and of it is kept."""
        if self.format == "jsonl":
            return (Column(name="line", type="STRING", description="A line as it came, personal data aside."),)
        declared = tuple(landed for c in self.columns if (landed := c.landed()))
        return declared + _columns(LANDED_METADATA)

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """The columns of the external table: the files' and the keys of their folders."""
        return self.file_columns + _columns(LANDED_KEYS)

    @property
    def view_columns(self) -> tuple[Column, ...]:
        """The columns of the view: the external table's, and what is told of each raw line."""
        return self.table_columns + (_columns(LINE_METADATA) if self.format == "jsonl" else ())

    @property
    def folder(self) -> str:
        """The folder in the bucket of what was landed of the source; what arrives from others lies elsewhere."""
        return f"bronze/landed/{self.name}" if self.format == "jsonl" else f"bronze/{self.name}"


Contract = TableContract | SourceContract


def _columns(described: Mapping[str, tuple[str, str]]) -> tuple[Column, ...]:
    return tuple(
        Column.model_validate({"name": name, "type": kind, "description": text})
        for name, (kind, text) in described.items()
    )


def _has_pii(column: SourceColumn) -> bool:
    return column.pii != "none" or any(_has_pii(f) for f in column.fields)


def bare_name(name: str) -> str:
    """A table's name without its layer's prefix: `sales` of `stg_sales`."""
    return next((name.removeprefix(p) for p in LAYER_PREFIXES if name.startswith(p)), name)


def quoted(text: str) -> str:
    """A GoogleSQL string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def load(path: Path) -> Contract:
    """Read a contract.

    Raises:
        ContractError: naming the file and, where it can, line or key.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506, a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise ContractError(f"{path}: expected keys and values, got {type(content).__name__}")
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Contract:
    """Make a contract of keys and values; `where` is named in errors.

    Raises:
        ContractError: naming `where` and the key.
    """
    if ("table" in content) == ("source" in content):
        raise ContractError(f"{where}: a contract starts with `table:` or with `source:`, one of the two")
    model: type[TableContract | SourceContract] = TableContract if "table" in content else SourceContract
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ContractError("\n".join(_explained(error, where, content))) from error


def parse_all(text: str) -> dict[str, TableContract]:
    """The contracts of tables, by table, from the JSON list that travels in the spec."""
    found = [parse(content, "a contract in the spec") for content in json.loads(text)]
    return {contract.table: contract for contract in found if isinstance(contract, TableContract)}


def load_all(folder: Path) -> dict[str, Contract]:
    """All contracts below a folder, by the path of their file without its suffix, such as `sales/stg_sales`.

    Raises:
        ContractError: a contract is wrong, two files name one table (as their own, a source's view or a table of
            rejects), or a table has no SELECT beside its contract.
    """
    found: dict[str, Contract] = {}
    names: dict[str, Path] = {}
    for path in sorted(folder.glob("*/*.yml")):
        contract = load(path)
        name, *others = contract.names
        for made in (name, *others):
            if made in names:
                raise ContractError(f"{path}: {made} has a contract already, {names[made]}")
        if path.stem != name.split(".")[1]:
            raise ContractError(f"{path}: a file is named after its table, {name.split('.')[1]}.yml")
        has_select = isinstance(contract, TableContract) and contract.write != "load"
        if has_select and not path.with_suffix(".sql").exists():
            raise ContractError(f"{path}: no SELECT beside it, expected {path.with_suffix('.sql').name}")
        if isinstance(contract, TableContract) and contract.write == "load" and path.with_suffix(".sql").exists():
            raise ContractError(f"{path}: `write: load` has no SELECT, but {path.with_suffix('.sql').name} is there")
        names |= dict.fromkeys(contract.names, path)
        found[str(path.relative_to(folder).with_suffix(""))] = contract
    return found


def _explained(error: ValidationError, where: str, content: Mapping[str, Any]) -> Iterator[str]:
    for problem in error.errors():
        key = ".".join(_key(content, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        got = (
            ""
            if isinstance(problem["input"], Mapping | Sequence) and not isinstance(problem["input"], str)
            else (f", got {problem['input']!r}")
        )
        yield f"{where}: {key + ': ' if key else ''}{message}{got}"


def _key(content: Any, location: Sequence[int | str]) -> Iterator[str]:  # noqa: ANN401, YAML holds anything
    """The path of a key, with items of a list called by their names where they have one."""
    for part in location:
        known = isinstance(content, Mapping) and part in content
        content = content[part] if known or (isinstance(content, list) and isinstance(part, int)) else None
        name = content.get("name") if isinstance(part, int) and isinstance(content, Mapping) else None
        yield str(name or part)


def _unique(what: str, names: Sequence[str]) -> None:
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"{what} {twice[0]} stands twice")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets a later key silently win over an earlier one of the same name; a contract must not."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for i, (key, (mark, _)) in enumerate(zip(keys, node.value, strict=True)):
        if key in keys[:i]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark.start_mark)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
