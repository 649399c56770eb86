"""The face of predict: what goes in, what comes out."""

from google_cloud_pipeline_components.types.artifact_types import BQTable
from kfp import dsl

from goldline.task import task


@task(cpu="2", memory="8G")
def predict(
    run: str,
    flow: str,
    name: str,
    contract: str,
    predictions: dsl.Output[BQTable],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact] | None = None,
) -> None:
    """Predict for each row that the features' table has of the run's date, into ops.predictions."""
    from components.predict.predict import predict
    from goldline.artifacts import bigquery_table
    from goldline.run import Run

    card = Run.parse(run)
    metrics.metadata = {"rows": predict(card, flow, name, contract)}
    predictions.uri, predictions.metadata = bigquery_table(card, "ops.predictions")
