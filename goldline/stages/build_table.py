"""Write, audit, publish: how a SELECT becomes a table.

1. The SELECT goes into a raw stage.
2. Its rows without a `_reject_reason` are to be published; a merge keeps only the newest of each key. Where the write
   mode needs it, they are written to a stage with the contract's schema and the table's layout; else they are read from
   the raw stage.
3. The contract's checks run on those rows. If one fails, nothing is published: readers keep the last good table.
4. Rows with a reason go to the rejects table. The others are published in one atomic step: a MERGE, a copy onto the run
   date's partition, or CREATE OR REPLACE. With `partitions: arrived` one MERGE replaces the partitions they lie in.
   Never DELETE and INSERT: in BigQuery concurrent transactions on one table cancel each other.
"""

import datetime
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from goldline.clients import TIMEOUT
from goldline.contracts.columns import quoted
from goldline.contracts.loading import parse
from goldline.contracts.sql import prefixed
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.runs.context import EPOCH, RunContext
from goldline.runs.records import Record, TableResult, earlier, now, recorded
from goldline.warehouse import statements
from goldline.warehouse.jobs import Jobs, date_parameter
from goldline.warehouse.schema import ensure, in_order_of, is_laid_out_alike

LOG = logging.getLogger(__name__)
STAGE_LIFE = datetime.timedelta(days=1)
END_OF_TIME = datetime.date(9999, 12, 31)


class AuditError(RuntimeError):
    """Failed audit, so the table was not published; the message names table, checks, and numbers of failing rows."""


class ConservationError(RuntimeError):
    """Rows lost between SELECT and table: a bug of goldline, not a fault of the data."""


def build_table(run: RunContext, flow: str, select: str, contract_text: str) -> TableResult:
    """Build one table and record it; if an earlier try of this run built it, return that result.

    Args:
        run: the run's context.
        flow: the flow that the table belongs to.
        select: the table's SELECT, with dataset names without prefix.
        contract_text: the table's contract, as JSON.

    Raises:
        AuditError: the rows do not keep the contract; nothing was published.
        SchemaChangeError: the existing table differs from the contract.
        JobError: BigQuery could not run a step.
    """
    contract = parse(json.loads(contract_text), "the contract in the spec")
    if not isinstance(contract, TableContract):
        raise TypeError(f"{contract.source} is a source; build_table builds tables")
    done = earlier(run, contract.name)
    if done and done.table:
        LOG.info("%s was built by an earlier try of this run", contract.table)
        return done.table
    with recorded(run, contract.name, flow) as record:
        record.select = select
        builder = Builder(run, flow, select, contract, record)
        result = record.table = builder.build()
        LOG.info(
            "%s: %d selected = %d published + %d rejected + %d superseded",
            *(result.name, result.selected, result.published, result.rejected, result.superseded),
        )
    return result


class Builder:
    """Build of one table. Its stages are named after the run; if a step fails they stay a day, for debugging."""

    def __init__(self, run: RunContext, flow: str, select: str, contract: TableContract, record: Record) -> None:
        self.run = run
        self.contract = contract
        self.record = record
        self.refresh = run.refreshes(contract.table)
        self.select = prefixed(select.rstrip().rstrip(";"), run.dataset_prefix)
        self.hashes = {"select_hash": _sha256(select), "contract_hash": _sha256(contract.model_dump_json())}
        self.jobs = Jobs(run, contract.table.replace(".", "_"))
        self.target = run.table(contract.table)
        self.parameters = self._parameters(flow)

    def build(self) -> TableResult:
        """Write, audit and publish the table; see the module's text."""
        if self.contract.mode.is_view:
            return self._build_view()
        if not self._replaces_all:
            self.contract = in_order_of(ensure(self.jobs.client, self.contract, self.run), self.contract)
        audited = self._write_and_audit()
        selected, rejected, staged = (audited[name] for name in ("selected", "rejected", "row_count"))
        with ThreadPoolExecutor() as beside:
            rejects = beside.submit(self._publish_rejects, rejected)
            published, outdated = self._publish(staged, audited.get("partitions") or [])
            rejects.result()
        duplicates = selected - rejected - staged
        if duplicates < 0 or (duplicates and not self.contract.mode.merges) or staged != published + outdated:
            raise ConservationError(
                f"{self.contract.table}: {selected} selected, {rejected} rejected, {staged} staged, of which "
                f"{published} are in the table and {outdated} lost to newer versions"
            )
        with ThreadPoolExecutor() as beside:
            # All jobs are done: a retry finds their results by id and no longer needs the stages.
            cleaned = beside.submit(self._clean_up)
            result = self._result(selected, published, rejected, duplicates + outdated)
            cleaned.result()
        return result

    def _clean_up(self) -> None:
        """Drop the stages; they would expire anyway."""
        for step in ("raw", "stage") if self.contract.mode.needs_stage else ("raw",):
            self.jobs.client.delete_table(self._stage(step), not_found_ok=True, timeout=TIMEOUT)

    def _parameters(self, flow: str) -> list[bigquery.ScalarQueryParameter]:
        since, until = self.run.since.get(flow, EPOCH), self.run.run_date
        if self.refresh and self.contract.mode.takes_since:
            since, until = EPOCH, END_OF_TIME
        dates = {"run_date": until, "since": since, "lookback_start": self.contract.lookback_start(since)}
        return [date_parameter(name, value) for name, value in dates.items() if f"@{name}" in self.select]

    @property
    def _replaces_all(self) -> bool:
        """Whether the table is replaced whole; then its contract may have changed in any way."""
        return self.refresh or self.contract.mode.replaces_table

    @property
    def _run_date(self) -> list[bigquery.ScalarQueryParameter]:
        return [date_parameter("run_date", self.run.run_date)]

    def _write_and_audit(self) -> Mapping[str, Any]:
        """Write the raw stage, and the stage where it is needed; return the numbers of profile and audit."""
        raw = self._stage("raw")
        sql = f"create or replace table `{raw}` options ({self._expiry()}) as\n{self.select}"
        self.jobs.query("raw", sql, self.parameters)
        if not self.contract.mode.needs_stage:
            return self._audited("audit", statements.profile_and_audit(self.contract, raw), [])
        [row] = self.jobs.query("profile", statements.profile(self.contract, raw))
        profile = dict(row.items())
        self._note(profile, profile["selected"])
        rows, columns = statements.stage(self.contract, raw), self.contract.columns
        sql = statements.create(self._stage("stage"), columns, self.contract, rows, self._expiry())
        self.jobs.query("stage", sql)
        audit = statements.audit(self.contract, self._audited_rows)
        parameters = self._run_date if self.contract.mode.replaces_run_date else []
        return {**profile, **self._audited("audit", audit, parameters)}

    def _audited(self, step: str, audit: str, parameters: Iterable[bigquery.ScalarQueryParameter]) -> Mapping[str, Any]:
        [row] = self.jobs.query(step, audit, list(parameters))
        found = dict(row.items())
        self._note(found, found["row_count"])
        return found

    def _note(self, found: Mapping[str, Any], rows: int) -> None:
        """Record the checks' results; raise AuditError if one of level `block` fails."""
        results = list(statements.results(self.contract, found))
        self.record.checks += results
        for check in results:
            if check.failing:
                details = (check.subject, check, check.level, check.failing, rows)
                LOG.warning("%s: check '%s' (%s): %d of %d rows fail", *details)
        if blocking := [c for c in results if c.failing and c.level == "block"]:
            failed = "; ".join(f"'{c}': {c.failing} rows fail" for c in blocking)
            names = {c.name for c in blocking}
            caught = [c for c in self.contract.checks if c.name in names]
            hint = f" See them: {statements.failing_rows(caught[0], self._audited_rows)}" if caught else ""
            raise AuditError(f"{self.contract.table} was not published, the table stays as it was. {failed}.{hint}")

    def _publish_rejects(self, rejected: int) -> None:
        """Replace the run date's partition of the rejects table, where the contract has one."""
        if not self.contract.rejects:
            return
        table = self.run.table(self.contract.rejected_table)
        if rejected:
            columns = (c.name for c in REJECTED_COLUMNS)
            rows = f"(\n{statements.rejects(self.contract, self._stage('raw'))}\n)"
            sql = statements.replace(table, columns, rows, "run_date", [self.run.run_date])
            self.jobs.query("publish_rejects", sql, self._run_date)
        else:
            self._delete_partition(table)

    def _publish(self, staged: int, partitions: list[datetime.date]) -> tuple[int, int]:
        """Publish the rows; numbers of those that the table holds, and that lost to newer versions there."""
        if self._replaces_all:
            self._drop_if_laid_out_otherwise()
            self.jobs.query("publish", self._replace(f"select * from {self._audited_rows}"))
            return self._rows, 0
        if self.contract.mode.replaces_run_date:
            if staged:
                self.jobs.copy("publish", self._stage("stage") + self._partition, self.target + self._partition)
            else:
                self._delete_partition(self.target)
            return self._count(statements.in_partitions(self.contract, [self.run.run_date])), 0
        if not staged:
            return 0, 0
        if self.contract.mode.replaces_arrived:
            columns, by = (c.name for c in self.contract.columns), str(self.contract.partition_by)
            sql = statements.replace(self.target, columns, self._audited_rows, by, partitions)
            return self.jobs.insert("publish", sql), 0
        stage = self._stage("stage")
        self.jobs.query("publish", statements.merge(self.contract, self.target, stage, partitions))
        [row] = self.jobs.query("verify", statements.merged(self.contract, self.target, stage, partitions))
        return row["published"], row["outdated"]

    @property
    def _partition(self) -> str:
        """Suffix of a table's name that names the run date's partition: `$YYYYMMDD`."""
        return f"${self.run.run_date:%Y%m%d}"

    def _delete_partition(self, table: str) -> None:
        """Delete the run date's partition; one without rows cannot be copied."""
        self.jobs.client.delete_table(table + self._partition, not_found_ok=True, timeout=TIMEOUT)

    def _build_view(self) -> TableResult:
        audit = statements.audit(self.contract, self._audited_rows)
        found = self._audited("audit", audit, [])
        self.jobs.query("publish", statements.create_view(self.contract, self.target, self.select))
        return self._result(found["row_count"], found["row_count"], 0, 0)

    def _replace(self, rows: str) -> str:
        # CREATE OR REPLACE, not WRITE_TRUNCATE: that would turn REQUIRED columns into NULLABLE ones.
        options = f"description={quoted(statements.described(self.contract))}"
        return statements.create(self.target, self.contract.columns, self.contract, rows, options)

    def _drop_if_laid_out_otherwise(self) -> None:
        """Drop the table if its layout differs, which CREATE OR REPLACE cannot change."""
        try:
            found = self.jobs.client.get_table(self.target, timeout=TIMEOUT)
        except NotFound:
            return
        if not is_laid_out_alike(self.contract, found):
            self.jobs.client.delete_table(self.target, timeout=TIMEOUT)

    @property
    def _rows(self) -> int:
        """Number of rows in the target table."""
        return self.jobs.row_count(self.target)

    def _count(self, where: str) -> int:
        [row] = self.jobs.query("count", f"select count(*) as row_count from `{self.target}` where {where}")
        return int(row["row_count"])

    @property
    def _audited_rows(self) -> str:
        """Rows to check and publish, for a FROM clause: the stage, the raw stage's good rows, or the view's SELECT."""
        if self.contract.mode.is_view:
            return f"(\n{self.select}\n)"
        return statements.to_publish(self.contract, self._stage("raw"), self._stage("stage"))

    def _stage(self, step: str) -> str:
        digest = _sha256(self.run.run_id)[:8]
        return self.run.table(f"ops.{step}_{self.contract.dataset}_{self.contract.name}_{digest}")

    def _expiry(self) -> str:
        # Cut to the hour, so that a retry sends the same text and finds the first try's job.
        moment = (now() + STAGE_LIFE).replace(minute=0, second=0, microsecond=0)
        return f"expiration_timestamp=timestamp '{moment:%Y-%m-%d %H:%M:%S}+00'"

    def _result(self, selected: int, published: int, rejected: int, superseded: int) -> TableResult:
        return TableResult(
            name=self.contract.table,
            rows=published if self.contract.mode.is_view else self._rows,
            selected=selected,
            published=published,
            rejected=rejected,
            superseded=superseded,
            bytes_billed=self.jobs.bytes_billed,
            **self.hashes,
        )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
