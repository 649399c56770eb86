"""From Arrow tables to BigQuery: a Parquet file in the lake, a load job into a stage, and one statement to publish."""

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import pyarrow.parquet as pq
from google.cloud import bigquery

from components.build_table import statements
from goldline import arrow
from goldline.clients import TIMEOUT
from goldline.contract import Column, TableContract
from goldline.jobs import Jobs
from goldline.lake import Lake
from goldline.record import now
from goldline.run import Run
from goldline.schema import fields

STAGE_LIFE = datetime.timedelta(days=1)
PARTITION = "service_date"


class Stages:
    """The files and stages of one batch, gone when the block ends."""

    def __init__(self, run: Run, jobs: Jobs, lake: Lake, batch: str) -> None:
        self.run = run
        self.jobs = jobs
        self.lake = lake
        self.batch = batch
        self._files: dict[str, str] = {}  # by table
        self._stages: set[str] = set()

    def __enter__(self) -> Self:
        """Begin; nothing is made before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete files and stages, whatever became of them."""
        for path in self._files.values():
            self.lake.delete(path)
        for stage in self._stages:
            self.jobs.client.delete_table(stage, not_found_ok=True, timeout=TIMEOUT)

    @contextmanager
    def writing(self, contract: TableContract) -> Iterator[pq.ParquetWriter]:
        """A Parquet file of the table's columns, to write rows into as they come."""
        path = f"stage/{self.run.run_id}/{self.batch}/{self.run.dataset(contract.table)}.parquet"
        with (
            self.lake.writing(path) as stream,
            pq.ParquetWriter(stream, arrow.schema(contract.columns), compression="zstd") as writer,
        ):
            yield writer
        self._files[contract.table] = path

    def publish(self, contracts: Iterable[TableContract], days: Sequence[datetime.date]) -> None:
        """Put what was written in the place of the days' rows, of each table in one atomic step; tables side by side.

        Raises:
            JobError: BigQuery could not, for one of them; the others are published or not.
        """
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(self._publish, contract, days) for contract in contracts]:
                done.result()

    def publish_whole(self, contract: TableContract, path: str = "") -> None:
        """Put what was written, or what a file of the lake holds, in the place of a table's rows, by one load job.

        Raises:
            JobError: BigQuery could not.
        """
        uri = self.lake.uri(path or self._files[contract.table])
        self._load(contract.name, uri, self.run.table(contract.table), contract.columns)

    def _publish(self, contract: TableContract, days: Sequence[datetime.date]) -> None:
        digest = hashlib.sha256(f"{self.run.run_id} {self.batch}".encode()).hexdigest()[:8]
        stage = self.run.table(f"ops.load_{contract.dataset}_{contract.name}_{digest}")
        self._stages.add(stage)
        self._load(contract.name, self.lake.uri(self._files[contract.table]), stage, _nullable(contract.columns))
        self._expire(stage)
        columns = [c.name for c in contract.columns]
        sql = statements.replace(self.run.table(contract.table), columns, f"`{stage}`", PARTITION, days)
        self.jobs.query(f"publish_{self.batch}_{contract.name}", sql)

    def _load(self, name: str, uri: str, target: str, columns: Iterable[Column]) -> None:
        self.jobs.load(f"load_{self.batch}_{name}", [uri], target, fields(columns))

    def _expire(self, stage: str) -> None:
        """See that a stage goes even where this process is killed before it ends."""
        table = bigquery.Table(stage)
        table.expires = now() + STAGE_LIFE
        self.jobs.client.update_table(table, ["expires"], timeout=TIMEOUT)


def _nullable(columns: Iterable[Column]) -> list[Column]:
    """Files do not say that a column is never NULL; the statement that publishes makes sure."""
    return [c.model_copy(update={"mode": "NULLABLE"}) if c.mode == "REQUIRED" else c for c in columns]
