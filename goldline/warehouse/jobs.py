"""BigQuery jobs with ids made from run, table and step, so that an answer lost on the way never makes a second job."""

import datetime
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from google.api_core.exceptions import Conflict, GoogleAPICallError
from google.cloud import bigquery

from goldline.clients import TIMEOUT, bigquery_client
from goldline.contracts.columns import Column, Row
from goldline.runs.context import RunPlace
from goldline.warehouse.schema import fields

LOG = logging.getLogger(__name__)
JOB_SECONDS = 1800.0
PAGE_ROWS = 10_000
TRIES = 3
IDS_MAX = 10  # failed jobs that a step may leave in one run, all its tries together
REPLACE, APPEND = bigquery.WriteDisposition.WRITE_TRUNCATE, bigquery.WriteDisposition.WRITE_APPEND
WITH_ROWS = {None, "SELECT", "SCRIPT"}  # statements that may have some
# https://cloud.google.com/bigquery/docs/error-messages: these say "try again"; the last is how a MERGE that lost to
# another statement on the same table is told.
PASSING = {
    "backendError",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "rateLimitExceeded",
    "jobRateLimitExceeded",
}
LOST_RACE = re.compile(r"concurrent update|could not serialize|Transaction is aborted", re.IGNORECASE)

Parameters = Sequence[bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter]
Files = Mapping[str, bigquery.ExternalConfig]
NO_FILES: Files = MappingProxyType({})
Begin = Callable[..., Any]  # of the client: it takes `job_id`, and gives the job


class JobError(RuntimeError):
    """A job failed: the message names table, step and what BigQuery said."""


class Jobs:
    """The jobs of one subject (a table, a source, the run itself) in one run."""

    def __init__(self, run: RunPlace, subject: str) -> None:
        self.run = run
        self.subject = subject
        self.client = bigquery_client(run.project, run.location)
        self._billed: list[int] = []  # statements may run side by side: appending loses none

    @property
    def bytes_billed(self) -> int:
        """Bytes that BigQuery billed for the statements so far."""
        return sum(self._billed)

    def query(self, step: str, sql: str, parameters: Parameters = (), files: Files = NO_FILES) -> "list[bigquery.Row]":
        """Run a statement, which may read files of the lake by the names given to them, and give its rows."""
        return self._query(step, sql, parameters, files)[1]

    def insert(self, step: str, sql: str) -> int:
        """Run an INSERT or a MERGE, and give the number of rows that it inserted."""
        return int(self._query(step, sql)[0].dml_stats.inserted_row_count)

    def _query(
        self, step: str, sql: str, parameters: Parameters = (), files: Files = NO_FILES
    ) -> "tuple[Any, list[bigquery.Row]]":
        """The job, done, and its rows."""
        config = bigquery.QueryJobConfig(query_parameters=list(parameters), labels=self._labels(step))
        if files:
            config.table_definitions = dict(files)
        # Without job_retry=None the client would make up another id for a second try.
        begin = partial(self.client.query, sql, config, timeout=TIMEOUT, job_retry=None)
        uris = "".join(uri for file in files.values() for uri in file.source_uris)
        job, rows = self._run(step, f"{sql}{config.query_parameters}{uris}", begin, _rows)
        self._billed.append(job.total_bytes_billed or 0)
        return job, rows

    def read(self, table: str, columns: Iterable[Column]) -> "list[bigquery.Row]":
        """Some columns of a small table, as it stands now: no job, so no cost, and no answer of an earlier try.

        Raises:
            JobError: it cannot be read.
        """
        reference = bigquery.TableReference.from_string(table)
        wanted = fields(columns)
        try:
            return list(self.client.list_rows(reference, selected_fields=wanted, page_size=PAGE_ROWS, timeout=TIMEOUT))
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, reading {table}: {error.message}") from error

    def read_now(self, sql: str, parameters: Parameters = ()) -> Iterator[bigquery.Row]:
        """Rows of a SELECT as of now, read as they are asked for.

        Unlike `query` it makes a job with an id of BigQuery's own, so that a second try never finds the answer of the
        first: for all that decides what is still to be done. It does not count into `bytes_billed`.

        Raises:
            JobError: the SELECT failed.
        """
        config = bigquery.QueryJobConfig(query_parameters=list(parameters), labels=self._labels("read_now"))
        try:
            yield from self.client.query_and_wait(sql, job_config=config, api_timeout=TIMEOUT, wait_timeout=JOB_SECONDS)
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, reading: {error.message}") from error

    def row_count(self, table: str) -> int:
        """How many rows a table has; its metadata tells.

        Raises:
            JobError: it cannot be read.
        """
        try:
            return int(self.client.get_table(table, timeout=TIMEOUT).num_rows)
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, reading {table}: {error.message}") from error

    def copy(self, step: str, source: str, target: str) -> None:
        """Copy a table over another, or over one of its partitions (`table$YYYYMMDD`), in one atomic step."""
        config = bigquery.CopyJobConfig(labels=self._labels(step), write_disposition=REPLACE)
        begin = partial(self.client.copy_table, source, target, job_config=config, timeout=TIMEOUT)
        self._run(step, f"{source} {target}", begin, _done)

    def load(self, step: str, uris: Sequence[str], target: str, schema: list[bigquery.SchemaField]) -> None:
        """Load Parquet files of the lake in the place of what a table holds."""
        config = bigquery.LoadJobConfig(labels=self._labels(step), schema=schema, write_disposition=REPLACE)
        config.source_format = bigquery.SourceFormat.PARQUET
        begin = partial(self.client.load_table_from_uri, list(uris), target, job_config=config, timeout=TIMEOUT)
        self._run(step, f"{target} {uris}", begin, _done)

    def append(self, step: str, rows: Iterable[Row], target: str, schema: list[bigquery.SchemaField]) -> None:
        """Load a few rows into a table."""
        content = list(rows)
        config = bigquery.LoadJobConfig(labels=self._labels(step), schema=schema, write_disposition=APPEND)
        begin = partial(self.client.load_table_from_json, content, target, job_config=config, timeout=TIMEOUT)
        if content:
            self._run(step, target, begin, _done)

    def _run[T](self, step: str, content: str, begin: Begin, wait: Callable[[Any], T]) -> tuple[Any, T]:
        """A job that is done, and what waiting for it gave."""
        tries = 0
        used = 0  # ids of this step that belong to failed jobs
        while True:
            job, is_new = self._begin(self._job_id(step, content, used), step, begin)
            try:
                return job, wait(job)
            except GoogleAPICallError as error:
                used += 1
                tries += is_new  # a job that an earlier try of this task left failed costs nothing but its id
                if used == IDS_MAX or (is_new and (tries == TRIES or not _passing(job, error))):
                    raise JobError(f"{self.subject}, step {step}: {_said(job, error)}") from error
                LOG.warning("%s, step %s: %s; trying again", self.subject, step, _said(job, error))
                time.sleep(2**tries - 1)

    def _begin(self, job_id: str, step: str, begin: Begin) -> tuple[Any, bool]:
        try:
            return begin(job_id=job_id), True
        except Conflict:
            return self.client.get_job(job_id, timeout=TIMEOUT), False
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, step {step}: {error.message}") from error

    def _labels(self, step: str) -> dict[str, str]:
        labels = {"goldline_run": self.run.run_id, "goldline_subject": self.subject, "goldline_step": step}
        return {key: label(value) for key, value in labels.items()}

    def _job_id(self, step: str, content: str, failed: int) -> str:
        # `goldline retry` sets GOLDLINE_RETRY: whoever runs a task again by hand wants its work done again.
        digest = hashlib.sha256((content + os.environ.get("GOLDLINE_RETRY", "")).encode()).hexdigest()[:12]
        readable = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.run.run_id}-{self.run.dataset(self.subject)}-{step}")
        return f"goldline-{readable}-{digest}-{failed}"


def date_parameter(name: str, value: datetime.date) -> bigquery.ScalarQueryParameter:
    """A DATE parameter of a query."""
    return bigquery.ScalarQueryParameter(name, "DATE", value)


def label(text: str) -> str:
    """A text as labels take it: https://cloud.google.com/bigquery/docs/labels-intro#requirements."""
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def _rows(job: bigquery.QueryJob) -> "list[bigquery.Row]":
    if job.done(reload=False) and job.statement_type not in WITH_ROWS:  # what there is to know came with the job
        if error := job.exception():
            raise error
        return []
    # With a size of pages the answer that says "done" brings the first one; else it takes another request.
    found = job.result(page_size=PAGE_ROWS, timeout=JOB_SECONDS)
    return list(found) if found.total_rows else []


def _done(job: Any) -> None:  # noqa: ANN401, the kinds of job share no base
    job.result(timeout=JOB_SECONDS)


def _passing(job: Any, error: GoogleAPICallError) -> bool:  # noqa: ANN401
    reason = (job.error_result or {}).get("reason")
    return reason in PASSING or bool(LOST_RACE.search(str(error)))


def _said(job: Any, error: GoogleAPICallError) -> str:  # noqa: ANN401
    return str((job.error_result or {}).get("message") or error.message)
