"""Limits of the compiler, Vertex AI and kfp.local taken together: topology, machines, names, sizes, parameters."""

import json
import re
from collections import Counter
from collections.abc import Iterator

from goldline.spec.check.conditions import bad_condition
from goldline.spec.check.tree import (
    Dag,
    Finding,
    Json,
    Pipeline,
    arguments_of,
    condition_of,
    constants_of,
    declarations,
    is_exit_task,
    producer_of,
    upstream_of,
)
from goldline.spec.check.wiring import is_of_type, output_selectors, shortened, type_name


def check_topology(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that exit tasks, conditions and loops are where the compiler, Vertex AI and kfp.local all take them."""
    for dag in pipeline.dags:
        conditional = {name for name, task in dag.tasks.items() if condition_of(task)}
        for name, task in dag.tasks.items():
            where = dag.at(name)
            for inside in sorted(upstream_of(task) & conditional):
                yield Finding(where, f"depends on {inside!r}, which may not run: put the If inside a sub-pipeline")
            if is_exit_task(task):
                yield from _exit_task(dag, name)
            elif any("taskFinalStatus" in source for source in arguments_of(task, "parameters").values()):
                yield Finding(where, "takes the final status, and is no exit task")
            if "parameterIterator" in task:
                yield from _loop(dag, name)
            if conditional & {name}:
                declared = declarations(pipeline.component(task), "input", "parameters")
                yield from (Finding(f"{where}.triggerPolicy", problem) for problem in bad_condition(task, declared))
        yield from _outputs_of_conditions(dag, conditional)


def _exit_task(dag: Dag, name: str) -> Iterator[Finding]:
    task, where = dag.tasks[name], dag.at(name)
    if dag.where != "root":
        yield Finding(where, "an exit task belongs into the outermost pipeline")
    for kind in ("parameters", "artifacts"):
        for key, source in sorted(arguments_of(task, kind).items()):
            if (producer := producer_of(source)) is not None:
                problem = f"an exit task takes nothing from other tasks, but {key!r} comes from {producer!r}"
                yield Finding(where, problem)


def _loop(dag: Dag, name: str) -> Iterator[Finding]:
    task, where = dag.tasks[name], dag.at(name)
    if dag.in_loop:
        yield Finding(where, "a loop in a loop fails in kfp.local")
    if not task.get("iteratorPolicy", {}).get("parallelismLimit"):
        yield Finding(
            where, "a loop needs a limit, or it starts all its machines at once: ParallelFor(..., parallelism=2)"
        )
    source = task["parameterIterator"].get("items", {}).get("inputParameter")
    if source is not None and source not in arguments_of(task, "parameters"):
        yield Finding(where, f"loops over {source!r}, which is not given to it")


def _outputs_of_conditions(dag: Dag, conditional: set[str]) -> Iterator[Finding]:
    for outputs in dag.component.get("dag", {}).get("outputs", {}).values():
        for name, output in outputs.items():
            selectors = output_selectors(output)
            if len(selectors) > 1:
                yield Finding(f"{dag.where}.dag.outputs.{name}", "OneOf: kfp.local cannot choose between artifacts")
            for task in sorted({task for task, _ in selectors} & conditional):
                yield Finding(f"{dag.where}.dag.outputs.{name}", f"comes from {task!r}, which may not run")


def check_machines(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that every container task has retries, resources, the usual image, and no cache."""
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


# The SDK makes the job's id of the name, a dash and 14 digits; it must match ^[a-z][-a-z0-9]{0,127}$
# (google.cloud.aiplatform.constants.pipeline).
_PIPELINE_NAME = re.compile(r"[a-z][a-z0-9-]{0,112}")
_TASK_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?")
_PARAMETER_NAME = re.compile(r"[a-z_][a-z0-9_]*")

# kfp.dsl.PIPELINE_*_PLACEHOLDER
PLACEHOLDERS = frozenset(
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
# 8 KiB are left for what a run adds: paths, names, values of other tasks.
_MAX_ARGUMENT = 128 * 1024
_MAX_CONSTANTS = _MAX_ARGUMENT - 8 * 1024


def check_names(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that Vertex AI takes the names."""
    if not _PIPELINE_NAME.fullmatch(pipeline.name):
        problem = f"expected a letter, then letters, digits and dashes, 113 at most, lower-case, got {pipeline.name!r}"
        yield Finding("pipelineInfo.name", problem)
    for dag in pipeline.dags:
        for name, task in dag.tasks.items():
            if not _TASK_NAME.fullmatch(name):
                problem = f"expected a task name of lower-case letters, digits and dashes, 128 at most, got {name!r}"
                yield Finding(dag.at(name), problem)
            label = task.get("taskInfo", {}).get("name", "")
            if not 0 < len(label) <= 128:
                yield Finding(dag.at(name), f"expected a display name of 1 to 128 characters, got {len(label)}")


def check_arguments(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that constants are small enough, and hold no text that one of the runners would replace."""
    for where, task, component in pipeline.tasks():
        contained = "executorLabel" in component
        constants = constants_of(task)
        for name, value in sorted(constants.items()):
            # Passed to a sub-pipeline it would be a parameter's value, and placeholders in those are not filled in
            # (GoogleCloudPlatform/vertex-ai-samples #3771).
            if contained and value in PLACEHOLDERS:
                continue
            yield from (Finding(f"{where}.inputs.parameters.{name}", problem) for problem in _bad_text(value))
        size = len(json.dumps(constants))
        if size > _MAX_CONSTANTS:
            yield Finding(where, f"its constants are one argument of at most {_MAX_CONSTANTS} bytes, and take {size}")


def check_defaults(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that no default holds a placeholder: in a parameter's value it is not filled in."""
    for owner, component in {**pipeline.components, "root": pipeline.root}.items():
        for name, declared in sorted(declarations(component, "input", "parameters").items()):
            for problem in _bad_text(declared.get("defaultValue", "")):
                yield Finding(f"{owner}.inputDefinitions.parameters.{name}", problem)


def check_sources(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that no task's source holds a placeholder or exceeds the size of one argument."""
    for label, executor in pipeline.executors.items():
        for part in executor.get("container", {}).get("command", ()):
            where = f"deploymentSpec.executors.{label}"
            if "{{$" in part:
                yield Finding(where, "its source holds {{$, which is read as a placeholder")
            if len(part.encode()) >= _MAX_ARGUMENT:
                yield Finding(where, f"expected a source of less than {_MAX_ARGUMENT} bytes, since it is one argument")


def _bad_text(value: object) -> Iterator[str]:
    text = json.dumps(value)
    if "{{$" in text:
        yield f"holds {{{{$: a placeholder must be known, the whole of a constant, and a task's own: {shortened(value)}"
    if "python3" in text:
        yield f"holds the text python3, which kfp.local replaces even in data: {shortened(value)}"


def check_root_parameters(pipeline: Pipeline) -> Iterator[Finding]:
    """Check that parameters are plain scalars with defaults, so that the console's form works."""
    for name in sorted(declarations(pipeline.root, "input", "artifacts")):
        yield Finding(
            f"root.inputDefinitions.artifacts.{name}", "the console's form and kfp.local have parameters only"
        )
    for name, declared in sorted(declarations(pipeline.root, "input", "parameters").items()):
        where, kind = f"root.inputDefinitions.parameters.{name}", type_name(declared)
        if not _PARAMETER_NAME.fullmatch(name):
            yield Finding(where, "expected a name of lower-case letters, digits and underscores")
        if kind not in {"STRING", "BOOLEAN", "NUMBER_INTEGER", "NUMBER_DOUBLE"}:
            yield Finding(where, f"expected a plain scalar, got {kind}")
        elif declared.get("defaultValue") is None:
            yield Finding(where, 'expected a default that is not None; "" means the default')
        elif not is_of_type(declared["defaultValue"], kind):
            yield Finding(where, f"expected a default of type {kind}, got {shortened(declared['defaultValue'])}")
