"""Table contracts: schema, grain, key, write mode, checks and unit tests of a table."""

import datetime
from datetime import date
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from goldline.contracts.columns import Column, ContractModel, Name, Row, refuse_twice
from goldline.contracts.table_names import TableName, bare_name
from goldline.contracts.write_modes import RENAMED, WRITE_MODES, Partitions, Write, WriteMode

# Of the rejects tables, `silver.rejected_<x>`, which are partitioned by run date.
REJECTED_COLUMNS = (
    Column(name="run_date", type="DATE", mode="REQUIRED", description="The date that was run."),
    Column(name="reason", type="STRING", mode="REQUIRED", description="Why it was rejected."),
    Column(name="key", type="STRING", mode="REQUIRED", description="JSON of the row's key, as far as it has one."),
    Column(name="record", type="STRING", mode="REQUIRED", description="JSON of the row as the SELECT gave it."),
)


class Check(ContractModel):
    """Condition that no row may meet: a failed `block` check stops publication, a failed `warn` is only recorded."""

    name: str = Field(min_length=1)
    where: str = Field(min_length=1)
    level: Literal["block", "warn"] = "block"


class Case(ContractModel):
    """Unit test of a table: rows given in its sources, rows expected in it after a build.

    Attributes:
        given: rows by table; a column left out is NULL, a table left out is empty. The table itself may be given too:
            its rows before the build.
        expect: all rows of the table after the build; columns left out are not compared.
        rejected: all rows that the build rejects, as `{reason: ...}` or any other columns of the rejects table.
    """

    name: str = Field(min_length=1)
    run_date: date = date(2026, 11, 20)
    since: date = date(2026, 11, 20)
    given: dict[TableName, list[Row]]
    expect: list[Row]
    rejected: tuple[Row, ...] = ()


class PublishedTable(ContractModel):
    """Table of another flow, read as last published: no edge in the pipeline's graph orders its build.

    Attributes:
        columns: the columns that are read. Where no flow of the project builds the table, prepare_run makes it with
            these columns, and it stays empty.
    """

    table: TableName
    columns: tuple[Column, ...] = Field(min_length=1)


class TableContract(ContractModel):
    """Contract of a table.

    Attributes:
        table: dataset and name, such as `silver.stg_orders`.
        grain: one sentence that says what one row is.
        version: merge only: column whose greater value replaces a row of the same key; ties are decided by content.
        write: write mode; with `load` a component fills the table, and there is no SELECT.
        partitions: insert_overwrite only: replaces the partition of the run date, or those that `arrived`.
        partition_by: DATE column; its value must never change for a key.
        lookback_days: days before `@since` that the SELECT builds again; the first of them is `@lookback_start`.
            0: the SELECT takes no such parameter.
        rejects: whether the SELECT has the column `_reject_reason`.
        reads_published: tables of other flows that are read as last published.
        model: name of the model whose predictions the rows are; the task predicts first, for the rows of
            `predict_<model>.sql`.
    """

    table: TableName
    description: str = Field(min_length=1)
    grain: str = Field(min_length=1)
    primary_key: tuple[Name, ...] = Field(min_length=1)
    version: Name | None = None
    write: Write
    partitions: Partitions | None = None
    partition_by: Name | None = None
    cluster_by: tuple[Name, ...] = Field(default=(), max_length=4)
    lookback_days: int = Field(default=0, ge=0)
    rejects: bool = False
    reads_published: tuple[PublishedTable, ...] = ()
    model: Name | None = None
    columns: tuple[Column, ...] = Field(min_length=1)
    checks: tuple[Check, ...] = ()
    tests: tuple[Case, ...] = ()

    @field_validator("write", mode="before")
    @classmethod
    def _old_words_are_refused(cls, write: object) -> object:
        if isinstance(write, str) and write in RENAMED:
            raise ValueError(f"`{write}` is now {RENAMED[write]}")
        return write

    @model_validator(mode="after")
    def _partitions_fit_the_mode(self) -> Self:
        if (self.write, self.partitions) not in WRITE_MODES:
            raise ValueError("partitions: required with `write: insert_overwrite`, not allowed otherwise")
        return self

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        columns = {c.name: c for c in self.columns}
        refuse_twice("column", [c.name for c in self.columns])
        refuse_twice("check", [c.name for c in self.checks])
        refuse_twice("test", [t.name for t in self.tests])
        used = {"primary_key": self.primary_key, "cluster_by": self.cluster_by}
        required = {"version"} | ({"primary_key"} if self.mode.is_built else set())
        required |= set() if self.mode.replaces_table else {"partition_by"}
        for key, names in (used | {"version": (self.version,), "partition_by": (self.partition_by,)}).items():
            for name in filter(None, names):
                if name not in columns:
                    raise ValueError(f"{key}: {name} is not one of the columns {', '.join(columns)}")
                if key in required and columns[name].mode != "REQUIRED":
                    raise ValueError(f"{key}: {name} must have mode REQUIRED")
        if self.partition_by and columns[self.partition_by].type != "DATE":
            raise ValueError(f"partition_by: {self.partition_by} must be a DATE")
        return self

    @model_validator(mode="after")
    def _write_mode_has_what_it_needs(self) -> Self:
        if (self.version is not None) != self.mode.merges:
            raise ValueError("version: required with `write: merge`, not allowed otherwise")
        if self.partitions and not self.partition_by:
            raise ValueError(f"partition_by: `write: {self.write}` replaces whole partitions, so it needs one")
        if self.mode.is_view and (self.partition_by or self.cluster_by or self.rejects):
            raise ValueError("write: a view has neither partition_by, cluster_by nor rejects")
        if not self.mode.has_select and (self.rejects or self.reads_published or self.checks or self.tests):
            raise ValueError("write: `load` has no SELECT, so neither rejects, reads_published, checks nor tests")
        if self.lookback_days and not self.mode.takes_since:
            raise ValueError(f"lookback_days: {self.mode} takes no @since to look back from")
        return self

    @property
    def mode(self) -> WriteMode:
        """Write mode that `write` and `partitions` name."""
        return WRITE_MODES[self.write, self.partitions]

    @property
    def parameters(self) -> list[str]:
        """Names of the query parameters that the SELECT may use."""
        return [*self.mode.parameters, *(["lookback_start"] if self.lookback_days else [])]

    def lookback_start(self, since: datetime.date) -> datetime.date:
        """First date that the SELECT builds again: `lookback_days` before `since`."""
        return since - datetime.timedelta(days=self.lookback_days)

    def column(self, name: str) -> Column:
        """Column of that name, which must exist."""
        return next(c for c in self.columns if c.name == name)

    @property
    def dataset(self) -> str:
        """Dataset: `silver` of `silver.stg_orders`."""
        return self.table.split(".")[0]

    @property
    def name(self) -> str:
        """Name without the dataset: `stg_orders` of `silver.stg_orders`."""
        return self.table.split(".")[1]

    @property
    def rejected_table(self) -> str:
        """Table of rejected rows: `silver.rejected_orders` for `silver.stg_orders`."""
        return f"silver.rejected_{bare_name(self.name)}"

    @property
    def tables(self) -> dict[str, tuple[Column, ...]]:
        """Columns of all tables that the contract makes, by table name; its own table comes first."""
        return {self.table: self.columns} | ({self.rejected_table: REJECTED_COLUMNS} if self.rejects else {})
