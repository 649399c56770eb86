"""KFP component `train_churn`."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def train_churn(
    run: str,
    model: dsl.Output[dsl.Model],
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact],
) -> None:
    """Train on past cut-offs of the features' SELECT; no outputs if it is not due or the history is too short."""
    from components.sales.train_churn.churn_model import train_churn
    from goldline.runs.context import RunContext

    if trained := train_churn(RunContext.parse(run)):
        model.uri, model.metadata = trained.model_uri, trained.summary()
        dataset.uri, metrics.metadata = trained.dataset_uri, dict(trained.signature.metrics)
