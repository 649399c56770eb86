"""The face of predict: what goes in, what comes out."""

from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def predict(
    run: str,
    flow: str,
    name: str,
    features_contract: str,
    select: str,
    contract: str,
    where: str,
    value: str,
    table: dsl.Output[BQTable],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact] | None = None,
) -> None:
    """Predict for each row of the date that meets a condition on `@value`, and build the table of predictions."""
    from goldline.runs.context import RunContext
    from goldline.stages.build_table import build_table
    from goldline.stages.predict import predict
    from goldline.warehouse.artifacts import bigquery_table, numbers

    context = RunContext.parse(run)
    predict(context, flow, name, features_contract, where, value)
    built = build_table(context, flow, select, contract)
    table.uri, table.metadata = bigquery_table(context, built.name)
    metrics.metadata = numbers(built)
