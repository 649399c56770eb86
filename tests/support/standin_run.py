"""Jobs of the stand-in that really run: by kfp.local, on the local stack, as a laptop runs them.

What they leave (inputs, outputs, artifacts) is told as Vertex AI tells it: artifacts in the job's folder below the
pipeline root, inputs and outputs in each task's detail and in its execution's metadata.
"""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client as StorageClient

from goldline.local.runner_process import runner_process
from tests.support.standin import Json
from tests.support.standin_vertex import Script, now

JOB_NAME = "{{$.pipeline_job_name}}"


def executing(environment: Mapping[str, str], folder: Path) -> Callable[[Json], Script]:
    """A script that runs the job on the stack whose environment is given."""

    def script(job: Json) -> Script:
        execution = Execution(job, environment, folder)
        while True:
            yield execution.tell

    return script


class Execution:
    """One job that runs."""

    def __init__(self, job: Json, environment: Mapping[str, str], folder: Path) -> None:
        self.job_id = job["name"].rsplit("/", 1)[-1]
        self.root = job["runtimeConfig"]["gcsOutputDirectory"]
        self.environment = environment
        self.folder = folder / self.job_id
        self.folder.mkdir(parents=True)
        # In JSON that came through a protobuf Struct, whole numbers may have become doubles; placeholders are Vertex's.
        spec = json.dumps(job["pipelineSpec"], indent=1).replace(JOB_NAME, self.job_id)
        (self.folder / "pipeline.json").write_text(spec)
        declared = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
        values = {
            name: int(value) if declared[name]["parameterType"] == "NUMBER_INTEGER" else value
            for name, value in job["runtimeConfig"]["parameterValues"].items()
        }
        (self.folder / "arguments.json").write_text(json.dumps(values))
        self.state = "PIPELINE_STATE_RUNNING"
        self.details: list[Json] = []
        self.lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def tell(self, job: Json) -> None:
        """What became of it so far."""
        with self.lock:
            job.update(state=self.state, jobDetail={"taskDetails": json.loads(json.dumps(self.details))})
            if self.state == "PIPELINE_STATE_FAILED":
                job["error"] = {"code": 9, "message": "The DAG failed because some tasks failed."}

    def _run(self) -> None:
        with runner_process(self.folder, self.folder) as process:
            process.order(begin=dict(self.environment))
            for event in process.events():
                with self.lock:
                    self._note(event)
                if event.get("status") == "failed":
                    process.order(go_on=True)
            code = process.wait()
        with self.lock:
            self.state = "PIPELINE_STATE_FAILED" if code else "PIPELINE_STATE_SUCCEEDED"

    def _note(self, event: Json) -> None:
        if event["event"] == "started":
            number = len(self.details) + 1
            detail: Json = {"taskId": str(number), "taskName": event["task"].replace("_", "-"), "state": "RUNNING"}
            job = f"projects/123/locations/europe-west1/customJobs/{4000 + number}"
            self.details.append(detail | {"startTime": now(), "executorDetail": {"containerDetail": {"mainJob": job}}})
        elif event["event"] == "ended":
            detail = self.details[-1]
            detail.update(state=event["status"].upper(), endTime=now(), **self._left(Path(event["folder"])))
            if event["status"] == "failed":
                detail["error"] = {
                    "code": 9,
                    "message": "The replica workerpool0-0 exited with a non-zero status of 1.",
                }

    def _left(self, folder: Path) -> Json:
        """What a task was given and what it gave."""
        words = json.loads((folder / "command.json").read_text())["command"]
        given = json.loads(words[words.index("--executor_input") + 1])
        written = Path(given["outputs"]["outputFile"])
        gave = json.loads(written.read_text()) if written.exists() else {}
        metadata = {f"input:{k}": v for k, v in given["inputs"].get("parameterValues", {}).items()}
        metadata |= {f"output:{k}": v for k, v in gave.get("parameterValues", {}).items()}
        return {
            "execution": {"metadata": metadata},
            "inputs": self._artifacts(given["inputs"].get("artifacts", {})),
            "outputs": self._artifacts(gave.get("artifacts", {})),
        }

    def _artifacts(self, artifacts: Mapping[str, Any]) -> Json:
        return {
            name: {"artifacts": [self._artifact(each) for each in content["artifacts"]]}
            for name, content in artifacts.items()
        }

    def _artifact(self, artifact: Json) -> Json:
        uri, local = artifact.get("uri", ""), str(self.folder / "artifacts")
        if uri.startswith(local):
            path = Path(uri)
            uri = f"{self.root}/{uri.removeprefix(local).lstrip('/')}"
            if path.is_file():
                bucket, name = uri.removeprefix("gs://").split("/", 1)
                self._storage().bucket(bucket).blob(name).upload_from_filename(str(path))
        title = artifact.get("type", {}).get("schemaTitle", "system.Artifact")
        return {"uri": uri, "schemaTitle": title, "metadata": artifact.get("metadata", {})}

    def _storage(self) -> StorageClient:
        options = {"api_endpoint": self.environment["STORAGE_EMULATOR_HOST"]}
        return StorageClient(project="any", credentials=AnonymousCredentials(), client_options=options)
