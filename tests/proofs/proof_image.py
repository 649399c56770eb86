"""The image of the tasks, built and run: what is in it, how large it is, how soon a task starts, and a whole run in it.

`make image-test` runs it. It needs docker, or a Debian machine and root, where it installs and starts its own; it takes
some minutes at first, less when the layers are there. What it starts ends with it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from goldline.local import servers, stack
from goldline.local.servers import PROJECT
from goldline.project import pipeline_json, root
from goldline.runs.records import Record
from goldline.vertex import image_content as made_from
from tests.support import docker_here
from tests.support.docker_here import docker

pytestmark = pytest.mark.timeout(1800)
MOST_BYTES = 900 * 1000**2
MOST_SECONDS = 3.0
TIMES = 5
# A task of each kind, and the module of its work.
STARTS = {
    "stg_sales": "goldline.stages.build_table",
    "export_firestore": "goldline.stages.export_firestore.export",
    "train_churn": "components.sales.train_churn.churn_model",
}
PROCESSOR = (
    "import kfp.dsl.executor_main, {work}, resource; "
    "used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)"
)
USER = 10001  # of the Dockerfile
PARAMETERS = {
    "project": PROJECT,
    "bucket": stack.BUCKET,
    "run_date": "2026-11-20",
    "simulated_size": "small",
    "train": "yes",
}


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    with docker_here.daemon():
        environment = {**os.environ, "BASE_IMAGE": docker_here.base_image(), "BUILD_NETWORK": "host"}
        built = subprocess.run(
            [root() / "scripts" / "image.sh"], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        yield built.stdout.strip()


def inside(image: str, *command: str) -> str:
    """What a command prints in a container of the image."""
    return docker("run", "--rm", "--network", "host", image, *command)


@dataclass
class Run:
    """A run of the compiled spec whose tasks ran in containers."""

    folder: Path
    addresses: stack.Addresses
    code: int
    events: list[dict[str, Any]]

    @property
    def job(self) -> str:
        [job] = [path.name for path in (self.folder / "artifacts").iterdir()]
        return job

    def read(self, path: str) -> str:
        text = servers.read_object(self.addresses.storage, stack.BUCKET, f"ops/runs/{self.job}/{path}")
        assert text
        return text

    def task(self, name: str) -> Path:
        [folder] = self.folder.glob(f"tasks/*-{name}")
        return folder


@pytest.fixture(scope="session")
def run(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The committed spec, unchanged, on a local stack."""
    home = tmp_path_factory.mktemp("home")
    for folder in (home, *home.parents[:2]):  # pytest's own are closed to others, the image's user among them
        folder.chmod(0o755)
    folder = home / "run"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts").chmod(0o777)
    (folder / "pipeline.json").write_text(pipeline_json().read_text())
    (folder / "arguments.json").write_text(json.dumps(PARAMETERS))
    addresses = stack.up(home)
    try:
        if os.getuid() == 0:
            os.chown(home / "pii.key", USER, USER)  # the key is its owner's alone
        runner = [sys.executable, Path(docker_here.__file__).with_name("in_containers.py"), folder, image]
        environment = {**os.environ, **addresses.environment, "PYTHONWARNINGS": "ignore"}
        with subprocess.Popen(
            list(map(str, runner)),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdin
            assert process.stdout
            events = []
            for line in process.stdout:
                events.append(json.loads(line))
                if events[-1].get("status") == "failed":
                    process.stdin.write("go\n")
                    process.stdin.flush()
            code = process.wait()
        yield Run(folder, addresses, code, events)
    finally:
        stack.down(home)


def test_it_is_small(image: str) -> None:
    size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    print(f"\nimage {image}: {size / 1000**2:.0f} MB unpacked")
    assert size <= MOST_BYTES


def test_it_says_what_it_is(image: str) -> None:
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    assert config["User"] == f"{USER}:{USER}"
    assert config["Labels"]["org.opencontainers.image.version"] == made_from.version()
    assert config["Labels"]["goldline.content"] == made_from.content_tag() == image.split(":")[1]


def test_it_holds_what_the_tag_is_made_of_and_no_server_of_the_laptop(image: str) -> None:
    there = inside(image, "find", "/app", "-type", "f", "-not", "-name", "*.pyc", "-printf", "%P\n")
    assert sorted(there.splitlines()) == [path for path in made_from.content() if path not in made_from.RECIPE]


def test_its_user_is_not_root_and_can_change_nothing_in_it(image: str) -> None:
    assert inside(image, "id", "-u") == str(USER)
    assert inside(image, "sh", "-c", "find /app /opt /usr -xdev -writable -not -type l") == ""


@pytest.mark.parametrize("tool", ["gcc", "cc", "c++", "clang", "make", "ld", "java", "git", "curl"])
def test_it_holds_no_tool_that_no_task_needs(image: str, tool: str) -> None:
    assert inside(image, "sh", "-c", f"command -v {tool} || true") == ""


@pytest.mark.parametrize(
    "package",
    ["pytest", "hypothesis", "mypy", "duckdb", "local_bigquery", "zetasql", "setuptools", "pip", "goldline.local"],
)
def test_it_holds_no_package_of_tests_or_of_the_laptop(image: str, package: str) -> None:
    found = f"import importlib.util; print(importlib.util.find_spec('{package}'))"
    assert inside(image, "python3", "-c", found) == "None"


def test_its_packages_are_those_of_the_lock_file(image: str) -> None:
    listed = (
        "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}'.lower() for d in m.distributions()))"
    )
    there = {name.replace("_", "-") for name in inside(image, "python3", "-c", listed).split()}
    lock = (root() / "requirements.lock").read_text().splitlines()
    assert there <= {line.split(" ")[0] for line in lock if "==" in line}


def test_a_whole_run_succeeds_in_it(run: Run) -> None:
    failed = [event["task"] for event in run.events if event.get("status") == "failed"]
    assert not failed, (run.task(failed[0]) / "log.txt").read_text()[-3000:]
    assert run.code == 0
    summary = json.loads(run.read("summary.json"))
    print()
    for task in summary["tasks"]:
        print(f"  {task['name']:<28}{task['status']:<12}{task['seconds']:6.1f} s of its own work")
    assert summary["status"] == "succeeded"
    ran = {task["name"] for task in summary["tasks"]}
    assert {"prepare_run", "generate_sales", "export_firestore", "stg_sales", "train_churn"} <= ran
    assert all(t["selected"] == t["published"] + t["rejected"] + t["superseded"] for t in summary["tables"])


def seconds_of(command: Sequence[str | Path], environment: Mapping[str, str], end: Callable[[], float]) -> list[float]:
    """How long a command takes to a moment of its own, some times over: the machine may be busy with something else."""
    found = []
    for _ in range(TIMES):
        begun = time.time()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(end() - begun)
    return sorted(found)


def shown(seconds: Sequence[float]) -> str:
    return f"{seconds[0]:.2f} s at best, {seconds[len(seconds) // 2]:.2f} in the middle of {len(seconds)}"


def test_a_task_starts_its_own_work_soon(image: str, run: Run) -> None:
    """From `docker run` to the moment at which the task's record begins: Python and the executor up, imports done.

    Where others keep the machine busy, the clock tells of them: then a container's start and the processor's time for
    what is imported must fit together.
    """
    environment = {**os.environ, **run.addresses.environment, "GOLDLINE_RETRY": "timing"}
    alone = seconds_of(["docker", "run", "--rm", "--network", "host", image, "true"], environment, time.time)
    print(f"\na container alone: {shown(alone)}")
    for task, work in STARTS.items():
        command = json.loads((run.task(task) / "command.json").read_text())["command"]

        def begins(task: str = task) -> float:
            return Record.model_validate_json(run.read(f"tasks/{task}.json")).started_at.timestamp()

        seconds = seconds_of(command, environment, begins)
        busy = float(inside(image, "env", "_KFP_RUNTIME=true", "python3", "-c", PROCESSOR.format(work=work)))
        print(f"{task} begins its own work after {shown(seconds)}; {busy:.2f} s of the processor for its imports")
        assert min(seconds[0], alone[0] + busy) <= MOST_SECONDS


def test_a_task_that_fails_is_seen_to_fail(run: Run) -> None:
    command = json.loads((run.task("stg_sales") / "command.json").read_text())["command"]
    environment = {**os.environ, **run.addresses.environment}
    place = command.index("--executor_input") + 1
    given = json.loads(command[place])
    given["inputs"]["parameterValues"]["contract"] = "{}"
    command[place] = json.dumps(given)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ContractError" in done.stderr
