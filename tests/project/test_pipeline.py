"""The graph is what the SQL reads, and the committed spec is what the graph compiles to."""

import ast
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl

from components.tasks import table
from goldline import project
from goldline.contracts.loading import Contract, load_all, parse
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.sql import reads
from goldline.contracts.table_contract import PublishedTable, TableContract
from goldline.project import pipeline_json, root, sql_folder
from goldline.runs.run_files import Catalog
from goldline.spec import tables
from goldline.spec.compiled import compiled, is_same
from goldline.spec.tables import GraphError, Published, catalog, contract_json, contracts, flows, landed_source
from tests.support import orders

Spec = dict[str, Any]
FACES = sorted(p for p in root().glob("components/**/*.py") if "@task(" in p.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def spec() -> Spec:
    return compiled()[1]


# The compiled graph


@dataclass(frozen=True)
class Task:
    """A task with what it was given as constants, and the tasks whose artifacts it takes."""

    name: str
    constants: Mapping[str, Any]
    takes: tuple["Task", ...]


class Graph:
    """The tasks of a spec, whichever sub-pipeline they stand in; an artifact is followed to who makes it."""

    def __init__(self, spec: Spec) -> None:
        self.components = {**spec["components"], "root": spec["root"]}
        self.tasks: list[Task] = []
        self._walk("root", {})

    def _walk(self, component: str, given: Mapping[str, Task]) -> dict[str, Task]:
        """Who makes each output of a sub-pipeline."""
        dag = self.components[component]["dag"]
        made: dict[tuple[str, str], Task] = {}
        waiting = dict(dag["tasks"])
        while waiting:
            name, task = next((n, t) for n, t in waiting.items() if not set(t.get("dependentTasks", ())) & set(waiting))
            del waiting[name]
            takes = {}
            for key, value in task.get("inputs", {}).get("artifacts", {}).items():
                origin = value.get("taskOutputArtifact")
                if origin is None:
                    takes[key] = given[value["componentInputArtifact"]]
                else:
                    takes[key] = made[origin["producerTask"], origin["outputArtifactKey"]]
            inner = task["componentRef"]["name"]
            if "dag" in self.components[inner]:
                made |= {(name, key): maker for key, maker in self._walk(inner, takes).items()}
                continue
            values = task.get("inputs", {}).get("parameters", {})
            constants = {k: v["runtimeValue"]["constant"] for k, v in values.items() if "runtimeValue" in v}
            self.tasks.append(Task(name, constants, tuple(takes.values())))
            outputs = self.components[inner].get("outputDefinitions", {}).get("artifacts", {})
            made |= {(name, key): self.tasks[-1] for key in outputs}
        outputs = dag.get("outputs", {}).get("artifacts", {})
        selected = {key: value["artifactSelectors"][0] for key, value in outputs.items()}
        return {key: made[s["producerSubtask"], s["outputArtifactKey"]] for key, s in selected.items()}

    def builds(self) -> Iterator[tuple[TableContract, Task]]:
        """The tasks that build tables, with their contracts."""
        for task in self.tasks:
            if "select" in task.constants and "flow" in task.constants:  # build_table's
                contract = parse(json.loads(task.constants["contract"]), task.name)
                assert isinstance(contract, TableContract)
                yield contract, task


def published(task: Task) -> str | None:
    """The table or view that stands behind a task's artifact, if the task says."""
    if "contract" not in task.constants:
        return None
    contract = parse(json.loads(task.constants["contract"]), task.name)
    if isinstance(contract, SourceContract):
        return contract.view
    return contract.table


def test_the_graphs_edges_are_the_tables_that_the_sql_reads(spec: Spec) -> None:
    builds = list(Graph(spec).builds())
    assert builds
    for contract, task in builds:
        named = {name for taken in task.takes if (name := published(taken))}
        # predict fills ops.predictions, which its SELECT reads, from the rows of another SELECT
        read = reads(task.constants.get("rows") or task.constants["select"]) - published_tables(contract)
        unnamed = read - named
        assert named <= read, task.name
        # What brings a source's files, or fills one of goldline's own tables, need not carry a contract.
        assert {name.split(".")[0] for name in unnamed} <= {"bronze", "ops"}, task.name
        loaded = read & {c.table for c in table_contracts() if not c.mode.has_select}  # one task brings them all
        assert len(task.takes) == len(read - loaded) + bool(loaded), task.name


def test_what_is_read_as_last_published_is_built_by_somebody(spec: Spec) -> None:
    builds = list(Graph(spec).builds())
    missing = {table for contract, _ in builds for table in published_tables(contract)} - {c.table for c, _ in builds}
    assert not (missing and has_all_flows())  # where a flow was dropped, its tables are made empty


def has_all_flows() -> bool:
    """Whether no flow of the example was dropped: a project without one is held to less."""
    return {"sales", "clickstream", "startups", "transit"} <= flows().keys()


def test_every_table_is_built_once_by_a_task_of_its_name(spec: Spec) -> None:
    built = [(contract.table, contract.name) for contract, _ in Graph(spec).builds()]
    for contract, task in Graph(spec).builds():
        assert task.name.replace("-", "_") == contract.name
    assert len(built) == len(set(built))
    assert set(built) <= {(c.table, c.name) for c in table_contracts()}
    assert set(built) >= {(c.table, c.name) for c in table_contracts() if c.mode.is_built}  # views are ever fresh


def published_tables(contract: TableContract) -> set[str]:
    return {read.table for read in contract.reads_published}


def table_contracts() -> list[TableContract]:
    return [c for c in contracts().values() if isinstance(c, TableContract)]


def test_a_task_holds_the_select_and_the_contract_of_its_files(spec: Spec) -> None:
    for contract, task in Graph(spec).builds():
        path = f"{task.constants['flow']}/{contract.name}"
        assert task.constants["select"] == (sql_folder() / f"{path}.sql").read_text(encoding="utf-8")
        assert contract == contracts()[path].model_copy(update={"tests": ()})


# Edges that pipeline.py gets wrong


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contracts of a small flow in the place of the project's."""
    orders.write(tmp_path)
    monkeypatch.setattr(project, "sql_folder", lambda: tmp_path)
    monkeypatch.setattr(tables, "contracts", lambda: load_all(tmp_path))


def exported(name: str = "bronze.orders") -> Published:
    return Published(name, "an artifact")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("sources", "given"),
    [
        ((), "[]"),
        ((exported(),), "['bronze.orders']"),
        ((exported(), exported("silver.stg_orders")), "['bronze.orders', 'silver.stg_orders']"),
    ],
    ids=["none", "another", "one too many"],
)
def test_a_wrong_edge_is_refused_with_what_was_expected(sources: tuple[Published, ...], given: str) -> None:
    with pytest.raises(GraphError) as caught:
        table("shop/mart_orders", "a run", *sources)
    assert str(caught.value).startswith(
        f"sql/shop/mart_orders.sql reads ['silver.stg_orders'], but in the pipeline its sources are {given}"
    )


PREDICTED = "select 0.5 as value from ops.predictions"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("select", "rows", "sources", "message"),
    [
        (
            f"{PREDICTED} join gold.fct_returns using (key)",
            "select * from silver.stg_orders",
            ["silver.stg_orders"],
            r"sql/shop/mart_orders\.sql reads \['gold\.fct_returns'\], expected only ops tables, the source of sql/",
        ),
        (
            PREDICTED,
            "select * from silver.stg_orders join silver.stg_returns using (id)",
            ["silver.stg_orders", "silver.stg_returns"],
            r"sql/shop/predict_returns\.sql reads 2 tables, expected one table of features",
        ),
    ],
    ids=["a table without an edge", "two tables of features"],
)
def test_predictions_read_what_their_one_task_waits_for(
    select: str, rows: str, sources: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = orders.table(orders.VIEW).model_copy(update={"write": "full", "model": "returns"})
    monkeypatch.setattr(tables, "contracts", lambda: {"shop/mart_orders": predictions})
    (tmp_path / "shop" / "mart_orders.sql").write_text(select, encoding="utf-8")
    (tmp_path / "shop" / "predict_returns.sql").write_text(rows, encoding="utf-8")

    def alone(run: str) -> None:
        made = [dsl.importer(artifact_uri="gs://b/x", artifact_class=dsl.Artifact) for _ in sources]
        table("shop/mart_orders", run, *(Published(name, m.output) for name, m in zip(sources, made, strict=True)))

    with pytest.raises(GraphError, match=message):
        dsl.pipeline(alone)


@pytest.mark.usefixtures("shop")
def test_a_fifth_source_is_refused(tmp_path: Path) -> None:
    names = [f"silver.stg_{each}" for each in "abcde"]
    select = " union all ".join(f"select * from {name}" for name in names)
    (tmp_path / "shop" / "mart_orders.sql").write_text(select, encoding="utf-8")
    with pytest.raises(
        GraphError, match=r"sql/shop/mart_orders\.sql reads 5 tables, build_table takes 4 sources at most"
    ):
        table("shop/mart_orders", "a run", *(exported(name) for name in names))


@pytest.mark.usefixtures("shop")
def test_what_is_read_as_last_published_needs_no_edge_and_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stg_orders = orders.table()
    read = PublishedTable(table=stg_orders.table, columns=stg_orders.columns)
    mart_orders = orders.table(orders.VIEW).model_copy(update={"write": "full", "reads_published": (read,)})
    monkeypatch.setattr(tables, "contracts", lambda: {"shop/mart_orders": mart_orders})

    def alone() -> None:
        table("shop/mart_orders", "a run")

    spec = json_format.MessageToDict(dsl.pipeline(alone).pipeline_spec)
    [(contract, task)] = Graph(spec).builds()
    assert (contract.table, task.takes) == ("gold.mart_orders", ())
    with pytest.raises(GraphError, match=r"reads \[\], but in the pipeline its sources are \['silver\.stg_orders'\]"):
        table("shop/mart_orders", "a run", exported("silver.stg_orders"))


@pytest.mark.usefixtures("shop")
def test_a_contract_that_is_not_there_is_named_with_those_that_are() -> None:
    for ask in (lambda: table("shop/stg_order", "a run"), lambda: contract_json("shop/stg_order")):
        with pytest.raises(GraphError, match=r"no contract sql/shop/stg_order\.yml, expected one of .*shop/stg_orders"):
            ask()


@pytest.mark.usefixtures("shop")
def test_a_table_is_no_source_and_a_source_no_table() -> None:
    with pytest.raises(GraphError, match="is a table's contract, expected a source's"):
        landed_source("shop/stg_orders", "an artifact")
    with pytest.raises(GraphError, match="is a source's contract, expected a table's"):
        table("shop/ext_orders", "a run")
    assert landed_source("shop/ext_orders", "an artifact") == exported()


# What travels in the spec


def test_every_select_and_contract_stands_in_the_spec_once(spec: Spec) -> None:
    constants = [c for task in Graph(spec).tasks for c in task.constants.values() if isinstance(c, str)]
    for path, contract in contracts().items():
        files = [contract_json(path)] if isinstance(contract, SourceContract) or contract.mode.is_built else []
        file = sql_folder() / f"{path}.sql"
        files += [file.read_text(encoding="utf-8")] if file.exists() and files else []
        for text in files:
            assert sum(constant.count(text) for constant in constants) == 1, path
    assert max(map(len, constants)) < 32 * 1024


def test_what_prepare_run_needs_of_three_hundred_tables_fits_one_argument() -> None:
    dice, words = random.Random(7), sorted(set(re.findall(r"[a-z]{4,}", catalog().json())))

    def varied(contract: Contract, number: int) -> Contract:
        """The contract of another table: other names, other descriptions, in the same proportions."""
        if isinstance(contract, SourceContract):
            return contract.model_copy(update={"source": f"{contract.source}_{number}"})
        text = contract.model_dump_json()
        for word in dice.sample(words, len(words) // 4):
            text = re.sub(rf"(?<=description\":\")([^\"]*)\b{word}\b", lambda m: m[1] + dice.choice(words), text)
        return parse({**json.loads(text), "table": f"{contract.table}_{number}"}, "a varied contract")

    many = [varied(c, i) for i in range(300 // len(contracts()) + 1) for c in contracts().values()][:300]
    assert len(Catalog(tuple(many), catalog().views).pack()) < 96 * 1024


def test_contracts_travel_whole_but_for_their_tests() -> None:
    assert list(Catalog.unpack(catalog().pack()).contracts) == [
        c.model_copy(update={"tests": ()}) if isinstance(c, TableContract) else c for c in contracts().values()
    ]


@pytest.mark.usefixtures("shop")
def test_views_alone_travel_with_their_selects() -> None:
    assert Catalog.unpack(catalog().pack()).views == {"gold.mart_orders": orders.VIEW_SELECT}


def test_every_table_that_is_built_is_of_one_flow() -> None:
    listed = [f"{flow}/{name}" for flow, names in flows().items() for name in names]
    tables = {path: c for path, c in contracts().items() if isinstance(c, TableContract)}
    assert sorted(listed) == sorted(path for path, c in tables.items() if c.mode.is_built)


# Components


@pytest.mark.parametrize("path", FACES, ids=lambda path: path.parent.name)
def test_a_face_is_one_short_function_named_like_its_folder(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert function.name == _verb(path)
    [decorator] = function.decorator_list
    assert isinstance(function.end_lineno, int)
    assert function.end_lineno - decorator.lineno + 1 < 30
    assert ast.get_docstring(function)


def test_every_component_is_used(spec: Spec) -> None:
    commands = [e["container"]["command"][-1] for e in spec["deploymentSpec"]["executors"].values()]
    used = {
        node.name for command in commands for node in ast.walk(ast.parse(command)) if isinstance(node, ast.FunctionDef)
    }
    # Where a flow was dropped, faces of the library's stages may wait for another.
    due = {_verb(path) for path in FACES if has_all_flows() or path.name == "component.py"}
    assert due <= used <= {_verb(path) for path in FACES}


def test_a_components_folder_holds_its_face() -> None:
    folders = {path.parent for path in root().glob("components/*/*/*.py")}
    assert folders == {path.parent for path in FACES} - {root() / "components"}


def _verb(face: Path) -> str:
    return face.parent.name if face.name == "component.py" else face.stem


# The compiled spec


def test_the_committed_spec_is_what_the_pipeline_compiles_to() -> None:
    committed = pipeline_json().read_text(encoding="utf-8")
    assert is_same(committed, compiled()[0]), "pipeline.json is stale: run `make compile`"


def test_the_form_stays_short_and_each_field_is_one_value(spec: Spec) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) <= 26
    assert {p["parameterType"] for p in parameters.values()} == {"STRING", "BOOLEAN", "NUMBER_INTEGER"}
    assert all(p["description"] for p in parameters.values())
    defaults = [p["defaultValue"] for p in parameters.values()]
    assert not [text for text in defaults if isinstance(text, str) and text[:1] in ("{", "[")]


def test_every_process_compiles_to_the_same_bytes() -> None:
    code = "import sys; from goldline.spec.compiled import compiled; sys.stdout.write(compiled()[0])"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=root(),
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate(timeout=100)[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert one == other == compiled()[0]
