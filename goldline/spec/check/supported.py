"""Fields of the spec that a compiled pipeline may use, each with the page that says that Vertex AI takes it.

KFP's spec grows with every release, and Vertex AI is another implementation of it: an unknown field is at best ignored.
So only the fields of this table are allowed. To add a field, first find the page.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

BUILD = "https://cloud.google.com/vertex-ai/docs/pipelines/build-pipeline"
STATES = (
    "https://docs.cloud.google.com/dotnet/docs/reference/Google.Cloud.AIPlatform.V1/latest/"
    "Google.Cloud.AIPlatform.V1.PipelineTaskDetail.Types.State"
)


@dataclass(frozen=True)
class Feature:
    """Part of the spec, and the page that says that it works."""

    name: str
    source: str
    fields: tuple[str, ...]  # `Message.field`, and for an enum `Message.field=VALUE`
    # Whether the page is about Vertex AI. Otherwise it is KFP's, and Vertex AI's documentation only says that pipelines
    # built with KFP 2 run there: to be confirmed on the first cloud run.
    vertex: bool = True


def _typed(message: str, *types: str) -> tuple[str, ...]:
    return tuple(f"{message}.parameterType={name}" for name in types)


_SCALARS = ("STRING", "BOOLEAN", "NUMBER_INTEGER", "NUMBER_DOUBLE")
_TASK = "PipelineTaskSpec"
_INPUT = "TaskInputsSpec.InputParameterSpec"
_ARTIFACT = "TaskInputsSpec.InputArtifactSpec"
_CONTAINER = "PipelineDeploymentConfig.PipelineContainerSpec"

FEATURES = (
    Feature(
        "a pipeline of components, tasks, parameters and artifacts, compiled by KFP",
        BUILD,
        (
            "PipelineSpec.pipelineInfo",
            "PipelineSpec.deploymentSpec",
            "PipelineSpec.sdkVersion",
            "PipelineSpec.schemaVersion",
            "PipelineSpec.components",
            "PipelineSpec.root",
            "PipelineInfo.name",
            "ComponentSpec.inputDefinitions",
            "ComponentSpec.outputDefinitions",
            "ComponentSpec.dag",
            "ComponentSpec.executorLabel",
            "ComponentInputsSpec.parameters",
            "ComponentInputsSpec.artifacts",
            *_typed("ComponentInputsSpec.ParameterSpec", *_SCALARS),
            "ComponentInputsSpec.ArtifactSpec.artifactType",
            "ComponentOutputsSpec.parameters",
            "ComponentOutputsSpec.artifacts",
            *_typed("ComponentOutputsSpec.ParameterSpec", *_SCALARS),
            "ComponentOutputsSpec.ArtifactSpec.artifactType",
            "ArtifactTypeSchema.schemaTitle",
            "ArtifactTypeSchema.schemaVersion",
            "DagSpec.tasks",
            f"{_TASK}.taskInfo",
            f"{_TASK}.inputs",
            f"{_TASK}.componentRef",
            "PipelineTaskInfo.name",
            "ComponentRef.name",
            "TaskInputsSpec.parameters",
            "TaskInputsSpec.artifacts",
            f"{_INPUT}.taskOutputParameter",
            f"{_INPUT}.runtimeValue",
            f"{_INPUT}.componentInputParameter",
            f"{_INPUT}.TaskOutputParameterSpec.producerTask",
            f"{_INPUT}.TaskOutputParameterSpec.outputParameterKey",
            "ValueOrRuntimeParameter.constant",
            f"{_ARTIFACT}.taskOutputArtifact",
            f"{_ARTIFACT}.componentInputArtifact",
            f"{_ARTIFACT}.TaskOutputArtifactSpec.producerTask",
            f"{_ARTIFACT}.TaskOutputArtifactSpec.outputArtifactKey",
        ),
    ),
    Feature(
        "tasks one after another",
        "https://cloud.google.com/vertex-ai/docs/pipelines/introduction",
        (f"{_TASK}.dependentTasks",),
    ),
    Feature(
        # The page names image, command, args and env, as parts of the cache key; and caching off, task by task.
        "containers; caching off",
        "https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching",
        (
            "PipelineDeploymentConfig.executors",
            "PipelineDeploymentConfig.ExecutorSpec.container",
            f"{_CONTAINER}.image",
            f"{_CONTAINER}.command",
            f"{_CONTAINER}.args",
            f"{_CONTAINER}.env",
            f"{_CONTAINER}.EnvVar.name",
            f"{_CONTAINER}.EnvVar.value",
            f"{_TASK}.cachingOptions",
            f"{_TASK}.CachingOptions.enableCache",
        ),
    ),
    Feature(
        # Limits only: "set_memory_request is not available/applicable for Vertex AI" (kubeflow/pipelines #8038).
        "CPU and memory limits",
        "https://cloud.google.com/vertex-ai/docs/pipelines/machine-types",
        (
            f"{_CONTAINER}.resources",
            f"{_CONTAINER}.ResourceSpec.cpuLimit",
            f"{_CONTAINER}.ResourceSpec.memoryLimit",
        ),
    ),
    Feature(
        # KFP writes each limit twice, as a number and as a string. Vertex AI's pages do not tell them apart.
        "limits as strings, beside the numbers",
        "https://github.com/kubeflow/pipelines/issues/11500",
        (f"{_CONTAINER}.ResourceSpec.resourceCpuLimit", f"{_CONTAINER}.ResourceSpec.resourceMemoryLimit"),
        vertex=False,
    ),
    Feature(
        "retries with backoff",
        "https://cloud.google.com/vertex-ai/docs/pipelines/configure-retries",
        (
            f"{_TASK}.retryPolicy",
            f"{_TASK}.RetryPolicy.maxRetryCount",
            f"{_TASK}.RetryPolicy.backoffDuration",
            f"{_TASK}.RetryPolicy.backoffFactor",
            f"{_TASK}.RetryPolicy.backoffMaxDuration",
        ),
    ),
    Feature(
        # "the task's trigger policy is not satisfied. The trigger policy is specified in the condition field of
        # PipelineJob.pipeline_spec"
        "conditions",
        STATES,
        (f"{_TASK}.triggerPolicy", f"{_TASK}.TriggerPolicy.condition"),
    ),
    Feature(
        # An ExitHandler compiles to a sub-dag, so the page holds for sub-dags too.
        "an exit handler",
        "https://cloud.google.com/vertex-ai/docs/pipelines/email-notifications",
        (f"{_TASK}.TriggerPolicy.strategy=ALL_UPSTREAM_TASKS_COMPLETED",),
    ),
    Feature(
        "the final status, handed to the exit task",
        "https://github.com/kubeflow/pipelines/issues/11641",
        (
            f"{_INPUT}.taskFinalStatus",
            f"{_INPUT}.TaskFinalStatus.producerTask",
            *_typed("ComponentInputsSpec.ParameterSpec", "TASK_FINAL_STATUS"),
        ),
    ),
    Feature(
        # A maintainer: pipelines with dsl.Collected "can be executed on Vertex Pipelines".
        "loops over parameters, and what they collect",
        "https://github.com/kubeflow/pipelines/issues/3412",
        (
            f"{_TASK}.parameterIterator",
            f"{_TASK}.iteratorPolicy",
            f"{_TASK}.IteratorPolicy.parallelismLimit",
            "ParameterIteratorSpec.items",
            "ParameterIteratorSpec.itemInput",
            "ParameterIteratorSpec.ItemsSpec.raw",
            "ParameterIteratorSpec.ItemsSpec.inputParameter",
            *_typed("ComponentInputsSpec.ParameterSpec", "LIST"),
            *_typed("ComponentOutputsSpec.ParameterSpec", "LIST"),
            "DagSpec.outputs",
            "DagOutputsSpec.parameters",
            "DagOutputsSpec.DagOutputParameterSpec.valueFromParameter",
            "DagOutputsSpec.ParameterSelectorSpec.producerSubtask",
            "DagOutputsSpec.ParameterSelectorSpec.outputParameterKey",
        ),
    ),
    Feature(
        # Since 2.0.0-beta.4; see also "an exit handler".
        "a pipeline in a pipeline, and the artifacts that it hands out",
        "https://github.com/kubeflow/pipelines/issues/8094",
        (
            "DagOutputsSpec.artifacts",
            "DagOutputsSpec.DagOutputArtifactSpec.artifactSelectors",
            "DagOutputsSpec.ArtifactSelectorSpec.producerSubtask",
            "DagOutputsSpec.ArtifactSelectorSpec.outputArtifactKey",
        ),
        vertex=False,
    ),
    Feature(
        "defaults, inputs that may be left out, dictionaries",
        "https://kubeflow.org/docs/components/pipelines/v2/data-types/parameters/",
        (
            "ComponentInputsSpec.ParameterSpec.defaultValue",
            "ComponentInputsSpec.ParameterSpec.isOptional",
            "ComponentInputsSpec.ArtifactSpec.isOptional",
            *_typed("ComponentInputsSpec.ParameterSpec", "STRUCT"),
            *_typed("ComponentOutputsSpec.ParameterSpec", "STRUCT"),
        ),
        vertex=False,
    ),
    Feature(
        # Text for people: KFP takes it from docstrings.
        "descriptions",
        "https://kubeflow.org/docs/components/pipelines/user-guides/components/additional-functionality",
        (
            "PipelineInfo.description",
            "ComponentInputsSpec.ParameterSpec.description",
            "ComponentInputsSpec.ArtifactSpec.description",
            "ComponentOutputsSpec.ParameterSpec.description",
            "ComponentOutputsSpec.ArtifactSpec.description",
        ),
        vertex=False,
    ),
)

ALLOWED = {field: feature for feature in FEATURES for field in feature.fields}

# Reasons for the fields that are likeliest to be tried. All other fields that are not allowed are refused too.
REFUSED = {
    f"{_TASK}.CachingOptions.cacheKey": "no evidence that Vertex AI honours it",
    f"{_TASK}.artifactIterator": "kfp.local knows no loops over artifacts",
    f"{_INPUT}.parameterExpressionSelector": "no statement found that Vertex AI takes it: loop over plain values",
    "DagOutputsSpec.DagOutputParameterSpec.valueFromOneof": "OneOf: no statement found that Vertex AI takes it",
    "PipelineDeploymentConfig.ExecutorSpec.importer": "no statement found that Vertex AI takes it: pass a URI",
    "ComponentSpec.singlePlatformSpecs": "made for Kubernetes (workspaces, secrets, config maps, volumes)",
    "ComponentSpec.taskConfigPassthroughs": "made for Kubernetes",
    f"{_CONTAINER}.ResourceSpec.cpuRequest": "Vertex AI has limits only",
    f"{_CONTAINER}.ResourceSpec.memoryRequest": "Vertex AI has limits only",
}


def refusals(message: Message, where: str) -> Iterator[tuple[str, str]]:
    """Path and reason of every set field that is not in the table, at any depth of the message."""
    for field, value in message.ListFields():
        at = f"{where}.{field.json_name}" if where else field.json_name
        name = f"{message.DESCRIPTOR.full_name.removeprefix('ml_pipelines.')}.{field.json_name}"
        if field.enum_type is not None:
            name += f"={field.enum_type.values_by_number[value].name}"
        if name in ALLOWED:
            for place, inner in _messages(value, at):
                yield from refusals(inner, place)
        else:
            why = REFUSED.get(name, "goldline/spec/check/supported.py has no page that says that Vertex AI takes it")
            yield at, f"{name} is not allowed: {why}"


def _messages(value: object, at: str) -> Iterator[tuple[str, Message]]:
    """Messages in a field's value, with their paths; google.protobuf's own (durations, JSON values) hold none."""
    if isinstance(value, Message):
        if not value.DESCRIPTOR.full_name.startswith("google.protobuf."):
            yield at, value
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _messages(value[key], f"{at}.{key}")
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from _messages(item, f"{at}[{index}]")
