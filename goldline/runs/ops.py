"""What a run tells of itself: the rows of the ops tables. The models are these tables' contracts."""

import datetime
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from goldline.contracts.columns import Column

_TYPES: Mapping[Any, str] = {
    str: "STRING",
    int: "INT64",
    float: "FLOAT64",
    bool: "BOOL",
    datetime.date: "DATE",
    datetime.datetime: "TIMESTAMP",
}


class OpsRow(BaseModel):
    """A row of an ops table; each field's description is its column's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def columns(cls) -> tuple[Column, ...]:
        """The table's columns: a field that may be None is NULLABLE, any other REQUIRED."""
        found = []
        for name, field in cls.model_fields.items():
            kinds = typing.get_args(field.annotation) or (field.annotation,)
            nullable = types.NoneType in kinds
            kind = next(k for k in kinds if k is not types.NoneType)
            column = {"name": name, "type": _TYPES[kind], "mode": "NULLABLE" if nullable else "REQUIRED"}
            found.append(Column.model_validate({**column, "description": field.description}))
        return tuple(found)


class Commit(OpsRow):
    """The last act of a landing: from now on its files count."""

    source: str = Field(description="The external table over the files, such as bronze.ext_orders.")
    run_date: datetime.date = Field(description="Run date of the landing.")
    attempt: str = Field(description="The attempt that is committed.")
    files: int = Field(description="Files written.")
    rows: int = Field(description="Records written.")
    mode: str | None = Field(
        default=None, description="full or incremental; NULL where the source has no such difference."
    )
    watermark: datetime.datetime | None = Field(
        default=None, description="incremental only: records changed from then on were read."
    )
    documents: int | None = Field(default=None, description="Records that the source held as of the read time.")
    origin: str | None = Field(default=None, description="The collection, database and project that were read.")
    pii_key_version: str | None = Field(default=None, description="Version of the key of the pseudonyms.")
    pii_key_check: str | None = Field(
        default=None, description="A pseudonym of a fixed text: tells keys of one version apart."
    )
    content: str | None = Field(
        default=None, description="Hash of the files that came and of how they were treated; NULL for an export."
    )
    read_time: datetime.datetime = Field(description="The moment as of which the source was read.")
    run_id: str = Field(description="The run that landed them.")
    committed_at: datetime.datetime = Field(description="When the attempt was committed.")


class RunRow(OpsRow):
    """A run's outcome."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date | None = Field(description="The date that was run; unknown when it could not be resolved.")
    flow: str | None = Field(description="A flow of the run; NULL for the run as a whole.")
    status: str = Field(description="succeeded or failed.")
    finished_at: datetime.datetime = Field(description="When the run finished.")
    seconds: float | None = Field(description="From the run's first task to its last.")
    error: str | None = Field(description="The failed tasks and what they said.")


class TableRow(OpsRow):
    """What one build did to one table."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date = Field(description="The date that was run.")
    table_name: str = Field(description="The table.")
    rows: int = Field(description="Rows in the table after the build.")
    selected: int = Field(description="Rows that the SELECT gave.")
    published: int = Field(description="Of those, rows that the table now holds.")
    rejected: int = Field(description="Of those, rows that were rejected with a reason.")
    superseded: int = Field(description="Of those, rows that lost to a newer version of the same key.")
    bytes_billed: int | None = Field(description="Bytes that BigQuery billed for the build.")
    select_hash: str = Field(description="SHA-256 of the SELECT.")
    contract_hash: str = Field(description="SHA-256 of the contract.")


class CheckRow(OpsRow):
    """What one check found."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date = Field(description="The date that was run.")
    subject: str = Field(description="The table or source that was checked.")
    check_name: str = Field(description="The check, under the same name in every run.")
    level: str = Field(description="block or warn.")
    failing: int = Field(description="Rows (or values) that failed.")
    passed: bool = Field(description="Whether none failed.")
    observed: float | None = Field(default=None, description="What was measured, where that is compared.")
    threshold: float | None = Field(default=None, description="What it was compared with, in the same unit.")
    detail: str | None = Field(default=None, description="The file, column or key that it is about, or a hint.")


class ModelRow(OpsRow):
    """A metric of a model that a run judged."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date = Field(description="The date that was run.")
    model: str = Field(description="The model, such as returns.")
    version: str = Field(description="The model's version.")
    accepted: bool = Field(description="Whether it passed its gate.")
    metric: str = Field(description="The metric's name.")
    value: float = Field(description="The metric's value.")


class Prediction(OpsRow):
    """What a model predicted; of a model and date, the rows that were loaded last count."""

    model: str = Field(description="The model, such as returns.")
    model_version: str = Field(description="The model's version.")
    as_of: datetime.date = Field(description="The date whose features it was given.")
    key: str = Field(description="What it is predicted of; where a key has several columns, a JSON array of them.")
    value: float = Field(description="The probability, or the value.")
    run_id: str = Field(description="The run that predicted it.")
    loaded_at: datetime.datetime = Field(description="When the predictions were made, the same for all of a run.")


TABLES: Mapping[str, tuple[Column, ...]] = {
    "ops.commits": Commit.columns(),
    "ops.runs": RunRow.columns(),
    "ops.tables": TableRow.columns(),
    "ops.checks": CheckRow.columns(),
    "ops.models": ModelRow.columns(),
    "ops.predictions": Prediction.columns(),
}
# The DATE column by whose days a table is partitioned, where a night brings more than a few rows.
PARTITIONED_BY: Mapping[str, str] = {"ops.predictions": "as_of"}
