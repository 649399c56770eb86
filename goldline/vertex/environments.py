"""Environments of goldline.yaml, which runs are sent to; none of them is the default."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from goldline.project import SETTINGS, ProjectError, settings
from goldline.runs.parameters import ParameterError
from goldline.spec.check.given import checked

type Scalar = bool | int | float | str

# https://cloud.google.com/resource-manager/docs/creating-managing-projects; old ids begin with a domain
Project = Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+\d+$")]
# https://cloud.google.com/storage/docs/buckets#naming
Bucket = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+(:\d+)?/[a-z0-9._/-]+(:[\w.-]+|@sha256:[0-9a-f]{64})$")]
Account = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[a-z0-9.-]+\.gserviceaccount\.com$")]
Repository = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]

FORMS = {
    "project": "a project's id, such as acme-data-prod",
    "location": "a region of Vertex AI, such as europe-west1",
    "bucket": "a bucket's name without gs://",
    "image": "an image with its tag or digest, such as europe-west1-docker.pkg.dev/acme-data-prod/goldline/goldline:1",
    "service_account": "the address of a service account, ...@...gserviceaccount.com",
    "templates": "a repository's name: lower-case letters, digits and dashes",
}
# minute, hour, day of month, month, day of week
_CRON = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class EnvironmentsError(ProjectError):
    """goldline.yaml cannot be used: the message names the file, the place in it, and what was expected there."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(_Strict):
    """Schedule of runs.

    Attributes:
        cron: minute, hour, day of month, month, day of week, in UTC: local time has nights without a 02:30.
        parameters: pipeline parameters on top of the environment's.
    """

    cron: str
    parameters: Mapping[str, Scalar] = {}

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        check_cron(value)
        return value


class Environment(_Strict):
    """Place on Google Cloud that runs are sent to.

    Attributes:
        name: name in goldline.yaml.
        project: id of the project of Vertex AI, the lake, the warehouse, Firestore.
        location: region of Vertex AI, and of BigQuery's datasets unless the parameter `location` is given.
        bucket: bucket of the lake, without gs://.
        image: image of the tasks, with tag or digest; a tag is resolved to its digest when a spec is sent.
        service_account: account that the tasks run as.
        templates: Artifact Registry repository of the format KFP for the console's templates, in `location`.
        parameters: pipeline parameters that differ from the pipeline's defaults.
        schedules: schedules by name.
    """

    name: Name
    project: Project
    location: Location
    bucket: Bucket
    image: Image
    service_account: Account
    templates: Repository | None = None
    parameters: Mapping[str, Scalar] = {}
    schedules: Mapping[Name, Schedule] = Field(default_factory=dict)

    @property
    def parent(self) -> str:
        """Resource name of the location, the parent of Vertex AI's resources."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def pipeline_root(self) -> str:
        """gs:// address under which Vertex AI keeps artifacts and outputs of tasks."""
        return f"gs://{self.bucket}/pipelines"

    def values(self, *given: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Parameters of a run: the environment's place, its `parameters`, those of `given`; later ones win."""
        found: dict[str, Scalar] = {"project": self.project, "location": self.location, "bucket": self.bucket}
        for more in (self.parameters, *given):
            found |= more
        return found

    @model_validator(mode="after")
    def _has_known_digest(self) -> "Environment":
        if "@" not in self.image and ".pkg.dev/" not in self.image:
            raise ValueError("image: only Artifact Registry is asked for a tag's digest; give ...@sha256:... here")
        return self


def load(name: str, declared: Mapping[str, Any], file: Path | None = None) -> Environment:
    """Load one environment, its parameters checked against the pipeline's.

    Args:
        name: name of the environment.
        declared: parameters of the compiled spec, as in `root.inputDefinitions.parameters`.
        file: another goldline.yaml than the project's.

    Raises:
        EnvironmentsError: the file is wrong, or has no such environment.
    """
    environments = settings("environments", file)
    if name not in environments:
        raise EnvironmentsError(
            f"{SETTINGS} has no environment {name!r}, expected one of {', '.join(sorted(environments))}"
        )
    where = f"{SETTINGS}: environments.{name}"
    content = environments[name]
    if not isinstance(content, dict):
        raise EnvironmentsError(f"{where}: expected project, location, bucket and so on, got {content!r}")
    try:
        environment = Environment.model_validate({**content, "name": name})
    except ValidationError as error:
        raise EnvironmentsError("\n".join(_message(where, problem) for problem in error.errors())) from None
    _check_parameters(f"{where}.parameters", environment.parameters, declared)
    for schedule, plan in environment.schedules.items():
        _check_parameters(f"{where}.schedules.{schedule}.parameters", plan.parameters, declared)
        if plan.parameters.get("run_date"):
            raise EnvironmentsError(f"{where}.schedules.{schedule}: expected no run_date: every run would take it")
    return environment


def check_cron(text: str) -> None:
    """Refuse a text that is no cron expression of five fields; the SDK posts anything.

    Raises:
        ValueError: the text is none; the message names the field.
    """
    fields = text.split()
    if len(fields) != len(_CRON):
        raise ValueError(
            f"cron: expected five fields in UTC (minute, hour, day of month, month, day of week), got {text!r}"
        )
    for field, (low, high) in zip(fields, _CRON, strict=True):
        for part in field.split(","):
            found = re.fullmatch(r"(\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
            numbers = [int(n) for n in found.group(2, 3) if n] if found else []
            is_good = found and all(low <= n <= high for n in numbers) and numbers == sorted(numbers)
            if not is_good or (found and found[4] == "0"):
                raise ValueError(f"cron: expected numbers from {low} to {high} in {field!r} of {text!r}")


def _check_parameters(where: str, parameters: Mapping[str, Scalar], declared: Mapping[str, Any]) -> None:
    try:
        checked(parameters, declared)
    except ParameterError as error:
        raise EnvironmentsError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from None


def _message(where: str, problem: Any) -> str:  # noqa: ANN401, pydantic's ErrorDetails
    place = [str(part) for part in problem["loc"] if part not in {"bool", "int", "float", "str"}]
    path = ".".join([where, *place])
    match problem["type"]:
        case "extra_forbidden":
            return f"{path}: no such key, expected some of {', '.join(_keys(place))}"
        case "missing":
            return f"{path}: is missing, expected {FORMS.get(place[-1], 'a value')}"
        case "string_pattern_mismatch":
            return (
                f"{path}: expected {FORMS.get(place[-1], 'lower-case letters, digits, _, -')}, got {problem['input']!r}"
            )
        case "value_error":
            return f"{path}: {problem['ctx']['error']}"
    return f"{path}: {problem['msg']}, got {problem['input']!r}"


def _keys(place: list[str]) -> list[str]:
    model = Schedule if place[0] == "schedules" else Environment
    return [name for name in model.model_fields if name != "name"]
