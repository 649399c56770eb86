"""Registration of an accepted model as a new version of its Vertex AI model."""

import logging
from dataclasses import dataclass

from goldline.ml.store import Store
from goldline.runs.context import RunContext
from goldline.runs.records import recorded
from goldline.vertex.api import Cloud
from goldline.vertex.registry import Registry, Version

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registered:
    """URI and metadata of a google.VertexModel; if nothing was registered, an empty URI and the `reason`."""

    uri: str
    metadata: dict[str, str]


def register_model(run: RunContext, flow: str, name: str, version: str) -> Registered:
    """Register a version, if it is not registered yet; without region and image nothing is done.

    Args:
        run: the run's context.
        flow: flow of the model.
        name: name of the model.
        version: accepted version.

    Raises:
        ModelError: the lake has no such version.
        CloudError: Vertex AI refused it, or could not be reached.
    """
    with recorded(run, f"register_{name}", flow) as record:
        region, image = run.vertex_region, run.serving_image
        missing = [name for name, value in (("a region of Vertex AI", region), ("an image", image)) if not value]
        record.counts = {"registered": int(not missing)}
        if missing:
            reason = f"{name} {version} is not registered: the run was not given {' and '.join(missing)}"
            LOG.info("%s", reason)
            return Registered("", {"reason": reason})
        store = Store(run, name)
        store.signature(version)
        made = Registry(Cloud(), run.project, region).register(
            Version(
                model=run.dataset(name),
                version=version,
                folder=store.lake.uri(store.path(version, "")).rstrip("/"),
                image=image,
                run_id=run.run_id,
            )
        )
        LOG.info("%s %s is %s", name, version, made)
        # The form of google-cloud-pipeline-components (types.artifact_types.VertexModel).
        return Registered(f"https://{region}-aiplatform.googleapis.com/v1/{made}", {"resourceName": made})
