"""Replay, on the local stack, of a task fetched from a run on Vertex AI (goldline.vertex.fetched_task).

Its tables go into datasets of their own, so that the laptop's tables stay as they are. Afterwards `goldline retry` runs
it again, like any task.
"""

import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldline.local import laptop_run as run_here
from goldline.local import stack
from goldline.local.servers import PROJECT

LOCATION = "US"
# Task parameters, and keys of the run context, that say where a task runs.
PLACE = {"project": PROJECT, "location": LOCATION, "bucket": stack.BUCKET}


class ReplayError(stack.StackError):
    """The tables of a replay could not be made."""


def replay(home: Path, folder: Path, task: str) -> int:
    """Run a fetched task, whose folder lies in `home`/runs; returns its exit code.

    Raises:
        ReplayError: its tables could not be made.
    """
    with stack.using(home) as use:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(folder)],
            env={**os.environ, **use.environment, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / "prepare.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-3:])
            raise ReplayError(f"the tables of {folder.name} could not be made ({folder / 'prepare.log'}):\n{last}")
        code = run_here.retry(home, task, folder.name)
    print(f"Run it again: goldline retry {task} --run {folder.name}")
    return code


def empty_folder(home: Path, job_id: str) -> Path:
    """Folder of a run's replay, after an earlier one is deleted; it does not exist yet."""
    folder = home / "runs" / f"replay-{job_id}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def prepare(folder: Path) -> None:
    """Make and fill the tables, and write the task's command.json; the environment must lead to the stack."""
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    prefix = f"replay_{folder.name.rsplit('-', 1)[-1].lower()}_"
    parameters = task["parameters"]
    if "run" in parameters:
        _make_tables(task["catalog"], json.loads(parameters["run"]), prefix)
        parameters["run"] = json.dumps({**json.loads(parameters["run"]), **PLACE, "dataset_prefix": prefix})
        _load_tables(folder / "tables", prefix)
    parameters |= {name: value for name, value in PLACE.items() if name in parameters}
    if "dataset_prefix" in parameters:
        parameters["dataset_prefix"] = prefix
    _upload(folder / "lake")
    inside = folder / "tasks" / f"01-{task['task']}"
    inside.mkdir(parents=True, exist_ok=True)
    words = json.dumps({"command": _command(task, parameters, inside), "environment": {}}, indent=1)
    (inside / "command.json").write_text(words, encoding="utf-8")


def _make_tables(catalog: str, context: Mapping[str, Any], prefix: str) -> None:
    from goldline.runs.settings import Settings
    from goldline.stages.prepare_run import prepare_run

    settings = Settings(context["run_date"], PROJECT, LOCATION, stack.BUCKET, dataset_prefix=prefix)
    created = datetime.datetime.now(datetime.UTC).isoformat()
    prepare_run(f"replay-{context['run_id']}", created, "", catalog, settings)


def _load_tables(folder: Path, prefix: str) -> None:
    from goldline.clients import bigquery_client

    client = bigquery_client(PROJECT, LOCATION)
    for path in sorted(folder.glob("*.parquet")):
        table = f"{PROJECT}.{prefix}{path.stem}"
        client.query(f"truncate table `{table}`").result()
        _load(client, path, table)


def _load(client: Any, path: Path, table: str) -> None:  # noqa: ANN401, imported late
    from google.cloud import bigquery

    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_APPEND")
    with path.open("rb") as file:
        client.load_table_from_file(file, table, job_config=config).result()


def _upload(folder: Path) -> None:
    from goldline.lake import Lake

    lake = Lake(PROJECT, stack.BUCKET)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            lake.write_bytes(str(path.relative_to(folder)), path.read_bytes())


def _command(task: Mapping[str, Any], parameters: Mapping[str, Any], folder: Path) -> list[str]:
    """Command of the task's container, as kfp.local's SubprocessRunner would run it."""
    executor_input = json.dumps(
        {
            "inputs": {
                "parameterValues": parameters,
                "artifacts": {n: {"artifacts": [_here(a) for a in each]} for n, each in task["artifacts"].items()},
            },
            "outputs": _outputs(task["component"].get("outputDefinitions", {}), folder),
        }
    )
    container = task["container"]
    words = [word.replace("python3", sys.executable) for word in container.get("command", [])]
    return words + [executor_input if word == "{{$}}" else word for word in container.get("args", [])]


def _here(artifact: Mapping[str, Any]) -> dict[str, Any]:
    uri, metadata = str(artifact.get("uri", "")), artifact.get("metadata", {})
    if uri.startswith("gs://"):
        uri = f"gs://{stack.BUCKET}/{uri.removeprefix('gs://').partition('/')[2]}"
    kind = {"schemaTitle": artifact.get("schemaTitle", "system.Artifact"), "schemaVersion": "0.0.1"}
    return {"name": artifact.get("name", "replayed"), "type": kind, "uri": uri, "metadata": metadata}


def _outputs(declared: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    root = folder / "outputs"
    return {
        "parameters": {name: {"outputFile": str(root / name)} for name in declared.get("parameters", {})},
        "artifacts": {
            name: {"artifacts": [{"name": name, "type": each["artifactType"], "uri": str(root / name), "metadata": {}}]}
            for name, each in declared.get("artifacts", {}).items()
        },
        "outputFile": str(root / "executor_output.json"),
    }


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
