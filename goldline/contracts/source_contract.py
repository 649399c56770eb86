"""Source contracts: columns of a source, location of its files, and the rules for personal data."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from goldline.contracts.columns import Column, ContractModel, Name, refuse_twice
from goldline.contracts.table_names import bare_name

# Columns that goldline adds to a source's own; LANDED_KEYS below are the partition keys of the folders.
LANDED_METADATA = {
    "_document": ("STRING", "Path of the record in its source."),
    "_created": ("TIMESTAMP", "When the source first had the record."),
    "_updated": ("TIMESTAMP", "When the source last changed the record."),
    "_rest": ("STRING", "JSON of what has no column: fields that are undeclared, not of their declared type, or null."),
    "_is_deleted": ("BOOL", "Whether the record is no longer in the source."),
    "_pii_key_version": ("STRING", "Version of the key that the pseudonyms were made with."),
}
# Columns that the view of a `jsonl` source adds to each line.
LINE_METADATA = {
    "_file": ("STRING", "The landed file that holds the line; its name is that of the file that came."),
    "_pii_key_version": ("STRING", "Version of the key that the line's pseudonyms were made with."),
}
LANDED_KEYS = {
    "run_date": ("DATE", "Run date of the landing."),
    "attempt": ("STRING", "The landing's attempt; the newest commit of a date counts."),
}
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class SourceColumn(Column):
    """A column of a source, with the rules for parsing it and for personal data.

    Attributes:
        parse: `mixed` reads timestamps in several formats: native, ISO, epoch, RFC 2822, day/month/year.
        pii: `hmac` keeps a pseudonym, `last4` the last four characters, `drop` nothing. Applied before the first
            byte reaches the lake, to nested fields too.
    """

    parse: Literal["exact", "mixed"] = "exact"
    pii: Literal["none", "hmac", "last4", "drop"] = "none"

    @model_validator(mode="after")
    def _rules_fit_types(self) -> Self:
        if self.parse == "mixed" and self.type != "TIMESTAMP":
            raise ValueError(f"{self.name}: `parse: mixed` is for a TIMESTAMP, this is {self.type}")
        if (self.parse == "mixed" and self.mode == "REPEATED") or any(f.parse == "mixed" for f in self.fields):
            raise ValueError(f"{self.name}: `parse: mixed` is for top-level columns, not for arrays or fields")
        if self.pii in ("hmac", "last4") and self.type != "STRING":
            raise ValueError(f"{self.name}: `pii: {self.pii}` gives a STRING, this is {self.type}")
        return self

    def landed(self) -> Column | None:
        """The column as written to the lake, without fields that a PII rule drops; None if nothing is left."""
        fields = tuple(landed for f in self.fields if (landed := f.landed()))
        if self.pii == "drop" or (self.fields and not fields):
            return None
        return Column(name=self.name, type=self.type, mode=self.mode, description=self.description, fields=fields)


class SourceContract(ContractModel):
    """Contract of a source: its columns, the location of its files, and the rules for personal data.

    Attributes:
        source: external table over the files, `bronze.ext_<x>`; the view of each date's newest commit is `bronze.<x>`.
        format: of the files in the lake. `parquet`: written by goldline. `jsonl`: written by others and kept as it
            came, one raw line a row; `columns` then describe the JSON inside, and which of it is personal.
        incoming: jsonl only: folder of the bucket where files arrive, those of a date in `run_date=YYYY-MM-DD/`.
        key: column that identifies a record.
        change_column: column that grows with each change of a record.
        overlap_minutes: an incremental export starts this long before the last export's read time, because writers'
            clocks differ and a record may be written some time after its timestamp was taken.
        sweep_on: weekday of the run date on which the whole source is read, to find deletions.
        day_first: whether 03/04/2026 is the third of April; it cannot be guessed.
        undeclared: fields without a column are kept in one JSON column (`keep`), dropped, or refused.
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
    def _names_are_free(cls, columns: tuple[SourceColumn, ...]) -> tuple[SourceColumn, ...]:
        refuse_twice("column", [c.name for c in columns])
        for column in columns:
            if column.is_load_metadata:
                raise ValueError(f"{column.name}: names that start with `_` are goldline's own")
            if column.name in LANDED_KEYS:
                raise ValueError(f"{column.name}: reserved for the partition key of the landing folders")
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
            raise ValueError("incoming: required with `format: jsonl`, not allowed otherwise")
        if self.format == "jsonl" and self.undeclared != "keep":
            raise ValueError("undeclared: lines are kept as they came (`format: jsonl`), only `keep` is possible")
        if self.format == "jsonl" and any(c.parse == "mixed" for c in self.columns):
            raise ValueError("parse: lines are read by SQL (`format: jsonl`), `parse: mixed` has no effect on them")
        return self

    @property
    def name(self) -> str:
        """Name of the source, of its view and of its folder: `orders` for `bronze.ext_orders`."""
        return bare_name(self.source.split(".")[1])

    @property
    def view(self) -> str:
        """View of each date's newest commit: `bronze.orders`."""
        return f"bronze.{self.name}"

    @property
    def tables(self) -> dict[str, tuple[Column, ...]]:
        """Columns of the external table and of its view, by table name."""
        return {self.source: self.table_columns, self.view: self.view_columns}

    @property
    def change_clock(self) -> str | None:
        """Change column that can be filtered by range: a TIMESTAMP in one format; else None."""
        column = next((c for c in self.columns if c.name == self.change_column), None)
        is_clock = column and (column.type, column.mode, column.parse) == ("TIMESTAMP", "NULLABLE", "exact")
        return self.change_column if is_clock else None

    @property
    def has_pii(self) -> bool:
        """Whether a column, or a field of one, has a PII rule."""
        return any(_has_pii(c) for c in self.columns)

    @property
    def file_columns(self) -> tuple[Column, ...]:
        """Columns of the landed files: one of raw lines (`jsonl`), else the declared and the metadata columns."""
        if self.format == "jsonl":
            return (Column(name="line", type="STRING", description="A line as it came, personal data aside."),)
        declared = tuple(landed for c in self.columns if (landed := c.landed()))
        return declared + _columns(LANDED_METADATA)

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """Columns of the external table: those of the files and the partition keys of their folders."""
        return self.file_columns + _columns(LANDED_KEYS)

    @property
    def view_columns(self) -> tuple[Column, ...]:
        """Columns of the view: those of the external table, and for `jsonl` the metadata of each line."""
        return self.table_columns + (_columns(LINE_METADATA) if self.format == "jsonl" else ())

    @property
    def folder(self) -> str:
        """Folder of the landed files in the bucket, without a slash at the end; never the folder `incoming`."""
        return f"bronze/landed/{self.name}" if self.format == "jsonl" else f"bronze/{self.name}"


def _columns(described: Mapping[str, tuple[str, str]]) -> tuple[Column, ...]:
    return tuple(
        Column.model_validate({"name": name, "type": kind, "description": text})
        for name, (kind, text) in described.items()
    )


def _has_pii(column: SourceColumn) -> bool:
    return column.pii != "none" or any(_has_pii(f) for f in column.fields)
