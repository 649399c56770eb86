"""From Arrow tables to BigQuery: a Parquet file in the lake, read in its place by the one statement that publishes."""

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
LANDED = "landed"  # the file, in a statement


class Stages:
    """The files of one batch, gone when the block ends.

    Each try has names of its own: what an earlier try of this run did to files of the same name, and which of its jobs
    were done, tells nothing of these.
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
        """Begin; nothing is made before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the files, whatever became of them."""
        for block, _ in self._open.values():
            block.__exit__(kind, error, trace)
        _all(self.lake.delete, self._files.values())

    def writer(self, contract: TableContract) -> pq.ParquetWriter:
        """The file of a table, to write rows into until the table is published."""
        if contract.table not in self._open:
            block = ExitStack()
            self._open[contract.table] = block, block.enter_context(self.writing(contract))
        return self._open[contract.table][1]

    @contextmanager
    def writing(self, contract: TableContract) -> Iterator[pq.ParquetWriter]:
        """A Parquet file of the table's columns, to write rows into as they come."""
        path = f"stage/{self.run.run_id}/{self.batch}-{self._id}/{self.run.dataset(contract.table)}.parquet"
        with (
            self.lake.writing(path) as stream,
            pq.ParquetWriter(
                stream,
                arrow.schema(contract.columns),
                compression="zstd",
                use_dictionary=False,  # days are row groups, too short for them: half the size, in half the time
                write_statistics=False,  # the one statement that reads the file reads all of it
            ) as out,
        ):
            yield out
        self._files[contract.table] = path

    def publish(self, contracts: Iterable[TableContract], days: Sequence[datetime.date]) -> None:
        """Put what was written in the place of the days' rows, of each table in one atomic step; tables side by side.

        Raises:
            JobError: BigQuery could not, for one of them; the others are published or not.
        """
        _all(lambda contract: self._publish(contract, days), contracts)

    def publish_whole(self, contract: TableContract, path: str = "") -> None:
        """Put what was written, or what a file of the lake holds, in the place of a table's rows, by one load job.

        Raises:
            JobError: BigQuery could not.
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
        """An external table over what was written, which is the job's alone: nothing is left of it.

        https://cloud.google.com/bigquery/docs/query-cloud-storage-data#query_temporary_external_tables
        """
        config = bigquery.ExternalConfig("PARQUET")
        config.source_uris = [self.lake.uri(self._files[contract.table])]
        config.schema = fields(_nullable(contract.columns))
        return config


def _all[T](act: Callable[[T], None], things: Iterable[T]) -> None:
    """Act on all of them, side by side."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(act, thing) for thing in things]:
            done.result()


def _nullable(columns: Iterable[Column]) -> list[Column]:
    """Files do not say that a column is never NULL; the statement that publishes makes sure."""
    return [c.model_copy(update={"mode": "NULLABLE"}) if c.mode == "REQUIRED" else c for c in columns]
