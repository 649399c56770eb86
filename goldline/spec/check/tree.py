"""Compiled spec as a tree of dags, and functions that read its parts."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from goldline.spec.check.supported import refusals

type Json = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One problem of a spec, and the path at which it is."""

    where: str
    problem: str

    def __str__(self) -> str:
        """One line, for the console."""
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True)
class Dag:
    """One dag of the spec, and its path."""

    where: str
    component: Json
    in_loop: bool

    @property
    def tasks(self) -> Mapping[str, Json]:
        """The dag's tasks by name."""
        return tasks_of(self.component)

    def at(self, task: str) -> str:
        """Path of one of its tasks."""
        return f"{self.where}.dag.tasks.{task}"


@dataclass(frozen=True)
class Pipeline:
    """Parsed spec."""

    name: str
    root: Json
    components: Mapping[str, Json]
    executors: Mapping[str, Json]

    def component(self, task: Json) -> Json:
        """Component of a task; empty if there is none of that name."""
        return self.components.get(component_of(task), {})

    @cached_property
    def dags(self) -> list[Dag]:
        """Every dag that can be reached from the root, once."""
        dags, seen = [Dag("root", self.root, in_loop=False)], set()
        for dag in dags:
            for name, task in dag.tasks.items():
                reference, inner = component_of(task), self.component(task)
                if "dag" in inner and reference not in seen:
                    seen.add(reference)
                    loop = dag.in_loop or "parameterIterator" in task
                    dags.append(Dag(f"{dag.at(name)} / {reference}", inner, loop))
        return dags

    def tasks(self) -> Iterator[tuple[str, Json, Json]]:
        """Every task: its path, the task, its component."""
        for dag in self.dags:
            for name, task in dag.tasks.items():
                yield dag.at(name), task, self.component(task)

    def containers(self) -> Iterator[tuple[str, Json, Json]]:
        """Every task that is a container and not a dag, as in `tasks`."""
        return (found for found in self.tasks() if "executorLabel" in found[2])


def parse_spec(spec: Json) -> tuple[Pipeline, list[Finding]] | Finding:
    """Parse a spec into a tree and the findings of fields that are not allowed; or one finding if it cannot be read."""
    from kfp.pipeline_spec import pipeline_spec_pb2 as ir  # here, since it costs the import of kfp

    if "platforms" in spec:
        return Finding(
            "platforms", "platform-specific features are for Kubernetes: no page says that Vertex AI reads them"
        )
    try:
        message = json_format.ParseDict(dict(spec), ir.PipelineSpec())
        plain = _plain(message)
        deployment = json_format.ParseDict(plain.get("deploymentSpec", {}), ir.PipelineDeploymentConfig())
    except json_format.ParseError as error:
        return Finding("spec", f"is no PipelineSpec of KFP 2: {error}")
    refused = [*refusals(message, ""), *refusals(deployment, "deploymentSpec")]
    pipeline = Pipeline(
        name=plain.get("pipelineInfo", {}).get("name", ""),
        root=plain.get("root", {}),
        components=plain.get("components", {}),
        executors=_plain(deployment).get("executors", {}),
    )
    return pipeline, [Finding(*refusal) for refusal in refused]


def _plain(message: Message) -> dict[str, Any]:
    """Message as JSON with sorted keys, so that findings have an order: protobuf's maps have none."""
    plain: dict[str, Any] = json.loads(json_format.MessageToJson(message, sort_keys=True))
    return plain


def tasks_of(component: Json) -> Mapping[str, Json]:
    """The tasks of a dag component."""
    tasks: Mapping[str, Json] = component.get("dag", {}).get("tasks", {})
    return tasks


def component_of(task: Json) -> str:
    """Name of a task's component."""
    return str(task.get("componentRef", {}).get("name", ""))


def declarations(component: Json, way: str, kind: str) -> Mapping[str, Json]:
    """Declarations of a component by name; `way` is input or output, `kind` is parameters or artifacts."""
    declared: Mapping[str, Json] = component.get(f"{way}Definitions", {}).get(kind, {})
    return declared


def arguments_of(task: Json, kind: str) -> Mapping[str, Json]:
    """Arguments of a task by name; `kind` is parameters or artifacts."""
    given: Mapping[str, Json] = task.get("inputs", {}).get(kind, {})
    return given


def producer_of(source: Json) -> str | None:
    """Name of the task whose output a source is; None if it is no task's."""
    for key in ("taskOutputParameter", "taskOutputArtifact"):
        if key in source:
            return str(source[key].get("producerTask", ""))
    return None


def upstream_of(task: Json) -> set[str]:
    """Names of the tasks that a task waits for."""
    sources = [*arguments_of(task, "parameters").values(), *arguments_of(task, "artifacts").values()]
    return {*task.get("dependentTasks", ()), *(name for name in map(producer_of, sources) if name is not None)}


def is_exit_task(task: Json) -> bool:
    """Whether a task is an exit handler's: it gets the final status, unlike `.ignore_upstream_failure()` tasks."""
    ignores_failures = task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
    return ignores_failures and any("taskFinalStatus" in s for s in arguments_of(task, "parameters").values())


def predecessors(tasks: Mapping[str, Json]) -> dict[str, set[str]]:
    """Names of the tasks that each task waits for; an exit task waits for all others."""
    exits = {name for name, task in tasks.items() if is_exit_task(task)}
    return {name: tasks.keys() - exits if name in exits else upstream_of(task) for name, task in tasks.items()}


def condition_of(task: Json) -> str:
    """Condition of a task in CEL; empty without one."""
    return str(task.get("triggerPolicy", {}).get("condition", ""))


def constants_of(task: Json) -> dict[str, Any]:
    """Constants among a task's arguments, by name."""
    given = arguments_of(task, "parameters").items()
    return {name: source["runtimeValue"].get("constant") for name, source in given if "runtimeValue" in source}


def first_cycle(graph: Mapping[str, Iterable[str]]) -> str:
    """Path through tasks that wait for each other, such as `a > b > a`; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " > ".join(error.args[1])
    return ""
