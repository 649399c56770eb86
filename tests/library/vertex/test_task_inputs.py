"""What a task of a cloud run was given: from the spec, from the run's parameters, from what other tasks gave."""

from typing import Any

import pytest

from goldline.spec import compiled as spec
from goldline.vertex.task_inputs import Inputs, UnknownInputError, typed
from tests.support.some_flow import FLOW, TASK

CARD = '{"run_id": "goldline-1"}'


@pytest.fixture
def job() -> dict[str, Any]:
    """A run as Vertex AI tells of it, which says no more of its tasks than what prepare_run gave."""
    given = {"metadata": {"output:run": CARD, "output:train": True}}
    tasks = [{"taskName": name, "state": "SUCCEEDED"} for name in (TASK, "finish-run")]
    return {
        "name": "projects/p/locations/l/pipelineJobs/goldline-1",
        "createTime": "2026-11-21T02:00:00Z",
        "state": "PIPELINE_STATE_FAILED",
        "pipelineSpec": spec.load(),
        "runtimeConfig": {"parameterValues": {"seed": 11.0, "run_date": "2026-11-20"}},
        "jobDetail": {"taskDetails": [{"taskName": "prepare-run", "execution": given}, *tasks]},
    }


def test_constants_are_the_specs_and_outputs_what_the_run_tells(job: dict[str, Any]) -> None:
    parameters = Inputs(job).parameters(TASK)
    assert parameters["select"].startswith("with") or "select" in parameters["select"].lower()
    assert parameters["flow"] == FLOW
    assert parameters["run"] == CARD  # through two pipelines around it


def test_the_runs_parameters_and_the_pipelines_defaults_arrive(job: dict[str, Any]) -> None:
    inputs = Inputs(job)
    seed = inputs.parameters("prepare-run")["seed"]
    assert (seed, type(seed)) == (11, int)  # a double in JSON that came from a protobuf Struct
    prepared = inputs.parameters("prepare-run")
    assert (prepared["run_date"], prepared["train"], prepared["lookback_days"]) == ("2026-11-20", "auto", 0)


def test_placeholders_and_the_final_status_are_the_runs(job: dict[str, Any]) -> None:
    inputs = Inputs(job)
    assert inputs.parameters("prepare-run")["job"] == "goldline-1"
    assert inputs.parameters("prepare-run")["created"] == "2026-11-21T02:00:00Z"
    assert inputs.parameters("finish-run")["status"]["state"] == "FAILED"


def test_what_vertex_tells_of_a_task_counts_before_what_the_spec_leads_to(job: dict[str, Any]) -> None:
    job["jobDetail"]["taskDetails"][1]["execution"] = {"metadata": {"input:run": "told", "input:flow": "told"}}
    parameters = Inputs(job).parameters(TASK)
    assert (parameters["run"], parameters["flow"]) == ("told", FLOW)


def test_what_is_not_known_is_not_made_up(job: dict[str, Any]) -> None:
    del job["jobDetail"]["taskDetails"][0]["execution"]
    with pytest.raises(UnknownInputError, match="has no record of the output run of prepare-run"):
        Inputs(job).parameters(TASK)
    with pytest.raises(UnknownInputError, match="no task stg-sails"):
        Inputs(job).parameters("stg-sails")


def test_values_come_as_their_types_have_them() -> None:
    assert typed("7", "NUMBER_INTEGER") == 7
    assert typed("0.5", "NUMBER_DOUBLE") == 0.5
    assert typed("True", "BOOLEAN") is True
    assert typed("7", "STRING") == "7"
