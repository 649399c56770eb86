"""What a task of a run on Vertex AI was given, read from the run itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from goldline.spec.check.tree import Json, arguments_of, component_of, declarations, tasks_of
from goldline.spec.check.wiring import output_selectors
from goldline.vertex.progress import container_tasks


class UnknownInputError(ValueError):
    """Neither the spec nor what the run tells of itself says what an input was."""


class Inputs:
    """The inputs of the container tasks of a run."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        """Take the run as Vertex AI tells of it: a PipelineJob."""
        self.job = job
        self.spec: Json = job["pipelineSpec"]
        self.details = {task["taskName"]: task for task in container_tasks(job)}

    def component(self, task: str) -> Json:
        """The component of a container task."""
        return self._component(self._path(task)[-1])

    def container(self, task: str) -> Json:
        """Its container: image, command, arguments."""
        label = self.component(task)["executorLabel"]
        found: Json = self.spec["deploymentSpec"]["executors"][label]["container"]
        return found

    def artifacts(self, task: str) -> dict[str, list[Json]]:
        """The artifacts that it was given, by input."""
        given = self.details.get(task, {}).get("inputs", {})
        return {name: list(content.get("artifacts", [])) for name, content in given.items()}

    def parameters(self, task: str) -> dict[str, Any]:
        """The values that it was given, by input.

        A constant is the spec's; anything else is what Vertex AI says that the task was given, or, where it says
        nothing, what the spec leads to.

        Raises:
            UnknownInputError: one of them is not known.
        """
        path = self._path(task)
        said = self.details.get(task, {}).get("execution", {}).get("metadata", {})
        sources = arguments_of(path[-1], "parameters")
        values: dict[str, Any] = {}
        for name, declared in declarations(self._component(path[-1]), "input", "parameters").items():
            constant = sources.get(name, {}).get("runtimeValue", {}).get("constant")
            if isinstance(constant, bool | int | float) or (isinstance(constant, str) and "{{$" not in constant):
                values[name] = constant
            elif f"input:{name}" in said:
                values[name] = said[f"input:{name}"]
            elif name in sources:
                values[name] = self._value(sources[name], path)
            elif "defaultValue" in declared:
                values[name] = declared["defaultValue"]
            if name in values:
                values[name] = typed(values[name], declared["parameterType"])
        return values

    def _path(self, task: str) -> list[Json]:
        """The tasks from the outermost pipeline down to a container task."""
        for path in self._paths(self.spec["root"], []):
            if path[-1][0] == task:
                return [content for _, content in path]
        raise UnknownInputError(f"the run's spec has no task {task}")

    def _paths(self, around: Json, above: list[tuple[str, Json]]) -> Iterator[list[tuple[str, Json]]]:
        for name, task in tasks_of(around).items():
            path = [*above, (name, task)]
            inner = self._component(task)
            if "executorLabel" in inner:
                yield path
            else:
                yield from self._paths(inner, path)

    def _component(self, task: Json) -> Json:
        found: Json = self.spec["components"][component_of(task)]
        return found

    def _value(self, source: Json, path: list[Json]) -> Any:  # noqa: ANN401, a parameter's
        """What a source of the last task of a path gave."""
        match source:
            case {"runtimeValue": {"constant": constant}}:
                return self._filled(constant)
            case {"componentInputParameter": name}:
                return self._input(str(name), path[:-1])
            case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}:
                around = self._component(path[-2]) if len(path) > 1 else self.spec["root"]
                return self._output(around, str(task), str(key))
            case {"taskFinalStatus": _}:
                state = str(self.job.get("state", "")).removeprefix("PIPELINE_STATE_")
                return {"state": state, "error": self.job.get("error", {}), "pipelineJobResourceName": self.job["name"]}
        raise UnknownInputError(f"where an input came from is not known: {source}")

    def _input(self, name: str, path: list[Json]) -> Any:  # noqa: ANN401
        """An input of the pipeline whose task ends a path; of the outermost for an empty one."""
        if not path:
            values = self.job.get("runtimeConfig", {}).get("parameterValues", {})
            return values.get(name, declarations(self.spec["root"], "input", "parameters")[name].get("defaultValue"))
        if name in (sources := arguments_of(path[-1], "parameters")):
            return self._value(sources[name], path)
        return declarations(self._component(path[-1]), "input", "parameters")[name].get("defaultValue")

    def _output(self, around: Json, task: str, key: str) -> Any:  # noqa: ANN401
        inner = self._component(tasks_of(around)[task])
        for subtask, output in output_selectors(
            inner.get("dag", {}).get("outputs", {}).get("parameters", {}).get(key, {})
        ):
            return self._output(inner, subtask, output)
        said = self.details.get(task, {}).get("execution", {}).get("metadata", {})
        if f"output:{key}" not in said:
            raise UnknownInputError(f"the run does not tell what {task} gave as {key}")
        return said[f"output:{key}"]

    def _filled(self, constant: Any) -> Any:  # noqa: ANN401
        known = {
            "{{$.pipeline_job_name}}": str(self.job["name"]).rsplit("/", 1)[-1],
            "{{$.pipeline_job_resource_name}}": self.job["name"],
            "{{$.pipeline_job_create_time_utc}}": self.job.get("createTime", ""),
            "{{$.pipeline_job_schedule_time_utc}}": "",
        }
        return known.get(constant, constant) if isinstance(constant, str) else constant


def typed(value: Any, kind: str) -> Any:  # noqa: ANN401
    """A parameter's value as its type has it: in metadata it may be a text, and whole numbers may be doubles."""
    if kind == "NUMBER_INTEGER" and isinstance(value, str | float):
        return int(float(value))
    if kind == "NUMBER_DOUBLE" and isinstance(value, str):
        return float(value)
    if kind == "BOOLEAN" and isinstance(value, str):
        return value.lower() == "true"
    return value
