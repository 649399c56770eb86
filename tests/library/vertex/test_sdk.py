"""google-cloud-aiplatform itself, sent to the stand-in: what it sends is the measure of what we send.

In a file of their own, since importing it takes seconds.
"""

import io
import json
from pathlib import Path

import pytest
from google.cloud import aiplatform
from google.cloud.aiplatform_v1.types import PipelineJob
from google.protobuf import json_format

from goldline.vertex import submit
from goldline.vertex.cloud_run import prepared
from goldline.vertex.schedules import Schedules
from tests.support.standin import StandIn
from tests.support.standin_sdk import point_sdk_to
from tests.support.standin_vertex import Vertex

pytestmark = pytest.mark.usefixtures("settings", "google")
JOBS = "/pipelineJobs$"


def test_the_sdk_would_send_the_same(vertex: Vertex, standin: StandIn, tmp_path: Path) -> None:
    """google-cloud-aiplatform, given the same spec and values, sends what we send; so its types and paths are ours."""
    ours = submit("dev", run_date="2026-11-20", out=io.StringIO())
    where, uploaded, _ = prepared("dev")
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(uploaded))
    point_sdk_to(standin, where)
    [mine] = standin.sent("POST", JOBS)
    theirs = aiplatform.PipelineJob(
        display_name="goldline dev 2026-11-20",
        template_path=str(path),
        job_id="from-the-sdk",
        pipeline_root=where.pipeline_root,
        parameter_values=mine.json["runtimeConfig"]["parameterValues"],
        labels=mine.json["labels"],
        project=where.project,
        location=where.location,
    )
    # Not .submit(), which looks for the bucket first, for a minute, and not without the project's number.
    theirs._gca_resource.service_account = where.service_account
    theirs.api_client.create_pipeline_job(
        parent=where.parent, pipeline_job=theirs._gca_resource, pipeline_job_id="from-the-sdk"
    )
    first, second = standin.sent("POST", JOBS)
    assert first.path == second.path
    assert (first.query, second.query["pipelineJobId"]) == ({"pipelineJobId": [ours.job_id]}, ["from-the-sdk"])
    bodies = [json_format.ParseDict(r.json, PipelineJob()._pb) for r in (first, second)]
    assert bodies[0] == bodies[1]
    assert len(vertex.jobs) == 2


def test_the_sdk_sees_turns_and_deletes_the_same_schedules(standin: StandIn, vertex: Vertex) -> None:
    where, uploaded, cloud = prepared("dev")
    schedules = Schedules(where, uploaded, cloud, io.StringIO())
    schedules.create("nightly")
    point_sdk_to(standin, where)
    [theirs] = aiplatform.PipelineJobSchedule.list(filter='display_name="goldline dev nightly"')
    theirs.pause()
    assert [s["state"] for s in vertex.schedules.values()] == ["PAUSED"]
    theirs.resume(catch_up=False)
    schedules.pause("nightly")
    schedules.resume("nightly")
    for verb in ("pause", "resume"):
        mine, sdks = standin.sent("POST", f":{verb}$")
        assert mine.path == sdks.path
    assert [s["state"] for s in vertex.schedules.values()] == ["ACTIVE"]
    changed = {**uploaded, "pipelineInfo": {**uploaded["pipelineInfo"], "description": "changed"}}
    Schedules(where, changed, cloud, io.StringIO()).replace("nightly")
    schedules.replace("nightly")
    schedules.prune("nightly")
    theirs.delete()
    mine, sdks = standin.sent("DELETE", "")
    assert (mine.path.rsplit("/", 1), mine.query, mine.body) == ([sdks.path.rsplit("/", 1)[0], "2"], {}, b"")
    assert not vertex.schedules
