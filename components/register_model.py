"""KFP component `register_model`."""

from google_cloud_pipeline_components.types.artifact_types import VertexModel
from kfp import dsl

from goldline.spec.task import task


@task()
def register_model(run: str, flow: str, model: dsl.Input[dsl.Model], registered: dsl.Output[VertexModel]) -> None:
    """Register an accepted model as a new version of its Vertex AI model, served by the run's serving image."""
    from goldline.runs.context import RunContext
    from goldline.vertex.register import register_model

    made = register_model(RunContext.parse(run), flow, model.metadata["name"], model.metadata["version"])
    registered.uri, registered.metadata = made.uri, made.metadata
