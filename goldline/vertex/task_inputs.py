"""Inputs of a task of a run on Vertex AI, read from the run itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from goldline.spec.check.tree import Json, arguments_of, component_of, declarations, tasks_of
from goldline.spec.check.wiring import output_selectors
from goldline.vertex.progress import container_tasks


class UnknownInputError(ValueError):
    """Neither the spec nor the run's details hold the value of an input."""


class Inputs:
    """Inputs of the container tasks of a run."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        """Take the run as Vertex AI returns it: a PipelineJob as JSON."""
        self.job = job
        self.spec: Json = job["pipelineSpec"]
        self.details = {task["taskName"]: task for task in container_tasks(job)}

    def component(self, task: str) -> Json:
        """Component of a container task."""
        return self._component(self._path(task)[-1])

    def container(self, task: str) -> Json:
        """Container of a task: image, command, arguments."""
        label = self.component(task)["executorLabel"]
        found: Json = self.spec["deploymentSpec"]["executors"][label]["container"]
        return found

    def artifacts(self, task: str) -> dict[str, list[Json]]:
        """Artifacts that a task was given, by input."""
        given = self.details.get(task, {}).get("inputs", {})
        return {name: list(content.get("artifacts", [])) for name, content in given.items()}

    def parameters(self, task: str) -> dict[str, Any]:
        """Parameter values that a task was given, by input.

        Constants are the spec's. Other values are those that Vertex AI recorded for the task or, if it recorded none,
        those that the spec resolves to.

        Raises:
            UnknownInputError: the value of an input is not known.
        """
        path = self._path(task)
        recorded = self.details.get(task, {}).get("execution", {}).get("metadata", {})
        sources = arguments_of(path[-1], "parameters")
        values: dict[str, Any] = {}
        for name, declared in declarations(self._component(path[-1]), "input", "parameters").items():
            constant = sources.get(name, {}).get("runtimeValue", {}).get("constant")
            if isinstance(constant, bool | int | float) or (isinstance(constant, str) and "{{$" not in constant):
                values[name] = constant
            elif f"input:{name}" in recorded:
                values[name] = recorded[f"input:{name}"]
            elif name in sources:
                values[name] = self._value(sources[name], path)
            elif "defaultValue" in declared:
                values[name] = declared["defaultValue"]
            if name in values:
                values[name] = typed(values[name], declared["parameterType"])
        return values

    def _path(self, task: str) -> list[Json]:
        """Tasks from the outermost pipeline down to a container task."""
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
        """Value of a source of the last task of a path."""
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
        """Value of an input of the pipeline whose task ends the path; an empty path is the outermost pipeline."""
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
        recorded = self.details.get(task, {}).get("execution", {}).get("metadata", {})
        if f"output:{key}" not in recorded:
            raise UnknownInputError(f"the run has no record of the output {key} of {task}")
        return recorded[f"output:{key}"]

    def _filled(self, constant: Any) -> Any:  # noqa: ANN401
        known = {
            "{{$.pipeline_job_name}}": str(self.job["name"]).rsplit("/", 1)[-1],
            "{{$.pipeline_job_resource_name}}": self.job["name"],
            "{{$.pipeline_job_create_time_utc}}": self.job.get("createTime", ""),
            "{{$.pipeline_job_schedule_time_utc}}": "",
        }
        return known.get(constant, constant) if isinstance(constant, str) else constant


def typed(value: Any, kind: str) -> Any:  # noqa: ANN401
    """Value converted to the parameter's type: metadata has texts, and doubles for whole numbers."""
    if kind == "NUMBER_INTEGER" and isinstance(value, str | float):
        return int(float(value))
    if kind == "NUMBER_DOUBLE" and isinstance(value, str):
        return float(value)
    if kind == "BOOLEAN" and isinstance(value, str):
        return value.lower() == "true"
    return value
