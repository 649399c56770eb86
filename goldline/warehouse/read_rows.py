"""Rows of a SELECT as Arrow, by Storage Read."""

import datetime
from collections.abc import Sequence

import pyarrow as pa
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import bigquery

from goldline.clients import TIMEOUT, bigquery_client, bigquery_read_client
from goldline.runs.context import RunContext
from goldline.warehouse.jobs import JOB_SECONDS, JobError, date_parameter, label


def read_rows(
    run: RunContext,
    subject: str,
    sql: str,
    run_date: datetime.date,
    more: Sequence[bigquery.ScalarQueryParameter] = (),
) -> pa.Table:
    """Read the rows of a SELECT by the Storage Read API: for results too large for pages of JSON.

    A SELECT changes nothing, so unlike the statements of Jobs it may run twice and needs no id of its own. `more` are
    its query parameters besides `@run_date`; `subject` names it in the job's labels and in errors.

    Raises:
        JobError: the SELECT failed.
    """
    labels = {"goldline_run": run.run_id, "goldline_subject": subject, "goldline_step": "read"}
    config = bigquery.QueryJobConfig(query_parameters=[date_parameter("run_date", run_date), *more])
    config.labels = {key: label(value) for key, value in labels.items()}
    client = bigquery_client(run.project, run.location)
    try:
        job = client.query(sql, config, timeout=TIMEOUT)
        job.result(timeout=JOB_SECONDS)
        return _downloaded(job.destination)
    except GoogleAPICallError as error:
        raise JobError(f"{subject}, reading as of {run_date}: {error.message}") from error


def _downloaded(table: bigquery.TableReference) -> pa.Table:
    """Rows of a table, in any order; like to_arrow(), but that warns that it will move to another package."""
    from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

    wanted = ReadSession(table=table.path.removeprefix("/"), data_format=DataFormat.ARROW)
    reader = bigquery_read_client()
    with reader:
        session = reader.create_read_session(
            parent=f"projects/{table.project}", read_session=wanted, max_stream_count=1, timeout=TIMEOUT
        )
        schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        batches = [
            pa.ipc.read_record_batch(pa.py_buffer(message.arrow_record_batch.serialized_record_batch), schema)
            for stream in session.streams
            for message in reader.read_rows(stream.name, timeout=JOB_SECONDS)
        ]
    return pa.Table.from_batches(batches, schema)
