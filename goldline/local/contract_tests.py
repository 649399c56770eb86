"""`goldline test`: check SQL with ZetaSQL and run the contracts' unit tests on two engines, in seconds."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from goldline.contracts.loading import Contract, load_all
from goldline.local import stack
from goldline.local.servers import PROJECT
from goldline.local.sqltest.choice import chosen, needed
from goldline.project import sql_folder

if TYPE_CHECKING:
    from goldline.emulators.googlesql import Analyser
    from goldline.local.sqltest.cases import CaseResult


def run_contract_tests(home: Path, table: str | None, out: TextIO | None = None, folder: Path | None = None) -> int:
    """Check SQL, then run the unit tests, of one table or of all; exit code 1 if anything is wrong, else 0.

    Args:
        home: folder of the stack.
        table: as `stg_orders`, `silver.stg_orders` or `shop/stg_orders`; None: all.
        out: stream for the results; None: standard output.
        folder: folder of SELECTs and contracts; None: the project's.

    Raises:
        ContractError: a contract is invalid.
        UnknownTableError: no table has that name.
    """
    out, folder = out or sys.stdout, folder or sql_folder()
    contracts = load_all(folder)
    tables = chosen(contracts, table)
    if table:
        contracts = needed(contracts, tables, folder)
    from goldline.local.sqltest.analysis import analyser_of, check_sql, check_tables

    analyser = analyser_of(contracts.values())
    if problems := check_tables(tables, folder, analyser) if table else check_sql(folder):
        out.write("".join(f"{problem}\n" for problem in problems))
        return 1
    if not any(contract.tests for contract in tables.values()):
        for contract in tables.values():
            what = "no tests: its SELECT was analysed" if contract.mode.has_select else "no tests and no SELECT"
            out.write(f"{contract.table} has {what}\n")
        return 0
    results = _results(home, contracts, table, folder, analyser)
    for r in results:
        out.write(f"  {'✓' if r.passed else '✗'} {r.table}: {r.case} ({r.engine}, {r.seconds:.1f} s)\n")
        if r.message:
            out.write("".join(f"      {line}\n" for line in r.message.splitlines()))
    failed = sum(not r.passed for r in results)
    out.write(f"{len(results) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


def _results(
    home: Path, contracts: Mapping[str, Contract], table: str | None, folder: Path, analyser: "Analyser"
) -> "list[CaseResult]":
    from goldline.local.sqltest.cases import run_cases
    from goldline.local.sqltest.reference_engine import ReferenceEngine

    with stack.using(home, needs_firestore=False) as use, use.leading():
        from goldline.local.sqltest.warehouse_engine import WarehouseEngine

        engine = WarehouseEngine(PROJECT, stack.BUCKET)
        try:
            return run_cases(contracts, folder, [ReferenceEngine(analyser=analyser), engine], table)
        finally:
            engine.close()
