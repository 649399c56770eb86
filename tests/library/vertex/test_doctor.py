"""The doctor names what is missing and the command that mends it."""

from pathlib import Path

import pytest

from goldline import cli
from goldline.vertex.doctor import may_read
from tests.support.standin import StandIn
from tests.support.standin_google import Google

P = "acme-data-dev"
pytestmark = pytest.mark.usefixtures("settings")


def told(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.main(["doctor", "--env", "dev"])
    return code, capsys.readouterr().out


def test_a_whole_environment_has_a_line_a_thing(google: Google, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = told(capsys)
    assert code == 0, out
    assert "✗" not in out
    assert out.endswith("dev has what a run needs\n")
    for thing in ("APIs are", "bucket gs://acme-data-dev-goldline", "point-in-time recovery", "you can act as it"):
        assert thing in out


@pytest.mark.parametrize(
    ("path", "change", "said", "mend"),
    [
        (f"storage/v1/b/{P}-goldline", None, "there is no bucket", f"gcloud storage buckets create gs://{P}-goldline"),
        (f"storage/v1/b/{P}-goldline", {"location": "US"}, "regions: gs://acme", "set `parameters: {location: US}`"),
        (
            f"bigquery/v2/projects/{P}/datasets/silver",
            {"location": "EU"},
            "regions: the dataset silver lies in EU",
            "location: EU",
        ),
        (
            f"v1/projects/{P}/databases/(default)",
            None,
            "there is no Firestore database",
            "gcloud firestore databases create",
        ),
        (
            f"v1/projects/{P}/databases/(default)",
            {"type": "DATASTORE_MODE"},
            "is DATASTORE_MODE",
            "name one in Native mode",
        ),
        (
            f"v1/projects/{P}/databases/(default)",
            {"type": "FIRESTORE_NATIVE"},
            "point-in-time recovery is off",
            f"gcloud firestore databases update --enable-pitr --database='(default)' --project {P}",
        ),
        (
            f"v1/projects/{P}/locations/europe-west1/repositories/goldline/packages/goldline/tags/1.0",
            None,
            "no image",
            "docker push",
        ),
        (
            f"v1/projects/{P}/locations/europe-west1/repositories/goldline-pipelines",
            None,
            "there is no repository goldline-pipelines",
            "gcloud artifacts repositories create goldline-pipelines --repository-format kfp --location europe-west1",
        ),
        (
            f"v1/projects/-/serviceAccounts/goldline-pipeline@{P}.iam.gserviceaccount.com",
            None,
            "there is no service account",
            "gcloud iam service-accounts create goldline-pipeline",
        ),
        (
            f"v1/projects/-/serviceAccounts/goldline-pipeline@{P}.iam.gserviceaccount.com",
            {"disabled": True},
            "is disabled",
            "gcloud iam service-accounts enable",
        ),
        (
            f"v1/projects/{P}/secrets/goldline-pii-key",
            None,
            "there is no secret",
            "gcloud secrets create goldline-pii-key",
        ),
        (f"v1/projects/{P}/secrets/goldline-pii-key/versions", {}, "no enabled version", "goldline rotate-key"),
    ],
)
def test_what_is_missing_comes_with_the_command_that_mends_it(
    google: Google,
    capsys: pytest.CaptureFixture[str],
    path: str,
    change: dict[str, object] | None,
    said: str,
    mend: str,
) -> None:
    [key] = [key for key in google.resources if key[1] == path]
    if change is None:
        del google.resources[key]
    else:
        google.resources[key] = change
    code, out = told(capsys)
    assert code == 1
    wrong = [line for line in out.splitlines() if line.startswith("  ✗")]
    assert len(wrong) == 1, out
    assert said in wrong[0]
    assert mend in out
    assert out.endswith("1 to mend\n")


def test_apis_and_permissions(google: Google, capsys: pytest.CaptureFixture[str]) -> None:
    google.apis_off = {"firestore.googleapis.com", "aiplatform.googleapis.com"}
    google.permissions_lacking = {"iam.serviceAccounts.actAs", "aiplatform.schedules.create"}
    code, out = told(capsys)
    assert code == 1
    assert "gcloud services enable aiplatform.googleapis.com firestore.googleapis.com --project acme-data-dev" in out
    assert "✗ you lack aiplatform.schedules.create" in out
    assert "✗ you cannot act as it" in out
    assert "--role roles/iam.serviceAccountUser" in out
    assert out.endswith("3 to mend\n")


def test_what_may_not_be_looked_at_hides_nothing_else(
    google: Google, standin: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.fail("GET", "storage/v1/b/", 403)
    code, out = told(capsys)
    assert code == 1
    assert "✗ bucket: could not be checked" in out
    assert "✓ secret goldline-pii-key" in out


def test_without_credentials_nothing_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nothing.json"))
    assert cli.main(["doctor", "--env", "dev"]) == 1
    assert "no credentials for Google Cloud: gcloud auth application-default login" in capsys.readouterr().err


def test_datasets_read_files_of_their_own_place_alone() -> None:
    assert may_read("EU", "EU")
    assert may_read("EU", "EUROPE-WEST1")
    assert may_read("US", "us-central1")
    assert may_read("europe-west1", "EUROPE-WEST1")
    assert not may_read("europe-west1", "EU")
    assert not may_read("europe-west1", "europe-west3")
    assert not may_read("EU", "us-central1")
    assert not may_read("EU", "europe-west2")  # London
