"""`goldline test`: check SQL with ZetaSQL and run the contracts' unit tests on two engines, in seconds.

Of one table only what has changed since it passed is checked and run; of all tables, everything.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from goldline.contracts.loading import Contract, load_all
from goldline.contracts.table_contract import Case
from goldline.local import stack
from goldline.local.servers import PROJECT
from goldline.local.sqltest.choice import chosen, needed
from goldline.local.sqltest.memory import Memory
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
    if table:
        return max(_one(home, contracts, path, out, folder) for path in chosen(contracts, table))
    from goldline.local.sqltest.analysis import analyser_of, check_sql

    if problems := check_sql(folder):
        out.write("".join(f"{problem}\n" for problem in problems))
        return 1
    return _told(_results(home, contracts, None, folder, analyser_of(contracts.values())), [], out)


def _one(home: Path, contracts: Mapping[str, Contract], path: str, out: TextIO, folder: Path) -> int:
    """Check and test the table at a contract's path."""
    [contract] = chosen(contracts, path).values()
    memory = Memory(home, contracts, path, folder)
    same = [case for case in contract.tests if memory.has_passed(case)]
    changed = [case for case in contract.tests if case not in same]
    results: list[CaseResult] = []
    if changed or not memory.is_analysed:
        from goldline.local.sqltest.analysis import analyser_of, check_tables

        narrow = needed(contracts, {path: contract}, folder)
        analyser = analyser_of(narrow.values())
        if problems := [] if memory.is_analysed else check_tables({path: contract}, folder, analyser):
            out.write("".join(f"{problem}\n" for problem in problems))
            return 1
        if changed:
            narrow[path] = contract.model_copy(update={"tests": tuple(changed)})
            results = _results(home, narrow, path, folder, analyser)
        failed = {r.case for r in results if not r.passed}
        memory.keep([case for case in contract.tests if case.name not in failed])
    if not contract.tests:
        what = "no tests: its SELECT was analysed" if contract.mode.has_select else "no tests and no SELECT"
        out.write(f"{contract.table} has {what}\n")
        return 0
    out.writelines(f"  ✓ {contract.table}: {case.name} (nothing has changed since it passed)\n" for case in same)
    return _told(results, same, out)


def _told(results: "Sequence[CaseResult]", same: Sequence[Case], out: TextIO) -> int:
    for r in results:
        out.write(f"  {'✓' if r.passed else '✗'} {r.table}: {r.case} ({r.engine}, {r.seconds:.1f} s)\n")
        if r.message:
            out.write("".join(f"      {line}\n" for line in r.message.splitlines()))
    failed = sum(not r.passed for r in results)
    unchanged = f", {len(same)} as before" if same else ""
    out.write(f"{len(results) - failed} passed, {failed} failed{unchanged}\n")
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
