"""compile.py --env: the copy that names the image by digest, registered for the console."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from goldline import project
from tests.support.standin import StandIn
from tests.support.standin_google import DIGEST, Google

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def compile_py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """compile.py, writing into a folder of the test's own."""
    found = importlib.util.spec_from_file_location("compile_py", project.root() / "compile.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    copied = tmp_path / "pipeline.json"
    copied.write_text(project.pipeline_json().read_text())
    monkeypatch.setattr(project, "pipeline_json", lambda: copied)
    monkeypatch.setattr(module, "_readme", lambda _: {})
    return module


def test_the_template_is_written_and_registered(
    compile_py: ModuleType, google: Google, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compile_py.main(["--env", "dev", "--tag", "latest", "--tag", "v1"]) == 0
    written = yaml.safe_load((tmp_path / "pipeline.dev.yaml").read_text())
    images = {e["container"]["image"] for e in written["deploymentSpec"]["executors"].values()}
    assert images == {f"europe-west1-docker.pkg.dev/acme-data-dev/goldline/goldline@{DIGEST}"}
    assert written["root"]["inputDefinitions"]["parameters"]["project"]["defaultValue"] == "acme-data-dev"
    [(version, registered)] = google.templates.items()
    assert registered == written
    assert google.tags == {"latest": version, "v1": version}
    address = f"https://europe-west1-kfp.pkg.dev/acme-data-dev/goldline-pipelines/goldline/{version}"
    assert f"template {address}" in capsys.readouterr().out


def test_kfps_own_client_sends_the_same(
    compile_py: ModuleType, google: Google, standin: StandIn, tmp_path: Path
) -> None:
    from kfp.registry import ApiAuth, RegistryClient

    assert compile_py.main(["--env", "dev"]) == 0
    host = f"{standin.address}/europe-west1-kfp/acme-data-dev/goldline-pipelines"
    client = RegistryClient(host=host, auth=ApiAuth(next(iter(standin.tokens))))
    _, version = client.upload_pipeline(str(tmp_path / "pipeline.dev.yaml"), tags=["latest"])
    assert list(google.templates) == [version]
    ours, theirs = standin.sent("POST", "goldline-pipelines$")
    assert ours.path == theirs.path


def test_an_image_may_be_given_and_one_without_a_digest_is_refused(
    compile_py: ModuleType, google: Google, capsys: pytest.CaptureFixture[str]
) -> None:
    image = f"registry.acme.example/goldline@{DIGEST}"
    assert compile_py.main(["--env", "dev", "--image", image]) == 0
    [registered] = google.templates.values()
    assert {e["container"]["image"] for e in registered["deploymentSpec"]["executors"].values()} == {image}
    assert compile_py.main(["--env", "dev", "--image", "registry.acme.example/goldline:1"]) == 2
    assert "only Artifact Registry is asked for a tag's digest" in capsys.readouterr().err


def test_without_a_repository_the_copy_is_written_all_the_same(
    compile_py: ModuleType, google: Google, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.write_text(settings.read_text().replace("    templates: goldline-pipelines\n", ""))
    assert compile_py.main(["--env", "dev"]) == 0
    assert (tmp_path / "pipeline.dev.yaml").exists()
    assert not google.templates
    assert "no template: dev names no repository for them" in capsys.readouterr().out


def test_a_failed_upload_is_told(
    compile_py: ModuleType, google: Google, standin: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.fail("POST", "goldline-pipelines$", 403)
    assert compile_py.main(["--env", "dev"]) == 1
    assert "403: as the test asked" in capsys.readouterr().err
