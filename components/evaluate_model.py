"""The face of evaluate_model: what goes in, what comes out."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def evaluate_model(
    run: str,
    flow: str,
    floor: float,
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    classification: dsl.Output[dsl.ClassificationMetrics],
    metrics: dsl.Output[dsl.Metrics],
    simulated: str = "",
    tolerance: float = 0.005,
) -> bool:
    """Judge a model on its test rows; accepted, it is the champion from the run's date on."""
    from goldline.runs.context import RunContext
    from goldline.stages.evaluate_model import Gate, evaluate_model

    if "version" not in model.metadata:  # the history was too short to train one
        return False
    name, version = model.metadata["name"], model.metadata["version"]
    best = f"simulated/{simulated}/{name}" if simulated else ""  # where a simulator keeps what can be known at best
    judged = evaluate_model(RunContext.parse(run), flow, name, version, dataset.uri, Gate(floor, tolerance), best)
    metrics.metadata = dict(judged.metrics)
    if judged.curves:
        classification.log_roc_curve(*judged.curves.roc)
        classification.log_confusion_matrix(["0", "1"], judged.curves.confusion)
    return judged.accepted
