"""Progress of a run on Vertex AI as text: tasks as they end, and for failed ones errors, logs and next commands."""

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TextIO
from urllib.parse import quote

from goldline.vertex.environments import Environment

_MARKS = {"SUCCEEDED": "✓", "FAILED": "✗", "CANCELLED": "✗", "SKIPPED": "-"}


class Progress:
    """Printer of a run's progress: each task is shown once, when it has ended."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown: set[str] = set()
        self._state = ""

    def show(self, job: Mapping[str, Any]) -> None:
        """Show what is new in the PipelineJob since the last call."""
        state = str(job.get("state", "")).removeprefix("PIPELINE_STATE_").lower()
        if state != self._state and state in {"queued", "pending", "running", "cancelling"}:
            self._out.write(f"  {state}\n")
        self._state = state
        for task in container_tasks(job):
            ended = task.get("state", "")
            if ended in _MARKS and task["taskId"] not in self._shown:
                self._shown.add(task["taskId"])
                self._out.write(f"  {_MARKS[ended]} {shown_name(task):<28}{_seconds(task):7.1f} s{_how(ended)}\n")
        self._out.flush()


def container_tasks(job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Task details of container tasks; those of sub-pipelines, loops and conditions only repeat them."""
    names = set(_containers(job.get("pipelineSpec", {})))
    details = job.get("jobDetail", {}).get("taskDetails", [])
    return (task for task in details if task.get("taskName") in names)


def shown_name(task: Mapping[str, Any]) -> str:
    """Name of a task as in pipeline.py."""
    return str(task["taskName"]).replace("-", "_")


def failures(job: Mapping[str, Any], environment: Environment) -> str:
    """Errors of tasks, URLs of their logs, next commands, as lines; empty unless the run failed or was cancelled."""
    run = str(job.get("name", "")).rsplit("/", 1)[-1]
    failed = [task for task in container_tasks(job) if task.get("state") == "FAILED"]
    lines = []
    for task in failed:
        lines += ["", f"{shown_name(task)} failed: {task.get('error', {}).get('message', 'no reason was given')}"]
        if address := log_address(task, environment):
            lines.append(f"  Its log: {address}")
        lines.append(f"  Run it here: goldline replay {run} {shown_name(task)} --env {environment.name}")
    ended = job.get("state") in {"PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED"}
    if ended and not failed and (message := job.get("error", {}).get("message")):
        lines += ["", message]
    if ended:
        lines += ["", f"To go on, once it is mended: {again(job, environment)}"]
    return "".join(f"{line}\n" for line in lines)


def log_address(task: Mapping[str, Any], environment: Environment) -> str:
    """URL of a task's log in the console; empty if the task never had a machine."""
    job = task.get("executorDetail", {}).get("containerDetail", {}).get("mainJob", "")
    if not job:
        return ""
    query = quote(f'resource.type="ml_job" resource.labels.job_id="{job.rsplit("/", 1)[-1]}"', safe="")
    return f"https://console.cloud.google.com/logs/query;query={query}?project={environment.project}"


def again(job: Mapping[str, Any], environment: Environment) -> str:
    """Command that runs the same date with the same parameters again."""
    values = dict(job.get("runtimeConfig", {}).get("parameterValues", {}))
    if not values.get("run_date") and (created := job.get("createTime")):
        values["run_date"] = (datetime.fromisoformat(created) - timedelta(days=1)).date().isoformat()
    usual = environment.values()
    words = ["goldline", "submit", "--env", environment.name]
    declared = job.get("pipelineSpec", {}).get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    flows = sorted(name for name in values if name.startswith("run_") and isinstance(values[name], bool))
    on = [name.removeprefix("run_") for name in flows if values[name]]
    if 0 < len(on) < len(flows):
        words += ["--flows", ",".join(on)]
    for name, value in sorted(values.items()):
        default = usual.get(name, declared.get(name, {}).get("defaultValue"))
        if name not in flows and value != default:
            option = f"--{name.replace('_', '-')}"
            words += (
                [option if value else f"--no-{option[2:]}"] if isinstance(value, bool) else [option, str(_plain(value))]
            )
    return shlex.join(words)


def _plain(value: object) -> object:
    # In JSON that came from a protobuf Struct every number is a double.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _containers(spec: Mapping[str, Any]) -> Iterator[str]:
    for part in [spec.get("root", {}), *spec.get("components", {}).values()]:
        for name, task in part.get("dag", {}).get("tasks", {}).items():
            if "executorLabel" in spec["components"].get(task["componentRef"]["name"], {}):
                yield name


def _seconds(task: Mapping[str, Any]) -> float:
    if not {"startTime", "endTime"} <= task.keys():
        return 0.0
    return (datetime.fromisoformat(task["endTime"]) - datetime.fromisoformat(task["startTime"])).total_seconds()


def _how(state: str) -> str:
    return {"CANCELLED": ", cancelled", "SKIPPED": ", from the cache"}.get(state, "")
