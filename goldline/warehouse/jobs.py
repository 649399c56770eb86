"""BigQuery jobs with ids made from run, table and step, so that a lost response never starts a second job."""

import datetime
import hashlib
import logging
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
from goldline.runs.records import retry_marker
from goldline.warehouse.schema import fields

LOG = logging.getLogger(__name__)
JOB_SECONDS = 1800.0  # timeout of one job
PAGE_ROWS = 10_000
TRIES = 3  # jobs that one call starts for a step, at most
IDS_MAX = 10  # failed jobs of one step in one run, over all retries of its task
REPLACE, APPEND = bigquery.WriteDisposition.WRITE_TRUNCATE, bigquery.WriteDisposition.WRITE_APPEND
WITH_ROWS = {None, "SELECT", "SCRIPT"}  # statement types that may return rows
# Reasons that say "try again": https://cloud.google.com/bigquery/docs/error-messages. LOST_RACE is the message of a
# MERGE that lost to another statement on the same table.
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
Begin = Callable[..., Any]  # a method of the client: it takes `job_id` and starts the job


class JobError(RuntimeError):
    """Failure of a job; the message names table, step and BigQuery's error."""


class Jobs:
    """BigQuery jobs of one subject (a table, a source, the run itself) in one run.

    `step` names a job within its subject; it is part of the job's id and labels. Methods that run a job raise JobError
    if it fails.
    """

    def __init__(self, run: RunPlace, subject: str) -> None:
        self.run = run
        self.subject = subject
        self.client = bigquery_client(run.project, run.location)
        self._billed: list[int] = []  # statements may run in parallel: appending is atomic

    @property
    def bytes_billed(self) -> int:
        """Bytes that BigQuery billed for the statements so far."""
        return sum(self._billed)

    def query(self, step: str, sql: str, parameters: Parameters = (), files: Files = NO_FILES) -> "list[bigquery.Row]":
        """Run a statement and return its rows; `files` are lake files by the table names it reads them under."""
        return self._query(step, sql, parameters, files)[1]

    def insert(self, step: str, sql: str) -> int:
        """Run an INSERT or a MERGE, and return the number of rows that it inserted."""
        return int(self._query(step, sql)[0].dml_stats.inserted_row_count)

    def _query(
        self, step: str, sql: str, parameters: Parameters = (), files: Files = NO_FILES
    ) -> "tuple[Any, list[bigquery.Row]]":
        """Run a statement; return the finished job and its rows."""
        config = bigquery.QueryJobConfig(query_parameters=list(parameters), labels=self._labels(step))
        if files:
            config.table_definitions = dict(files)
        # Without job_retry=None the client would retry under another job id.
        begin = partial(self.client.query, sql, config, timeout=TIMEOUT, job_retry=None)
        uris = "".join(uri for file in files.values() for uri in file.source_uris)
        job, rows = self._run(step, f"{sql}{config.query_parameters}{uris}", begin, _rows)
        self._billed.append(job.total_bytes_billed or 0)
        return job, rows

    def read(self, table: str, columns: Iterable[Column]) -> "list[bigquery.Row]":
        """Current rows of a small table, some columns only: without a job, so free of cost and never cached.

        Raises:
            JobError: the table cannot be read.
        """
        reference = bigquery.TableReference.from_string(table)
        wanted = fields(columns)
        try:
            return list(self.client.list_rows(reference, selected_fields=wanted, page_size=PAGE_ROWS, timeout=TIMEOUT))
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, reading {table}: {error.message}") from error

    def read_now(self, sql: str, parameters: Parameters = ()) -> Iterator[bigquery.Row]:
        """Stream the rows of a SELECT as of now.

        Unlike `query`, it lets BigQuery choose the job's id, so that a retry never gets the result of an earlier try.
        Use it to decide what is still to be done. It does not count into `bytes_billed`.

        Raises:
            JobError: the SELECT failed.
        """
        config = bigquery.QueryJobConfig(query_parameters=list(parameters), labels=self._labels("read_now"))
        try:
            yield from self.client.query_and_wait(sql, job_config=config, api_timeout=TIMEOUT, wait_timeout=JOB_SECONDS)
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, reading: {error.message}") from error

    def row_count(self, table: str) -> int:
        """Number of rows in a table, from its metadata.

        Raises:
            JobError: the table cannot be read.
        """
        try:
            return int(self.client.get_table(table, timeout=TIMEOUT).num_rows)
        except GoogleAPICallError as error:
            raise JobError(f"{self.subject}, reading {table}: {error.message}") from error

    def copy(self, step: str, source: str, target: str) -> None:
        """Replace a table, or one of its partitions (`table$YYYYMMDD`), by a copy of another, atomically."""
        config = bigquery.CopyJobConfig(labels=self._labels(step), write_disposition=REPLACE)
        begin = partial(self.client.copy_table, source, target, job_config=config, timeout=TIMEOUT)
        self._run(step, f"{source} {target}", begin, _done)

    def load(self, step: str, uris: Sequence[str], target: str, schema: list[bigquery.SchemaField]) -> None:
        """Replace a table's rows by those of Parquet files in the lake (gs:// URIs)."""
        config = bigquery.LoadJobConfig(labels=self._labels(step), schema=schema, write_disposition=REPLACE)
        config.source_format = bigquery.SourceFormat.PARQUET
        begin = partial(self.client.load_table_from_uri, list(uris), target, job_config=config, timeout=TIMEOUT)
        self._run(step, f"{target} {uris}", begin, _done)

    def append(self, step: str, rows: Iterable[Row], target: str, schema: list[bigquery.SchemaField]) -> None:
        """Append a few rows to a table in one load job; no job if there are none."""
        content = list(rows)
        config = bigquery.LoadJobConfig(labels=self._labels(step), schema=schema, write_disposition=APPEND)
        begin = partial(self.client.load_table_from_json, content, target, job_config=config, timeout=TIMEOUT)
        if content:
            self._run(step, target, begin, _done)

    def _run[T](self, step: str, content: str, begin: Begin, wait: Callable[[Any], T]) -> tuple[Any, T]:
        """Run a job, with retries; return the finished job and the result of `wait`."""
        tries = 0
        used = 0  # ids of this step taken by failed jobs
        while True:
            job, is_new = self._begin(self._job_id(step, content, used), step, begin)
            try:
                return job, wait(job)
            except GoogleAPICallError as error:
                used += 1
                tries += is_new  # a failed job of an earlier try of this task only takes an id
                if used == IDS_MAX or (is_new and (tries == TRIES or not _passing(job, error))):
                    raise JobError(f"{self.subject}, step {step}: {_message(job, error)}") from error
                LOG.warning("%s, step %s: %s; trying again", self.subject, step, _message(job, error))
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
        # A task that is run again by hand does its work again, under new ids.
        digest = hashlib.sha256((content + retry_marker()).encode()).hexdigest()[:12]
        readable = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.run.run_id}-{self.run.dataset(self.subject)}-{step}")
        return f"goldline-{readable}-{digest}-{failed}"


def date_parameter(name: str, value: datetime.date) -> bigquery.ScalarQueryParameter:
    """A DATE parameter of a query."""
    return bigquery.ScalarQueryParameter(name, "DATE", value)


def label(text: str) -> str:
    """Convert a text to a valid label value: https://cloud.google.com/bigquery/docs/labels-intro#requirements."""
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def _rows(job: bigquery.QueryJob) -> "list[bigquery.Row]":
    if job.done(reload=False) and job.statement_type not in WITH_ROWS:  # the job's response says everything
        if error := job.exception():
            raise error
        return []
    # With a page size, the response that says "done" holds the first page; else that takes another request.
    found = job.result(page_size=PAGE_ROWS, timeout=JOB_SECONDS)
    return list(found) if found.total_rows else []


def _done(job: Any) -> None:  # noqa: ANN401, the kinds of job share no base
    job.result(timeout=JOB_SECONDS)


def _passing(job: Any, error: GoogleAPICallError) -> bool:  # noqa: ANN401
    reason = (job.error_result or {}).get("reason")
    return reason in PASSING or bool(LOST_RACE.search(str(error)))


def _message(job: Any, error: GoogleAPICallError) -> str:  # noqa: ANN401
    return str((job.error_result or {}).get("message") or error.message)
