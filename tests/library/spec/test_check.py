"""A small night that may go to Vertex AI, and all the ways in which it may not."""

import copy
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import compiler, dsl
from kfp.dsl import Artifact, Dataset, Input, Output, PipelineTaskFinalStatus

from goldline.project import ProjectError
from goldline.spec.check.budget import Scenario, nights
from goldline.spec.check.check import check
from goldline.spec.check.supported import FEATURES
from goldline.spec.check.tree import Finding

type Spec = dict[str, Any]
type Mutation = Callable[[Spec], None]


def component(function: Callable[..., Any]) -> Any:
    return dsl.component(function, base_image="goldline", install_kfp_package=False)


def pipeline(function: Callable[..., Any]) -> Any:
    return dsl.pipeline(function)


class Plan(NamedTuple):
    run_date: str
    train_churn: bool


@component
def prepare_run(run_date: str, scheduled: str) -> Plan:
    return Plan(run_date, False)


@component
def generate_sales(run_date: str, rows: int) -> None:
    """Stands in for the source."""


@component
def export_firestore(run_date: str, files: Output[Dataset], collection: str = "sales") -> None:
    """Takes a day's documents to the lake."""


@component
def build_table(sql: str, source: Input[Artifact], table: Output[Artifact]) -> None:
    """Makes a table."""


@component
def train_churn(features: Input[Artifact], model: Output[Artifact]) -> None:
    """Trains."""


@component
def evaluate_model(model: Input[Artifact]) -> bool:
    return True


@component
def finish_run(job: str, dataset_prefix: str, status: PipelineTaskFinalStatus) -> None:
    """Writes the summary."""


def small(task: Any) -> Any:
    """What every task of ours has."""
    task.set_retry(2, backoff_duration="30s").set_caching_options(False)
    return task.set_cpu_limit("1").set_memory_limit("4G")


@pipeline
def simulate(enabled: bool, run_date: str, rows: int) -> None:
    with dsl.If(enabled == True, "simulated"):  # noqa: E712
        small(generate_sales(run_date=run_date, rows=rows))


@pipeline
def sales(enabled: bool, run_date: str, train: bool) -> None:
    with dsl.If(enabled == True, "run_sales"):  # noqa: E712
        files = small(export_firestore(run_date=run_date)).outputs["files"]
        staged = small(build_table(sql="select 1", source=files)).outputs["table"]
        small(build_table(sql="select 2", source=staged)).set_display_name("gold.fct_sales")
        with dsl.If(train == True, "train"):  # noqa: E712
            model = small(train_churn(features=staged)).outputs["model"]
            small(evaluate_model(model=model))


@pipeline
def goldline(
    run_date: str = "",
    dataset_prefix: str = "",
    run_sales: bool = True,
    simulated: bool = False,
    rows: int = 1000,
    threshold: float = 0.5,
) -> None:
    """A night."""
    job = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
    with dsl.ExitHandler(small(finish_run(job=job, dataset_prefix=dataset_prefix)), "night"):
        plan = small(prepare_run(run_date=run_date, scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER))
        date, train = plan.outputs["run_date"], plan.outputs["train_churn"]
        world = simulate(enabled=simulated, run_date=date, rows=rows).set_caching_options(False)
        sold = sales(enabled=run_sales, run_date=date, train=train).set_caching_options(False)
        sold.after(world)


@pipeline
def loops() -> None:
    with dsl.ParallelFor(["a", "b", "c", "d", "e"], parallelism=2) as day:
        small(generate_sales(run_date=day, rows=1))


def compiled(graph: Any, folder: Path) -> Spec:
    path = folder / "pipeline.json"
    with pytest.warns(DeprecationWarning, match="Compiling to JSON is deprecated"):
        compiler.Compiler().compile(graph, str(path))
    spec: Spec = json.loads(path.read_text())
    return spec


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return compiled(goldline, tmp_path_factory.mktemp("night"))


@pytest.fixture
def spec(once: Spec) -> Spec:
    return copy.deepcopy(once)


def test_a_good_night_may_go(spec: Spec) -> None:
    assert check(spec) == []


def test_a_good_loop_may_go(tmp_path: Path) -> None:
    assert check(compiled(loops, tmp_path), [Scenario("any", {}, 5, 3)]) == []


# Each way to break it: what is done to the spec, and what is then found.

HANDLER = "components/comp-exit-handler-1/dag/tasks"
FLOW = "components/comp-condition-1-2/dag/tasks"  # in sales, in run_sales
EXPORT = f"{FLOW}/export-firestore"
FINISH = "root/dag/tasks/finish-run"
CONDITION = "components/comp-sales/dag/tasks/condition-1/triggerPolicy/condition"
ENABLED = "inputs.parameter_values['pipelinechannel--enabled']"
IMAGE = "deploymentSpec/executors/exec-export-firestore/container"
LARGE = "x" * 130_000


def put(path: str, value: Any) -> Mutation:
    """Sets what lies at a path, and makes the path."""

    def mutate(spec: Spec) -> None:
        *folders, name = path.split("/")
        for folder in folders:
            spec = spec.setdefault(folder, {})
        spec[name] = copy.deepcopy(value)

    return mutate


def drop(path: str) -> Mutation:
    def mutate(spec: Spec) -> None:
        *folders, name = path.split("/")
        for folder in folders:
            spec = spec[folder]
        del spec[name]

    return mutate


def output_of(task: str, key: str) -> Spec:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}


def constant(value: Any) -> Spec:
    return {"runtimeValue": {"constant": value}}


def loop_around(path: str) -> Mutation:
    """Makes a loop of a sub-pipeline's task."""
    iterator = {"itemInput": "run_date", "items": {"raw": '["2026-11-20"]'}}

    def mutate(spec: Spec) -> None:
        put(f"{path}/parameterIterator", iterator)(spec)
        put(f"{path}/iteratorPolicy/parallelismLimit", 2)(spec)

    return mutate


def both(*mutations: Mutation) -> Mutation:
    def mutate(spec: Spec) -> None:
        for each in mutations:
            each(spec)

    return mutate


REFERENCES = [
    (put("surprise", 1), 'is no PipelineSpec of KFP 2: .*"surprise"'),
    (put("deploymentSpec/executors/exec-finish-run/container/surprise", 1), "is no PipelineSpec of KFP 2"),
    (put("platforms", {"kubernetes": {}}), "platform-specific features are for Kubernetes"),
    (put(f"{EXPORT}/componentRef/name", "comp-nowhere"), "there is no component 'comp-nowhere'"),
    (put("components/comp-spare", {"executorLabel": "exec-finish-run"}), "no task uses this component"),
    (
        put("deploymentSpec/executors/exec-spare", {"container": {"image": "goldline"}}),
        "no component uses this executor",
    ),
    (put("components/comp-finish-run/executorLabel", "exec-nowhere"), "expected .* executor, got exec-nowhere"),
    (drop("components/comp-finish-run/executorLabel"), "expected a dag or the label of an executor, got none"),
    (
        put(f"{FLOW}/export-firestore/componentRef/name", "comp-sales"),
        "a component must not hold itself: .*comp-sales",
    ),
    (
        put(f"{EXPORT}/inputs/parameters/run_date/componentInputParameter", "date"),
        "takes the input 'date' of the dag around it, which has pipelinechannel--enabled, .*",
    ),
    (put(f"{EXPORT}/inputs/parameters/run_date", output_of("no-task", "x")), "depends on 'no-task', which is no task"),
    (
        put(f"{EXPORT}/inputs/parameters/run_date", output_of("no-task", "x")),
        "takes 'x' from 'no-task', which is no task",
    ),
    (
        put(f"{HANDLER}/sales/inputs/parameters/run_date", output_of("prepare-run", "day")),
        "takes 'day' from 'prepare-run', which gives run_date, train",
    ),
    (
        put(f"{FLOW}/build-table/inputs/artifacts/source/taskOutputArtifact/outputArtifactKey", "file"),
        "takes 'file' from 'export-firestore', which gives files",
    ),
    (put(f"{FINISH}/inputs/parameters/status/taskFinalStatus/producerTask", "x"), "has no source that resolves"),
    (
        put(f"{HANDLER}/sales/inputs/parameters/run_date", output_of("prepare-run", "train_churn")),
        "expected STRING, got BOOLEAN",
    ),
    (put(f"{HANDLER}/simulate/inputs/parameters/rows", constant(0.5)), "expected NUMBER_INTEGER, got the constant 0.5"),
    (put(f"{HANDLER}/simulate/inputs/parameters/rows", constant("1")), 'expected NUMBER_INTEGER, got the constant "1"'),
    (
        put("components/comp-build-table/inputDefinitions/artifacts/source/artifactType/schemaTitle", "system.Model"),
        "expected system.Model, got system.Dataset",
    ),
    (drop(f"{EXPORT}/inputs/parameters/run_date"), "the input 'run_date' of comp-export-firestore is required"),
    (drop(f"{FLOW}/build-table/inputs/artifacts/source"), "the input 'source' of comp-build-table is required"),
    (put(f"{EXPORT}/inputs/parameters/colour", constant("red")), "gives 'colour', which .* does not declare"),
    (put(f"{EXPORT}/dependentTasks", ["no-task"]), "depends on 'no-task', which is no task of the same dag"),
    (put(f"{EXPORT}/dependentTasks", ["build-table-2"]), "tasks wait for each other: .* > build-table-2"),
    (put("root/dag/tasks/exit-handler-1/dependentTasks", ["finish-run"]), "tasks wait for each other"),
    (
        put("components/comp-sales/outputDefinitions/parameters/won", {"parameterType": "BOOLEAN"}),
        "is declared and selected from no task",
    ),
    (
        both(
            put("components/comp-exit-handler-1/outputDefinitions/parameters/day", {"parameterType": "NUMBER_DOUBLE"}),
            put(
                "components/comp-exit-handler-1/dag/outputs/parameters/day/valueFromParameter",
                {"producerSubtask": "prepare-run", "outputParameterKey": "run_date"},
            ),
        ),
        r"dag\.outputs\.day: expected NUMBER_DOUBLE, got STRING",
    ),
    (
        both(
            put("components/comp-exit-handler-1/outputDefinitions/parameters/day", {"parameterType": "STRING"}),
            put(
                "components/comp-exit-handler-1/dag/outputs/parameters/day/valueFromParameter",
                {"producerSubtask": "prepare-run", "outputParameterKey": "day"},
            ),
        ),
        r"dag\.outputs\.day: takes 'day' from 'prepare-run', which gives run_date, train",
    ),
]

TOPOLOGY = [
    (
        put(f"{FINISH}/inputs/parameters/dataset_prefix", output_of("exit-handler-1", "prefix")),
        "an exit task takes nothing from other tasks, but 'dataset_prefix' comes from 'exit-handler-1'",
    ),
    (
        both(
            put(f"{HANDLER}/prepare-run/triggerPolicy/strategy", "ALL_UPSTREAM_TASKS_COMPLETED"),
            put(f"{HANDLER}/prepare-run/inputs/parameters/status", {"taskFinalStatus": {"producerTask": "sales"}}),
        ),
        "an exit task belongs into the outermost pipeline",
    ),
    (drop(f"{FINISH}/triggerPolicy"), "takes the final status, and is no exit task"),
    (put(f"{FLOW}/build-table-2/dependentTasks", ["condition-2"]), "depends on 'condition-2', which may not run"),
    (
        put(
            "components/comp-sales/dag/outputs/artifacts/model/artifactSelectors",
            [{"producerSubtask": "condition-1", "outputArtifactKey": "model"}],
        ),
        "comes from 'condition-1', which may not run",
    ),
    (
        put(
            "components/comp-condition-1-2/dag/outputs/artifacts/table/artifactSelectors",
            [{"producerSubtask": name, "outputArtifactKey": "table"} for name in ("build-table", "build-table-2")],
        ),
        "OneOf: kfp.local cannot choose between artifacts",
    ),
    (
        both(loop_around(f"{HANDLER}/sales"), loop_around("components/comp-sales/dag/tasks/condition-1")),
        "a loop in a loop",
    ),
    (both(loop_around(f"{HANDLER}/sales"), drop(f"{HANDLER}/sales/iteratorPolicy")), "a loop needs a limit"),
    (
        both(
            loop_around(f"{HANDLER}/sales"),
            put(f"{HANDLER}/sales/parameterIterator/items", {"inputParameter": "days"}),
        ),
        "loops over 'days', which is not given to it",
    ),
    (put(CONDITION, f"{ENABLED} == 'it's'"), 'compare only booleans, .* cannot be read from "s\'" on'),
    (put(CONDITION, f"{ENABLED} == 'two words'"), "compare only booleans, numbers and plain words, got 'two words'"),
    (put(CONDITION, f"{ENABLED} =="), "expected a value, got the end"),
    (put(CONDITION, f"int {ENABLED}"), r"expected \( after int"),
    (put(CONDITION, f"({ENABLED}"), r"expected \)"),
    (put(CONDITION, f"{ENABLED} true"), "cannot be read from 'true' on"),
    (put(CONDITION, "inputs.parameter_values['other'] == true"), "reads 'other', expected one of .*enabled"),
    (put(CONDITION, f"{ENABLED} > double(1)"), r"kfp.local does not know double\(\)"),
    (put(CONDITION, f"!({ENABLED} == true)"), "Elif and Else: no statement found"),
]

OPTIONAL = "components/comp-export-firestore"
FEATURES_REFUSED = [
    (put(f"{EXPORT}/cachingOptions/cacheKey", "k"), "cacheKey is not allowed: no evidence"),
    (put(f"{OPTIONAL}/taskConfigPassthroughs", [{"field": "ENV"}]), "taskConfigPassthroughs is not allowed"),
    (put(f"{OPTIONAL}/singlePlatformSpecs", [{"platform": "kubernetes"}]), "singlePlatformSpecs is not allowed"),
    (
        put("deploymentSpec/executors/exec-finish-run", {"importer": {"reimport": True}}),
        "ExecutorSpec.importer is not allowed",
    ),
    (put(f"{IMAGE}/resources/cpuRequest", 1), "cpuRequest is not allowed: Vertex AI has limits only"),
    (put(f"{IMAGE}/lifecycle/preCacheCheck/command", ["x"]), "PipelineContainerSpec.lifecycle is not allowed"),
    (put("defaultPipelineRoot", "gs://x"), "PipelineSpec.defaultPipelineRoot is not allowed: .* has no page"),
    (
        put(f"{OPTIONAL}/inputDefinitions/parameters/run_date/parameterType", "TASK_CONFIG"),
        "=TASK_CONFIG is not allowed",
    ),
    (
        put(f"{EXPORT}/inputs/parameters/run_date/parameterExpressionSelector", "parseJson(string_value)['a']"),
        "parameterExpressionSelector is not allowed",
    ),
    (put(f"{EXPORT}/artifactIterator/itemInput", "files"), "artifactIterator is not allowed"),
    (
        put("components/comp-sales/dag/outputs/parameters/x/valueFromOneof", {"parameterSelectors": []}),
        "valueFromOneof is not allowed: OneOf",
    ),
]

MACHINES = [
    (drop(f"{EXPORT}/retryPolicy"), "expected retries with backoff, got 0 after 0s"),
    (put(f"{EXPORT}/retryPolicy/maxRetryCount", 0), "expected retries with backoff, got 0 after 30s"),
    (put(f"{EXPORT}/retryPolicy/backoffDuration", "0s"), "expected retries with backoff, got 2 after 0s"),
    (put(f"{EXPORT}/cachingOptions/enableCache", True), "caching must be off"),
    (put(f"{HANDLER}/sales/cachingOptions/enableCache", True), r"tasks\.sales: caching must be off"),
    (drop(f"{IMAGE}/resources/cpuLimit"), "expected a cpuLimit over 0 and up to 96, got 0"),
    (put(f"{IMAGE}/resources/memoryLimit", 700), "expected a memoryLimit over 0 and up to 624, got 700"),
    (put(f"{IMAGE}/image", "python:3.13"), "expected the image of the others, 'goldline', got 'python:3.13'"),
    (put(f"{IMAGE}/command", ["sh", "-c", "python3 -m pip install kfp"]), "installs packages when it starts"),
]

NAMES = [
    (put("pipelineInfo/name", "Goldline"), "expected a letter, then letters, digits and dashes, .* got 'Goldline'"),
    (put("pipelineInfo/name", "g" * 114), "113 at most"),
    (put(f"{HANDLER}/Sales.2", {"componentRef": {"name": "comp-sales"}}), "expected a task name .* got 'Sales.2'"),
    (put(f"{EXPORT}/taskInfo/name", "x" * 129), "expected a display name of 1 to 128 characters, got 129"),
    (
        put(f"{FLOW}/build-table/inputs/parameters/sql", constant(LARGE)),
        "one argument of at most 122880 bytes, and take",
    ),
    (put(f"{IMAGE}/command", ["sh", LARGE + LARGE]), "expected a source of less than 131072 bytes"),
    (put(f"{IMAGE}/command", ["sh", "print('{{$.inputs}}')"]), "its source holds {{"),
    (put(f"{FLOW}/build-table/inputs/parameters/sql", constant("{{$.nothing}}")), "a placeholder must be known"),
    (
        put(f"{FLOW}/build-table/inputs/parameters/sql", constant("-- {{$.pipeline_job_name}}")),
        "the whole of a constant",
    ),
    (
        put(f"{HANDLER}/sales/inputs/parameters/run_date", constant("{{$.pipeline_job_schedule_time_utc}}")),
        "and a task's own",
    ),
    (put(f"{FLOW}/build-table/inputs/parameters/sql", constant("-- python3")), "holds the text python3"),
    (put(f"{OPTIONAL}/inputDefinitions/parameters/collection/defaultValue", "{{$}}"), "collection: holds {{"),
]

RUN_DATE = "root/inputDefinitions/parameters/run_date"
ROOT_PARAMETERS = [
    (drop(f"{RUN_DATE}/defaultValue"), "run_date: expected a default that is not None"),
    (put(f"{RUN_DATE}/defaultValue", None), "run_date: expected a default that is not None"),
    (put(f"{RUN_DATE}/defaultValue", 5), "run_date: expected a default of type STRING, got 5"),
    (put("root/inputDefinitions/parameters/rows/defaultValue", 0.5), "rows: expected a default of type NUMBER_INTEGER"),
    (put(f"{RUN_DATE}/parameterType", "STRUCT"), "run_date: expected a plain scalar, got STRUCT"),
    (
        put("root/inputDefinitions/parameters/Run-Date", {"parameterType": "STRING", "defaultValue": ""}),
        "Run-Date: expected a name of lower-case letters",
    ),
    (
        put("root/inputDefinitions/artifacts/table/artifactType/schemaTitle", "system.Artifact"),
        "the console's form and kfp.local have parameters only",
    ),
]

BROKEN = [
    pytest.param(mutate, expected, id=f"{name}-{index}-{expected}")
    for name, rows in {
        "references": REFERENCES,
        "topology": TOPOLOGY,
        "features": FEATURES_REFUSED,
        "machines": MACHINES,
        "names": NAMES,
        "parameters": ROOT_PARAMETERS,
    }.items()
    for index, (mutate, expected) in enumerate(rows)
]


@pytest.mark.parametrize(("mutate", "expected"), BROKEN)
def test_what_is_broken_is_found(spec: Spec, mutate: Mutation, expected: str) -> None:
    mutate(spec)

    findings = [str(finding) for finding in check(spec)]

    assert any(re.search(expected, finding) for finding in findings), findings


def test_a_finding_says_where(spec: Spec) -> None:
    drop(f"{EXPORT}/retryPolicy")(spec)

    assert check(spec) == [
        Finding(
            "root.dag.tasks.exit-handler-1 / comp-exit-handler-1.dag.tasks.sales / "
            "comp-sales.dag.tasks.condition-1 / comp-condition-1-2.dag.tasks.export-firestore",
            "expected retries with backoff, got 0 after 0s: set_retry(2, backoff_duration='30s')",
        )
    ]


def test_all_is_found_at_once(spec: Spec) -> None:
    for mutate in (drop(f"{EXPORT}/retryPolicy"), put(f"{IMAGE}/image", "x"), put("pipelineInfo/name", "X")):
        mutate(spec)

    assert len(check(spec)) == 3


def test_every_feature_cites_a_page() -> None:
    assert [feature for feature in FEATURES if not feature.source.startswith("https://")] == []


# Budgets


def cost(spec: Spec, *, assumptions: dict[str, Any] | None = None, **parameters: Any) -> tuple[int, list[str]]:
    """The container tasks of a run, and the longest row of them: read from what a budget of nothing complains of."""
    scenario = Scenario("none", parameters, -1, -1, assumptions or {})
    total, row = (finding.problem for finding in check(spec, [scenario]) if finding.where == "scenario 'none'")
    return int(total.split()[1]), row.rpartition(": ")[2].split(" > ")


PLAIN = ["prepare-run", "export-firestore", "build-table", "build-table-2", "finish-run"]
TRAINING = ["prepare-run", "export-firestore", "build-table", "train-churn", "evaluate-model", "finish-run"]


def test_a_night_costs_what_its_conditions_let_run(spec: Spec) -> None:
    plain, training = {"prepare-run.train_churn": False}, {"prepare-run.train_churn": True}

    assert cost(spec, assumptions=plain) == (5, PLAIN)
    assert cost(spec, assumptions=training) == (7, TRAINING)
    assert cost(spec, assumptions=training, run_sales=False) == (2, ["prepare-run", "finish-run"])
    # sales comes after simulate, so its tasks do too.
    assert cost(spec, assumptions=plain, simulated=True) == (6, ["prepare-run", "generate-sales", *PLAIN[1:]])


def test_a_loop_costs_its_items_and_as_many_rounds_as_its_limit_leaves(tmp_path: Path) -> None:
    assert cost(compiled(loops, tmp_path)) == (5, ["generate-sales"] * 3)


def test_too_many_tasks_are_found(spec: Spec) -> None:
    assumptions = {"prepare-run.train_churn": True}

    assert check(spec, [Scenario("night", {}, 7, 6, assumptions)]) == []
    assert check(spec, [Scenario("night", {}, 6, 5, assumptions)]) == [
        Finding("scenario 'night'", "starts 7 container tasks, and may start 6"),
        Finding("scenario 'night'", f"runs 6 container tasks in a row, and may run 5: {' > '.join(TRAINING)}"),
    ]


def test_what_nobody_told_is_found_and_counted(spec: Spec) -> None:
    findings = check(spec, [Scenario("night", {}, 6, 5)])

    assert [finding.problem.partition(",")[0] for finding in findings] == [
        "cannot tell whether it runs: it depends on prepare-run.train_churn",
        "starts 7 container tasks",
        "runs 6 container tasks in a row",
    ]
    assert findings[0].where.startswith("scenario 'night', root.dag.tasks.exit-handler-1 / ")


def test_an_output_of_a_sub_pipeline_is_known_by_the_task_behind_it(spec: Spec) -> None:
    put("components/comp-simulate/outputDefinitions/parameters/more", {"parameterType": "BOOLEAN"})(spec)
    selector = {"producerSubtask": "condition-1", "outputParameterKey": "more"}
    put("components/comp-simulate/dag/outputs/parameters/more/valueFromParameter", selector)(spec)
    inner = {"producerSubtask": "generate-sales", "outputParameterKey": "more"}
    put("components/comp-condition-1/dag/outputs/parameters/more/valueFromParameter", inner)(spec)
    for owner in ("comp-condition-1", "comp-generate-sales"):
        put(f"components/{owner}/outputDefinitions/parameters/more", {"parameterType": "BOOLEAN"})(spec)
    put(f"{HANDLER}/sales/inputs/parameters/enabled", output_of("simulate", "more"))(spec)

    assert cost(spec, assumptions={"generate-sales.more": False, "prepare-run.train_churn": False})[0] == 2


@pytest.mark.parametrize("told", [{"parameters": {"run_sails": True}}, {"assumptions": {"plan.train": True}}])
def test_a_scenario_names_what_there_is(spec: Spec, told: dict[str, Any]) -> None:
    scenario = {"parameters": {}, "assumptions": {}} | told
    scenario["assumptions"] = {"prepare-run.train_churn": True} | scenario["assumptions"]
    (name,) = next(iter(told.values()))

    (finding,) = check(spec, [Scenario("typo", max_tasks=99, max_in_a_row=99, **scenario)])
    assert finding.problem == f"gives {name!r}, which the pipeline does not have"


def test_a_loop_over_what_only_a_run_knows_is_found(spec: Spec) -> None:
    loop_around(f"{HANDLER}/sales")(spec)
    put(f"{HANDLER}/sales/parameterIterator/items", {"inputParameter": "run_date"})(spec)

    night = Scenario("night", {}, 99, 99, {"prepare-run.train_churn": True})
    problems = [finding.problem for finding in check(spec, [night])]

    assert "its number of rounds is not known: prepare-run.run_date is known in a run only; counted once" in problems


def test_nights_are_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    night = "nights_a_week: 7, tasks: 18, in_a_row: 8, parameters: {run_a: false}, outputs: {prepare-run.train: true}"
    (tmp_path / "goldline.yaml").write_text(f"nights: {{plain: {{{night}}}}}")
    assert nights() == [Scenario("plain", {"run_a": False}, 18, 8, {"prepare-run.train": True}, 7)]
    (tmp_path / "goldline.yaml").write_text("nights: {plain: {tasks: many}}")
    with pytest.raises(
        ProjectError, match=r"goldline\.yaml: nights\.plain: expected tasks, in_a_row and nights_a_week"
    ):
        nights()


def value(name: str) -> str:
    return f"inputs.parameter_values['pipelinechannel--{name}']"


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        (f"{value('flag')} == true", True),
        (f"{value('flag')} != true", False),
        (f"{value('word')} == 'weekly'", True),
        (f"{value('word')} == ''", False),
        (f"int({value('count')}) > 6", True),
        (f"int({value('count')}) >= 7", True),
        (f"int({value('count')}) < 7", False),
        (f"int({value('count')}) <= -7", False),
        (f"{value('share')} < double(1)", True),
        (f"{value('share')} >= 0.25", True),
        (f"string({value('flag')}) == 'true'", True),
        (f"string({value('word')}) == 'weekly'", True),
        (f"!({value('flag')} == true) && int({value('count')}) > 6", False),
        (f"{value('flag')} == true && int({value('count')}) > 6", True),
        (f"{value('flag')} == false || {value('word')} == 'weekly'", True),
        (f"({value('flag')} == false || {value('word')} == 'weekly') && {value('flag')}", True),
    ],
)
def test_conditions_are_read_as_the_compiler_writes_them(condition: str, runs: bool) -> None:
    assert cost(one_if(condition))[0] == int(runs)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        (f"{value('word')} == true", "it compares 'weekly' with True"),
        (f"int({value('word')}) == 1", "it expects a number, got 'weekly'"),
        (f"{value('job')} == 'x'", "it depends on {{$.pipeline_job_name}}, which is not known"),
    ],
)
def test_conditions_that_cannot_be_decided_are_found(condition: str, problem: str) -> None:
    assert any(problem in finding.problem for finding in check(one_if(condition), [Scenario("any", {}, 9, 9)]))


def one_if(condition: str) -> Spec:
    """A task under an If, and nothing else."""
    inputs = {
        "flag": {"parameterType": "BOOLEAN", "defaultValue": True},
        "word": {"parameterType": "STRING", "defaultValue": "weekly"},
        "count": {"parameterType": "NUMBER_INTEGER", "defaultValue": 7},
        "share": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5},
        "job": {"parameterType": "STRING", "defaultValue": ""},
    }
    given = {f"pipelinechannel--{name}": {"componentInputParameter": name} for name in inputs}
    given["pipelinechannel--job"] = constant("{{$.pipeline_job_name}}")
    task = {
        "componentRef": {"name": "comp-if"},
        "inputs": {"parameters": given},
        "triggerPolicy": {"condition": condition},
    }
    return {
        "root": {"inputDefinitions": {"parameters": inputs}, "dag": {"tasks": {"if": task}}},
        "components": {
            "comp-if": {
                "inputDefinitions": {"parameters": {f"pipelinechannel--{name}": kind for name, kind in inputs.items()}},
                "dag": {"tasks": {"work": {"componentRef": {"name": "comp-work"}}}},
            },
            "comp-work": {"executorLabel": "exec-work"},
        },
        "deploymentSpec": {"executors": {"exec-work": {"container": {"image": "goldline"}}}},
    }


def test_a_large_pipeline_is_checked_in_no_time(spec: Spec) -> None:
    for number in range(30):
        put(f"{FLOW}/table-{number}", spec["components"]["comp-condition-1-2"]["dag"]["tasks"]["build-table"])(spec)
    started = time.perf_counter()

    check(spec)

    assert time.perf_counter() - started < 1
