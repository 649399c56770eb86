"""Vertex AI's part of the stand-in: pipelineJobs and schedules, with what its documentation says it refuses."""

import json
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, PipelineJob, PipelineTaskDetail, Schedule
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.support.standin import Json, Refused, Request, StandIn, invalid

REGION = r"[a-z]+-[a-z]+\d+-aiplatform"
PARENT = r"v1/(projects/[^/]+/locations/[^/]+)"
# The pages that say so: CreatePipelineJobRequest.pipeline_job_id, PipelineJob.display_name and .labels,
# PipelineJob.RuntimeConfig.gcs_output_directory, Schedule.cron, of the REST reference and of the types' docstrings.
JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,126}")
LABEL_KEY, LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
KINDS: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
}
type Script = Iterator[Callable[[Json], None]]


class Vertex:
    """The jobs and schedules that were sent."""

    def __init__(self, standin: StandIn) -> None:
        self.jobs: dict[str, Json] = {}
        self.schedules: dict[str, Json] = {}
        # What becomes of a new job: a script whose steps change it, one step each time that it is looked at.
        self.script: Callable[[Json], Script] = succeeding
        self._scripts: dict[str, Script] = {}
        self.refusal = ""  # of the next deletions, as their operations tell it
        self._deletions: dict[str, Iterator[Json]] = {}
        job, schedule = f"{PARENT}/pipelineJobs", f"{PARENT}/schedules"
        for method, path, handler in (
            ("POST", job, self._create_job),
            ("GET", job, self._list_jobs),
            ("GET", f"v1/({PARENT[3:]}/pipelineJobs/[^/:]+)", self._get_job),
            ("POST", f"v1/({PARENT[3:]}/pipelineJobs/[^/:]+):cancel", self._cancel_job),
            ("POST", schedule, self._create_schedule),
            ("GET", schedule, self._list_schedules),
            ("GET", f"v1/({PARENT[3:]}/schedules/[^/:]+)", self._get_schedule),
            ("DELETE", f"v1/({PARENT[3:]}/schedules/[^/:]+)", self._delete_schedule),
            ("GET", f"v1/({PARENT[3:]}/operations/delete-[^/:]+)", self._deletion),
            ("POST", f"v1/({PARENT[3:]}/schedules/[^/:]+):pause", self._pause),
            ("POST", f"v1/({PARENT[3:]}/schedules/[^/:]+):resume", self._resume),
        ):
            standin.route(method, REGION, path, handler)
        # The SDK's REST transport asks for operations below /ui/.
        standin.route("GET", "ui", f"({PARENT[3:]}/operations/delete-[^/:]+)", self._deletion)

    def _create_job(self, request: Request) -> Json:
        [parent] = request.parts
        job_id = request.one("pipelineJobId") or f"generated-{len(self.jobs)}"
        name = f"{parent}/pipelineJobs/{job_id}"
        if not JOB_ID.fullmatch(job_id):
            raise invalid(f"pipeline_job_id: {job_id!r}")
        job = parsed(request.json, PipelineJob)
        check_job(job)
        if name in self.jobs:
            raise Refused(409, "ALREADY_EXISTS", f"{name} already exists")
        self.jobs[name] = job | {"name": name, "state": "PIPELINE_STATE_PENDING", "createTime": now()}
        self._scripts[name] = self.script(self.jobs[name])
        return as_told(self.jobs[name], PipelineJob)

    def _get_job(self, request: Request) -> Json:
        job = self._job(request.parts[0])
        if step := next(self._scripts[job["name"]], None):
            step(job)
        return as_told(job, PipelineJob)

    def _list_jobs(self, request: Request) -> Json:
        found = [j for j in self.jobs.values() if j["name"].startswith(f"{request.parts[0]}/")]
        if text := request.one("filter"):
            condition = re.fullmatch(r'labels\.(\w+)="([^"]*)"', text)
            if not condition:
                raise invalid(f"filter: {text!r}")
            found = [j for j in found if j.get("labels", {}).get(condition[1]) == condition[2]]
        # One a page, so that whoever reads only the first page is found out.
        at = int(request.one("pageToken") or 0)
        mask = request.one("readMask").split(",") if request.one("readMask") else None
        page = [{k: v for k, v in j.items() if mask is None or k in mask} for j in found[at : at + 1]]
        return {"pipelineJobs": page, **({"nextPageToken": str(at + 1)} if at + 1 < len(found) else {})}

    def _cancel_job(self, request: Request) -> Json:
        job = self._job(request.parts[0])
        self._scripts[job["name"]] = cancelled(job)
        return {}

    def _job(self, name: str) -> Json:
        if name not in self.jobs:
            raise Refused(404, "NOT_FOUND", f"{name} was not found")
        return self.jobs[name]

    def _create_schedule(self, request: Request) -> Json:
        [parent] = request.parts
        schedule = parsed(request.json, Schedule)
        check_schedule(schedule, parent)
        name = f"{parent}/schedules/{len(self.schedules) + 1}"
        starting = schedule.get("startTime", now())
        self.schedules[name] = schedule | {
            "name": name,
            "state": "ACTIVE",
            "createTime": now(),
            "nextRunTime": max(starting, text_of(datetime.now(UTC) + timedelta(hours=5))),
        }
        return self.schedules[name]

    def _list_schedules(self, request: Request) -> Json:
        text = request.one("filter")
        condition = re.fullmatch(r'display_name="([^"]*)"', text)
        if text and not condition:
            raise invalid(f"filter: {text!r}")
        found = [s for s in self.schedules.values() if not condition or s["displayName"] == condition[1]]
        return {"schedules": sorted(found, key=lambda s: str(s["name"]), reverse=True)}

    def _get_schedule(self, request: Request) -> Json:
        name = request.parts[0]
        if name not in self.schedules:
            raise Refused(404, "NOT_FOUND", f"{name} was not found")
        return self.schedules[name]

    def _delete_schedule(self, request: Request) -> Json:
        if request.body:
            raise invalid("the request body must be empty")
        name = self._get_schedule(request)["name"]
        if self.refusal:
            outcome: Json = {"error": {"code": 9, "message": self.refusal}}
        else:
            del self.schedules[name]
            outcome = {"response": {"@type": "type.googleapis.com/google.protobuf.Empty"}}
        operation = f"{name.rsplit('/', 2)[0]}/operations/delete-{len(self._deletions) + 1}"
        # Not done yet at its first look.
        self._deletions[operation] = iter([{}, {"done": True, **outcome}])
        return {"name": operation}

    def _deletion(self, request: Request) -> Json:
        name = request.parts[0]
        if name not in self._deletions:
            raise Refused(404, "NOT_FOUND", f"{name} was not found")
        return {"name": name, **next(self._deletions[name])}

    def _pause(self, request: Request) -> Json:
        return self._turn(request, "ACTIVE", "PAUSED")

    def _resume(self, request: Request) -> Json:
        if request.json.keys() - {"catchUp"}:
            raise invalid(f"resume: {request.json}")
        return self._turn(request, "PAUSED", "ACTIVE")

    def _turn(self, request: Request, before: str, after: str) -> Json:
        schedule = self._get_schedule(request)
        if schedule["state"] != before:
            raise Refused(400, "FAILED_PRECONDITION", f"{schedule['name']} is {schedule['state']}")
        schedule["state"] = after
        return {}


def check_job(job: Json) -> None:
    """Refuse what Vertex AI refuses of a PipelineJob."""
    if not 0 < len(job.get("displayName", "x")) <= 128:
        raise invalid("display_name: at most 128 characters")
    for key, value in job.get("labels", {}).items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise invalid(f"labels: {key}={value}")
    config = job.get("runtimeConfig", {})
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", config.get("gcsOutputDirectory", "")):
        raise invalid(f"runtime_config.gcs_output_directory: {config.get('gcsOutputDirectory')!r}")
    if "serviceAccount" in job and not re.fullmatch(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com", job["serviceAccount"]):
        raise invalid(f"service_account: {job['serviceAccount']!r}")
    if not (spec := job.get("pipelineSpec")):
        raise invalid("pipeline_spec is required")
    check_spec(spec)
    check_values(config.get("parameterValues", {}), spec["root"].get("inputDefinitions", {}).get("parameters", {}))


def check_spec(spec: Json) -> None:
    """Refuse what is no PipelineSpec of KFP, or refers to what it does not have."""
    try:
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    except json_format.ParseError as error:
        raise invalid(f"pipeline_spec: {error}") from None
    if not (spec.get("schemaVersion") and spec.get("pipelineInfo", {}).get("name")):
        raise invalid("pipeline_spec: schema_version and pipeline_info.name are required")
    components = spec.get("components", {})
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    for component in [spec["root"], *components.values()]:
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            if task["componentRef"]["name"] not in components:
                raise invalid(f"pipeline_spec: task {name} refers to {task['componentRef']['name']!r}")
        if "executorLabel" in component and component["executorLabel"] not in executors:
            raise invalid(f"pipeline_spec: no executor {component['executorLabel']!r}")
    for label, executor in executors.items():
        # A bare name would be looked for in Docker Hub's library.
        if "/" not in executor.get("container", {}).get("image", ""):
            raise invalid(f"pipeline_spec: executor {label} has no pullable image")


def check_values(values: Json, declared: Json) -> None:
    """Refuse parameters that the spec does not declare, of the wrong type, or missing."""
    for name, value in values.items():
        if name not in declared:
            raise invalid(f"runtime_config.parameter_values: no parameter {name!r}")
        kind: str = declared[name]["parameterType"]
        if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
            raise invalid(f"runtime_config.parameter_values: {name} is not a {kind}: {value!r}")
        if kind == "NUMBER_INTEGER" and not float(str(value)).is_integer():
            raise invalid(f"runtime_config.parameter_values: {name} is not a {kind}: {value!r}")
    for name, each in declared.items():
        if "defaultValue" not in each and not each.get("isOptional") and name not in values:
            raise invalid(f"runtime_config.parameter_values: {name} is required")


def check_schedule(schedule: Json, parent: str) -> None:
    """Refuse what Vertex AI refuses of a Schedule."""
    if not 0 < len(schedule.get("displayName", "")) <= 128:
        raise invalid("display_name is required, at most 128 characters")
    if int(schedule.get("maxConcurrentRunCount", 0)) < 1:
        raise invalid("max_concurrent_run_count is required")
    check_cron(schedule.get("cron", ""))
    request = schedule.get("createPipelineJobRequest", {})
    if request.get("parent") != parent:
        raise invalid(f"create_pipeline_job_request.parent: {request.get('parent')!r}, expected {parent}")
    parsed(request, CreatePipelineJobRequest)
    check_job(request.get("pipelineJob", {}))


def check_cron(text: str) -> None:
    """Refuse what is no cron expression of five fields, with a zone before it or not."""
    *zone, expression = text.split(" ", 1) if "TZ=" in text else (text,)
    if zone:
        name = zone[0].removeprefix("CRON_").removeprefix("TZ=")
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise invalid(f"cron: no zone {name!r}") from None
    fields = expression.split()
    if len(fields) != 5 or not all(re.fullmatch(r"[\d*,/A-Za-z-]+", field) for field in fields):
        raise invalid(f"cron: {text!r}")
    for field, most in zip(fields, (59, 23, 31, 12, 7), strict=True):
        if any(int(number) > most for number in re.findall(r"\d+", field.split("/")[0])):
            raise invalid(f"cron: {text!r}")


def succeeding(job: Json) -> Script:
    """It runs and succeeds."""
    yield running
    yield lambda job: ended(job, "SUCCEEDED")


def failing(task: str, message: str) -> Callable[[Json], Script]:
    """It runs, and fails at a task; what comes after it is not run."""

    def script(job: Json) -> Script:
        yield running
        yield lambda job: ended(job, "FAILED", task, message)

    return script


def cancelled(job: Json) -> Script:
    """Somebody cancels it while it runs."""
    yield running
    yield lambda job: job.update(state="PIPELINE_STATE_CANCELLING")
    names = container_names(job["pipelineSpec"])
    yield lambda job: ended(job, "CANCELLED", names[len(names) // 2], "The job was cancelled.")


def running(job: Json) -> None:
    job.update(state="PIPELINE_STATE_RUNNING", startTime=now())


def ended(job: Json, state: str, at: str = "", message: str = "") -> None:
    """The job's end, with details for sub-pipelines and for every task up to the one where it ended."""
    details, inner = [], sub_pipelines(job["pipelineSpec"])
    for number, name in enumerate([*inner, *container_names(job["pipelineSpec"])]):
        good = state == "SUCCEEDED" or name not in {at, *inner}
        details.append(task_detail(number, name, "SUCCEEDED" if good else state, "" if good else message))
        if name == at:
            break
    job.update(state=f"PIPELINE_STATE_{state}", endTime=now(), jobDetail={"taskDetails": details})
    if message:
        job["error"] = {"code": 9, "message": f"The DAG failed because some tasks failed: {at}"}


def container_names(spec: Json) -> list[str]:
    """The tasks that are containers."""
    return sorted(name for name, component in called(spec) if "executorLabel" in component)


def sub_pipelines(spec: Json) -> list[str]:
    return sorted({name for name, component in called(spec) if "dag" in component})


def called(spec: Json) -> Iterator[tuple[str, Json]]:
    """All tasks, with the components that they call."""
    for part in [spec["root"], *spec["components"].values()]:
        for name, task in part.get("dag", {}).get("tasks", {}).items():
            yield name, spec["components"][task["componentRef"]["name"]]


def task_detail(number: int, name: str, state: str, message: str = "") -> Json:
    """A PipelineTaskDetail of a container task."""
    began = datetime.now(UTC) - timedelta(seconds=61.5)
    detail: Json = {
        "taskId": str(number + 1),
        "taskName": name,
        "state": state,
        "startTime": text_of(began),
        "endTime": text_of(began + timedelta(seconds=61.5)),
        "executorDetail": {
            "containerDetail": {"mainJob": f"projects/123/locations/europe-west1/customJobs/{4000 + number}"}
        },
    }
    if message:
        detail["error"] = {"code": 9, "message": message}
    return parsed(detail, PipelineTaskDetail)


def now() -> str:
    return text_of(datetime.now(UTC))


def text_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parsed(body: Json, kind: Any) -> Json:
    """A body, read into the real type and back: a field that the type lacks is refused, as the API does."""
    try:
        message = json_format.ParseDict(body, kind()._pb)
    except json_format.ParseError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None
    found: Json = json.loads(json_format.MessageToJson(message))
    return found


def as_told(resource: Json, kind: Any) -> Json:
    return parsed(resource, kind)
