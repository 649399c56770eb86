"""Vertex AI's model registry: one Vertex AI model for each model of goldline, with a version for each accepted one.

A version starts with the alias `challenger` and gets `champion` in a second request, which takes that alias from the
version that had it: so there is a champion at any moment.
"""

import time
from dataclasses import dataclass
from typing import Any

from goldline.vertex.api import Cloud
from goldline.vertex.errors import CloudError
from goldline.warehouse.jobs import label

POLL_SECONDS = 5.0
UPLOAD_SECONDS = 900.0  # most seconds of an upload
PORT = 8080
LABEL = "goldline_version"
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(frozen=True)
class Version:
    """Version of a model to register.

    Attributes:
        model: name of the model, after the dataset prefix.
        version: goldline's id of the version.
        folder: gs:// address of the folder of `model.skops` and `signature.json`.
        image: image that serves it.
        run_id: id of the run that made it.
    """

    model: str
    version: str
    folder: str
    image: str
    run_id: str

    @property
    def model_id(self) -> str:
        """Id of the model in Vertex AI: lower-case letters, digits, `-` and `_`, 63 at most."""
        return label(f"goldline-{self.model}")

    def resource(self) -> dict[str, Any]:
        """Model as JSON: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models."""
        return {
            "displayName": f"goldline {self.model}",
            "versionAliases": [CHALLENGER],
            "versionDescription": f"{self.version}, by run {self.run_id}",
            "artifactUri": self.folder,
            "containerSpec": {
                "imageUri": self.image,
                "command": ["python", "-m", "goldline.ml.serving"],
                "ports": [{"containerPort": PORT}],
                "predictRoute": "/predict",
                "healthRoute": "/health",
            },
            "labels": {LABEL: label(self.version), "goldline_run": label(self.run_id)},
        }


class Registry:
    """Model registry of one project and region."""

    def __init__(self, cloud: Cloud, project: str, region: str) -> None:
        self.cloud = cloud
        self.parent = f"projects/{project}/locations/{region}"
        self.service = f"{region}-aiplatform"

    def register(self, version: Version) -> str:
        """Register a version and make it the champion; return its resource name, which ends with @ and its number.

        Raises:
            CloudError: Vertex AI refused it, or could not be reached.
        """
        name = f"{self.parent}/models/{version.model_id}"
        is_known = self.cloud.find(self.service, f"v1/{name}") is not None
        number = self._number(name, version) if is_known else None
        if number is None:
            number = self._upload(name, version, is_known=is_known)
        aliases = [CHAMPION, f"-{CHALLENGER}"]  # a minus takes an alias away
        self.cloud.post(self.service, f"v1/{name}@{number}:mergeVersionAliases", {"versionAliases": aliases})
        return f"{name}@{number}"

    def _number(self, name: str, version: Version) -> str | None:
        """Number of the version if it is registered: the answer to an earlier try may have been lost."""
        for found in self.cloud.every(self.service, f"v1/{name}:listVersions", "models"):
            if found.get("labels", {}).get(LABEL) == label(version.version):
                return str(found["versionId"])
        return None

    def _upload(self, name: str, version: Version, *, is_known: bool) -> str:
        which = {"parentModel": name} if is_known else {"modelId": version.model_id}
        body = {**which, "model": version.resource()}
        # Sent once: a second would be a second version. After a lost answer the task's next try looks for it.
        operation = self.cloud.post(self.service, f"v1/{self.parent}/models:upload", body, repeatable=False)
        until = time.monotonic() + UPLOAD_SECONDS
        while not operation.get("done"):
            if time.monotonic() > until:
                raise CloudError(f"{name}: {operation['name']} is not done after {UPLOAD_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
            operation = self.cloud.get(self.service, f"v1/{operation['name']}")
        if error := operation.get("error"):
            raise CloudError(f"{name}: the upload of {version.version} failed: {error.get('message')}")
        return str(operation["response"]["modelVersionId"])
