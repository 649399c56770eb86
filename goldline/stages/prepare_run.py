"""Resolve the run date, and create all tables and views; new tables are empty.

So flows can read each other's last published tables, and no flow waits for another.
"""

import logging
from collections.abc import Iterable
from datetime import date
from graphlib import TopologicalSorter

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from goldline.clients import TIMEOUT
from goldline.contracts.loading import Contract
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.sql import prefixed, reads
from goldline.contracts.table_contract import REJECTED_COLUMNS, TableContract
from goldline.contracts.table_names import DATASETS
from goldline.lake import Lake
from goldline.landing.views import ensure_source
from goldline.ml.training import is_due
from goldline.runs import dates, parameters
from goldline.runs.context import RunContext
from goldline.runs.ops import PARTITIONED_BY, TABLES
from goldline.runs.records import recorded
from goldline.runs.run_files import Catalog, load_catalog, save
from goldline.runs.settings import Settings
from goldline.warehouse import statements
from goldline.warehouse.jobs import JobError, Jobs
from goldline.warehouse.schema import SchemaChangeError, ensure, ensure_dataset, ensure_plain

LOG = logging.getLogger(__name__)


def prepare_run(job: str, created: str, scheduled: str, catalog_text: str, settings: Settings) -> RunContext:
    """Create the run's context, all tables and all views.

    Args:
        job: name of the pipeline job.
        created: its creation time, ISO 8601.
        scheduled: its scheduled time, ISO 8601; 1970 or empty if it was not scheduled.
        catalog_text: all contracts and the SELECTs of views, as `Catalog.pack` wrote them.
        settings: the pipeline's parameters.

    Raises:
        ParameterError: a parameter has a wrong value.
        ValueError: the run date or the project cannot be resolved.
        LakeError: there is no such bucket.
    """
    parameters.check(vars(settings))
    catalog = Catalog.unpack(catalog_text)
    run = RunContext(
        **settings.place(job).model_dump(),
        run_date=dates.resolve(settings.run_date, scheduled, created),
        since={},
        full_refresh=parameters.refreshed(settings.full_refresh, catalog.tables),
        train=settings.train,
        seed=settings.seed,
        simulated_size=settings.simulated_size,
        vertex_region=settings.vertex_region,
        serving_image=settings.serving_image,
    )
    lake = Lake(run.project, run.bucket)
    lake.check()
    with recorded(run, "prepare_run", ""):
        jobs = Jobs(run, "prepare_run")
        _make_tables(jobs.client, run, catalog.contracts)
        for contract in catalog.contracts:
            if isinstance(contract, SourceContract):
                ensure_source(jobs.client, lake, contract, run)
        _make_views(jobs, run, catalog)
        run = run.model_copy(update={"since": dates.since(run.run_date, _finished(jobs, run), settings.lookback_days)})
        save(run, catalog)
    LOG.info("run %s of %s, reading arrivals %s", run.run_id, run.run_date, _spans(run))
    return run


def is_any_model_due(run: RunContext) -> bool:
    """Whether the run trains any of the models that the contracts name."""
    return any(is_due(run, c.model) for c in load_catalog(run).tables.values() if c.model)


def _make_tables(client: bigquery.Client, run: RunContext, contracts: Iterable[Contract]) -> None:
    for name in DATASETS:
        ensure_dataset(client, run, name)
    for name, columns in TABLES.items():
        ensure_plain(client, name, columns, run, PARTITIONED_BY.get(name))
    for contract in contracts:
        if not isinstance(contract, TableContract) or contract.mode.is_view:
            continue
        if contract.rejects:
            ensure_plain(client, contract.rejected_table, REJECTED_COLUMNS, run, partition_by="run_date")
        try:
            ensure(client, contract, run)
        except SchemaChangeError as error:
            # The table's own task will refuse to build it; the other tables are built.
            LOG.warning("%s", error)


def _make_views(jobs: Jobs, run: RunContext, catalog: Catalog) -> None:
    selects, views = catalog.views, {name: catalog.tables[name] for name in catalog.views}
    order = TopologicalSorter({name: reads(selects[name]) & views.keys() for name in views}).static_order()
    for name in order:
        select = prefixed(selects[name], run.dataset_prefix).strip()
        if _select_label(jobs.client, run.table(name)) == statements.select_label(views[name], select):
            continue
        try:
            jobs.query(name.replace(".", "_"), statements.create_view(views[name], run.table(name), select))
        except JobError as error:
            # It may read a column that a table only gets in this run: the next run makes the view.
            LOG.warning("%s stays as it was: %s", name, error)


def _select_label(client: bigquery.Client, view: str) -> str | None:
    try:
        labels: dict[str, str] = client.get_table(view, timeout=TIMEOUT).labels
        return labels.get(statements.SELECT_LABEL)
    except NotFound:
        return None


def _finished(jobs: Jobs, run: RunContext) -> dict[str, date | None]:
    """Last date before the run date that succeeded, by flow; None if there is none."""
    sql = (
        f"select flow, max(if(status = 'succeeded' and run_date < date '{run.run_date}', run_date, null)) as last_date "
        f"from `{run.table('ops.runs')}` where flow is not null group by flow"
    )
    return {row["flow"]: row["last_date"] for row in jobs.query("finished", sql)}


def _spans(run: RunContext) -> str:
    return ", ".join(f"of {flow} since {day}" for flow, day in run.since.items()) or "since the beginning"
