"""Drawing of the compiled pipeline as a Mermaid flowchart, which GitHub, GitLab and editors show.

A sub-pipeline is a box. Exit handlers, loops and conditions that hold by default are not drawn, only their tasks are. A
condition that may not hold is written into its only task, or on the box around its tasks. An edge into a box or out of
it ends at its border, since Mermaid lays out a box well only if nothing in it is linked with anything outside.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Any

BEGIN, END = "<!-- pipeline -->", "<!-- /pipeline -->"

type Json = Mapping[str, Any]

# The page may be light or dark: a class sets both fill and text, or leaves both to the theme.
_HEAD = """\
%%{init:{"flowchart":{"nodeSpacing":20,"rankSpacing":30,"padding":8,"subGraphTitleMargin":{"top":3,"bottom":3}}}}%%
flowchart TB
classDef bronze fill:#f5ddc8,stroke:#a8652d,color:#1f2328
classDef silver fill:#dfe5ec,stroke:#7d8894,color:#1f2328
classDef gold fill:#fbe9a8,stroke:#b58a00,color:#1f2328
classDef model fill:#d8c8f5,stroke:#6a4bb0,color:#1f2328
classDef box fill:none,stroke:#818b98
classDef maybe stroke-dasharray:4 3"""
_LAYER = re.compile(r'"(?:table|source)":"(bronze|silver|gold)\.')
# Dags that kfp's compiler makes; all others are sub-pipelines of the project.
_UNNAMED = re.compile(r"comp-(exit-handler|condition|condition-branches|for-loop)-\d+(-\d+)?")
_COMPARISON = re.compile(r"inputs\.parameter_values\['([^']+)'\] == (true|false)")


def picture(spec: Json) -> str:
    """Mermaid text of the pipeline; the same for the same spec."""
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    drawing = _Drawing(spec["components"])
    drawing.dag(spec["root"], _Place("t", {name: each.get("defaultValue") for name, each in parameters.items()}))
    order = (edge for edge in drawing.order if not drawing.is_implied(*edge))
    arrows = [f"{a} --> {b}" for a, b in sorted(drawing.data)] + [f"{a} -.-> {b}" for a, b in sorted(order)]
    return "\n".join([_HEAD, *drawing.nodes, *arrows, *drawing.looks, ""])


def with_picture(markdown: str, spec: Json) -> str:
    """Text with a new flowchart between the lines BEGIN and END.

    Raises:
        ValueError: The lines are not there once each, in this order.
    """
    lines = markdown.split("\n")
    if [line for line in lines if line in (BEGIN, END)] != [BEGIN, END]:
        raise ValueError(f"expected the lines {BEGIN} and {END}, once each and in this order")
    before, after = lines[: lines.index(BEGIN) + 1], lines[lines.index(END) :]
    return "\n".join([*before, f"```mermaid\n{picture(spec)}```", *after])


@dataclass(frozen=True)
class _Place:
    """Place of a task in the spec, and the values known there."""

    id: str  # of its box, or its own; it begins with "t", so that it is no word of Mermaid's, such as `end`
    inputs: Mapping[str, Any]  # makers of artifacts, defaults of parameters
    names: tuple[str, ...] = ()  # its own, and those of boxes around it that hold nothing else
    conditions: tuple[str, ...] = ()  # likewise


@dataclass(frozen=True)
class _Drawn:
    """Drawn task, or drawn tasks of a dag."""

    nodes: set[str]
    made: Mapping[str, set[str]]  # makers of each output artifact


class _Drawing:
    def __init__(self, components: Json) -> None:
        self.components = components
        self.nodes: list[str] = []
        self.looks: list[str] = []
        self.data: set[tuple[str, str]] = set()  # from the maker of an artifact to its reader
        self.order: set[tuple[str, str]] = set()  # from a task to one that waits for it

    def dag(self, component: Json, place: _Place) -> _Drawn:
        """Draw the tasks of a dag, in the order in which they run; return their nodes and artifacts."""
        tasks, drawn = component["dag"]["tasks"], dict[str, _Drawn]()
        waits = {name: sorted(tasks[name].get("dependentTasks", ())) for name in sorted(tasks)}
        for name in TopologicalSorter(waits).static_order():
            drawn[name] = self._task(name, tasks[name], place, drawn)
            earlier = _union(drawn[each].nodes for each in waits[name])
            self.order |= {_edge(a, b) for a in earlier for b in drawn[name].nodes}
        made = {
            key: _union(
                drawn[of["producerSubtask"]].made[of["outputArtifactKey"]] for of in output["artifactSelectors"]
            )
            for key, output in component["dag"].get("outputs", {}).get("artifacts", {}).items()
        }
        return _Drawn(_union(each.nodes for each in drawn.values()), made)

    def _task(self, name: str, task: Json, place: _Place, before: Mapping[str, _Drawn]) -> _Drawn:
        component, given = self.components[task["componentRef"]["name"]], task.get("inputs", {})
        artifacts = {key: _known(each, place, before) or set() for key, each in given.get("artifacts", {}).items()}
        parameters = {key: _known(each, place, before) for key, each in given.get("parameters", {}).items()}
        label = name.replace("-", "_")
        own = f"{place.id}__{label}"
        inner = replace(place, inputs=artifacts | parameters)
        if "dag" not in component:
            self.data |= {_edge(maker, own) for maker in _union(artifacts.values())}
            return self._node(own, component, replace(inner, names=(label,)))
        if self._count(component) == 1:
            return self.dag(component, replace(inner, conditions=place.conditions + _condition(task, inner)))
        if _is_named(task):
            return self._box(own, component, replace(inner, id=own, names=(label,)))
        return self._box(own, component, replace(inner, conditions=place.conditions + _condition(task, inner)))

    def _node(self, own: str, component: Json, place: _Place) -> _Drawn:
        """Draw a cylinder for a table, a hexagon for a model, a round box outside of all boxes, else a square one."""
        outputs = component.get("outputDefinitions", {}).get("artifacts", {})
        kinds = {each["artifactType"]["schemaTitle"] for each in outputs.values()}
        layer = _LAYER.search(str(place.inputs.get("contract") or place.inputs.get("contracts")))
        shape, look = "([{}])" if place.id == "t" else "[{}]", f":::{layer[1]}" if layer else ""
        if "google.BQTable" in kinds:
            shape = "[({})]"
        elif kinds & {"system.Model", "google.VertexModel"}:
            shape, look = "{{{{{}}}}}", ":::model"
        self.nodes.append(own + shape.format(_text("<br/>", place)) + look)
        self.looks += [f"class {own} maybe"] * bool(place.conditions)
        return _Drawn({own}, {key: {own} for key in outputs})

    def _box(self, own: str, component: Json, place: _Place) -> _Drawn:
        """Draw a dag and, if it has a name or a condition to show, a box around it."""
        only, *others = component["dag"]["tasks"].values()
        if not place.names + place.conditions or not (others or (place.names and _is_named(only))):
            return self.dag(component, place)  # its only task shows names and conditions
        box = place.id if place.names else own
        self.nodes += [f"subgraph {box}[{_text(', ', place)}]", "direction TB"]
        drawn = self.dag(component, replace(place, id=box, names=(), conditions=()))
        self.nodes.append("end")
        self.looks += [f"class {box} box"] + [f"class {box} maybe"] * bool(place.conditions)
        return drawn

    def _count(self, component: Json) -> int:
        """Number of container tasks in a component; a sub-pipeline of a single one is drawn as that task."""
        inner = [
            self.components[task["componentRef"]["name"]] for task in component.get("dag", {}).get("tasks", {}).values()
        ]
        return sum(map(self._count, inner)) if "dag" in component else 1

    def is_implied(self, a: str, b: str) -> bool:
        """Whether an artifact or a longer path implies that `a` comes before `b`."""
        after = {y for x, y in self.data | self.order if x == a} - {b}
        while more := {y for x, y in self.data | self.order if x in after} - after:
            after |= more
        return (a, b) in self.data or b in after


def _known(given: Json, place: _Place, before: Mapping[str, _Drawn]) -> Any:  # noqa: ANN401, makers or JSON
    """Tasks that make an input, or its default value."""
    if made := given.get("taskOutputArtifact"):
        return before[made["producerTask"]].made[made["outputArtifactKey"]]
    passed = given.get("componentInputArtifact") or given.get("componentInputParameter")
    return place.inputs.get(passed) if passed else given.get("runtimeValue", {}).get("constant")


def _is_named(task: Json) -> bool:
    return not _UNNAMED.fullmatch(task["componentRef"]["name"])


def _condition(task: Json, place: _Place) -> tuple[str, ...]:
    """Name of a task's condition; empty if it holds by default."""
    condition = task.get("triggerPolicy", {}).get("condition", "")
    compared = _COMPARISON.fullmatch(condition)
    holds = compared and place.inputs[compared[1]] is (compared[2] == "true")
    return () if holds or not condition else (f"if {task['taskInfo']['name']}",)


def _edge(a: str, b: str) -> tuple[str, str]:
    """Edge between two tasks; its ends are the tasks, or the outermost boxes around one without the other."""
    source, target = a.split("__"), b.split("__")
    depth = next(i for i, (x, y) in enumerate(zip(source, target, strict=False), 1) if x != y)
    return "__".join(source[:depth]), "__".join(target[:depth])


def _text(between: str, place: _Place) -> str:
    shown = place.names + place.conditions
    return f'"{between.join(re.sub(r"[^\w .,:=()-]", lambda found: f"#{ord(found[0])};", each) for each in shown)}"'


def _union(sets: Iterable[set[str]]) -> set[str]:
    return {each for one in sets for each in one}
