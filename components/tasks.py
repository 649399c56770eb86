"""Tasks that the flows share: `table` builds or predicts one, `evaluate_and_register` judges a trained model."""

from kfp import dsl

from components.build_table import build_table
from components.evaluate_model import evaluate_model
from components.predict import predict
from components.register_model import register_model
from goldline.spec.tables import Tables

table = Tables(build_table, predict).table


def evaluate_and_register(name: str, trained: dsl.PipelineTask, run: str, flow: str, oracle: str = "") -> None:
    """Evaluate a trained model beside its baselines; register it if it was accepted.

    Args:
        name: the model's.
        trained: task that gives `model` and `dataset`.
        run: the run's context.
        flow: the flow that the model is of.
        oracle: folder below simulated/ in the lake where a simulator keeps what can be known at best.
    """
    model, dataset = trained.outputs["model"], trained.outputs["dataset"]
    judged = evaluate_model.named(f"evaluate_{name}")(run=run, flow=flow, oracle=oracle, model=model, dataset=dataset)
    with dsl.If(judged.outputs["Output"] == True, "accepted"):
        register_model.named(f"register_{name}")(run=run, flow=flow, model=model)
