"""From `goldline submit` to tables in the warehouse: the request that goes to Vertex AI runs, as it was sent."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from goldline.local.servers import PROJECT as PROJECT_HERE
from goldline.local.servers import post
from goldline.local.stack import Addresses
from goldline.spec.tables import flows
from goldline.vertex import api
from tests.support.cloud_fixtures import CLOUD_PROJECT as PROJECT
from tests.support.cloud_fixtures import GOLDLINE_YAML
from tests.support.some_flow import FLOW, NAME, TABLE
from tests.support.standin import StandIn, forward
from tests.support.standin_google import Google
from tests.support.standin_run import executing
from tests.support.standin_vertex import Vertex

SECONDS = 500
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]  # a whole run, also on a machine that does other things


@dataclass
class Cloud:
    """A Google Cloud whose lake, warehouse and Firestore are a local stack's."""

    standin: StandIn
    vertex: Vertex
    folder: Path
    stack: Addresses

    def goldline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line as on somebody's machine: it knows of no emulator, only where the APIs answer."""
        environment = {name: value for name, value in os.environ.items() if "EMULATOR" not in name}
        code = "import sys; from pathlib import Path; from goldline import project; "
        code += "from goldline.vertex import backfill, cloud_run; file = Path(sys.argv.pop(1)); "
        code += "project.settings_file = lambda: file; cloud_run.POLL_SECONDS = backfill.POLL_SECONDS = 2.0; "
        code += "from goldline.cli import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, str(self.folder / "goldline.yaml"), *arguments],
            env={
                **environment,
                "GOOGLE_APPLICATION_CREDENTIALS": str(self.folder / "credentials.json"),
                api.ENDPOINT: f"{self.standin.address}/{{service}}",
                "GOLDLINE_HOME": self.stack.home,
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def cloud(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    post(stack.storage, f"/storage/v1/b?project={PROJECT}", {"name": f"{PROJECT}-goldline"})
    (folder / "goldline.yaml").write_text(GOLDLINE_YAML)
    with StandIn().running() as standin:
        standin.credentials(folder)
        vertex = Vertex(standin)
        forward(standin, "storage", stack.environment["STORAGE_EMULATOR_HOST"])
        forward(standin, "bigquery", stack.environment["BIGQUERY_EMULATOR_HOST"])
        Google(standin, PROJECT)
        vertex.script = executing(stack.environment, folder / "runs")
        yield Cloud(standin, vertex, folder, stack)


@pytest.fixture(scope="module")
def submitted(cloud: Cloud) -> subprocess.CompletedProcess[str]:
    return cloud.goldline("submit", "--env", "dev", "--run-date", "2026-11-20", "--flows", FLOW, "--wait")


def test_from_submit_to_tables(cloud: Cloud, submitted: subprocess.CompletedProcess[str]) -> None:
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    [job] = cloud.vertex.jobs.values()
    job_id = job["name"].rsplit("/", 1)[-1]
    for task in ("prepare_run", *flows()[FLOW], "finish_run"):
        assert re.search(rf"✓ {task} ", submitted.stdout), submitted.stdout
    recorded = recorded_rows(cloud)
    assert sorted(name.split(".")[1] for name in recorded) == sorted(flows()[FLOW])
    for name, rows in recorded.items():
        assert query(cloud, PROJECT, f"select count(*) as n from {name}") == [{"n": rows}]
    assert recorded[TABLE] > 50
    assert query(cloud, PROJECT, "select run_id, flow, status from ops.runs order by flow") == [
        {"run_id": job_id, "flow": flow, "status": "succeeded"} for flow in (None, FLOW)
    ]


def test_a_task_of_the_run_is_replayed_here(cloud: Cloud, submitted: subprocess.CompletedProcess[str]) -> None:
    """With the inputs that it had: its table, in datasets of the replay's own, comes out as it was."""
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    [job] = cloud.vertex.jobs.values()
    job_id = job["name"].rsplit("/", 1)[-1]
    unknown = cloud.goldline("replay", job_id, "stg_sails", "--env", "dev")
    assert (unknown.returncode, "the run has no task stg_sails, expected one of" in unknown.stderr) == (2, True)
    replayed = cloud.goldline("replay", job_id, NAME, "--env", "dev")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert f"{NAME} succeeded" in replayed.stdout
    assert re.search(r"(ops\.commits|bronze\.\w+): [1-9]\d* rows", replayed.stdout)  # files came, or loaded tables
    here = query(cloud, PROJECT_HERE, f"select * from replay_{job_id.rsplit('-', 1)[-1]}_{TABLE}")
    there = query(cloud, PROJECT, f"select * from {TABLE}")
    assert content(here) == content(there)
    assert len(here) > 50


def test_every_job_in_bigquery_bears_the_runs_label(cloud: Cloud, submitted: subprocess.CompletedProcess[str]) -> None:
    """So the bill can be split by run, table and step."""
    [job] = cloud.vertex.jobs.values()
    job_id = job["name"].rsplit("/", 1)[-1]
    jobs = [j for j in warehouse(cloud, PROJECT).list_jobs() if j.job_id.startswith(f"goldline-{job_id}-")]
    assert len(jobs) > 10
    assert {j.labels.get("goldline_run") for j in jobs} == {job_id}
    subjects = {name.replace(".", "_") for name in recorded_rows(cloud)}
    assert subjects
    assert subjects <= {j.labels.get("goldline_subject") for j in jobs}


def content(rows: list[dict[str, Any]]) -> list[str]:
    """The rows without load metadata, which names the bucket."""
    return sorted(str({name: value for name, value in row.items() if not name.startswith("_")}) for row in rows)


def recorded_rows(cloud: Cloud) -> dict[str, int]:
    """The tables that the run built and how many rows each has, as ops.tables has it."""
    return {row["table_name"]: row["rows"] for row in query(cloud, PROJECT, "select table_name, rows from ops.tables")}


def warehouse(cloud: Cloud, project: str) -> bigquery.Client:
    options = {"api_endpoint": cloud.stack.environment["BIGQUERY_EMULATOR_HOST"]}
    return bigquery.Client(project=project, credentials=AnonymousCredentials(), client_options=options)


def query(cloud: Cloud, project: str, sql: str) -> list[dict[str, Any]]:
    """What a statement gives in the warehouse."""
    return [dict(row) for row in warehouse(cloud, project).query(sql).result()]
