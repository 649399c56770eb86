"""RunContext: settings and identifiers shared by all tasks of one run, passed as JSON."""

import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

EPOCH = datetime.date(1970, 1, 1)
EVERYTHING = "all"
NOT_SIMULATED = "none"
# Variables that the laptop's commands set for tasks: `goldline retry` and `resume` the time; a run of
# selected tasks the ids of the runs that stand for the others, by task, as JSON.
RETRY, PARTIAL = "GOLDLINE_RETRY", "GOLDLINE_PARTIAL"


class RunPlace(BaseModel):
    """Identifier and place of a run, known before its date is resolved.

    Attributes:
        run_id: name of the pipeline job; the same in every retry of a task.
        project: project of Firestore, lake and warehouse.
        location: location of BigQuery's datasets.
        bucket: the lake, without `gs://`.
        dataset_prefix: prefix of every dataset's name, such as `dev_`: it keeps a developer's tables apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    project: str
    location: str
    bucket: str
    dataset_prefix: str = ""

    def dataset(self, name: str) -> str:
        """Name of a dataset such as `silver` in this run: with `dataset_prefix`."""
        return self.dataset_prefix + name

    def table(self, name: str) -> str:
        """Full name of a table such as `silver.stg_orders` in this run: `project.dataset.table`."""
        dataset, table = name.split(".")
        return f"{self.project}.{self.dataset(dataset)}.{table}"

    @property
    def records(self) -> str:
        """Folder of the lake that holds the run's own files: context, catalog, task records, summary."""
        return records_folder(self.run_id)


class RunContext(RunPlace):
    """One run of the pipeline for one date.

    Attributes:
        run_date: the date that the run is for, UTC.
        since: first date whose arrivals are read, by flow.
        full_refresh: tables to rebuild from everything that ever arrived; `all` stands for every table.
        train: `auto` (weekly, and where there is no usable champion), `yes` or `no`: whether models are trained.
        seed: seed of all random numbers.
        simulated_size: `small`, `demo` or `large` where simulators stand in for the sources, else `none`.
        vertex_region: Vertex AI region where accepted models are registered; empty: they are not registered.
        serving_image: image that serves registered models, named by digest; empty: they are not registered.
    """

    run_date: datetime.date
    since: dict[str, datetime.date]
    full_refresh: tuple[str, ...] = ()
    train: str = "auto"
    seed: int = 7
    simulated_size: str = NOT_SIMULATED
    vertex_region: str = ""
    serving_image: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the JSON of a context, as prepare_run wrote it."""
        return cls.model_validate_json(text)

    def refreshes(self, table: str) -> bool:
        """Whether `full_refresh` names the table (`silver.stg_orders`), with or without its dataset."""
        return bool({EVERYTHING, table, table.split(".")[1]} & set(self.full_refresh))

    @property
    def is_simulated(self) -> bool:
        """Whether simulators stand in for the sources."""
        return self.simulated_size != NOT_SIMULATED


def records_folder(run_id: str) -> str:
    """Folder of a run's own files, below the bucket."""
    return f"ops/runs/{run_id}"
