"""goldline.yaml is read strictly, and says where it is wrong."""

from pathlib import Path

import pytest

from goldline import cli, project
from goldline.project import ProjectError
from goldline.spec import compiled as spec
from goldline.spec.check.given import declared_in
from goldline.vertex.environments import check_cron, load

DECLARED = declared_in(spec.load())


def test_the_example_in_the_repository_is_right() -> None:
    prod = load("prod", DECLARED)
    assert prod.parent == "projects/acme-data-prod/locations/europe-west1"
    assert prod.pipeline_root == "gs://acme-data-prod-goldline/pipelines"
    assert prod.schedules["nightly"].cron == "0 2 * * *"
    # Datasets lie where Vertex AI runs, unless the parameter says otherwise.
    assert prod.values()["location"] == "europe-west1"
    assert prod.values({"location": "EU"})["location"] == "EU"


def test_no_environment_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["submit"],
        ["doctor"],
        ["schedule", "list"],
        ["backfill", "--from", "2026-11-01", "--to", "2026-11-02"],
    ):
        with pytest.raises(SystemExit):
            cli.main(command)
        assert "the following arguments are required: --env" in capsys.readouterr().err
    assert cli.main(["submit", "--env", "live"]) == 2
    assert "goldline.yaml has no environment 'live', expected one of dev, prod" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("bucket:", "buket:", "environments.dev.buket: no such key, expected some of project, location, bucket"),
        ("    location: europe-west1\n", "", "environments.dev.location: is missing, expected a region of Vertex AI"),
        (
            "location: europe-west1",
            "location: EU",
            "environments.dev.location: expected a region of Vertex AI, such as",
        ),
        ("bucket: acme", "bucket: gs://acme", "environments.dev.bucket: expected a bucket's name without gs://"),
        ("goldline:1.0", "goldline", "environments.dev.image: expected an image with its tag or digest"),
        ("europe-west1-docker.pkg.dev", "docker.io", "give ...@sha256:... here"),
        (
            "service_account: goldline-pipeline@",
            "service_account: ",
            "environments.dev.service_account: expected the address",
        ),
        (
            "simulated_size: small",
            "simulatd_size: small",
            "environments.dev.parameters: simulatd_size: no such parameter, expected simulated_size",
        ),
        (
            "parameters: {",
            "parameters: {seed: five, ",
            "parameters: seed: expected a whole number, got 'five'",
        ),
        ('train: "no"', "train: no", "environments.dev.parameters: train: expected a text, got False"),
        ('train: "no"', 'train: "maybe"', "train: expected one of auto, yes, no, got 'maybe'"),
        ('"0 2 * * *"', '"0 2 * *"', "environments.dev.schedules.nightly.cron: cron: expected five fields in UTC"),
        ('"0 2 * * *"', '"0 25 * * *"', "cron: expected numbers from 0 to 23 in '25' of '0 25 * * *'"),
        (
            'cron: "0 2 * * *"',
            'kron: "0 2 * * *"',
            "schedules.nightly.kron: no such key, expected some of cron, parameters",
        ),
        (
            '{train: "yes"}',
            '{run_date: "2026-11-20"}',
            "schedules.training: expected no run_date",
        ),
        ("environments:", "places:", "expected only the keys environments and nights"),
        ("environments:", "environments: [", "is no YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(settings: Path, before: str, after: str, said: str) -> None:
    text = settings.read_text()
    assert before in text
    settings.write_text(text.replace(before, after, 1))
    with pytest.raises(ProjectError) as wrong:
        load("dev", DECLARED)
    assert said in str(wrong.value)


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "settings_file", lambda: tmp_path / "goldline.yaml")
    with pytest.raises(ProjectError, match=r"there is no .*goldline\.yaml"):
        load("dev", DECLARED)


@pytest.mark.parametrize("good", ["0 2 * * *", "*/15 0-6 1,15 * 1-5", "59 23 31 12 7"])
def test_cron_expressions_that_are_taken(good: str) -> None:
    check_cron(good)


@pytest.mark.parametrize(
    "bad", ["0 2 * * * *", "TZ=UTC 0 2 * * *", "0 2 * * Fri", "6-2 * * * *", "*/0 * * * *", "@daily"]
)
def test_cron_expressions_that_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="cron: expected"):
        check_cron(bad)
