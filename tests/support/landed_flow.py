"""A bucket and datasets of a test's own, and what it takes to run a flow of landed files on them as functions."""

import io
import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow.parquet as pq
from google.cloud import bigquery

from components.simulation.folder import Folder
from goldline.lake import Lake
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.records import TableResult
from goldline.runs.settings import Settings
from goldline.spec.tables import catalog, contract_json, flows, select
from goldline.stages.build_table import build_table
from goldline.stages.prepare_run import prepare_run

DAY = date(2026, 11, 20)


class Place:
    """A bucket and datasets of the test's own."""

    def __init__(self, client: bigquery.Client, run: RunContext) -> None:
        settings = Settings(DAY.isoformat(), run.project, run.location, run.bucket, run.dataset_prefix)
        self.client = client
        self.run = prepare_run(run.run_id, "", "", catalog().pack(), settings)
        self.lake = Lake(run.project, run.bucket)

    def night(self, day: date, since: date = EPOCH) -> RunContext:
        content = {"run_id": f"night-{uuid.uuid4().hex[:8]}", "run_date": day}
        return self.run.model_copy(update={**content, "since": dict.fromkeys(flows(), since)})

    def rows(self, table: str) -> list[dict[str, Any]]:
        rows = self.client.query_and_wait(f"select * from `{self.run.table(table)}`")
        return [dict(row.items()) for row in rows]

    def truth(self, name: str, day: date) -> list[dict[str, Any]]:
        with self.lake._bucket.blob(Folder(self.lake, name).truth(day)).open("rb") as stream:
            found: list[dict[str, Any]] = pq.read_table(io.BytesIO(stream.read())).to_pylist()
        return found


def build(context: RunContext, flow: str, *tables: str) -> list[TableResult]:
    return [build_table(context, flow, select(f"{flow}/{table}"), contract_json(f"{flow}/{table}")) for table in tables]


def told(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """These columns alone, the first two of which are a key."""
    return sorted(({name: row[name] for name in names} for row in rows), key=lambda row: [row[n] for n in names[:2]])
