"""KFP component `evaluate_model`."""

from kfp import dsl

from goldline.spec.task import task


@task(cpu="2", memory="8G")
def evaluate_model(
    run: str,
    flow: str,
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    classification: dsl.Output[dsl.ClassificationMetrics],
    metrics: dsl.Output[dsl.Metrics],
    oracle: str = "",
    tolerance: float = 0.005,
) -> bool:
    """Evaluate a model on its test rows; promote it from the run date on if it is accepted; return whether it was."""
    from goldline.runs.context import RunContext
    from goldline.stages.evaluate_model import Gate, evaluate_model

    if "version" not in model.metadata:  # the model was not due, or the history too short to train one
        return False
    name, version = model.metadata["name"], model.metadata["version"]
    known = f"simulated/{oracle}/{name}" if oracle else ""
    gate = Gate(float(model.metadata["floor"]), tolerance)
    judged = evaluate_model(RunContext.parse(run), flow, name, version, dataset.uri, gate, known)
    metrics.metadata = dict(judged.metrics)
    if judged.curves:
        classification.log_roc_curve(*judged.curves.roc)
        classification.log_confusion_matrix(["0", "1"], judged.curves.confusion)
    return judged.accepted
