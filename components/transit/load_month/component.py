"""KFP component `load_month`."""

from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="4G")
def load_month(
    run: str,
    history: dsl.Input[dsl.Dataset],
    feed: dsl.Input[dsl.Dataset],
    tables: dsl.Output[BQTable],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Load the schedule and new days, a month at a time; the artifact stands for all tables that it loads."""
    from components.transit.load_month.month_load import DAYS, load_month
    from goldline.runs.context import RunContext
    from goldline.runs.run_files import load_catalog
    from goldline.warehouse.artifacts import bigquery_table

    context = RunContext.parse(run)
    loaded = load_month(context, load_catalog(context).tables, history.uri, feed.uri)
    tables.uri, tables.metadata = bigquery_table(context, DAYS)
    metrics.metadata = {"days": loaded.days, "days_refused": len(loaded.refused), **loaded.rows}
