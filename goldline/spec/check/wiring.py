"""Check that all names in a spec resolve, are used, and have the expected type."""

import json
from collections.abc import Iterator, Mapping

from goldline.spec.check.tree import (
    Dag,
    Finding,
    Json,
    Pipeline,
    arguments_of,
    component_of,
    declarations,
    first_cycle,
    predecessors,
    tasks_of,
    upstream_of,
)


def check_components(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that every component and executor that is named exists, and is used."""
    everything = {**pipeline.components, "root": pipeline.root}
    calls = {
        name: {component_of(task) for task in tasks_of(component).values()} for name, component in everything.items()
    }
    if cycle := first_cycle(calls):
        yield Finding("components", f"a component must not hold itself: {cycle}")
    for name in sorted(pipeline.components.keys() - set().union(*calls.values())):
        yield Finding(f"components.{name}", "no task uses this component")
    labels = {component.get("executorLabel") for component in pipeline.components.values()}
    for label in sorted(pipeline.executors.keys() - labels):
        yield Finding(f"deploymentSpec.executors.{label}", "no component uses this executor")
    for name, component in pipeline.components.items():
        if "dag" not in component and component.get("executorLabel") not in pipeline.executors:
            found = component.get("executorLabel", "none")
            yield Finding(f"components.{name}", f"expected a dag or the label of an executor, got {found}")


class _BrokenError(Exception):
    """A source does not resolve."""


def check_wiring(pipeline: Pipeline, dag: Dag) -> Iterator[Finding]:
    """Check that every input of a dag's tasks has a source of the expected type."""
    for name, task in dag.tasks.items():
        where = dag.at(name)
        if component_of(task) not in pipeline.components:
            yield Finding(where, f"there is no component {component_of(task)!r}")
            continue
        for missing in sorted(upstream_of(task) - dag.tasks.keys()):
            yield Finding(where, f"depends on {missing!r}, which is no task of the same dag")
        yield from _task_inputs(pipeline, dag, name)
    if cycle := first_cycle(predecessors(dag.tasks)):
        yield Finding(dag.where, f"tasks wait for each other: {cycle}")
    yield from _dag_outputs(pipeline, dag)


def _task_inputs(pipeline: Pipeline, dag: Dag, name: str) -> Iterator[Finding]:
    task, where = dag.tasks[name], dag.at(name)
    component = pipeline.component(task)
    item = task.get("parameterIterator", {}).get("itemInput")
    for kind in ("parameters", "artifacts"):
        declared, given = declarations(component, "input", kind), arguments_of(task, kind)
        for wanted in sorted(declared.keys() - given.keys() - {item}):
            if "defaultValue" not in declared[wanted] and not declared[wanted].get("isOptional"):
                yield Finding(where, f"the input {wanted!r} of {component_of(task)} is required, and not given")
        for unknown in sorted(given.keys() - declared.keys()):
            yield Finding(where, f"gives {unknown!r}, which {component_of(task)} does not declare")
        for shared in sorted(given.keys() & declared.keys()):
            try:
                problem = _mismatch(pipeline, dag, given[shared], declared[shared], kind)
            except _BrokenError as error:
                problem = str(error)
            if problem:
                yield Finding(f"{where}.inputs.{kind}.{shared}", problem)


def _mismatch(pipeline: Pipeline, dag: Dag, source: Json, wanted: Json, kind: str) -> str:
    """Problem of passing this source to an input of the declaration `wanted`; empty if there is none."""
    expected = type_name(wanted)
    if "runtimeValue" in source:
        value = source["runtimeValue"].get("constant")
        return "" if is_of_type(value, expected) else f"expected {expected}, got the constant {shortened(value)}"
    got = _source_type(pipeline, dag, source, kind)
    # KFP takes a plain artifact for any other, and any other for a plain one.
    if got == expected or (kind == "artifacts" and "system.Artifact" in {got, expected}):
        return ""
    return f"expected {expected}, got {got}"


def _source_type(pipeline: Pipeline, dag: Dag, source: Json, kind: str) -> str:
    match source:
        case {"componentInputParameter": name} | {"componentInputArtifact": name}:
            declared = declarations(dag.component, "input", kind)
            if name not in declared:
                raise _BrokenError(f"takes the input {name!r} of the dag around it, which has {listed(declared)}")
            return type_name(declared[name])
        case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}:
            return _output_type(pipeline, dag, task, key, kind)
        case {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": key}}:
            return _output_type(pipeline, dag, task, key, kind)
        case {"taskFinalStatus": {"producerTask": task}} if task in dag.tasks:
            return "TASK_FINAL_STATUS"
    raise _BrokenError(f"has no source that resolves: {shortened(source)}")


def _output_type(pipeline: Pipeline, dag: Dag, task: str, key: str, kind: str) -> str:
    if task not in dag.tasks:
        raise _BrokenError(f"takes {key!r} from {task!r}, which is no task of the same dag")
    outputs = declarations(pipeline.component(dag.tasks[task]), "output", kind)
    if key not in outputs:
        raise _BrokenError(f"takes {key!r} from {task!r}, which gives {listed(outputs)}")
    return type_name(outputs[key])


def _dag_outputs(pipeline: Pipeline, dag: Dag) -> Iterator[Finding]:
    for kind in ("parameters", "artifacts"):
        declared = declarations(dag.component, "output", kind)
        selected = dag.component.get("dag", {}).get("outputs", {}).get(kind, {})
        for name in sorted(declared.keys() ^ selected.keys()):
            yield Finding(
                f"{dag.where}.dag.outputs.{name}", "is declared and selected from no task, or the other way round"
            )
        for name in sorted(declared.keys() & selected.keys()):
            for task, key in output_selectors(selected[name]):
                try:
                    got = _output_type(pipeline, dag, task, key, kind)
                except _BrokenError as error:
                    yield Finding(f"{dag.where}.dag.outputs.{name}", str(error))
                    continue
                # The output of a loop is a list of its tasks' outputs.
                if type_name(declared[name]) not in {got, "LIST", "system.Artifact"}:
                    problem = f"expected {type_name(declared[name])}, got {got}"
                    yield Finding(f"{dag.where}.dag.outputs.{name}", problem)


def output_selectors(output: Json) -> list[tuple[str, str]]:
    """Tasks, and their outputs, that a dag's output comes from. More than one: OneOf."""
    parameter = output.get("valueFromParameter")
    if parameter is not None:
        return [(parameter.get("producerSubtask", ""), parameter.get("outputParameterKey", ""))]
    artifacts = output.get("artifactSelectors", ())
    return [(each.get("producerSubtask", ""), each.get("outputArtifactKey", "")) for each in artifacts]


def type_name(declared: Json) -> str:
    """Type of a parameter, or schema of an artifact."""
    return str(declared.get("parameterType") or declared.get("artifactType", {}).get("schemaTitle", "nothing"))


def is_of_type(value: object, expected: str) -> bool:
    """Whether a constant has a parameter's type."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "STRING": isinstance(value, str),
        "BOOLEAN": isinstance(value, bool),
        "NUMBER_DOUBLE": number,
        "NUMBER_INTEGER": number and float(value).is_integer(),  # type: ignore[arg-type]
        "LIST": isinstance(value, list),
        "STRUCT": isinstance(value, dict),
    }.get(expected, False)


def shortened(value: object) -> str:
    """Value as findings show it: JSON, 80 characters at most."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(declared: Mapping[str, Json]) -> str:
    """Names as findings show them: sorted, separated by commas."""
    return ", ".join(sorted(declared)) or "none"
