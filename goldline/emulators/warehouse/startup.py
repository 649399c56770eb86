"""Clean-up at the start: jobs that a killed server left running, and old results of queries."""

import functools
import json
import time
from typing import Any

from local_bigquery.engine import database
from local_bigquery.engine.database import quote

from goldline.emulators.warehouse.upstream import Connection, replace

# BigQuery keeps the result of a query without a destination as long.
RESULTS_HOURS = 24

_original: dict[str, Any] = {}


@functools.cache
def connect() -> Connection:
    """Connection of the process, made once, after the clean-up."""
    con: Connection = _original["connect"]()
    end_jobs(con)
    drop_results(con, older_than=time.time() - RESULTS_HOURS * 3600)
    return con


def end_jobs(con: Connection) -> None:
    """Mark jobs that a killed server left running as failed: clients would poll them for ever."""
    left = con.execute("SELECT project_id, job_id, resource FROM emulator.jobs WHERE state <> 'DONE'").fetchall()
    error = {"reason": "backendError", "message": "The server stopped while the job ran."}
    for project_id, job_id, resource in left:
        job = json.loads(resource)
        job["status"] = {"state": "DONE", "errorResult": error, "errors": [error]}
        job.setdefault("statistics", {})["endTime"] = str(int(time.time() * 1000))
        con.execute(
            "UPDATE emulator.jobs SET state = 'DONE', resource = ? WHERE project_id = ? AND job_id = ?",
            [json.dumps(job), project_id, job_id],
        )


def drop_results(con: Connection, older_than: float) -> None:
    """Drop results older than a time, in seconds since 1970: upstream keeps those of every query for ever."""
    tables = con.execute(
        "SELECT table_name FROM duckdb_tables() LEFT JOIN emulator.jobs ON table_name = project_id || ':' || job_id "
        "WHERE database_name = 'emulator' AND schema_name = '_results' AND coalesce(creation_time, 0) < ?",
        [int(older_than * 1000)],
    ).fetchall()
    for (name,) in tables:
        con.execute(f"DROP TABLE {quote('emulator', '_results', name)}")
    con.execute("CHECKPOINT emulator")


def install() -> None:
    """Replace database._connect."""
    _original["connect"] = replace(database, "_connect", connect)
