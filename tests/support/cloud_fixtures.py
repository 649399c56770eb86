"""A Google Cloud for tests: the stand-in, credentials that it gave, and an environment of goldline.yaml for it.

Loaded for all tests (tests/conftest.py), so what costs time is imported by the fixtures that need it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.standin import StandIn
    from tests.support.standin_google import Google
    from tests.support.standin_vertex import Vertex

CLOUD_PROJECT = "acme-data-dev"
GOLDLINE_YAML = f"""
environments:
  dev:
    project: {CLOUD_PROJECT}
    location: europe-west1
    bucket: {CLOUD_PROJECT}-goldline
    image: europe-west1-docker.pkg.dev/{CLOUD_PROJECT}/goldline/goldline:1.0
    service_account: goldline-pipeline@{CLOUD_PROJECT}.iam.gserviceaccount.com
    templates: goldline-pipelines
    parameters: {{simulated_size: small, train: "no"}}
    schedules:
      nightly: {{cron: "0 2 * * *"}}
      training: {{cron: "0 3 * * 1", parameters: {{train: "yes"}}}}
"""


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[StandIn]":
    """A server of the test's own, which Google's libraries find as they find the real one."""
    from goldline.vertex import api, backfill, schedules
    from goldline.vertex import cloud_run as runs
    from tests.support.standin import StandIn

    with StandIn().running() as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.credentials(tmp_path)))
        monkeypatch.setenv(api.ENDPOINT, f"{server.address}/{{service}}")
        monkeypatch.setattr(api, "FIRST_PAUSE", 0.001)
        monkeypatch.setattr(runs, "POLL_SECONDS", 0)
        monkeypatch.setattr(backfill, "POLL_SECONDS", 0)
        monkeypatch.setattr(schedules, "POLL_SECONDS", 0)
        yield server


@pytest.fixture
def vertex(standin: "StandIn") -> "Vertex":
    from tests.support.standin_vertex import Vertex

    return Vertex(standin)


@pytest.fixture
def google(standin: "StandIn") -> "Google":
    from tests.support.standin_google import Google

    return Google(standin, CLOUD_PROJECT)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """goldline.yaml, with the environment dev."""
    from goldline import project

    file = tmp_path / "goldline.yaml"
    file.write_text(GOLDLINE_YAML)
    monkeypatch.setattr(project, "settings_file", lambda: file)
    return file
