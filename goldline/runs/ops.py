"""Rows of the ops tables (`ops.runs`, `ops.commits`, ...); the models here are the tables' contracts."""

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
    """Row of an ops table: each field is a column, with the field's description."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def columns(cls) -> tuple[Column, ...]:
        """Columns of the table: a field that may be None is NULLABLE, any other REQUIRED."""
        found = []
        for name, field in cls.model_fields.items():
            kinds = typing.get_args(field.annotation) or (field.annotation,)
            nullable = types.NoneType in kinds
            kind = next(k for k in kinds if k is not types.NoneType)
            column = {"name": name, "type": _TYPES[kind], "mode": "NULLABLE" if nullable else "REQUIRED"}
            found.append(Column.model_validate({**column, "description": field.description}))
        return tuple(found)


class Commit(OpsRow):
    """Commit of an attempt, the last act of a landing: from then on readers see its files."""

    source: str = Field(description="The external table over the files, such as bronze.ext_orders.")
    run_date: datetime.date = Field(description="Run date of the landing.")
    attempt: str = Field(description="Id of the committed attempt.")
    files: int = Field(description="Files written.")
    rows: int = Field(description="Records written.")
    mode: str | None = Field(default=None, description="full or incremental; NULL for a source of files.")
    watermark: datetime.datetime | None = Field(default=None, description="incremental: earliest change time read.")
    documents: int | None = Field(default=None, description="Records that the source held as of the read time.")
    origin: str | None = Field(default=None, description="Project/database/collection, or lake folder, that was read.")
    pii_key_version: str | None = Field(default=None, description="Version of the key of the pseudonyms.")
    pii_key_check: str | None = Field(
        default=None, description="Pseudonym of a fixed text; it differs from key to key."
    )
    content: str | None = Field(default=None, description="Hash of files, contract and key; NULL for an export.")
    read_time: datetime.datetime = Field(description="The time as of which the source was read.")
    run_id: str = Field(description="The run that landed them.")
    committed_at: datetime.datetime = Field(description="When the attempt was committed.")


class RunRow(OpsRow):
    """Outcome of a run, or of one flow in it."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date | None = Field(description="The run date; NULL if it could not be resolved.")
    flow: str | None = Field(description="A flow of the run; NULL for the run as a whole.")
    status: str = Field(description="succeeded or failed.")
    finished_at: datetime.datetime = Field(description="When the run finished.")
    seconds: float | None = Field(description="First task's start to last one's end; of a flow, the sum of its tasks.")
    error: str | None = Field(description="The failed tasks with their error messages.")


class TableRow(OpsRow):
    """Outcome of one build of one table: selected = published + rejected + superseded."""

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
    """Result of one check."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date = Field(description="The date that was run.")
    subject: str = Field(description="The table or source that was checked.")
    check_name: str = Field(description="The check, under the same name in every run.")
    level: str = Field(description="block or warn.")
    failing: int = Field(description="Rows (or values) that failed.")
    passed: bool = Field(description="Whether none failed.")
    observed: float | None = Field(default=None, description="Measured value, where it is compared with a threshold.")
    threshold: float | None = Field(default=None, description="Threshold, in the unit of the measured value.")
    detail: str | None = Field(default=None, description="The file, column or key concerned, or a hint.")


class ModelRow(OpsRow):
    """One metric of a model version that a run evaluated."""

    run_id: str = Field(description="The run.")
    run_date: datetime.date = Field(description="The date that was run.")
    model: str = Field(description="The model, such as returns.")
    version: str = Field(description="The model's version.")
    accepted: bool = Field(description="Whether it passed its gate.")
    metric: str = Field(description="The metric's name.")
    value: float = Field(description="The metric's value.")


class Prediction(OpsRow):
    """One prediction; of each model and date only the rows loaded last are valid."""

    model: str = Field(description="The model, such as returns.")
    model_version: str = Field(description="The model's version.")
    as_of: datetime.date = Field(description="Date of the features that it was made from.")
    key: str = Field(description="Key of the row it is made for; a JSON array where the key has several columns.")
    value: float = Field(description="The predicted probability, or the predicted value.")
    run_id: str = Field(description="The run that predicted it.")
    loaded_at: datetime.datetime = Field(description="When the predictions were made, the same for all of a run.")


ROWS: Mapping[str, type[OpsRow]] = {
    "ops.commits": Commit,
    "ops.runs": RunRow,
    "ops.tables": TableRow,
    "ops.checks": CheckRow,
    "ops.models": ModelRow,
    "ops.predictions": Prediction,
}
TABLES: Mapping[str, tuple[Column, ...]] = {name: row.columns() for name, row in ROWS.items()}
# DATE column that a table is partitioned by (daily), where a night brings more than a few rows.
PARTITIONED_BY: Mapping[str, str] = {"ops.predictions": "as_of"}
