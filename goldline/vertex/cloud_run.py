"""Runs on Vertex AI: what is sent to start one, and how it is followed.

A run's id is made here, before the request: when the answer to it is lost, the id finds the run again, and a second
request with it is refused by Vertex AI. So a submit never makes two runs.
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
REQUEST = "goldline_request"  # the label that says which request made a run
_ENDED = {"PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED", "PIPELINE_STATE_PAUSED"}


@dataclass
class CloudRun:
    """A run on Vertex AI.

    Attributes:
        job_id: its id; a folder of that name below ops/runs/ in the lake holds what its tasks told.
    """

    environment: Environment
    job_id: str
    cloud: Cloud = field(repr=False)

    @property
    def name(self) -> str:
        """Its resource name."""
        return f"{self.environment.parent}/pipelineJobs/{self.job_id}"

    @property
    def address(self) -> str:
        """Where the console shows it."""
        where = self.environment
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{where.location}/pipelines/runs/{self.job_id}"
            f"?project={where.project}"
        )

    def read(self) -> dict[str, Any]:
        """The run as Vertex AI tells of it: a PipelineJob."""
        return self.cloud.get(service(self.environment), f"v1/{self.name}")

    def wait(self, out: TextIO | None = None, every: float | None = None) -> str:
        """Follow the run to its end, showing its tasks as they end; `succeeded`, `failed`, `cancelled` or `paused`."""
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
        environment: its name in goldline.yaml.
        wait: whether to follow it to its end.
        image: another one than the environment's.
        job_id: the id of an earlier submit whose outcome is not known: its run is taken up, if there is one.
        out: where to show what happens.
        parameters: the pipeline's.

    Raises:
        ValueError: goldline.yaml, a parameter or the spec is wrong; nothing was sent.
        CloudError: an API refused, or could not be reached.
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
    """An environment, the uploadable spec for it, and the cloud; what can be refused here is, before any request.

    Args:
        environment: its name in goldline.yaml.
        image: another one than the environment's.
        given: parameters on top of the environment's.
        out: where to say that the spec is compiled afresh, or that the image has other code than what lies here.
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
    if told := difference(image):
        out.write(f"{told}\n")
    cloud = Cloud()
    return where, uploadable(spec, where, by_digest(cloud, image)), cloud


def pipeline_job(
    spec: Mapping[str, Any],
    environment: Environment,
    values: Mapping[str, Scalar],
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A PipelineJob as JSON: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs.

    Args:
        spec: the uploadable one.
        environment: where it will run.
        values: of the parameters.
        labels: more of them.
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
    """What tells one request from another: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def new_id(body: Mapping[str, Any]) -> str:
    """An id for a new run: the pipeline's name, the time in UTC, and chance, for two who submit in one second."""
    name = body["pipelineSpec"]["pipelineInfo"]["name"]
    return f"{name}-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(2)}"


def create(cloud: Cloud, environment: Environment, job_id: str, body: Mapping[str, Any]) -> CloudRun:
    """Start a run, or find the one that an earlier try of the same request started.

    Raises:
        CloudError: refused; or the id is another run's.
    """
    run = CloudRun(environment, job_id, cloud)
    try:
        cloud.post(service(environment), f"v1/{environment.parent}/pipelineJobs", body, pipelineJobId=job_id)
    except CloudError as error:
        if error.status in {0, *PASSING} - {HTTPStatus.TOO_MANY_REQUESTS}:
            raise CloudError(
                f"{error}\nwhether {job_id} was submitted is not known. The same command with --job-id {job_id} finds "
                f"out, and submits it only if it was not",
                error.status,
            ) from error
        if error.status != HTTPStatus.CONFLICT:
            raise
        if run.read().get("labels", {}).get(REQUEST) != body["labels"][REQUEST]:
            raise CloudError(f"{job_id} is the id of another run, {run.address}", error.status) from error
    return run


def service(environment: Environment) -> str:
    """Vertex AI's service in the environment's region."""
    return f"{environment.location}-aiplatform"
