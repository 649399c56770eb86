"""Task records: one JSON file per task in the lake, collected by finish_run."""

import datetime
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from goldline.lake import Lake
from goldline.runs.context import PARTIAL, RETRY, RunContext

LOG = logging.getLogger(__name__)
ERROR_LENGTH = 2000


class TableResult(BaseModel):
    """Result of a table's build, in rows: selected = published + rejected + superseded."""

    name: str
    rows: int
    selected: int
    published: int
    rejected: int
    superseded: int
    bytes_billed: int | None = None
    select_hash: str
    contract_hash: str


class CheckResult(BaseModel):
    """Result of one check: number of failing rows or values, and the level; `block` stops the task.

    Subject, name and detail together are unique in a run.

    Attributes:
        name: snake_case without numbers and data, the same in every run, so that results can be grouped by it. A check
            that a contract declares has its name there.
        observed: measured value, where the check compares one with a threshold.
        threshold: threshold, in the unit of `observed`.
        detail: the file, column or key concerned, or a hint; never personal data.
    """

    subject: str
    name: str
    level: Literal["block", "warn"]
    failing: int
    observed: float | None = None
    threshold: float | None = None
    detail: str | None = None

    def __str__(self) -> str:
        """Name and numbers, for messages: `roc_auc_above_floor (observed 0.512, threshold 0.6)`."""
        numbers = {"observed": self.observed, "threshold": self.threshold}
        measured = [f"{name} {value:g}" for name, value in numbers.items() if value is not None]
        more = ", ".join([self.detail, *measured] if self.detail else measured)
        return f"{self.name} ({more})" if more else self.name


class ModelResult(BaseModel):
    """Evaluation of a model version: its metrics, and whether it was accepted."""

    name: str
    version: str
    accepted: bool
    metrics: dict[str, float]


class Record(BaseModel):
    """Record of one task of one run; a retry overwrites it.

    Attributes:
        select: SELECT of the table that the task built; training runs it for past dates.
    """

    model_config = ConfigDict(validate_assignment=True)

    name: str
    flow: str
    status: Literal["running", "succeeded", "failed"] = "running"
    started_at: datetime.datetime
    finished_at: datetime.datetime | None = None
    error: str | None = None
    table: TableResult | None = None
    select: str | None = None
    checks: list[CheckResult] = []
    models: list[ModelResult] = []
    counts: dict[str, int | float] = {}

    @property
    def seconds(self) -> float:
        """Seconds that the task's own work took; 0 while it runs."""
        return ((self.finished_at or self.started_at) - self.started_at).total_seconds()


@contextmanager
def recorded(run: RunContext, name: str, flow: str) -> Iterator[Record]:
    """Give a record to fill in; write it to the lake when the block ends, also when it fails."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    record = Record(name=name, flow=flow, started_at=now())
    try:
        yield record
        record.status = "succeeded"
    finally:
        record.finished_at = now()
        if record.status != "succeeded":
            record.status = "failed"
            kind, error, _ = sys.exc_info()
            record.error = f"{kind.__name__}: {error}"[:ERROR_LENGTH] if kind else "ended early"
        _write(run, record)


def _write(run: RunContext, record: Record) -> None:
    text = record.model_dump_json(indent=1)
    try:
        Lake(run.project, run.bucket).write_text(f"{run.records}/tasks/{record.name}.json", text)
    except (OSError, RuntimeError) as error:
        if record.status == "succeeded":
            raise  # else the task's own error must reach the caller
        LOG.warning("the record of %s could not be written: %s", record.name, error)


def earlier(run: RunContext, name: str) -> Record | None:
    """Record of an earlier, successful try of the task in this run; None under `goldline retry`."""
    if retry_marker():
        return None
    record = record_of(run, name)
    return record if record and record.status == "succeeded" else None


def record_of(run: RunContext, name: str) -> Record | None:
    """Record of a task in this run, or in the one that stands for a task that is left out; None if there is none."""
    if other := left_out().get(name):
        run = run.model_copy(update={"run_id": other})
    lake, path = Lake(run.project, run.bucket), f"{run.records}/tasks/{name}.json"
    return Record.model_validate_json(lake.read_text(path)) if lake.exists(path) else None


def retry_marker() -> str:
    """Marker of `goldline retry` and `goldline resume`, so that a task does its work again; empty in a normal run."""
    return os.environ.get(RETRY, "")


def is_partial() -> bool:
    """Whether only some of the tasks were selected: such a run finishes the date of no flow."""
    return PARTIAL in os.environ


def left_out() -> dict[str, str]:
    """Of a run of selected tasks: id of the run whose results stand for a task that is left out, by the task's name."""
    found: dict[str, str] = json.loads(os.environ.get(PARTIAL, "{}"))
    return found


def now() -> datetime.datetime:
    """Current time in UTC."""
    return datetime.datetime.now(datetime.UTC)
