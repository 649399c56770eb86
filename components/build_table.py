"""The face of build_table: what goes in, what comes out."""

from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from goldline.spec.task import task


@task()
def build_table(
    run: str,
    flow: str,
    select: str,
    contract: str,
    table: dsl.Output[BQTable],
    metrics: dsl.Output[dsl.Metrics],
    source_1: dsl.Input[dsl.Artifact] | None = None,
    source_2: dsl.Input[dsl.Artifact] | None = None,
    source_3: dsl.Input[dsl.Artifact] | None = None,
    source_4: dsl.Input[dsl.Artifact] | None = None,
) -> None:
    """Build one table. The sources carry lineage and order; the SELECT names the tables itself."""
    from goldline.runs.context import RunContext
    from goldline.stages.build_table import build_table
    from goldline.warehouse.artifacts import bigquery_table, numbers

    context = RunContext.parse(run)
    built = build_table(context, flow, select, contract)
    table.uri, table.metadata = bigquery_table(context, built.name)
    metrics.metadata = numbers(built)
