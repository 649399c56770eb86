"""Tasks shared by the flows: `table` builds or predicts a table, `evaluate_and_register` evaluates a trained model."""

from kfp import dsl

from components.build_table import build_table
from components.evaluate_model import evaluate_model
from components.predict import predict
from components.register_model import register_model
from goldline.spec.tables import Tables

table = Tables(build_table, predict).table


def evaluate_and_register(name: str, trained: dsl.PipelineTask, run: str, flow: str, oracle: str = "") -> None:
    """Evaluate a trained model beside its baselines; register it if it is accepted.

    Args:
        name: name of the model.
        trained: training task, with the outputs `model` and `dataset`.
        run: the run's context.
        flow: flow of the model.
        oracle: folder below simulated/ in the lake under which a simulator put the oracle's probabilities, in the
            folder of the model's name; empty, or no such file: the model is judged without one.
    """
    model, dataset = trained.outputs["model"], trained.outputs["dataset"]
    judged = evaluate_model.named(f"evaluate_{name}")(run=run, flow=flow, oracle=oracle, model=model, dataset=dataset)
    with dsl.If(judged.outputs["Output"] == True, "accepted"):
        register_model.named(f"register_{name}")(run=run, flow=flow, model=model)
