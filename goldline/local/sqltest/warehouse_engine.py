"""Engine for unit tests on the local warehouse: the real build_table, in datasets of its own."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.cloud import bigquery

from goldline.clients import TIMEOUT, bigquery_client
from goldline.contracts.catalog import catalog
from goldline.contracts.columns import Column, Row
from goldline.contracts.loading import Contract
from goldline.contracts.sql import reads
from goldline.contracts.table_contract import REJECTED_COLUMNS, Case, TableContract
from goldline.contracts.table_names import DATASETS
from goldline.emulators.googlesql import NotOfTypeError, normal
from goldline.local.sqltest.cases import CaseError, Outcome
from goldline.local.sqltest.contract_fields import field_of
from goldline.runs.context import RunContext
from goldline.runs.ops import TABLES
from goldline.stages.build_table import AuditError, build_table
from goldline.warehouse.jobs import JobError
from goldline.warehouse.schema import fields, table_of

LOCATION = "US"


class WarehouseEngine:
    """Engine on the stack that the environment names; `close` drops its datasets."""

    name = "warehouse"

    def __init__(self, project: str, bucket: str) -> None:
        self._project = project
        self._bucket = bucket
        self._prefix = f"test_{uuid.uuid4().hex[:8]}_"
        self._client = bigquery_client(project, LOCATION)
        self._made: dict[str, Any] = {}  # definitions of tables by name
        self._filled: set[str] = set()  # those that may hold rows
        for dataset in DATASETS:
            self._client.create_dataset(f"{project}.{self._prefix}{dataset}", timeout=TIMEOUT)

    def run(self, contract: TableContract, select: str, case: Case, contracts: Mapping[str, Contract]) -> Outcome:
        """Load the case's rows, build the table, and read it.

        Raises:
            CaseError: the build failed, or a row does not fit its table.
        """
        run = self._new_run(case)
        columns = catalog(contracts.values(), TABLES)
        read = reads(select)
        if unread := set(case.given) - read - {contract.table}:
            raise CaseError(f"given {sorted(unread)[0]}: the SELECT reads {', '.join(sorted(read))}")
        for name in read:
            source = bigquery.Table(run.table(name), schema=fields(columns[name]))
            self._fill(source, columns[name], case.given.get(name, []))
        if not contract.mode.is_view:
            self._fill(table_of(contract, run), contract.columns, case.given.get(contract.table, []))
        if contract.rejects:
            rejects = bigquery.Table(run.table(contract.rejected_table), fields(columns[contract.rejected_table]))
            rejects.time_partitioning = bigquery.TimePartitioning(field="run_date")
            self._fill(rejects, columns[contract.rejected_table], [])
        self._filled |= {run.table(name) for name in contract.tables}
        try:
            result = build_table(run, "test", select, contract.model_dump_json(exclude={"tests"}))
        except (AuditError, JobError) as error:
            raise CaseError(str(error)) from error
        if contract.rejects and not result.rejected:
            self._filled.remove(run.table(contract.rejected_table))
        rejected = self._rows(run.table(contract.rejected_table), REJECTED_COLUMNS) if result.rejected else []
        if contract.mode.is_view:
            rows = self._client.query_and_wait(f"select * from `{run.table(contract.table)}`", api_timeout=TIMEOUT)
            return Outcome([dict(row.items()) for row in rows], rejected)
        return Outcome(self._rows(run.table(contract.table), contract.columns), rejected)

    def close(self) -> None:
        """Drop all datasets of the engine."""
        for dataset in DATASETS:
            name = f"{self._project}.{self._prefix}{dataset}"
            self._client.delete_dataset(name, delete_contents=True, not_found_ok=True, timeout=TIMEOUT)

    def _new_run(self, case: Case) -> RunContext:
        return RunContext(
            run_id=f"test-{uuid.uuid4().hex}",
            run_date=case.run_date,
            since={"test": case.since},
            project=self._project,
            location=LOCATION,
            bucket=self._bucket,
            dataset_prefix=self._prefix,
        )

    def _fill(self, table: bigquery.Table, columns: Sequence[Column], rows: Iterable[Row]) -> None:
        """Make a table of exactly these rows; one that an earlier case left with the same schema is emptied."""
        name, definition = str(table.reference), table.to_api_repr()
        if self._made.get(name) != definition:
            self._client.delete_table(table.reference, not_found_ok=True, timeout=TIMEOUT)
            self._client.create_table(table, timeout=TIMEOUT)
            self._made[name] = definition
        elif name in self._filled:
            self._client.query_and_wait(f"truncate table `{name}`", api_timeout=TIMEOUT)
        self._filled.discard(name)
        if content := [_as_json(columns, row, table.table_id) for row in rows]:
            config = bigquery.LoadJobConfig(schema=fields(columns))
            self._client.load_table_from_json(content, table.reference, job_config=config, timeout=TIMEOUT).result()
            self._filled.add(name)

    def _rows(self, table: str, columns: Iterable[Column]) -> list[Row]:
        """Rows of a table, without a query: that takes the warehouse three times as long."""
        reference = bigquery.TableReference.from_string(table)
        rows = self._client.list_rows(reference, selected_fields=fields(columns), timeout=TIMEOUT)
        return [dict(row.items()) for row in rows]


def _as_json(columns: Sequence[Column], row: Row, where: str) -> dict[str, Any]:
    declared = {c.name: c for c in columns}
    if unknown := row.keys() - declared.keys():
        raise CaseError(f"given {where}: it has no column {sorted(unknown)[0]}")
    try:
        values = {name: normal(value, field_of(declared[name]).type, f"{where}.{name}") for name, value in row.items()}
    except NotOfTypeError as error:
        raise CaseError(str(error)) from error
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))  # dates and numerics as text
    return plain
