"""Number of machines that a run starts, by scenario."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from goldline import project
from goldline.spec.check.conditions import Condition, ConditionError, Unknown
from goldline.spec.check.limits import PLACEHOLDERS
from goldline.spec.check.tree import (
    Finding,
    Json,
    Pipeline,
    arguments_of,
    component_of,
    condition_of,
    declarations,
    predecessors,
    tasks_of,
)
from goldline.spec.check.wiring import output_selectors


@dataclass(frozen=True)
class Scenario:
    """Kind of run, and the most container tasks that it may start: on Vertex AI each starts a machine."""

    name: str
    parameters: Mapping[str, Any]
    max_tasks: int
    max_in_a_row: int
    # Assumed values of outputs that conditions read, such as {"prepare-run.train": True}.
    assumptions: Mapping[str, Any] = field(default_factory=dict)
    nights_a_week: float = 0


def nights() -> list[Scenario]:
    """Kinds of nights in the project's goldline.yaml.

    Raises:
        ProjectError: goldline.yaml cannot be used.
    """
    return [_night(name, content) for name, content in project.settings("nights").items()]


def _night(name: str, content: Any) -> Scenario:  # noqa: ANN401, YAML holds anything
    try:
        return Scenario(
            name=name,
            parameters=content.get("parameters", {}),
            max_tasks=int(content["tasks"]),
            max_in_a_row=int(content["in_a_row"]),
            assumptions=content.get("outputs", {}),
            nights_a_week=float(content["nights_a_week"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise project.ProjectError(
            f"goldline.yaml: nights.{name}: expected tasks, in_a_row and nights_a_week as numbers ({error})"
        ) from None


class Budget:
    """Count of the container tasks that a scenario starts, from a walk through the pipeline."""

    def __init__(self, pipeline: Pipeline, scenario: Scenario) -> None:
        self.pipeline = pipeline
        self.scenario = scenario
        self.asked: set[str] = set()
        self.problems: dict[Finding, None] = {}  # in order, each once

    def findings(self) -> Iterator[Finding]:
        """Findings against the scenario: too many tasks, too many in a row, a condition with unknown inputs."""
        parameters = declarations(self.pipeline.root, "input", "parameters")
        total, chain = self._counted()
        where, scenario = f"scenario {self.scenario.name!r}", self.scenario
        yield from self.problems
        given, known = scenario.parameters.keys() | scenario.assumptions.keys(), parameters.keys() | self.asked
        for name in sorted(given - known):
            yield Finding(where, f"gives {name!r}, which the pipeline does not have")
        if total > scenario.max_tasks:
            yield Finding(where, f"starts {total} container tasks, and may start {scenario.max_tasks}")
        if len(chain) > scenario.max_in_a_row:
            row = " > ".join(chain)
            yield Finding(
                where, f"runs {len(chain)} container tasks in a row, and may run {scenario.max_in_a_row}: {row}"
            )

    def tasks(self) -> int:
        """Number of container tasks that a run starts."""
        return self._counted()[0]

    def _counted(self) -> tuple[int, tuple[str, ...]]:
        parameters = declarations(self.pipeline.root, "input", "parameters")
        values = {name: declared.get("defaultValue") for name, declared in parameters.items()}
        return self._dag("root", self.pipeline.root, values | dict(self.scenario.parameters))

    def _dag(self, where: str, component: Json, values: Json) -> tuple[int, tuple[str, ...]]:
        """Number of container tasks that run in a dag, and the names of the longest row of them."""
        tasks = tasks_of(component)
        before = predecessors(tasks)
        total, chains = 0, dict[str, tuple[str, ...]]()
        for name in TopologicalSorter(before).static_order():
            count, chain = self._task(f"{where}.dag.tasks.{name}", component, name, values)
            longest = max((chains[each] for each in sorted(before[name])), key=len, default=())
            total, chains[name] = total + count, longest + chain
        return total, max(chains.values(), key=len, default=())

    def _task(self, where: str, around: Json, name: str, values: Json) -> tuple[int, tuple[str, ...]]:
        task = tasks_of(around)[name]
        inner = self.pipeline.component(task)
        inputs = {key: each.get("defaultValue") for key, each in declarations(inner, "input", "parameters").items()}
        for key, source in arguments_of(task, "parameters").items():
            inputs[key] = self._value(source, around, values)
        if not self._runs(where, task, inputs):
            return 0, ()
        if "executorLabel" in inner:
            return 1, (name,)
        path = f"{where} / {component_of(task)}"
        if "parameterIterator" not in task:
            return self._dag(path, inner, inputs)
        loop = task["parameterIterator"]
        runs = [self._dag(path, inner, inputs | {loop["itemInput"]: each}) for each in self._items(where, loop, inputs)]
        rounds = math.ceil(len(runs) / task.get("iteratorPolicy", {}).get("parallelismLimit", max(len(runs), 1)))
        longest = max((chain for _, chain in runs), key=len, default=())
        return sum(count for count, _ in runs), longest * rounds

    def _items(self, where: str, loop: Json, inputs: Json) -> list[Any]:
        items = loop.get("items", {})
        found = json.loads(items["raw"]) if "raw" in items else inputs.get(items.get("inputParameter"))
        if isinstance(found, list):
            return found
        label = found.label if isinstance(found, Unknown) else "its items"
        self._problem(where, f"its number of rounds is not known: {label} is known in a run only; counted once")
        return [Unknown("the loop's item")]

    def _runs(self, where: str, task: Json, inputs: Json) -> bool:
        condition = condition_of(task)
        if not condition:
            return True
        try:
            return bool(Condition(condition).value(inputs))
        except ConditionError as error:
            self._problem(where, f"cannot tell whether it runs: {error}; counted as if it did")
            return True

    def _value(self, source: Json, around: Json, values: Json) -> object:
        match source:
            case {"componentInputParameter": name}:
                return values.get(name, Unknown(name))
            case {"runtimeValue": {"constant": str(text)}} if text in PLACEHOLDERS:
                return Unknown(text)
            case {"runtimeValue": {"constant": value}}:
                return value
            case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}:
                label = self._label(around, task, key)
                self.asked.add(label)
                return self.scenario.assumptions.get(label, Unknown(label))
        return Unknown("the final status")

    def _label(self, around: Json, task: str, key: str) -> str:
        """Container task and output, as `task.output`, behind an output of a sub-pipeline."""
        inner = self.pipeline.component(tasks_of(around)[task])
        selected = inner.get("dag", {}).get("outputs", {}).get("parameters", {}).get(key, {})
        for subtask, output in output_selectors(selected):
            return self._label(inner, subtask, output)
        return f"{task}.{key}"

    def _problem(self, where: str, problem: str) -> None:
        self.problems[Finding(f"scenario {self.scenario.name!r}, {where}", problem)] = None
