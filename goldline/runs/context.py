"""RunContext: settings and identifiers shared by all tasks of one run, passed as JSON."""

import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

EPOCH = datetime.date(1970, 1, 1)
EVERYTHING = "all"


class RunContext(BaseModel):
    """One run of the pipeline for one date.

    Attributes:
        run_id: name of the pipeline job; a retried task keeps it.
        run_date: the date that is run.
        since: by flow, the first date whose arrivals are read.
        location: where BigQuery's datasets lie.
        bucket: the lake, without `gs://`.
        dataset_prefix: put before every dataset's name, so that a developer's tables keep apart.
        full_refresh: tables that are made anew from all that ever arrived; `all` means every one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    run_date: datetime.date
    since: dict[str, datetime.date]
    project: str
    location: str
    bucket: str
    dataset_prefix: str = ""
    full_refresh: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a context that prepare_run wrote."""
        return cls.model_validate_json(text)

    def dataset(self, name: str) -> str:
        """The dataset that stands for `silver` or another in this run."""
        return self.dataset_prefix + name

    def table(self, name: str) -> str:
        """The full name of `silver.stg_sales` in this run: `project.dataset.table`."""
        dataset, table = name.split(".")
        return f"{self.project}.{self.dataset(dataset)}.{table}"

    def refreshes(self, table: str) -> bool:
        """Whether the table is made anew; it may be named with or without its dataset."""
        return bool({EVERYTHING, table, table.split(".")[1]} & set(self.full_refresh))

    @property
    def records(self) -> str:
        """The folder of the lake that holds what each task tells of itself."""
        return f"ops/runs/{self.run_id}"
