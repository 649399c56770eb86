"""A run is submitted once, whatever the network does, and told of in words that help to go on."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from goldline import cli
from goldline.runs.parameters import ParameterError
from goldline.spec import compiled as spec
from goldline.spec.check.given import complete
from goldline.vertex import submit
from goldline.vertex.environments import load
from goldline.vertex.errors import CloudError
from goldline.vertex.image_content import content_tag
from goldline.vertex.progress import again
from goldline.vertex.uploadable import SpecError, uploadable
from tests.support.some_flow import ALONE, FLOW, NAME, TASK
from tests.support.standin import Refused, StandIn
from tests.support.standin_google import DIGEST, Google
from tests.support.standin_vertex import Vertex, cancelled, check_job, failing

pytestmark = pytest.mark.usefixtures("settings", "google")
JOBS = "/pipelineJobs$"


def test_a_run_is_submitted_with_all_that_vertex_needs(vertex: Vertex, standin: StandIn) -> None:
    out = io.StringIO()
    run = submit("dev", run_date="2026-11-20", out=out)
    [job] = vertex.jobs.values()
    assert re.fullmatch(r"goldline-\d{14}-[0-9a-f]{4}", run.job_id)
    assert job["name"] == run.name
    assert job["displayName"] == "goldline dev 2026-11-20"
    assert job["serviceAccount"] == "goldline-pipeline@acme-data-dev.iam.gserviceaccount.com"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://acme-data-dev-goldline/pipelines"
    assert job["labels"].keys() == {"goldline_environment", "goldline_run_date", "goldline_request"}
    values = job["runtimeConfig"]["parameterValues"]
    assert values == {
        "project": "acme-data-dev",
        "location": "europe-west1",
        "bucket": "acme-data-dev-goldline",
        "simulated_size": "small",
        "train": "no",
        "run_date": "2026-11-20",
    }
    images = {e["container"]["image"] for e in job["pipelineSpec"]["deploymentSpec"]["executors"].values()}
    assert images == {f"europe-west1-docker.pkg.dev/acme-data-dev/goldline/goldline@{DIGEST}"}
    # The console's form, where the run is cloned, has the environment's values too.
    declared = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    assert declared["bucket"]["defaultValue"] == "acme-data-dev-goldline"
    assert run.address in out.getvalue()
    assert run.address.endswith(f"/locations/europe-west1/pipelines/runs/{run.job_id}?project=acme-data-dev")


def test_an_image_of_other_code_is_told_and_used(google: Google, vertex: Vertex) -> None:
    """SQL travels in the spec, so a run with an older image may be just what is wanted."""
    [key] = [key for key in google.resources if key[1].endswith("/tags/1.0")]
    for tag in ("1f0c9b2d4e6a8057", content_tag()):
        google.resources[key[0], key[1].replace("/1.0", f"/{tag}")] = google.resources[key]
    image, told = "europe-west1-docker.pkg.dev/acme-data-dev/goldline/goldline", []
    for name in (f"{image}:1f0c9b2d4e6a8057", f"{image}:{content_tag()}", f"{image}@{DIGEST}", ""):
        out = io.StringIO()
        submit("dev", image=name, out=out)
        told.append(
            re.findall("^the image goldline:1f0c9b2d4e6a8057 is not of the code here.*make image", out.getvalue())
        )
    assert [len(each) for each in told] == [1, 0, 0, 0]
    assert len(vertex.jobs) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run_dat": "2026-11-20"}, "run_dat: no such parameter, expected run_date"),
        ({"seed": "7"}, "seed: expected a whole number, got '7'"),
        ({"seed": True}, "seed: expected a whole number, got True"),
        ({f"run_{FLOW}": "yes"}, f"run_{FLOW}: expected true or false, got 'yes'"),
        ({"run_date": "20.11.2026"}, "run_date: expected a date as YYYY-MM-DD"),
        ({"bucket": "gs://lake"}, "bucket: expected a name without gs://"),
        ({"full_refresh": "stg_sails"}, "full_refresh: no table stg_sails, expected some of"),
    ],
)
def test_wrong_parameters_are_refused_before_any_request(standin: StandIn, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(said)):
        submit("dev", out=io.StringIO(), **given)
    assert not standin.requests


def test_a_parameter_without_a_default_must_be_given() -> None:
    declared = {
        "collection": {"parameterType": "STRING"},
        "seed": {"parameterType": "NUMBER_INTEGER", "defaultValue": 7},
    }
    with pytest.raises(ParameterError, match="collection: has no default and was not given"):
        complete({}, declared)
    assert complete({"collection": "sales"}, declared) == {"collection": "sales"}


def test_a_spec_with_a_dangling_reference_is_refused_before_any_request(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = spec.load()
    broken["components"].pop(f"comp-{TASK}")
    monkeypatch.setattr(spec, "fresh", lambda _: json.dumps(broken))
    with pytest.raises(SpecError, match=f"comp-{TASK}"):
        submit("dev", out=io.StringIO())
    assert not standin.requests


@pytest.mark.parametrize("kind", [429, 503, "lost"])
def test_an_answer_that_does_not_come_makes_no_second_run(vertex: Vertex, standin: StandIn, kind: int | str) -> None:
    standin.fail("POST", JOBS, kind, times=2)
    run = submit("dev", out=io.StringIO())
    assert [job["name"] for job in vertex.jobs.values()] == [run.name]
    assert len(standin.sent("POST", JOBS)) == (2 if kind == "lost" else 3)


def test_a_submit_whose_outcome_is_not_known_is_taken_up_again(vertex: Vertex, standin: StandIn) -> None:
    standin.fail("POST", JOBS, "lost")
    standin.fail("POST", JOBS, 503, times=9)
    with pytest.raises(CloudError) as lost:
        submit("dev", out=io.StringIO(), run_date="2026-11-20")
    assert len(vertex.jobs) == 1
    standin.faults.clear()
    [job_id] = re.findall(r"--job-id (\S+)", str(lost.value))
    assert submit("dev", out=io.StringIO(), run_date="2026-11-20", job_id=job_id).job_id == job_id
    assert len(vertex.jobs) == 1
    with pytest.raises(CloudError, match="is the id of another run"):
        submit("dev", out=io.StringIO(), run_date="2026-11-21", job_id=job_id)


def test_an_expired_token_is_renewed(vertex: Vertex, standin: StandIn) -> None:
    run = submit("dev", out=io.StringIO())
    standin.expire()
    assert run.wait(io.StringIO()) == "succeeded"
    assert standin.issued == 2


def test_credentials_that_are_refused_are_named(standin: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    standin.fail("POST", "v1/token", 400, times=9)
    assert cli.main(["submit", "--env", "dev"]) == 1
    assert "gcloud auth application-default login" in capsys.readouterr().err


def test_a_refusal_is_told_as_google_tells_it(vertex: Vertex, standin: StandIn) -> None:
    standin.fail("POST", JOBS, 403)
    with pytest.raises(CloudError, match="403: as the test asked"):
        submit("dev", out=io.StringIO())
    assert len(standin.sent("POST", JOBS)) == 1


def test_an_image_that_is_not_there_is_named(google: Google, capsys: pytest.CaptureFixture[str]) -> None:
    google.resources.clear()
    assert cli.main(["submit", "--env", "dev"]) == 1
    assert (
        "there is no image europe-west1-docker.pkg.dev/acme-data-dev/goldline/goldline:1.0" in capsys.readouterr().err
    )


def test_waiting_shows_tasks_as_they_end(vertex: Vertex, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["submit", "--env", "dev", "--wait"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"✓ {NAME} +61\.5 s", shown)
    assert "\n  running\n" in shown
    assert f"✓ {FLOW} " not in shown  # a sub-pipeline is no task of its own


def test_a_failure_names_the_task_its_log_and_how_to_go_on(vertex: Vertex, capsys: pytest.CaptureFixture[str]) -> None:
    vertex.script = failing(TASK, "Job failed with status 9.")
    assert cli.main(["submit", "--env", "dev", "--wait", "--run-date", "2026-11-20", "--simulated-size=none"]) == 1
    shown = capsys.readouterr().out
    assert f"{NAME} failed: Job failed with status 9." in shown
    assert re.search(r"https://console\.cloud\.google\.com/logs/query;query=resource.*ml_job.*job_id.*40\d\d", shown)
    assert re.search(rf"goldline replay goldline-\S+ {NAME} --env dev", shown)
    assert "goldline submit --env dev --run-date 2026-11-20 --simulated-size none" in shown
    assert "failed: goldline-" in shown


def test_the_way_to_go_on_names_the_date_that_a_run_without_one_was_for(vertex: Vertex) -> None:
    """By tomorrow the same command without a date would run another."""
    submit("dev", out=io.StringIO(), seed=11)
    [job] = vertex.jobs.values()
    where = load("dev", job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"])
    job["createTime"] = "2026-11-21T02:00:07.1Z"
    assert again(job, where) == "goldline submit --env dev --run-date 2026-11-20 --seed 11"
    job["runtimeConfig"]["parameterValues"] |= ALONE | {"run_another": False}
    assert f"--flows {FLOW} --run-date" in again(job, where)


def test_a_connection_that_breaks_for_long_ends_the_watch_and_not_the_run(
    vertex: Vertex, standin: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.fail("GET", "/pipelineJobs/", 503, times=9)
    assert cli.main(["submit", "--env", "dev", "--wait"]) == 1
    assert re.search(r"the run goes on: goldline follow goldline-\S+ --env dev", capsys.readouterr().err)
    assert len(vertex.jobs) == 1


def test_a_cancelled_run_is_told_and_followed_again(vertex: Vertex, capsys: pytest.CaptureFixture[str]) -> None:
    vertex.script = cancelled
    run = submit("dev", out=io.StringIO())
    assert run.wait() == "cancelled"
    assert "cancelled" in capsys.readouterr().out
    assert cli.main(["follow", "--env", "dev", run.job_id]) == 1


def test_the_stand_in_refuses_what_vertex_refuses(vertex: Vertex) -> None:
    """That it lets ours through means something only if it does not let everything through."""
    submit("dev", out=io.StringIO())
    [job] = vertex.jobs.values()
    good: dict[str, Any] = {k: job[k] for k in ("displayName", "labels", "pipelineSpec", "runtimeConfig")}
    check_job(good)
    config = good["runtimeConfig"]
    for wrong, said in (
        ({"displayName": "x" * 129}, "display_name"),
        ({"labels": {"Env": "dev"}}, "labels"),
        ({"labels": {"auc": "0.7"}}, "labels"),
        ({"pipelineSpec": {}}, "pipeline_spec is required"),
        ({"runtimeConfig": {}}, "gcs_output_directory"),
        ({"runtimeConfig": {**config, "gcsOutputDirectory": "/tmp/x"}}, "gcs_output_directory"),  # noqa: S108
        ({"runtimeConfig": {**config, "parameterValues": {"sede": 7}}}, "no parameter 'sede'"),
        ({"runtimeConfig": {**config, "parameterValues": {"seed": "7"}}}, "seed is not a NUMBER_INTEGER"),
        ({"pipelineSpec": spec.load()}, "no pullable image"),
    ):
        with pytest.raises(Refused, match=re.escape(said)):
            check_job(good | wrong)


def test_the_uploadable_spec_differs_only_where_it_must(settings: Path) -> None:
    committed = spec.load()
    sent = uploadable(committed, load("dev", committed["root"]["inputDefinitions"]["parameters"]), "x/y@sha256:0")
    for executor in sent["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = "goldline"
    declared = committed["root"]["inputDefinitions"]["parameters"]
    for name, each in sent["root"]["inputDefinitions"]["parameters"].items():
        each["defaultValue"] = declared[name]["defaultValue"]
    assert sent == committed
