"""Checks a compiled pipeline before it is sent, since neither KFP's compiler nor Vertex AI's SDK does.

The SDK posts a spec with a dangling reference as gladly as a good one; what is wrong shows minutes later, on a machine
that has to be paid. `check` reads the spec alone, takes milliseconds, and returns all that it finds.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from goldline.vertex.features import refusals

type Json = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    where: str
    problem: str

    def __str__(self) -> str:
        """One line, for the console."""
        return f"{self.where}: {self.problem}"


@dataclass(frozen=True)
class Scenario:
    """A kind of run, and the container tasks that it may cost: on Vertex AI each is a machine that starts."""

    name: str
    parameters: Mapping[str, Any]
    max_tasks: int
    max_in_a_row: int
    # What tasks will have decided: values of outputs that conditions ask for, as {"prepare-run.train": True}.
    assumptions: Mapping[str, Any] = field(default_factory=dict)
    # Parameters and outputs named above that a pipeline need not have.
    optional: frozenset[str] = frozenset()


_NIGHT = {"run_sales": True, "run_clickstream": True, "run_startups": False, "run_transit": True, "simulated": False}
_OPTIONAL = frozenset({"run_clickstream", "run_startups", "run_transit", "simulated", "prepare-run.train"})

# The budgets are the design's. Startups come weekly: they do not count on other nights, and with them a night may cost
# what one with training does.
SCENARIOS = (
    Scenario("plain night", _NIGHT, 18, 8, {"prepare-run.train": False}, _OPTIONAL),
    Scenario("training night", _NIGHT, 26, 11, {"prepare-run.train": True}, _OPTIONAL),
    Scenario("Friday", _NIGHT | {"run_startups": True}, 26, 11, {"prepare-run.train": False}, _OPTIONAL),
)


def check(spec: Json, scenarios: Sequence[Scenario] = SCENARIOS) -> list[Finding]:
    """All that speaks against sending this spec to Vertex AI; nothing, if it may go."""
    parsed = _parse(spec)
    if isinstance(parsed, Finding):
        return [parsed]
    pipeline, findings = parsed
    broken = list(_components(pipeline))
    for dag in pipeline.dags:
        broken += _wiring(pipeline, dag)
    findings += broken
    for rule in (_topology, _machines, _names, _arguments, _defaults, _sources, _root_parameters):
        findings += rule(pipeline)
    if not broken:  # or the tasks cannot be counted
        for scenario in scenarios:
            findings += _Budget(pipeline, scenario).findings()
    return findings


# The spec


@dataclass(frozen=True)
class _Dag:
    where: str
    component: Json
    in_loop: bool

    @property
    def tasks(self) -> Mapping[str, Json]:
        return _tasks(self.component)

    def at(self, task: str) -> str:
        return f"{self.where}.dag.tasks.{task}"


@dataclass(frozen=True)
class _Pipeline:
    name: str
    root: Json
    components: Mapping[str, Json]
    executors: Mapping[str, Json]

    def component(self, task: Json) -> Json:
        return self.components.get(_reference(task), {})

    @cached_property
    def dags(self) -> list[_Dag]:
        """Every dag that is reached from the root, once."""
        dags, seen = [_Dag("root", self.root, in_loop=False)], set()
        for dag in dags:
            for name, task in dag.tasks.items():
                reference, inner = _reference(task), self.component(task)
                if "dag" in inner and reference not in seen:
                    seen.add(reference)
                    loop = dag.in_loop or "parameterIterator" in task
                    dags.append(_Dag(f"{dag.at(name)} / {reference}", inner, loop))
        return dags

    def tasks(self) -> Iterator[tuple[str, Json, Json]]:
        """Every task: where it is, the task, its component."""
        for dag in self.dags:
            for name, task in dag.tasks.items():
                yield dag.at(name), task, self.component(task)

    def containers(self) -> Iterator[tuple[str, Json, Json]]:
        """Every task that is a container, and not a dag."""
        return (found for found in self.tasks() if "executorLabel" in found[2])


def _parse(spec: Json) -> tuple[_Pipeline, list[Finding]] | Finding:
    from kfp.pipeline_spec import pipeline_spec_pb2 as ir  # here, since it costs the import of kfp

    if "platforms" in spec:
        return Finding(
            "platforms", "platform-specific features are for Kubernetes: nothing says that Vertex AI reads them"
        )
    try:
        message = json_format.ParseDict(dict(spec), ir.PipelineSpec())
        plain = _plain(message)
        deployment = json_format.ParseDict(plain.get("deploymentSpec", {}), ir.PipelineDeploymentConfig())
    except json_format.ParseError as error:
        return Finding("spec", f"is no PipelineSpec of KFP 2: {error}")
    refused = [*refusals(message, ""), *refusals(deployment, "deploymentSpec")]
    pipeline = _Pipeline(
        name=plain.get("pipelineInfo", {}).get("name", ""),
        root=plain.get("root", {}),
        components=plain.get("components", {}),
        executors=_plain(deployment).get("executors", {}),
    )
    return pipeline, [Finding(*refusal) for refusal in refused]


def _plain(message: Message) -> dict[str, Any]:
    """With its keys sorted: protobuf's maps have no order, and findings should."""
    plain: dict[str, Any] = json.loads(json_format.MessageToJson(message, sort_keys=True))
    return plain


def _tasks(component: Json) -> Mapping[str, Json]:
    tasks: Mapping[str, Json] = component.get("dag", {}).get("tasks", {})
    return tasks


def _reference(task: Json) -> str:
    return str(task.get("componentRef", {}).get("name", ""))


def _declared(component: Json, way: str, kind: str) -> Mapping[str, Json]:
    """What a component declares: way is input or output, kind is parameters or artifacts."""
    declared: Mapping[str, Json] = component.get(f"{way}Definitions", {}).get(kind, {})
    return declared


def _given(task: Json, kind: str) -> Mapping[str, Json]:
    given: Mapping[str, Json] = task.get("inputs", {}).get(kind, {})
    return given


def _producer(source: Json) -> str | None:
    """The task whose output a source is, if it is one's."""
    for key in ("taskOutputParameter", "taskOutputArtifact"):
        if key in source:
            return str(source[key].get("producerTask", ""))
    return None


def _upstream(task: Json) -> set[str]:
    sources = [*_given(task, "parameters").values(), *_given(task, "artifacts").values()]
    return {*task.get("dependentTasks", ()), *(name for name in map(_producer, sources) if name is not None)}


def _is_exit(task: Json) -> bool:
    return bool(task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED")


def _before(tasks: Mapping[str, Json]) -> dict[str, set[str]]:
    """What each task waits for; an exit task for all the others."""
    exits = {name for name, task in tasks.items() if _is_exit(task)}
    return {name: tasks.keys() - exits if name in exits else _upstream(task) for name, task in tasks.items()}


def _condition(task: Json) -> str:
    return str(task.get("triggerPolicy", {}).get("condition", ""))


def _constants(task: Json) -> dict[str, Any]:
    given = _given(task, "parameters").items()
    return {name: source["runtimeValue"].get("constant") for name, source in given if "runtimeValue" in source}


def _cycle(graph: Mapping[str, Iterable[str]]) -> str:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " > ".join(error.args[1])
    return ""


# Everything that is named is there, used, and of the type that is asked for


def _components(pipeline: _Pipeline) -> Iterator[Finding]:
    everything = {**pipeline.components, "root": pipeline.root}
    calls = {name: {_reference(task) for task in _tasks(component).values()} for name, component in everything.items()}
    if cycle := _cycle(calls):
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


def _wiring(pipeline: _Pipeline, dag: _Dag) -> Iterator[Finding]:
    for name, task in dag.tasks.items():
        where = dag.at(name)
        if _reference(task) not in pipeline.components:
            yield Finding(where, f"there is no component {_reference(task)!r}")
            continue
        for missing in sorted(_upstream(task) - dag.tasks.keys()):
            yield Finding(where, f"depends on {missing!r}, which is no task of the same dag")
        yield from _task_inputs(pipeline, dag, name)
    if cycle := _cycle(_before(dag.tasks)):
        yield Finding(dag.where, f"tasks wait for each other: {cycle}")
    yield from _dag_outputs(pipeline, dag)


def _task_inputs(pipeline: _Pipeline, dag: _Dag, name: str) -> Iterator[Finding]:
    task, where = dag.tasks[name], dag.at(name)
    component = pipeline.component(task)
    item = task.get("parameterIterator", {}).get("itemInput")
    for kind in ("parameters", "artifacts"):
        declared, given = _declared(component, "input", kind), _given(task, kind)
        for wanted in sorted(declared.keys() - given.keys() - {item}):
            if "defaultValue" not in declared[wanted] and not declared[wanted].get("isOptional"):
                yield Finding(where, f"the input {wanted!r} of {_reference(task)} is required, and not given")
        for unknown in sorted(given.keys() - declared.keys()):
            yield Finding(where, f"gives {unknown!r}, which {_reference(task)} does not declare")
        for shared in sorted(given.keys() & declared.keys()):
            try:
                problem = _mismatch(pipeline, dag, given[shared], declared[shared], kind)
            except _BrokenError as error:
                problem = str(error)
            if problem:
                yield Finding(f"{where}.inputs.{kind}.{shared}", problem)


def _mismatch(pipeline: _Pipeline, dag: _Dag, source: Json, wanted: Json, kind: str) -> str:
    """What is wrong with handing this source to an input, if anything is."""
    expected = _type(wanted)
    if "runtimeValue" in source:
        value = source["runtimeValue"].get("constant")
        return "" if _fits(value, expected) else f"expected {expected}, got the constant {_short(value)}"
    got = _source_type(pipeline, dag, source, kind)
    # KFP takes a plain artifact for any other, and any other for a plain one.
    if got == expected or (kind == "artifacts" and "system.Artifact" in {got, expected}):
        return ""
    return f"expected {expected}, got {got}"


def _source_type(pipeline: _Pipeline, dag: _Dag, source: Json, kind: str) -> str:
    match source:
        case {"componentInputParameter": name} | {"componentInputArtifact": name}:
            declared = _declared(dag.component, "input", kind)
            if name not in declared:
                raise _BrokenError(f"takes the input {name!r} of the dag around it, which has {_names_of(declared)}")
            return _type(declared[name])
        case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}:
            return _output_type(pipeline, dag, task, key, kind)
        case {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": key}}:
            return _output_type(pipeline, dag, task, key, kind)
        case {"taskFinalStatus": {"producerTask": task}} if task in dag.tasks:
            return "TASK_FINAL_STATUS"
    raise _BrokenError(f"has no source that resolves: {_short(source)}")


def _output_type(pipeline: _Pipeline, dag: _Dag, task: str, key: str, kind: str) -> str:
    if task not in dag.tasks:
        raise _BrokenError(f"takes {key!r} from {task!r}, which is no task of the same dag")
    outputs = _declared(pipeline.component(dag.tasks[task]), "output", kind)
    if key not in outputs:
        raise _BrokenError(f"takes {key!r} from {task!r}, which gives {_names_of(outputs)}")
    return _type(outputs[key])


def _dag_outputs(pipeline: _Pipeline, dag: _Dag) -> Iterator[Finding]:
    for kind in ("parameters", "artifacts"):
        declared = _declared(dag.component, "output", kind)
        selected = dag.component.get("dag", {}).get("outputs", {}).get(kind, {})
        for name in sorted(declared.keys() ^ selected.keys()):
            yield Finding(
                f"{dag.where}.dag.outputs.{name}", "is declared and selected from no task, or the other way round"
            )
        for name in sorted(declared.keys() & selected.keys()):
            for task, key in _selectors(selected[name]):
                try:
                    got = _output_type(pipeline, dag, task, key, kind)
                except _BrokenError as error:
                    yield Finding(f"{dag.where}.dag.outputs.{name}", str(error))
                    continue
                # What a loop hands out is a list of what its tasks give.
                if _type(declared[name]) not in {got, "LIST", "system.Artifact"}:
                    problem = f"expected {_type(declared[name])}, got {got}"
                    yield Finding(f"{dag.where}.dag.outputs.{name}", problem)


def _selectors(output: Json) -> list[tuple[str, str]]:
    """The tasks, and their outputs, that a dag's output comes from. More than one: OneOf."""
    parameter = output.get("valueFromParameter")
    if parameter is not None:
        return [(parameter.get("producerSubtask", ""), parameter.get("outputParameterKey", ""))]
    artifacts = output.get("artifactSelectors", ())
    return [(each.get("producerSubtask", ""), each.get("outputArtifactKey", "")) for each in artifacts]


def _type(declared: Json) -> str:
    return str(declared.get("parameterType") or declared.get("artifactType", {}).get("schemaTitle", "nothing"))


def _fits(value: object, expected: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "STRING": isinstance(value, str),
        "BOOLEAN": isinstance(value, bool),
        "NUMBER_DOUBLE": number,
        "NUMBER_INTEGER": number and float(value).is_integer(),  # type: ignore[arg-type]
        "LIST": isinstance(value, list),
        "STRUCT": isinstance(value, dict),
    }.get(expected, False)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _names_of(declared: Mapping[str, Json]) -> str:
    return ", ".join(sorted(declared)) or "none"


# What the compiler, Vertex AI and kfp.local do not all know how to run


def _topology(pipeline: _Pipeline) -> Iterator[Finding]:
    for dag in pipeline.dags:
        conditional = {name for name, task in dag.tasks.items() if _condition(task)}
        for name, task in dag.tasks.items():
            where = dag.at(name)
            for inside in sorted(_upstream(task) & conditional):
                yield Finding(where, f"depends on {inside!r}, which may not run: put the If inside a sub-pipeline")
            if _is_exit(task):
                yield from _exit_task(dag, name)
            elif any("taskFinalStatus" in source for source in _given(task, "parameters").values()):
                yield Finding(where, "takes the final status, and is no exit task")
            if "parameterIterator" in task:
                yield from _loop(dag, name)
            if conditional & {name}:
                declared = _declared(pipeline.component(task), "input", "parameters")
                yield from (Finding(f"{where}.triggerPolicy", problem) for problem in _bad_condition(task, declared))
        yield from _outputs_of_conditions(dag, conditional)


def _exit_task(dag: _Dag, name: str) -> Iterator[Finding]:
    task, where = dag.tasks[name], dag.at(name)
    if dag.where != "root":
        yield Finding(where, "an exit task belongs into the outermost pipeline")
    for kind in ("parameters", "artifacts"):
        for key, source in sorted(_given(task, kind).items()):
            if (producer := _producer(source)) is not None:
                problem = f"an exit task takes nothing from other tasks, but {key!r} comes from {producer!r}"
                yield Finding(where, problem)


def _loop(dag: _Dag, name: str) -> Iterator[Finding]:
    task, where = dag.tasks[name], dag.at(name)
    if dag.in_loop:
        yield Finding(where, "a loop in a loop fails in kfp.local")
    if not task.get("iteratorPolicy", {}).get("parallelismLimit"):
        yield Finding(
            where, "a loop needs a limit, or it starts all its machines at once: ParallelFor(..., parallelism=2)"
        )
    source = task["parameterIterator"].get("items", {}).get("inputParameter")
    if source is not None and source not in _given(task, "parameters"):
        yield Finding(where, f"loops over {source!r}, which is not given to it")


def _outputs_of_conditions(dag: _Dag, conditional: set[str]) -> Iterator[Finding]:
    for outputs in dag.component.get("dag", {}).get("outputs", {}).values():
        for name, output in outputs.items():
            selectors = _selectors(output)
            if len(selectors) > 1:
                yield Finding(f"{dag.where}.dag.outputs.{name}", "OneOf: kfp.local cannot choose between artifacts")
            for task in sorted({task for task, _ in selectors} & conditional):
                yield Finding(f"{dag.where}.dag.outputs.{name}", f"comes from {task!r}, which may not run")


# Conditions, in the part of CEL that KFP's compiler writes (_single_binary_operation_to_cel_condition)

_TOKEN = re.compile(
    r"""\s*(?:inputs\.parameter_values\['(?P<input>[^']+)'\]|'(?P<word>[^']*)'|(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"""
    r"""|(?P<name>true|false|int|double|string)\b|(?P<sign>==|!=|<=|>=|<|>|&&|\|\||!|\(|\)))\s*"""
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_CASTS = ("int", "double", "string")

# A parsed condition: gives its value for the values of the inputs.
type _Expression = Callable[[Mapping[str, Any]], Any]


class _ConditionError(Exception):
    """A condition cannot be read, or not be decided."""


@dataclass(frozen=True)
class _Unknown:
    """A value that only a run will tell."""

    label: str


class _Condition:
    """Parses a condition by recursive descent: or, and, not, comparison, operand."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise _ConditionError(f"cannot be read from {text[at:]!r} on: {text}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()
        self.rest = list(self.tokens)
        self.value = self._any()
        if self.rest:
            raise _ConditionError(f"cannot be read from {self.rest[0][1]!r} on: {text}")

    def _accept(self, *signs: str) -> str | None:
        if self.rest and self.rest[0][0] == "sign" and self.rest[0][1] in signs:
            return self.rest.pop(0)[1]
        return None

    def _any(self) -> _Expression:
        parts = [self._all()]
        while self._accept("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda values: any(part(values) for part in parts)

    def _all(self) -> _Expression:
        parts = [self._not()]
        while self._accept("&&"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda values: all(part(values) for part in parts)

    def _not(self) -> _Expression:
        if self._accept("!"):
            inner = self._not()
            return lambda values: not inner(values)
        return self._comparison()

    def _comparison(self) -> _Expression:
        left = self._operand()
        sign = self._accept(*_COMPARE)
        if sign is None:
            return left
        right = self._operand()
        return lambda values: _compare(sign, left(values), right(values))

    def _operand(self) -> _Expression:
        if self._accept("("):
            return self._closed(self._any())
        kind, text = self.rest.pop(0) if self.rest else ("sign", "the end")
        if kind == "input":
            return lambda values: _known(values, text)
        if kind == "name" and text in _CASTS:
            if self._accept("(") is None:
                raise _ConditionError(f"expected ( after {text}")
            inner = self._closed(self._any())
            return lambda values: _cast(text, inner(values))
        literals: dict[str, Callable[[str], Any]] = {"word": str, "number": float, "name": lambda name: name == "true"}
        if kind not in literals:
            raise _ConditionError(f"expected a value, got {text}")
        literal = literals[kind](text)
        return lambda values: literal

    def _closed(self, inner: _Expression) -> _Expression:
        if self._accept(")") is None:
            raise _ConditionError("expected )")
        return inner


def _cast(name: str, value: object) -> object:
    if name == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    if not _fits(value, "NUMBER_DOUBLE"):
        raise _ConditionError(f"it takes {value!r} for a number")
    return int(value) if name == "int" else float(value)  # type: ignore[call-overload,arg-type]


def _known(values: Mapping[str, Any], name: str) -> object:
    value = values.get(name, _Unknown(name))
    if isinstance(value, _Unknown):
        raise _ConditionError(f"it depends on {value.label}, which no one told: name it in the scenario's assumptions")
    return value


def _compare(sign: str, left: object, right: object) -> bool:
    kinds = [
        float if isinstance(value, int) and not isinstance(value, bool) else type(value) for value in (left, right)
    ]
    if kinds[0] is not kinds[1]:
        raise _ConditionError(f"it compares {left!r} with {right!r}")
    return _COMPARE[sign](left, right)


def _bad_condition(task: Json, declared: Mapping[str, Json]) -> Iterator[str]:
    try:
        tokens = _Condition(_condition(task)).tokens
    except _ConditionError as error:
        # As with dsl.If(x == "it's"): kfp does not escape quotes, and kfp.local takes what it cannot read for False.
        yield f"compare only booleans, numbers and plain words; the condition {error}"
        return
    for kind, text in tokens:
        if kind == "word" and not re.fullmatch(r"[\w.-]*", text):
            yield f"compare only booleans, numbers and plain words, got {text!r}"
        elif kind == "input" and text not in declared:
            yield f"asks for {text!r}, and the task is given {_names_of(declared)}"
        elif text in {"double", "string"} and kind == "name":
            # Unknown to kfp.local's evaluate_condition, which then takes the condition for False.
            yield f"kfp.local does not know {text}(): compare numbers of one type"
        elif text in {"!", "||"} and kind == "sign":
            yield "Elif and Else: no statement found that Vertex AI takes them; write an If each"


# The machines


def _machines(pipeline: _Pipeline) -> Iterator[Finding]:
    for where, task, _ in pipeline.tasks():
        if task.get("cachingOptions", {}).get("enableCache"):
            yield Finding(where, "caching must be off, since tasks have side effects: set_caching_options(False)")
    for where, task, _ in pipeline.containers():
        retry = task.get("retryPolicy", {})
        if retry.get("maxRetryCount", 0) < 1 or float(retry.get("backoffDuration", "0s").rstrip("s")) <= 0:
            found = f"{retry.get('maxRetryCount', 0)} after {retry.get('backoffDuration', '0s')}"
            yield Finding(where, f"expected retries with backoff, got {found}: set_retry(2, backoff_duration='30s')")
    images = Counter(executor.get("container", {}).get("image", "") for executor in pipeline.executors.values())
    usual = images.most_common(1)[0][0] if images else ""
    for label, executor in pipeline.executors.items():
        where, container = f"deploymentSpec.executors.{label}", executor.get("container", {})
        yield from (Finding(where, problem) for problem in _bad_container(container, usual))


def _bad_container(container: Json, usual: str) -> Iterator[str]:
    if container.get("image", "") != usual or not usual:
        yield f"expected the image of the others, {usual!r}, got {container.get('image', '')!r}"
    # The limits of https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
    for limit, most, setter in (("cpuLimit", 96, "set_cpu_limit"), ("memoryLimit", 624, "set_memory_limit")):
        got = container.get("resources", {}).get(limit, 0)
        if not 0 < got <= most:
            yield f"expected a {limit} over 0 and up to {most}, got {got} (the default machine is large): {setter}(...)"
    if any("pip install" in part for part in container.get("command", ())):
        yield "installs packages when it starts: @dsl.component(install_kfp_package=False), and no packages_to_install"


# Names, arguments, parameters

# The SDK makes the job's id of the name, a dash and 14 digits, and wants ^[a-z][-a-z0-9]{0,127}$ of it
# (google.cloud.aiplatform.constants.pipeline).
_PIPELINE_NAME = re.compile(r"[a-z][a-z0-9-]{0,112}")
_TASK_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?")
_PARAMETER_NAME = re.compile(r"[a-z_][a-z0-9_]*")

# kfp.dsl.PIPELINE_*_PLACEHOLDER
_PLACEHOLDERS = frozenset(
    f"{{{{$.{name}}}}}"
    for name in (
        "pipeline_job_name",
        "pipeline_job_resource_name",
        "pipeline_job_uuid",
        "pipeline_job_create_time_utc",
        "pipeline_job_schedule_time_utc",
        "pipeline_task_name",
        "pipeline_task_uuid",
        "pipeline_root",
    )
)

# All inputs of a task go to its process as one argument, and Linux takes none over 128 KiB (execve(2), MAX_ARG_STRLEN).
# 8 KiB are left to what a run adds: paths, names, values of other tasks.
_MAX_ARGUMENT = 128 * 1024
_MAX_CONSTANTS = _MAX_ARGUMENT - 8 * 1024


def _names(pipeline: _Pipeline) -> Iterator[Finding]:
    if not _PIPELINE_NAME.fullmatch(pipeline.name):
        problem = f"expected a letter, then letters, digits and dashes, 113 at most, all small, got {pipeline.name!r}"
        yield Finding("pipelineInfo.name", problem)
    for dag in pipeline.dags:
        for name, task in dag.tasks.items():
            if not _TASK_NAME.fullmatch(name):
                problem = f"expected a task name of small letters, digits and dashes, 128 at most, got {name!r}"
                yield Finding(dag.at(name), problem)
            label = task.get("taskInfo", {}).get("name", "")
            if not 0 < len(label) <= 128:
                yield Finding(dag.at(name), f"expected a display name of 1 to 128 characters, got {len(label)}")


def _arguments(pipeline: _Pipeline) -> Iterator[Finding]:
    for where, task, component in pipeline.tasks():
        contained = "executorLabel" in component
        constants = _constants(task)
        for name, value in sorted(constants.items()):
            # Handed to a sub-pipeline it would be a parameter's value, and those are not filled in
            # (GoogleCloudPlatform/vertex-ai-samples #3771).
            if contained and value in _PLACEHOLDERS:
                continue
            yield from (Finding(f"{where}.inputs.parameters.{name}", problem) for problem in _bad_text(value))
        size = len(json.dumps(constants))
        if size > _MAX_CONSTANTS:
            yield Finding(where, f"its constants are one argument of at most {_MAX_CONSTANTS} bytes, and take {size}")


def _defaults(pipeline: _Pipeline) -> Iterator[Finding]:
    for owner, component in {**pipeline.components, "root": pipeline.root}.items():
        for name, declared in sorted(_declared(component, "input", "parameters").items()):
            for problem in _bad_text(declared.get("defaultValue", "")):
                yield Finding(f"{owner}.inputDefinitions.parameters.{name}", problem)


def _sources(pipeline: _Pipeline) -> Iterator[Finding]:
    for label, executor in pipeline.executors.items():
        for part in executor.get("container", {}).get("command", ()):
            where = f"deploymentSpec.executors.{label}"
            if "{{$" in part:
                yield Finding(where, "its source holds {{$, which is read as a placeholder")
            if len(part.encode()) >= _MAX_ARGUMENT:
                yield Finding(where, f"its source is one argument of at most {_MAX_ARGUMENT} bytes, and longer")


def _bad_text(value: object) -> Iterator[str]:
    text = json.dumps(value)
    if "{{$" in text:
        yield f"holds {{{{$: a placeholder must be known, the whole of a constant, and a task's own: {_short(value)}"
    if "python3" in text:
        yield f"holds the text python3, which kfp.local replaces even in data: {_short(value)}"


def _root_parameters(pipeline: _Pipeline) -> Iterator[Finding]:
    for name in sorted(_declared(pipeline.root, "input", "artifacts")):
        yield Finding(
            f"root.inputDefinitions.artifacts.{name}", "the console's form and kfp.local have parameters only"
        )
    for name, declared in sorted(_declared(pipeline.root, "input", "parameters").items()):
        where, kind = f"root.inputDefinitions.parameters.{name}", _type(declared)
        if not _PARAMETER_NAME.fullmatch(name):
            yield Finding(where, "expected a name of small letters, digits and underscores")
        if kind not in {"STRING", "BOOLEAN", "NUMBER_INTEGER", "NUMBER_DOUBLE"}:
            yield Finding(where, f"expected a plain scalar, got {kind}")
        elif declared.get("defaultValue") is None:
            yield Finding(where, 'expected a default that is not None; "" means the default')
        elif not _fits(declared["defaultValue"], kind):
            yield Finding(where, f"expected a default of type {kind}, got {_short(declared['defaultValue'])}")


# How many machines a run starts


class _Budget:
    """Walks the pipeline as a scenario would, and counts the container tasks."""

    def __init__(self, pipeline: _Pipeline, scenario: Scenario) -> None:
        self.pipeline = pipeline
        self.scenario = scenario
        self.asked: set[str] = set()
        self.problems: dict[Finding, None] = {}  # in order, each once

    def findings(self) -> Iterator[Finding]:
        parameters = _declared(self.pipeline.root, "input", "parameters")
        values = {name: declared.get("defaultValue") for name, declared in parameters.items()}
        total, chain = self._dag("root", self.pipeline.root, values | dict(self.scenario.parameters))
        where, scenario = f"scenario {self.scenario.name!r}", self.scenario
        yield from self.problems
        told, known = scenario.parameters.keys() | scenario.assumptions.keys(), parameters.keys() | self.asked
        for name in sorted(told - known - scenario.optional):
            yield Finding(where, f"tells {name!r}, which the pipeline does not have")
        if total > scenario.max_tasks:
            yield Finding(where, f"starts {total} container tasks, and may start {scenario.max_tasks}")
        if len(chain) > scenario.max_in_a_row:
            row = " > ".join(chain)
            yield Finding(
                where, f"runs {len(chain)} container tasks in a row, and may run {scenario.max_in_a_row}: {row}"
            )

    def _dag(self, where: str, component: Json, values: Json) -> tuple[int, tuple[str, ...]]:
        """How many container tasks run in a dag, and the names of the longest row of them."""
        tasks = _tasks(component)
        before = _before(tasks)
        total, chains = 0, dict[str, tuple[str, ...]]()
        for name in TopologicalSorter(before).static_order():
            count, chain = self._task(f"{where}.dag.tasks.{name}", component, name, values)
            longest = max((chains[each] for each in sorted(before[name])), key=len, default=())
            total, chains[name] = total + count, longest + chain
        return total, max(chains.values(), key=len, default=())

    def _task(self, where: str, around: Json, name: str, values: Json) -> tuple[int, tuple[str, ...]]:
        task = _tasks(around)[name]
        inner = self.pipeline.component(task)
        inputs = {key: each.get("defaultValue") for key, each in _declared(inner, "input", "parameters").items()}
        for key, source in _given(task, "parameters").items():
            inputs[key] = self._value(source, around, values)
        if not self._runs(where, task, inputs):
            return 0, ()
        if "executorLabel" in inner:
            return 1, (name,)
        path = f"{where} / {_reference(task)}"
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
        label = found.label if isinstance(found, _Unknown) else "its items"
        self._problem(where, f"no one told how often it loops: {label} is known in a run only; counted once")
        return [_Unknown("the loop's item")]

    def _runs(self, where: str, task: Json, inputs: Json) -> bool:
        condition = _condition(task)
        if not condition:
            return True
        try:
            return bool(_Condition(condition).value(inputs))
        except _ConditionError as error:
            self._problem(where, f"cannot tell whether it runs: {error}; counted as if it did")
            return True

    def _value(self, source: Json, around: Json, values: Json) -> object:
        match source:
            case {"componentInputParameter": name}:
                return values.get(name, _Unknown(name))
            case {"runtimeValue": {"constant": str(text)}} if text in _PLACEHOLDERS:
                return _Unknown(text)
            case {"runtimeValue": {"constant": value}}:
                return value
            case {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}:
                label = self._label(around, task, key)
                self.asked.add(label)
                return self.scenario.assumptions.get(label, _Unknown(label))
        return _Unknown("the final status")

    def _label(self, around: Json, task: str, key: str) -> str:
        """The container task, and its output, behind an output of a sub-pipeline."""
        inner = self.pipeline.component(_tasks(around)[task])
        selected = inner.get("dag", {}).get("outputs", {}).get("parameters", {}).get(key, {})
        for subtask, output in _selectors(selected):
            return self._label(inner, subtask, output)
        return f"{task}.{key}"

    def _problem(self, where: str, problem: str) -> None:
        self.problems[Finding(f"scenario {self.scenario.name!r}, {where}", problem)] = None
