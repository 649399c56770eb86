"""Contracts of tables: what a table promises, and how its SELECT is published."""

import datetime
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from goldline.contracts.columns import Column, ContractModel, Name, Row, refuse_twice
from goldline.contracts.table_names import TableName, bare_name

# Of the tables that hold what builds rejected, partitioned by the run's date.
REJECTED_COLUMNS = (
    Column(name="run_date", type="DATE", mode="REQUIRED", description="The date that was run."),
    Column(name="reason", type="STRING", mode="REQUIRED", description="Why it was rejected."),
    Column(
        name="key", type="STRING", mode="REQUIRED", description="JSON of the row's primary key, as far as it has one."
    ),
    Column(name="record", type="STRING", mode="REQUIRED", description="JSON of the row as the SELECT gave it."),
)


class Check(ContractModel):
    """A condition that no row may meet; `block` keeps the table from being published, `warn` is only recorded."""

    name: str = Field(min_length=1)
    where: str = Field(min_length=1)
    level: Literal["block", "warn"] = "block"


def _iso_date(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.date) else value


IsoDate = Annotated[str, BeforeValidator(_iso_date), Field(pattern=r"^\d{4}-\d\d-\d\d$")]


class Case(ContractModel):
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
    rejected: tuple[Row, ...] = ()


class TableContract(ContractModel):
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
        refuse_twice("column", [c.name for c in self.columns])
        refuse_twice("check", [c.name for c in self.checks])
        refuse_twice("test", [t.name for t in self.tests])
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
