"""Tables of a project as pipeline.py names them; the edges of the graph must be the tables that their SELECTs read."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kfp import dsl

from goldline import project
from goldline.contracts.loading import Contract, load_all
from goldline.contracts.source_contract import SourceContract
from goldline.contracts.sql import SqlError, reads
from goldline.contracts.table_contract import TableContract
from goldline.runs.ops import TABLES
from goldline.runs.run_files import Catalog, travelling
from goldline.spec.task import Task

type Channel = Any  # kfp's placeholder of a task's output, or a constant
type Inputs = Mapping[str, Channel]
type Sources = tuple[Published | Loaded, ...]


class GraphError(ValueError):
    """A table's sources in pipeline.py are not the tables that its SELECT reads."""


@dataclass(frozen=True)
class Published:
    """A table and the artifact of the task that publishes it, for the tasks that read it."""

    name: str
    artifact: Channel

    def given(self, _: Container[str]) -> frozenset[str]:
        """Name of the table, whether the SELECT reads it or not."""
        return frozenset({self.name})


@dataclass(frozen=True)
class Loaded:
    """Tables that one task loads, and its artifact, for the tasks that read any of them."""

    names: frozenset[str]
    artifact: Channel

    def given(self, read: Container[str]) -> frozenset[str]:
        """Loaded tables that are among `read`; all loaded tables if none is."""
        return frozenset(name for name in self.names if name in read) or self.names


class Tables:
    """Factory of the tasks that build a project's tables, from its components build_table and predict."""

    def __init__(self, build_table: Task, predict: Task | None = None) -> None:
        self.build_table = build_table
        self.predict = predict

    def table(
        self, name: str, run: Channel, *sources: Published | Loaded, value: Channel = "", after: Channel = None
    ) -> Published:
        """Make the task that builds `sql/<name>.sql`, named after the table.

        If the contract names a `model`, the task first predicts with it, for the rows of the SELECT in
        `predict_<model>.sql` beside it; `sources` are then the tables that this SELECT reads.

        Args:
            name: path of SELECT and contract below sql/, without suffix.
            run: the run's context, an output of prepare_run.
            sources: tables that the SELECT reads.
            value: query parameter `@value` of `predict_<model>.sql`.
            after: training task that a prediction waits for, whether it fails or not.

        Raises:
            GraphError: `sources` are not the tables that the SELECT reads, they are more than the component takes, or
                there is no such SELECT.
        """
        contract = _table_contract(name)
        if not contract.mode.has_select:
            raise GraphError(f"sql/{name}.yml is of a table that a component loads, expected one with a SELECT")
        common = {"run": run, "flow": _flow(name), "select": select(name), "contract": travelling(contract)}
        if contract.model is None:
            task = self._build(name, contract, sources, common)
        else:
            task = self._predict(name, contract, sources, {**common, "model": contract.model, "value": value})
            if after is not None:
                task.after(after)
            task.ignore_upstream_failure()  # a failed training does not stop the night's predictions with the champion
        return Published(contract.table, task.outputs["table"])

    def _build(self, name: str, contract: TableContract, sources: Sources, common: Inputs) -> dsl.PipelineTask:
        _check_sources(name, contract, sources)
        if len(sources) > (most := sum(each.startswith("source_") for each in self.build_table.inputs)):
            raise GraphError(f"sql/{name}.sql reads {len(sources)} tables, build_table takes {most} sources at most")
        inputs = {f"source_{i}": s.artifact for i, s in enumerate(sources, 1)}
        return self.build_table.named(contract.name)(**common, **inputs)

    def _predict(self, name: str, contract: TableContract, sources: Sources, common: Inputs) -> dsl.PipelineTask:
        if self.predict is None:
            raise GraphError(f"sql/{name}.yml names a model, expected Tables with a component that predicts")
        rows = f"{_flow(name)}/predict_{contract.model}"
        _check_sources(rows, contract, sources)
        if len(sources) != 1:
            raise GraphError(f"sql/{rows}.sql reads {len(sources)} tables, expected one table of features")
        # The same task builds the table, so what its own SELECT reads has no edge but this one.
        expected = {*TABLES, contract.table, *sources[0].given(()), *_published(contract)}
        if others := _reads(name) - expected:
            raise GraphError(
                f"sql/{name}.sql reads {sorted(others)}, expected only ops tables, the source of sql/{rows}.sql, "
                f"and tables under reads_published in its contract"
            )
        return self.predict.named(contract.name)(**common, rows=select(rows), features=sources[0].artifact)


@cache
def contracts() -> dict[str, Contract]:
    """All contracts, by the path of their file below sql/, without suffix."""
    return load_all(project.sql_folder())


def flows() -> dict[str, list[str]]:
    """Names of the tables that each flow (a folder of sql/) builds; views and loaded tables are not among them."""
    found: dict[str, list[str]] = {}
    for path, contract in contracts().items():
        if isinstance(contract, TableContract) and contract.mode.is_built:
            found.setdefault(_flow(path), []).append(contract.name)
    return found


def contract_json(name: str) -> str:
    """Contract `sql/<name>.yml`, a source's or a table's, as the JSON that a task takes."""
    return travelling(_contract(name))


def select(name: str) -> str:
    """SELECT of `sql/<name>.sql`, as a task takes it."""
    return (project.sql_folder() / f"{name}.sql").read_text(encoding="utf-8")


def landed_source(name: str, artifact: Channel) -> Published:
    """View of the source `sql/<name>.yml`, after the task that gives `artifact` has landed its files."""
    contract = _contract(name)
    if not isinstance(contract, SourceContract):
        raise GraphError(f"sql/{name}.yml is a table's contract, expected a source's")
    return Published(contract.view, artifact)


def loaded_tables(flow: str, artifact: Channel) -> Loaded:
    """All tables that a component of the flow loads, after the task that gives `artifact` has loaded them."""
    tables = {path: c for path, c in contracts().items() if isinstance(c, TableContract) and _flow(path) == flow}
    return Loaded(frozenset(c.table for c in tables.values() if not c.mode.has_select), artifact)


def catalog() -> Catalog:
    """Catalog of the project: all contracts, and the SELECTs of views."""
    tables = {path: c for path, c in contracts().items() if isinstance(c, TableContract)}
    return Catalog(tuple(contracts().values()), {c.table: select(path) for path, c in tables.items() if c.mode.is_view})


def _reads(name: str) -> frozenset[str]:
    try:
        return reads(select(name))
    except SqlError as error:
        raise GraphError(f"sql/{name}.sql: {error}") from error


def _check_sources(name: str, contract: TableContract, sources: Sources) -> None:
    read = _reads(name) - _published(contract)
    given = frozenset[str]().union(*(s.given(read) for s in sources))
    if given != read:
        raise GraphError(
            f"sql/{name}.sql reads {sorted(read)}, but in the pipeline its sources are {sorted(given)} "
            f"(tables that are read as last published stand under reads_published in its contract)"
        )


def _published(contract: TableContract) -> set[str]:
    """Names of the tables that are read as last published."""
    return {published.table for published in contract.reads_published}


def _flow(path: str) -> str:
    return path.split("/", maxsplit=1)[0]


def _table_contract(name: str) -> TableContract:
    contract = _contract(name)
    if not isinstance(contract, TableContract):
        raise GraphError(f"sql/{name}.yml is a source's contract, expected a table's")
    return contract


def _contract(name: str) -> Contract:
    try:
        return contracts()[name]
    except KeyError:
        raise GraphError(f"no contract sql/{name}.yml, expected one of {', '.join(contracts())}") from None
