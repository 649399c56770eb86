"""Stages from Arrow tables to BigQuery: a Parquet file in the lake, read there by the statement that publishes."""

import datetime
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

import pyarrow.parquet as pq
from google.cloud import bigquery

from goldline.contracts import arrow
from goldline.contracts.columns import Column
from goldline.contracts.table_contract import TableContract
from goldline.lake import Lake
from goldline.runs.context import RunContext
from goldline.warehouse import statements
from goldline.warehouse.jobs import Jobs
from goldline.warehouse.schema import fields

PARTITION = "service_date"
LANDED = "landed"  # name of the file in a statement


class Stages:
    """Parquet files of one batch, deleted when the block ends.

    Each try has its own file names, so that files and jobs of an earlier try of this run are never taken for its own.
    """

    def __init__(self, run: RunContext, jobs: Jobs, lake: Lake, batch: str) -> None:
        self.run = run
        self.jobs = jobs
        self.lake = lake
        self.batch = batch
        self._id = uuid.uuid4().hex[:8]
        self._files: dict[str, str] = {}  # by table
        self._open: dict[str, tuple[ExitStack, pq.ParquetWriter]] = {}  # likewise

    def __enter__(self) -> Self:
        """Begin; files are made when they are needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the files, after success and failure."""
        for block, _ in self._open.values():
            block.__exit__(kind, error, trace)
        _all(self.lake.delete, self._files.values())

    def writer(self, contract: TableContract) -> pq.ParquetWriter:
        """Writer of a table's file, open until the table is published."""
        if contract.table not in self._open:
            block = ExitStack()
            self._open[contract.table] = block, block.enter_context(self.writing(contract))
        return self._open[contract.table][1]

    @contextmanager
    def writing(self, contract: TableContract) -> Iterator[pq.ParquetWriter]:
        """Writer of a Parquet file with the table's columns, open for the block."""
        path = f"stage/{self.run.run_id}/{self.batch}-{self._id}/{self.run.dataset(contract.table)}.parquet"
        with (
            self.lake.writing(path) as stream,
            pq.ParquetWriter(
                stream,
                arrow.schema(contract.columns),
                compression="zstd",
                use_dictionary=False,  # a day is a row group, too short for them: half the size, in half the time
                write_statistics=False,  # the one statement that reads the file reads it whole
            ) as out,
        ):
            yield out
        self._files[contract.table] = path

    def publish(self, contracts: Iterable[TableContract], days: Sequence[datetime.date]) -> None:
        """Replace the days' rows by the written ones: one atomic step per table, tables in parallel.

        Raises:
            JobError: a table could not be published; the others may be.
        """
        _all(lambda contract: self._publish(contract, days), contracts)

    def publish_whole(self, contract: TableContract, path: str = "") -> None:
        """Replace all rows of a table by its written file, or by the file `path` of the lake, in one load job.

        Raises:
            JobError: the load job failed.
        """
        uri = self.lake.uri(path or self._files[contract.table])
        self.jobs.load(
            f"load_{self.batch}_{contract.name}", [uri], self.run.table(contract.table), fields(contract.columns)
        )

    def _publish(self, contract: TableContract, days: Sequence[datetime.date]) -> None:
        target, step = self.run.table(contract.table), f"publish_{self.batch}_{contract.name}"
        if contract.table in self._open:
            self._open.pop(contract.table)[0].close()
        if contract.table in self._files:
            columns = [c.name for c in contract.columns]
            sql = statements.replace(target, columns, f"`{LANDED}`", PARTITION, days)
            self.jobs.query(step, sql, files={LANDED: self._external(contract)})
        elif self.jobs.row_count(target):
            self.jobs.query(step, statements.remove(target, PARTITION, days))

    def _external(self, contract: TableContract) -> bigquery.ExternalConfig:
        """External table over the written file; it exists in the job only, nothing of it stays.

        https://cloud.google.com/bigquery/docs/query-cloud-storage-data#query_temporary_external_tables
        """
        config = bigquery.ExternalConfig("PARQUET")
        config.source_uris = [self.lake.uri(self._files[contract.table])]
        config.schema = fields(_nullable(contract.columns))
        return config


def _all[T](act: Callable[[T], None], things: Iterable[T]) -> None:
    """Call `act` on all things, in parallel."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(act, thing) for thing in things]:
            done.result()


def _nullable(columns: Iterable[Column]) -> list[Column]:
    """Columns as files have them: none is REQUIRED; the statement that publishes enforces the mode."""
    return [c.model_copy(update={"mode": "NULLABLE"}) if c.mode == "REQUIRED" else c for c in columns]
