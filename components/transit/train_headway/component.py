"""KFP component `train_headway`."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def train_headway(
    run: str,
    stop: str,
    model: dsl.Output[dsl.Model],
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    features: dsl.Input[dsl.Artifact],
) -> None:
    """Train on the last weeks' headways, of one stop or all; no outputs if it is not due or history is too short."""
    from components.transit.train_headway.headway_model import train_headway
    from goldline.runs.context import RunContext

    if trained := train_headway(RunContext.parse(run), stop):
        model.uri, model.metadata = trained.model_uri, trained.summary()
        dataset.uri, metrics.metadata = trained.dataset_uri, dict(trained.signature.metrics)
