"""KFP component `predict`."""

from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def predict(
    run: str,
    flow: str,
    model: str,
    rows: str,
    value: str,
    select: str,
    contract: str,
    table: dsl.Output[BQTable],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact] | None = None,
) -> None:
    """Predict with the champion for the rows of the SELECT `rows` (@value: `value`); build the table of predictions."""
    from goldline.runs.context import RunContext
    from goldline.stages.build_table import build_table
    from goldline.stages.predict import predict
    from goldline.warehouse.artifacts import bigquery_table, numbers

    context = RunContext.parse(run)
    predict(context, flow, model, rows, value)
    built = build_table(context, flow, select, contract)
    table.uri, table.metadata = bigquery_table(context, built.name)
    metrics.metadata = numbers(built)
