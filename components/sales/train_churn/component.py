"""The face of train_churn: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def train_churn(
    run: str,
    select: str,
    contract: str,
    seed: int,
    model: dsl.Output[dsl.Model],
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact],
) -> bool:
    """Train on past cut-offs of the features' SELECT; whether the history was long enough to."""
    from components.sales.train_churn.churn_model import train_churn
    from goldline.runs.context import RunContext

    trained = train_churn(RunContext.parse(run), select, contract, seed)
    if trained is None:
        return False
    model.uri, model.metadata = trained.model_uri, trained.summary()
    dataset.uri, metrics.metadata = trained.dataset_uri, dict(trained.signature.metrics)
    return True
