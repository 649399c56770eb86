"""What pipeline.py says of tables: `table(...)` builds one, and the graph's edges must be what its SELECT reads."""

import json
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from components.build_table import build_table
from goldline.contracts.contract import Contract, SourceContract, TableContract, load_all
from goldline.contracts.sql import reads

SQL = Path(__file__).parents[2] / "sql"


class GraphError(ValueError):
    """A table's sources in pipeline.py are not the tables that its SELECT reads."""


@dataclass(frozen=True)
class Published:
    """A table and the artifact of the task that publishes it, for the tasks that read it."""

    name: str
    artifact: Any

    def given(self, _: Container[str]) -> frozenset[str]:
        """What a SELECT that reads these tables may read of it: the table, whether it is read or not."""
        return frozenset({self.name})


@dataclass(frozen=True)
class Loaded:
    """Tables that one task loads, and its artifact, for the tasks that read any of them."""

    names: frozenset[str]
    artifact: Any

    def given(self, read: Container[str]) -> frozenset[str]:
        """What a SELECT that reads these tables may read of it: those of its tables that are among them."""
        return frozenset(name for name in self.names if name in read) or self.names


@cache
def contracts() -> dict[str, Contract]:
    """All contracts, by the path of their file below sql/, without its suffix."""
    return load_all(SQL)


@cache
def flows() -> dict[str, list[str]]:
    """The tables that each flow builds: a flow is a folder of sql/. Views and what components load are not built."""
    found: dict[str, list[str]] = {}
    for path, contract in contracts().items():
        if isinstance(contract, TableContract) and contract.is_built:
            found.setdefault(path.split("/", maxsplit=1)[0], []).append(contract.name)
    return found


def source(name: str) -> str:
    """The contract of `sql/<name>.yml`, a source's or a table's, as a task takes it."""
    return _travelling(_contract(name))


def select(name: str) -> str:
    """The SELECT of `sql/<name>.sql` as a task takes it."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def landed(name: str, artifact: Any) -> Published:  # noqa: ANN401, a channel of kfp
    """The view of the source `sql/<name>.yml`, once the task that gives `artifact` has landed its files."""
    contract = _contract(name)
    if not isinstance(contract, SourceContract):
        raise GraphError(f"sql/{name}.yml is a table's contract, expected a source's")
    return Published(contract.view, artifact)


def loading(flow: str) -> str:
    """The contracts of the tables that a component of the flow loads, as a task takes them."""
    return json.dumps([json.loads(_travelling(c)) for c in _loaded(flow)], separators=(",", ":"))


def loaded(flow: str, artifact: Any) -> Loaded:  # noqa: ANN401, a channel of kfp
    """All tables that a component of the flow loads, once the task that gives `artifact` has loaded them."""
    return Loaded(frozenset(c.table for c in _loaded(flow)), artifact)


def table(name: str, run: Any, *sources: Published | Loaded) -> Published:  # noqa: ANN401, a channel of kfp
    """The task that builds `sql/<name>.sql`, named after the table.

    Raises:
        GraphError: `sources` are not the tables that the SELECT reads.
    """
    contract = _contract(name)
    if not isinstance(contract, TableContract):
        raise GraphError(f"sql/{name}.yml is a source's contract, expected a table's")
    if contract.write == "load":
        raise GraphError(f"sql/{name}.yml is of a table that a component loads: it has no SELECT")
    text = select(name)
    read = reads(text) - set(contract.reads_published)
    given = frozenset[str]().union(*(s.given(read) for s in sources))
    if given != read:
        raise GraphError(
            f"sql/{name}.sql reads {sorted(read)}, but in pipeline.py its sources are {sorted(given)} "
            f"(tables that are read as last published stand under reads_published in its contract)"
        )
    inputs = {f"source_{i}": s.artifact for i, s in enumerate(sources, 1)}
    task = build_table.named(contract.name)(
        run=run, flow=name.split("/", maxsplit=1)[0], select=text, contract=_travelling(contract), **inputs
    )
    return Published(contract.table, task.outputs["table"])


def everything() -> str:
    """All contracts, and the SELECTs of views: what prepare_run makes tables from."""
    return json.dumps(
        {
            "contracts": [json.loads(_travelling(c)) for c in contracts().values()],
            "views": {
                c.table: select(path)
                for path, c in contracts().items()
                if isinstance(c, TableContract) and c.write == "view"
            },
        },
        separators=(",", ":"),
    )


def _loaded(flow: str) -> list[TableContract]:
    found = {path: c for path, c in contracts().items() if path.startswith(f"{flow}/")}
    return [c for c in found.values() if isinstance(c, TableContract) and c.write == "load"]


def _contract(name: str) -> Contract:
    try:
        return contracts()[name]
    except KeyError:
        raise GraphError(f"no contract sql/{name}.yml, expected one of {', '.join(contracts())}") from None


def _travelling(contract: Contract) -> str:
    """A contract as it travels in the spec: without its tests, and without what is default."""
    return contract.model_dump_json(exclude={"tests"}, exclude_defaults=True)
