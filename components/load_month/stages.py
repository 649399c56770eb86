"""From Arrow tables to BigQuery: a Parquet file in the lake, a load job into a stage, and one statement to publish."""

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from goldline.schema import ensure, fields

STAGE_LIFE = datetime.timedelta(days=1)
AT_ONCE = 3  # tables that are published at once
PARTITION = "service_date"


class Stages:
    """The files and stages of one batch, gone when the block ends."""

    def __init__(self, run: Run, jobs: Jobs, lake: Lake, batch: str) -> None:
        self.run = run
        self.jobs = jobs
        self.lake = lake
        self.batch = batch
        self._written: dict[str, str] = {}
        self._begun: set[str] = set()

    def __enter__(self) -> Self:
        """Begin; nothing is made before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete files and stages, whatever became of them."""
        for table in self._begun:
            if path := self._written.get(table):
                self.lake.delete(path)
            self.jobs.client.delete_table(self._stage(table), not_found_ok=True, timeout=TIMEOUT)

    @contextmanager
    def writing(self, contract: TableContract) -> Iterator[pq.ParquetWriter]:
        """A Parquet file of the table's columns, to write rows into as they come."""
        self._begun.add(contract.table)
        with (
            self.lake.writing(self._path(contract.table)) as stream,
            pq.ParquetWriter(stream, arrow.schema(contract.columns), compression="zstd") as writer,
        ):
            yield writer
        self._written[contract.table] = self._path(contract.table)

    def publish(
        self,
        contracts: Iterable[TableContract],
        days: Sequence[datetime.date] | None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Put what was written in the place of the days' rows, or of all rows where there are no days.

        Of a table that there is no file for, the rows are only taken away.

        Args:
            contracts: of the tables.
            days: the partitions to replace.
            files: by table, the Parquet files to load, where they lie in the lake already.

        Raises:
            JobError: BigQuery could not.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda contract: self._publish(contract, days, (files or {}).get(contract.table)), contracts))

    def _publish(self, contract: TableContract, days: Sequence[datetime.date] | None, file: str | None) -> None:
        table, stage = contract.table, self._stage(contract.table)
        self._begun.add(table)
        ensure(self.jobs.client, contract, self.run)
        wanted = bigquery.Table(stage, schema=fields(_nullable(contract.columns)))
        wanted.expires = now() + STAGE_LIFE
        self.jobs.client.create_table(wanted, exists_ok=True, timeout=TIMEOUT)
        if path := file or self._written.get(table):
            self.jobs.load(f"load_{self.batch}_{contract.name}", [self.lake.uri(path)], stage, wanted.schema)
        columns = [c.name for c in contract.columns]
        target = self.run.table(table)
        sql = (
            statements.replace_all(target, columns, stage)
            if days is None
            else statements.replace(target, columns, stage, PARTITION, days)
        )
        self.jobs.query(f"publish_{self.batch}_{contract.name}", sql)

    def _path(self, table: str) -> str:
        return f"stage/{self.run.run_id}/{self.batch}/{self.run.dataset(table)}.parquet"

    def _stage(self, table: str) -> str:
        digest = hashlib.sha256(f"{self.run.run_id} {self.batch}".encode()).hexdigest()[:8]
        return self.run.table(f"ops.load_{table.replace('.', '_')}_{digest}")


def _nullable(columns: Iterable[Column]) -> list[Column]:
    """Files do not say that a column is never NULL; the statement that publishes makes sure."""
    return [c.model_copy(update={"mode": "NULLABLE"}) if c.mode == "REQUIRED" else c for c in columns]
