"""Unit tests of contracts: rows given, rows expected, on any engine that can build the table."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from goldline.contracts.columns import Row
from goldline.contracts.loading import Contract
from goldline.contracts.table_contract import Case, TableContract
from goldline.local.sqltest.choice import chosen
from goldline.local.sqltest.compare import differences


class CaseError(Exception):
    """A case that an engine cannot run to its end; the message is for the case's author."""


@dataclass(frozen=True)
class Outcome:
    """Rows after a build: those of the table, and those of its rejects table."""

    rows: Sequence[Row]
    rejected: Sequence[Row] = ()


class Engine(Protocol):
    """An engine that builds a table from a case's rows."""

    @property
    def name(self) -> str:
        """Name of the engine in results."""

    def run(self, contract: TableContract, select: str, case: Case, contracts: Mapping[str, Contract]) -> Outcome:
        """Load the case's rows, build the table, and read it.

        Raises:
            CaseError: the SELECT, the contract or the case makes the build fail.
        """


@dataclass(frozen=True)
class CaseResult:
    """Result of a case on an engine; `message` says what differs, and is empty if the case passed."""

    table: str
    case: str
    engine: str
    passed: bool
    message: str
    seconds: float


def run_cases(
    contracts: Mapping[str, Contract],
    folder: Path,
    engines: Sequence[Engine],
    only: str | None = None,
    case_name: str | None = None,
) -> list[CaseResult]:
    """Run the unit tests of all contracts, or of one table's, on each engine.

    Args:
        contracts: by the path of their file below the folder, as load_all gives them.
        folder: folder of the SELECTs.
        engines: engines to run each case on.
        only: table as `silver.stg_orders`, `stg_orders` or `shop/stg_orders`; None: all.
        case_name: name of the only case to run; None: all.

    Raises:
        UnknownTableError: no table has the name `only`.
    """
    tables = chosen(contracts, only)
    with ThreadPoolExecutor(len(engines)) as pool:  # the engines side by side
        return [
            result
            for contract, select in _with_selects(tables, folder)
            for case in contract.tests
            if case_name in (None, case.name)
            for result in pool.map(lambda engine: _result(engine, contract, select, case, contracts), engines)  # noqa: B023
        ]


def _with_selects(tables: Mapping[str, TableContract], folder: Path) -> Iterator[tuple[TableContract, str]]:
    for path, contract in tables.items():
        if contract.mode.has_select:
            yield contract, (folder / f"{path}.sql").read_text(encoding="utf-8")


def _result(
    engine: Engine, contract: TableContract, select: str, case: Case, contracts: Mapping[str, Contract]
) -> CaseResult:
    start = time.perf_counter()
    try:
        message = differences(contract, case, engine.run(contract, select, case, contracts))
    except CaseError as error:
        message = str(error)
    return CaseResult(contract.table, case.name, engine.name, not message, message, time.perf_counter() - start)
