"""What each task tells of itself: a small JSON object in the lake, which finish_run reads when the run is over."""

import datetime
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from goldline.lake import Lake
from goldline.runs.context import RunContext

LOG = logging.getLogger(__name__)
ERROR_LENGTH = 2000


class TableResult(BaseModel):
    """What a build did: selected = published + rejected + superseded."""

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
    """How many rows or values a check caught, and whether that stops the task.

    A run has one of each subject, name and detail.

    Attributes:
        name: snake_case without numbers and data, the same in every run, so that results can be grouped by it; of a
            check that a contract declares, its text there.
        observed: what was measured, where the check compares one number with a threshold.
        threshold: what it was compared with, in the same unit.
        detail: the file, column or key that it is about, or a hint; never personal data.
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
        told = [f"{name} {value:g}" for name, value in numbers.items() if value is not None]
        more = ", ".join([self.detail, *told] if self.detail else told)
        return f"{self.name} ({more})" if more else self.name


class ModelResult(BaseModel):
    """A model as it was judged."""

    name: str
    version: str
    accepted: bool
    metrics: dict[str, float]


class Record(BaseModel):
    """One task of one run; a retried task overwrites its record.

    Attributes:
        select: the SELECT of the table that the task built: a training runs it for past dates.
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
        """How long the task's own work took."""
        return ((self.finished_at or self.started_at) - self.started_at).total_seconds()


@contextmanager
def recorded(run: RunContext, name: str, flow: str) -> Iterator[Record]:
    """A record to fill in; it is written when the block ends, also when it fails."""
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
            raise  # else the task's own error must be the one that is seen
        LOG.warning("the record of %s could not be written: %s", record.name, error)


def earlier(run: RunContext, name: str) -> Record | None:
    """The record that an earlier try of the task left in this run, if it succeeded."""
    if retry_marker():
        return None
    record = record_of(run, name)
    return record if record and record.status == "succeeded" else None


def record_of(run: RunContext, name: str) -> Record | None:
    """The record that a task left in this run; None where it left none."""
    lake, path = Lake(run.project, run.bucket), f"{run.records}/tasks/{name}.json"
    return Record.model_validate_json(lake.read_text(path)) if lake.exists(path) else None


def retry_marker() -> str:
    """What `goldline retry` marks its tries with; empty in a run: whoever retries by hand wants the work done again."""
    return os.environ.get("GOLDLINE_RETRY", "")


def now() -> datetime.datetime:
    """This moment, in UTC."""
    return datetime.datetime.now(datetime.UTC)
