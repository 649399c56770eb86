"""The face of train_headway: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def train_headway(
    run: str,
    contract: str,
    stop: str,
    seed: int,
    model: dsl.Output[dsl.Model],
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact],
) -> bool:
    """Train on the headways of the last weeks, of one stop or all; whether the history was long enough to."""
    from components.transit.train_headway.headway_model import train_headway
    from goldline.runs.context import RunContext

    trained = train_headway(RunContext.parse(run), contract, stop, seed)
    if trained is None:
        return False
    model.uri, model.metadata = trained.model_uri, trained.summary()
    dataset.uri, metrics.metadata = trained.dataset_uri, dict(trained.signature.metrics)
    return True
