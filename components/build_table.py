"""KFP component `build_table`."""

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
    """Build one table from its SELECT and contract; `source_1` to `source_4` carry no data, only lineage and order."""
    from goldline.runs.context import RunContext
    from goldline.stages.build_table import build_table
    from goldline.warehouse.artifacts import bigquery_table, numbers

    context = RunContext.parse(run)
    built = build_table(context, flow, select, contract)
    table.uri, table.metadata = bigquery_table(context, built.name)
    metrics.metadata = numbers(built)
