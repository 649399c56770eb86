"""Resolve a run's date and make every table and view, empty where they are new.

So flows may read each other's last published tables, and no flow has to wait for another.
"""

import json
import logging
from dataclasses import dataclass
from datetime import date
from graphlib import TopologicalSorter

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from goldline.clients import TIMEOUT, default_project
from goldline.contracts.contract import Contract, SourceContract, TableContract, parse
from goldline.contracts.sql import prefixed, reads
from goldline.lake import Lake
from goldline.landing.views import ensure_source
from goldline.runs import dates, parameters
from goldline.runs.context import RunContext
from goldline.runs.ops import PARTITIONED_BY, TABLES, RejectedRow
from goldline.runs.records import recorded
from goldline.warehouse import statements
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import SchemaChangeError, ensure, ensure_dataset, ensure_plain

LOG = logging.getLogger(__name__)
DATASETS = ("bronze", "silver", "gold", "ops")


@dataclass(frozen=True)
class Settings:
    """Where a run reads and writes; what is empty is the environment's."""

    project: str
    location: str
    bucket: str
    dataset_prefix: str = ""
    full_refresh: str = ""
    lookback_days: int = 0

    def resolved_project(self) -> str:
        """The project, given or of the environment."""
        return self.project or default_project()

    def resolved_bucket(self) -> str:
        """The lake's bucket, given or named after the project."""
        return self.bucket or f"{self.resolved_project()}-goldline"


def prepare_run(job: str, created: str, scheduled: str, run_date: str, catalog: str, settings: Settings) -> RunContext:
    """Make the run's context and all tables.

    Args:
        job: name of the pipeline job.
        created: when it was created, ISO.
        scheduled: for when it was scheduled, ISO; 1970 or nothing if it was not.
        run_date: YYYY-MM-DD, or nothing for the day before.
        catalog: JSON with all `contracts`, and the SELECTs of `views` by table.
        settings: where to read and write.

    Raises:
        ParameterError: a parameter has a wrong value.
        LakeError: there is no such bucket.
    """
    parameters.check({"run_date": run_date, **vars(settings)})
    content = json.loads(catalog)
    contracts = [parse(c, "a contract in the spec") for c in content["contracts"]]
    run = RunContext(
        run_id=job,
        run_date=dates.resolve(run_date, scheduled, created),
        since={},
        project=settings.resolved_project(),
        location=settings.location,
        bucket=settings.resolved_bucket(),
        dataset_prefix=settings.dataset_prefix,
        full_refresh=parameters.refreshed(
            settings.full_refresh, [c.table for c in contracts if isinstance(c, TableContract)]
        ),
    )
    lake = Lake(run.project, run.bucket)
    lake.check()
    with recorded(run, "prepare_run", ""):
        jobs = Jobs(run, "prepare_run")
        _make_tables(jobs.client, run, contracts)
        for contract in contracts:
            if isinstance(contract, SourceContract):
                ensure_source(jobs.client, lake, contract, run)
        _make_views(jobs, run, contracts, content["views"])
        run = run.model_copy(update={"since": dates.since(run.run_date, _finished(jobs, run), settings.lookback_days)})
        lake.write_text(f"{run.records}/run.json", run.model_dump_json())
    LOG.info("run %s of %s, reading arrivals %s", run.run_id, run.run_date, _spans(run))
    return run


def _make_tables(client: bigquery.Client, run: RunContext, contracts: list[Contract]) -> None:
    for name in DATASETS:
        ensure_dataset(client, run, name)
    for name, row in TABLES.items():
        ensure_plain(client, name, row.columns(), run, PARTITIONED_BY.get(name))
    for contract in contracts:
        if not isinstance(contract, TableContract) or contract.write == "view":
            continue
        if contract.rejects:
            ensure_plain(client, contract.rejected_table, RejectedRow.columns(), run, partition_by="run_date")
        try:
            ensure(client, contract, run)
        except SchemaChangeError as error:
            # Its own task refuses to build it; the other tables' night goes on.
            LOG.warning("%s", error)


def _make_views(jobs: Jobs, run: RunContext, contracts: list[Contract], selects: dict[str, str]) -> None:
    views = {c.table: c for c in contracts if isinstance(c, TableContract) and c.write == "view"}
    order = TopologicalSorter({name: reads(selects[name]) & views.keys() for name in views}).static_order()
    for name in order:
        select = prefixed(selects[name], run.dataset_prefix).strip()
        if _select_label(jobs.client, run.table(name)) == statements.select_label(views[name], select):
            continue
        try:
            jobs.query(name.replace(".", "_"), statements.create_view(views[name], run.table(name), select))
        except JobError as error:
            # It may read a column that a table gets by this very run: the next one makes the view.
            LOG.warning("%s stays as it was: %s", name, error)


def _select_label(client: bigquery.Client, view: str) -> str | None:
    try:
        labels: dict[str, str] = client.get_table(view, timeout=TIMEOUT).labels
        return labels.get(statements.SELECT_LABEL)
    except NotFound:
        return None


def _finished(jobs: Jobs, run: RunContext) -> dict[str, date | None]:
    """By flow, the last date before the run's that was finished."""
    sql = (
        f"select flow, max(if(status = 'succeeded' and run_date < date '{run.run_date}', run_date, null)) as last_date "
        f"from `{run.table('ops.runs')}` where flow is not null group by flow"
    )
    return {row["flow"]: row["last_date"] for row in jobs.query("finished", sql)}


def _spans(run: RunContext) -> str:
    return ", ".join(f"of {flow} since {day}" for flow, day in run.since.items()) or "since the beginning"
