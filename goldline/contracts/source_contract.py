"""Contracts of sources: what a source promises, where its files lie, and what becomes of personal data."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from goldline.contracts.columns import Column, ContractModel, Name, refuse_twice
from goldline.contracts.table_names import bare_name

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
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


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


class SourceContract(ContractModel):
    """Promise of a source, where its files lie, and what becomes of personal data.

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
    def _columns_arerefuse_twice(cls, columns: tuple[SourceColumn, ...]) -> tuple[SourceColumn, ...]:
        refuse_twice("column", [c.name for c in columns])
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
        """`orders` of `bronze.ext_orders`: the source's name, its view's, and its folder's in the lake."""
        return bare_name(self.source.split(".")[1])

    @property
    def view(self) -> str:
        """The view that shows each date's newest commit: `bronze.orders`."""
        return f"bronze.{self.name}"

    @property
    def tables(self) -> dict[str, tuple[Column, ...]]:
        """The external table and its view, with their columns."""
        return {self.source: self.table_columns, self.view: self.view_columns}

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


def _columns(described: Mapping[str, tuple[str, str]]) -> tuple[Column, ...]:
    return tuple(
        Column.model_validate({"name": name, "type": kind, "description": text})
        for name, (kind, text) in described.items()
    )


def _has_pii(column: SourceColumn) -> bool:
    return column.pii != "none" or any(_has_pii(f) for f in column.fields)
