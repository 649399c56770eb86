"""An accepted model becomes a version of one Vertex model, once, whatever the network does."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.cloud.aiplatform_v1.types import Model
from google_cloud_pipeline_components.types.artifact_types import VertexModel
from kfp import dsl

from components.register_model import register_model
from goldline.lake import Lake
from goldline.local.servers import PROJECT
from goldline.local.stack import BUCKET, Addresses
from goldline.ml.signature import ModelError
from goldline.spec import compiled as spec
from goldline.spec.check.given import declared_in
from goldline.vertex import registry
from goldline.vertex.environments import load
from goldline.vertex.errors import CloudError
from tests.support.models_shelf import Shelf, classifier
from tests.support.standin import StandIn
from tests.support.standin_models import Models
from tests.support.standin_sdk import point_sdk_to
from tests.support.standin_vertex import parsed

REGION = "europe-west1"
IMAGE = "europe-west1-docker.pkg.dev/acme-data-dev/goldline/goldline@sha256:" + "0" * 64


@pytest.fixture
def shelf(stack: Addresses) -> Shelf:
    assert stack
    return Shelf()


@pytest.fixture
def models(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setattr(registry, "POLL_SECONDS", 0)
    return Models(standin)


def register(shelf: Shelf, version: str, region: str = REGION, image: str = IMAGE) -> VertexModel:
    model = dsl.Model(uri="", metadata={"name": "churn", "version": version})
    registered = VertexModel()
    run = shelf.run.model_copy(update={"vertex_region": region, "serving_image": image})
    register_model.component.python_func(run=run.model_dump_json(), flow="shop", model=model, registered=registered)
    return registered


def told(shelf: Shelf) -> dict[str, Any]:
    path = f"{shelf.run.records}/tasks/register_churn.json"
    found: dict[str, Any] = json.loads(Lake(PROJECT, BUCKET).read_text(path))
    return found


def name_of(shelf: Shelf) -> str:
    return f"projects/{PROJECT}/locations/{REGION}/models/goldline-{shelf.run.dataset('churn')}"


def test_a_model_is_uploaded_with_all_that_serving_needs(shelf: Shelf, models: Models) -> None:
    shelf.put("v1", classifier())
    models.slow = 2
    made = register(shelf, "v1")
    assert made.metadata == {"resourceName": f"{name_of(shelf)}@1"}
    assert made.uri == f"https://{REGION}-aiplatform.googleapis.com/v1/{name_of(shelf)}@1"
    [version] = models.versions[name_of(shelf)]
    assert version["artifactUri"] == shelf.store.lake.uri(shelf.store.path("v1", "")).rstrip("/")
    assert version["containerSpec"] == {
        "imageUri": IMAGE,
        "command": ["python", "-m", "goldline.ml.serving"],
        "ports": [{"containerPort": 8080}],
        "predictRoute": "/predict",
        "healthRoute": "/health",
    }
    assert version["versionAliases"] == ["champion"]
    assert told(shelf)["counts"] == {"registered": 1}


def test_the_next_accepted_one_is_a_version_of_the_same_model_and_takes_the_title(shelf: Shelf, models: Models) -> None:
    for version in ("v1", "v2", "v3"):
        shelf.put(version, classifier())
        register(shelf, version)
    assert [v["versionId"] for v in models.versions[name_of(shelf)]] == ["1", "2", "3"]
    assert models.champions(name_of(shelf)) == ["v3"]


def test_a_repeated_task_makes_no_second_version(shelf: Shelf, models: Models) -> None:
    for version in ("v1", "v2"):
        shelf.put(version, classifier())
        register(shelf, version)
    assert register(shelf, "v1").metadata["resourceName"].endswith("@1")
    assert len(models.versions[name_of(shelf)]) == 2
    assert models.champions(name_of(shelf)) == ["v1"]


def test_an_upload_whose_answer_is_lost_is_found_by_the_next_try(
    shelf: Shelf, models: Models, standin: StandIn
) -> None:
    shelf.put("v1", classifier())
    standin.fail("POST", "models:upload$", "lost")
    with pytest.raises(CloudError, match="no answer"):
        register(shelf, "v1")
    register(shelf, "v1")
    assert len(models.versions[name_of(shelf)]) == 1
    assert models.champions(name_of(shelf)) == ["v1"]


def test_a_server_that_is_busy_is_asked_again(shelf: Shelf, models: Models, standin: StandIn) -> None:
    shelf.put("v1", classifier())
    standin.fail("GET", "/models/", 503, 2)
    standin.fail("POST", "models:upload$", 429, 2)
    register(shelf, "v1")
    assert models.champions(name_of(shelf)) == ["v1"]


def test_an_upload_that_fails_says_why(shelf: Shelf, models: Models) -> None:
    shelf.put("v1", classifier())
    models.refusal = "the service agent may not read the bucket"
    with pytest.raises(CloudError, match="the service agent may not read the bucket"):
        register(shelf, "v1")
    assert told(shelf)["status"] == "failed"


@pytest.mark.parametrize(
    ("region", "image", "reason"),
    [
        ("", IMAGE, "was not given a region of Vertex AI"),
        (REGION, "", "was not given an image"),
        ("", "", "was not given a region of Vertex AI and an image"),
    ],
)
def test_without_vertex_ai_nothing_is_registered_and_the_reason_said(
    shelf: Shelf, models: Models, region: str, image: str, reason: str
) -> None:
    shelf.put("v1", classifier())
    made = register(shelf, "v1", region, image)
    assert made.uri == ""
    assert reason in made.metadata["reason"]
    assert models.versions == {}
    assert told(shelf)["counts"] == {"registered": 0}


def test_a_version_that_the_lake_does_not_have_is_not_registered(shelf: Shelf, models: Models) -> None:
    with pytest.raises(ModelError, match="signature"):
        register(shelf, "v0")
    assert models.versions == {}


def test_the_sdk_would_send_the_same(shelf: Shelf, models: Models, standin: StandIn, settings: Path) -> None:
    """google-cloud-aiplatform, asked for the same upload, sends what we send; so its types and paths are ours."""
    from google.cloud import aiplatform

    shelf.put("v1", classifier())
    register(shelf, "v1")
    point_sdk_to(standin, load("dev", declared_in(spec.load()), settings))
    ours = standin.sent("POST", "models:upload$")[0].json["model"]
    container = ours["containerSpec"]
    aiplatform.Model.upload(
        project=PROJECT,
        location=REGION,
        model_id="goldline-sdk",
        display_name=ours["displayName"],
        artifact_uri=ours["artifactUri"],
        serving_container_image_uri=container["imageUri"],
        serving_container_command=container["command"],
        serving_container_ports=[port["containerPort"] for port in container["ports"]],
        serving_container_predict_route=container["predictRoute"],
        serving_container_health_route=container["healthRoute"],
        version_aliases=ours["versionAliases"],
        version_description=ours["versionDescription"],
        labels=ours["labels"],
    )
    theirs = standin.sent("POST", "models:upload$")[-1].json
    assert theirs["modelId"] == "goldline-sdk"
    assert parsed(theirs["model"], Model) == parsed(ours, Model)
