"""Runs on Vertex AI: start one, follow it to its end.

A run's id is made here, before the request. When the answer is lost, the id finds the run again, and Vertex AI refuses
a second request with it. So a submit never makes two runs.
"""

import hashlib
import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TextIO

from goldline import project
from goldline.contracts.loading import load_all
from goldline.contracts.table_contract import TableContract
from goldline.runs.parameters import refreshed
from goldline.spec import compiled as specs
from goldline.spec.check.given import complete, declared_in
from goldline.vertex import environments
from goldline.vertex.api import PASSING, Cloud
from goldline.vertex.environments import Environment, Scalar
from goldline.vertex.errors import CloudError
from goldline.vertex.image_content import difference
from goldline.vertex.image_digest import by_digest
from goldline.vertex.progress import Progress, failures
from goldline.vertex.uploadable import uploadable
from goldline.warehouse.jobs import label

POLL_SECONDS = 10.0
REQUEST = "goldline_request"  # label with the fingerprint of the request that made a run
_ENDED = {"PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED", "PIPELINE_STATE_PAUSED"}


@dataclass
class CloudRun:
    """Run on Vertex AI; its task records lie in the lake's folder ops/runs/<job_id>/."""

    environment: Environment
    job_id: str
    cloud: Cloud = field(repr=False)

    @property
    def name(self) -> str:
        """Resource name of the run."""
        return f"{self.environment.parent}/pipelineJobs/{self.job_id}"

    @property
    def address(self) -> str:
        """URL of the run in the console."""
        where = self.environment
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{where.location}/pipelines/runs/{self.job_id}"
            f"?project={where.project}"
        )

    def read(self) -> dict[str, Any]:
        """Read the run from Vertex AI: a PipelineJob as JSON."""
        return self.cloud.get(service(self.environment), f"v1/{self.name}")

    def wait(self, out: TextIO | None = None, every: float | None = None) -> str:
        """Follow the run to its end, and show its tasks as they end; return its last state, such as `succeeded`."""
        out = out or sys.stdout
        progress = Progress(out)
        while True:
            job = self.read()
            progress.show(job)
            if job.get("state") in _ENDED:
                break
            time.sleep(POLL_SECONDS if every is None else every)
        state = str(job["state"]).removeprefix("PIPELINE_STATE_").lower()
        out.write(failures(job, self.environment))
        out.write(f"{state}: {self.job_id}, {self.address}\n")
        return state


def submit(
    environment: str,
    *,
    wait: bool = False,
    image: str = "",
    job_id: str = "",
    out: TextIO | None = None,
    **parameters: Scalar,
) -> CloudRun:
    """Start a run of the pipeline, from a notebook or the command line.

    Args:
        environment: name of the environment in goldline.yaml.
        wait: whether to follow the run to its end.
        image: image instead of the environment's, with tag or digest.
        job_id: id of an earlier submit with unknown outcome: its run is taken up, if there is one.
        out: stream for messages; None: stdout.
        parameters: parameters of the pipeline, on top of the environment's.

    Raises:
        ValueError: goldline.yaml, a parameter or the spec is wrong; nothing was sent.
        CloudError: an API refused a request, or could not be reached.
    """
    out = out or sys.stdout
    where, spec, cloud = prepared(environment, image, parameters, out)
    body = pipeline_job(spec, where, complete(where.values(parameters), declared_in(spec)))
    run = create(cloud, where, job_id or new_id(body), body)
    out.write(f"{run.job_id} was submitted: {run.address}\n")
    if wait:
        run.wait(out)
    return run


def prepared(
    environment: str, image: str = "", given: Mapping[str, Scalar] | None = None, out: TextIO | None = None
) -> tuple[Environment, dict[str, Any], Cloud]:
    """Return an environment, the uploadable spec for it, and the client; what is wrong is refused before any request.

    Args:
        environment: name of the environment in goldline.yaml.
        image: image instead of the environment's, with tag or digest.
        given: parameters on top of the environment's.
        out: stream for messages: the spec is compiled afresh, the image has other code than this folder.

    Raises:
        ValueError: goldline.yaml, a parameter or the spec is wrong.
        CloudError: there are no credentials or no such image, or a request failed.
    """
    out = out or sys.stdout
    spec = json.loads(specs.fresh(out))
    declared = declared_in(spec)
    where = environments.load(environment, declared)
    values = complete(where.values(given or {}), declared)
    if names := values.get("full_refresh"):
        contracts = load_all(project.sql_folder()).values()
        refreshed(str(names), [c.table for c in contracts if isinstance(c, TableContract)])
    uploadable(spec, where, "to-be-resolved")
    image = image or where.image
    if message := difference(image):
        out.write(f"{message}\n")
    cloud = Cloud()
    return where, uploadable(spec, where, by_digest(cloud, image)), cloud


def pipeline_job(
    spec: Mapping[str, Any],
    environment: Environment,
    values: Mapping[str, Scalar],
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """PipelineJob as JSON: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs.

    Args:
        spec: uploadable spec.
        environment: environment of the run.
        values: values of all its parameters.
        labels: labels besides goldline's own.
    """
    name = spec["pipelineInfo"]["name"]
    body: dict[str, Any] = {
        "displayName": f"{name} {environment.name} {values.get('run_date') or ''}".strip(),
        "pipelineSpec": dict(spec),
        "runtimeConfig": {"gcsOutputDirectory": environment.pipeline_root, "parameterValues": dict(values)},
        "serviceAccount": environment.service_account,
        "labels": {"goldline_environment": label(environment.name), **(labels or {})},
    }
    if date := values.get("run_date"):
        body["labels"]["goldline_run_date"] = label(str(date))
    body["labels"][REQUEST] = fingerprint(body)
    return body


def fingerprint(content: Mapping[str, Any]) -> str:
    """Fingerprint of a request: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def new_id(body: Mapping[str, Any]) -> str:
    """Id of a new run: the pipeline's name, the time in UTC, and random digits, for two submits in one second."""
    name = body["pipelineSpec"]["pipelineInfo"]["name"]
    return f"{name}-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(2)}"


def create(cloud: Cloud, environment: Environment, job_id: str, body: Mapping[str, Any]) -> CloudRun:
    """Start a run, or find the one that an earlier try of the same request started.

    Raises:
        CloudError: Vertex AI refused the request, or did not answer; or the id is another run's.
    """
    run = CloudRun(environment, job_id, cloud)
    try:
        cloud.post(service(environment), f"v1/{environment.parent}/pipelineJobs", body, pipelineJobId=job_id)
    except CloudError as error:
        if error.status in {0, *PASSING} - {HTTPStatus.TOO_MANY_REQUESTS}:
            raise CloudError(
                f"{error}\nit is not known whether {job_id} was submitted. The same command with --job-id {job_id} "
                f"submits it only if it was not",
                error.status,
            ) from error
        if error.status != HTTPStatus.CONFLICT:
            raise
        if run.read().get("labels", {}).get(REQUEST) != body["labels"][REQUEST]:
            raise CloudError(f"{job_id} is the id of another run, {run.address}", error.status) from error
    return run


def service(environment: Environment) -> str:
    """Name of Vertex AI's service in the environment's region."""
    return f"{environment.location}-aiplatform"
